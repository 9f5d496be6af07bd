"""Painters of the inbox, of the feed of corrections, and of the number that every page shows."""

from __future__ import annotations

from holdfast.kernel.clock import Clock
from holdfast.web import hub as stream
from holdfast.web.coalesce import Batch
from holdfast.web.gather import Gather
from holdfast.web.limits import LOOK_S, REPAINT_S, SINGLE_ROWS_MAX
from holdfast.web.live_page import Base, Painter
from holdfast.web.models.corrections import FeedQuery
from holdfast.web.render import Renderer
from holdfast.wire.api.call import Call


class InboxPainter(Base):
    """Who waits, and what was decided about those who waited.

    It looks by itself too, at the latest when the first request expires, which nobody announces.
    """

    topics = frozenset({stream.PAIRING})

    def __init__(
        self, call: Call, gather: Gather, renderer: Renderer, clock: Clock, *, hub: stream.Hub
    ) -> None:
        super().__init__(call, gather, renderer, clock)
        self._hub = hub
        self._likeness: object = None
        self._ends_ms: int | None = None

    @property
    def idle_s(self) -> float:
        """Return the time to the next look."""
        if self._ends_ms is None:
            return LOOK_S
        return min(LOOK_S, max(0.01, (self._ends_ms - self._clock.now_ms()) / 1_000))

    async def full(self) -> str:
        """Return the inbox."""
        self._likeness = None
        return await self.idle()

    async def changed(self, batch: Batch) -> str:  # noqa: ARG002  the page is one list
        """Return the inbox, if it is another."""
        return await self.idle()

    async def idle(self) -> str:
        """Return the inbox, if it is another."""
        recent = self._hub.recent(self._call.principal)
        found = await self._gather.pairing.inbox(self.now(), recent)
        self._ends_ms = found.ends_ms()
        if found.likeness() == self._likeness:
            return ""
        self._likeness = found.likeness()
        return self._renderer.draw("live/inbox.html", inbox=found)


class FeedPainter(Base):
    """Corrections as they come: new ones on top, and those that came again in their place.

    A few are drawn at once; after many at a time it rests for REPAINT_S, since nobody reads faster.
    """

    topics = frozenset({stream.CORRECTION})

    def __init__(self, call: Call, gather: Gather, renderer: Renderer, clock: Clock) -> None:
        super().__init__(call, gather, renderer, clock)
        self._query = FeedQuery.parse(call.query)
        self._shown: dict[str, tuple[object, ...]] = {}
        self._is_stale = False
        self._rests_ms = 0.0

    def _rest_left_s(self) -> float:
        return (self._rests_ms - self._clock.steady_ms()) / 1_000

    @property
    def idle_s(self) -> float:
        """Return the time to the next look."""
        return max(0.01, self._rest_left_s()) if self._is_stale else LOOK_S

    async def full(self) -> str:
        """Return the whole page of the feed."""
        found = await self._gather.brains.feed(self.now(), self._query)
        self._shown = {row.key: row.likeness() for row in found.rows}
        return self._renderer.draw("live/corrections.html", feed=found)

    async def changed(self, batch: Batch) -> str:
        """Return what is new."""
        if self._rest_left_s() > 0:
            self._is_stale = True
            return ""
        return await (self.full() if batch.all_stale else self.idle())

    async def idle(self) -> str:
        """Return what is new; everything where nothing of what was shown is still there."""
        self._is_stale = False
        _, rows = await self._gather.brains.rows(self.now(), self._query)
        fresh = [row for row in rows if row.key not in self._shown]
        if len(fresh) > SINGLE_ROWS_MAX:
            self._rests_ms = self._clock.steady_ms() + REPAINT_S * 1_000
        if fresh and (len(fresh) == len(rows) or rows[: len(fresh)] != fresh):
            return await self.full()
        again = [
            row for row in rows if row.key in self._shown and self._shown[row.key] != row.likeness()
        ]
        self._shown = {row.key: row.likeness() for row in rows}
        if not fresh and not again:
            return ""
        return self._renderer.draw("live/feed.html", fresh=fresh, again=again)


class Counted:
    """Any painter, and the number of requests that wait, which the bar of every page shows."""

    def __init__(
        self, painter: Painter, call: Call, gather: Gather, renderer: Renderer, clock: Clock
    ) -> None:
        self._painter = painter
        self._base = Base(call, gather, renderer, clock)
        self._gather = gather
        self._renderer = renderer
        self.topics = painter.topics | {stream.PAIRING}
        self._waiting = -1
        self._clock = clock
        self._asked_ms = 0.0

    @property
    def idle_s(self) -> float:
        """Return what the page's own painter wants."""
        return self._painter.idle_s

    async def full(self) -> str:
        """Return the page and the number."""
        self._waiting = -1
        return await self._painter.full() + await self._number()

    async def changed(self, batch: Batch) -> str:
        """Return what changed on the page, and the number if that did."""
        mine = tuple(each for each in batch.changes if each.topic in self._painter.topics)
        drawn = ""
        if mine or batch.all_stale:
            drawn = await self._painter.changed(batch._replace(changes=mine))
        is_told = batch.all_stale or any(each.topic == stream.PAIRING for each in batch.changes)
        return drawn + (await self._number() if is_told else "")

    async def idle(self) -> str:
        """Return what time made different: of the number too, since requests expire."""
        drawn = await self._painter.idle()
        is_due = self._clock.steady_ms() - self._asked_ms >= LOOK_S * 1_000
        return drawn + (await self._number() if drawn or is_due else "")

    async def _number(self) -> str:
        """Return how many wait, if that is another number."""
        self._asked_ms = self._clock.steady_ms()
        found = await self._gather.pairing.waiting(self._base.now())
        if found.total == self._waiting:
            return ""
        self._waiting = found.total
        return self._renderer.draw("live/waiting.html", waiting=found.total)

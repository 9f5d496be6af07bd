"""What the live stream of each page draws: everything at first, then what changed.

A painter draws for one reader, with that reader's rights. Rows of the fleet are the exception
in cost, not in rights: a row drawn for one reader serves every other who may see its instance,
and the hub has told only those.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import Final, Protocol

from holdfast.kernel.clock import Clock
from holdfast.web import hub as stream
from holdfast.web.api import Missing
from holdfast.web.coalesce import Batch, Change
from holdfast.web.gather import Gather, Told
from holdfast.web.limits import (
    FRAGMENTS_MAX,
    LOG_PERIOD_S,
    LOOK_S,
    REPAINT_S,
    SINGLE_ROWS_MAX,
)
from holdfast.web.models.fleet import FleetQuery
from holdfast.web.render import Renderer
from holdfast.wire.api.call import Call, Refusal

_GONE: Final = 404


class Painter(Protocol):
    """Draws one open page. A text that is empty is not sent."""

    topics: frozenset[str]

    @property
    def idle_s(self) -> float:
        """How long to wait for changes before `idle` is asked."""
        ...

    async def full(self) -> str:
        """Return everything on the page that can change."""
        ...

    async def changed(self, batch: Batch) -> str:
        """Return what a batch of changes made different."""
        ...

    async def idle(self) -> str:
        """Return what time alone made different."""
        ...


class Fragments:
    """Drawn rows, by instance and form, with the number up to which each is true."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, bool], tuple[int, str]] = OrderedDict()
        self.drawn = 0

    def find(self, key: tuple[str, bool], seq: int) -> str | None:
        """Return a row that is at least as new as a change."""
        held = self._kept.get(key)
        return held[1] if held is not None and held[0] >= seq else None

    def keep(self, key: tuple[str, bool], seq: int, html: str) -> None:
        """Keep a row that was asked for when the hub stood at `seq`."""
        self.drawn += 1
        self._kept[key] = (seq, html)
        self._kept.move_to_end(key)
        while len(self._kept) > FRAGMENTS_MAX:
            self._kept.popitem(last=False)


class Base:
    """What painters share: the reader's call, at the present time."""

    def __init__(self, call: Call, gather: Gather, renderer: Renderer, clock: Clock) -> None:
        self._call = call
        self._gather = gather
        self._renderer = renderer
        self._clock = clock
        self._operator = call.principal.scope == "operator"

    def now(self) -> Call:
        """Return the reader's call as if it were made now."""
        return replace(self._call, now_ms=self._clock.now_ms())


class FleetPainter(Base):
    """The fleet: changed rows at once, the list itself at most every REPAINT_S."""

    topics = frozenset({stream.INSTANCE, stream.CONTACT, stream.PAIRING})

    def __init__(
        self,
        call: Call,
        gather: Gather,
        renderer: Renderer,
        clock: Clock,
        *,
        hub: stream.Hub,
        fragments: Fragments,
    ) -> None:
        super().__init__(call, gather, renderer, clock)
        self._query = FleetQuery.parse(call.query)
        self._hub = hub
        self._fragments = fragments
        self._shown: frozenset[str] = frozenset()
        self._is_stale = False
        self._looked_ms = 0.0
        self._likeness: tuple[object, ...] = ()

    def _left_s(self) -> float:
        """Return the seconds to the next look at the list: soon where it may have changed."""
        spent_s = (self._clock.steady_ms() - self._looked_ms) / 1_000
        return (REPAINT_S if self._is_stale else LOOK_S) - spent_s

    @property
    def idle_s(self) -> float:
        """Return the time to the next look at the list."""
        return max(0.01, self._left_s())

    async def full(self) -> str:
        """Return the rows, the counts and the pager."""
        self._likeness = ()
        return await self._look()

    async def _look(self) -> str:
        """Return the list, if it is another than the last one."""
        self._is_stale = False
        self._looked_ms = self._clock.steady_ms()
        page = await self._gather.fleet(self.now(), self._query)
        likeness = page.likeness()
        if likeness == self._likeness:
            return ""
        self._likeness = likeness
        self._shown = frozenset(row.id for row in page.rows)
        return self._renderer.draw("live/fleet.html", fleet=page, is_operator=self._operator)

    async def changed(self, batch: Batch) -> str:
        """Return the rows that changed; remember that the list may have."""
        wanted = {c.key: c for c in batch.changes if c.key in self._shown}
        self._is_stale |= batch.all_stale or any(
            change.topic == stream.INSTANCE for change in batch.changes
        )
        if batch.all_stale or len(wanted) > SINGLE_ROWS_MAX:
            self._is_stale = True
            return await self.idle()
        return "".join([await self._row(change) for change in wanted.values()])

    async def idle(self) -> str:
        """Return the list anew, once it has rested long enough."""
        return await self._look() if self._left_s() <= 0 else ""

    async def _row(self, change: Change) -> str:
        """Return one row, drawn now or by another reader since the change."""
        key = (change.key, self._operator)
        found = self._fragments.find(key, change.seq)
        if found is not None:
            return found
        seq = self._hub.seq
        try:
            row = await self._gather.row(self.now(), change.key)
        except Refusal as refusal:
            if refusal.status != _GONE:
                raise
            self._is_stale = True
            return ""
        html = self._renderer.draw("live/row.html", row=row, is_operator=self._operator)
        self._fragments.keep(key, seq, html)
        return html


def _likeness(told: Told) -> object:
    """Return what differs when what a check-in told does, apart from the time that passes."""
    start, recovery = told.start, told.recovery
    return (
        told.header.likeness(),
        None if start is None else start.likeness(),
        None if recovery is None else recovery.likeness(),
    )


class InstancePainter(Base):
    """One instance: everything about it on a change, its log as time passes."""

    topics = frozenset({stream.INSTANCE, stream.CONTACT, stream.PAIRING})
    idle_s = LOG_PERIOD_S

    def __init__(self, call: Call, gather: Gather, renderer: Renderer, clock: Clock) -> None:
        super().__init__(call, gather, renderer, clock)
        self._id = call.query["id"]
        self._log = ""
        self._looked_ms = 0.0
        self._likeness: object = None

    async def full(self) -> str:
        """Return header, explanation, timeline and log."""
        names = await self._gather.instance(self.now(), self._id)
        self._looked_ms = self._clock.steady_ms()
        self._likeness = _likeness(Told(names["header"], names["start"], names["recovery"]))
        drawn = self._renderer.draw(
            "live/instance.html", id=self._id, is_operator=self._operator, **names
        )
        return drawn + await self._tail()

    async def changed(self, batch: Batch) -> str:
        """Return everything after an event, only the header after a check-in."""
        topics = {change.topic for change in batch.changes if change.key == self._id}
        if batch.all_stale or stream.INSTANCE in topics:
            return await self.full()
        drawn = await self._pairing() if stream.PAIRING in topics else ""
        return drawn + (await self._look() if stream.CONTACT in topics else "")

    async def _pairing(self) -> str:
        """Return who waits, how it is decided, and which secrets are set."""
        detail = await self._gather.detail(self.now(), self._id)
        panels = await self._gather.pairing.panels(self.now(), self._id, detail.instance.name)
        return self._renderer.draw("live/instance_pairing.html", id=self._id, pairing=panels)

    async def _look(self) -> str:
        """Return the header, the start and the recovery, if one of them is another."""
        self._looked_ms = self._clock.steady_ms()
        told = await self._gather.told(self.now(), self._id)
        likeness = _likeness(told)
        if likeness == self._likeness:
            return ""
        self._likeness = likeness
        return self._renderer.draw("live/header.html", id=self._id, **told._asdict())

    async def idle(self) -> str:
        """Return the log where it has new lines, and now and then the header."""
        is_due = self._clock.steady_ms() - self._looked_ms >= LOOK_S * 1_000
        head = await self._look() if is_due else ""
        return head + await self._tail()

    async def _tail(self) -> str:
        """Return the log where it has new lines."""
        tail = await self._gather.logs(self.now(), self._id)
        missing = tail if isinstance(tail, Missing) else None
        drawn = self._renderer.draw("live/log.html", tail=tail, missing=missing)
        if drawn == self._log:
            return ""
        self._log = drawn
        return drawn

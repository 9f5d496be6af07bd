"""The live stream of an open page, as server-sent events that carry pieces of HTML.

The first event draws everything that can change, so that a page that reconnects shows the present
and misses nothing. The stream ends after STREAM_LIFE_S: the
browser connects again by itself, and a session that has ended in the meantime is found out.

Everything is drawn for one reader, with that reader's rights.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

from holdfast.letters import topics
from holdfast.web import hub as stream
from holdfast.web.api import operators_only
from holdfast.web.hub import Batch
from holdfast.web.limits import HEARTBEAT_S, LOOK_S, STREAM_LIFE_S
from holdfast.web.page import Context, LivePage, Names, Page, update
from holdfast.web.parts.inbox import waiting
from holdfast.wire.api.call import Call, Refusal, Reply

_BUSY: Final = 503
_RELATIVE_TIME: Final = re.compile(r"(<time [^>]*>)[^<]*")
"""What a page's script keeps true by itself, so it makes no difference: `4 s ago`."""


def fingerprint(html: str) -> str:
    """Return what differs when drawn HTML does, apart from the time that passes."""
    return _RELATIVE_TIME.sub(r"\1", html)


class OpenPage:
    """What live pages share: the reader's call, made at the present time."""

    def __init__(self, context: Context, page: Page, call: Call) -> None:
        self.context = context
        self.page = page
        self._call = call
        self.is_operator = call.principal.scope == "operator"

    def now(self) -> Call:
        """Return the reader's call as if it were made now."""
        return replace(self._call, now_ms=self.context.clock.now_ms())

    def steady_s(self) -> float:
        """Return a time to measure durations with, in seconds."""
        return self.context.clock.steady_ms() / 1_000

    def draw_elements(self, *ids: str, **names: object) -> str:
        """Return updates of elements, drawn by the blocks of the page's template."""
        return self.context.renderer.draw_elements(
            self.page.template, ids, is_operator=self.is_operator, **names
        )


@dataclass(frozen=True, slots=True)
class Redrawn:
    """A page that is live by being drawn again as a whole, and sent where it is another.

    `elements` are the ids of what can change. `look_s` is how soon to look without a
    change, or returns that from what was loaded and the time. `rest_s` is how long it rests after
    having been drawn. With `own` only changes of the very thing that the page shows concern it.
    """

    topics: frozenset[str]
    elements: tuple[str, ...]
    look_s: float | Callable[[Names, int], float] = HEARTBEAT_S
    rest_s: float = 0.0
    own: bool = False

    def __call__(self, context: Context, page: Page, call: Call) -> LivePage:
        """Open a page."""
        return _RedrawnPage(context, page, call, self)


class _RedrawnPage(OpenPage):
    def __init__(self, context: Context, page: Page, call: Call, redrawn: Redrawn) -> None:
        super().__init__(context, page, call)
        self.topics = redrawn.topics
        self._redrawn = redrawn
        self._key = call.path[page.path_params[0]] if redrawn.own else ""
        self._sent = ""
        self._names: Names = {}
        self._is_stale = False
        self._drawn_s = 0.0

    def _rest_left_s(self) -> float:
        return self._redrawn.rest_s - (self.steady_s() - self._drawn_s)

    @property
    def idle_s(self) -> float:
        """Return the time to the next look."""
        if self._is_stale:
            return max(0.01, self._rest_left_s())
        look_s = self._redrawn.look_s
        if not callable(look_s):
            return look_s
        return look_s(self._names, self.context.clock.now_ms())

    async def full(self) -> str:
        """Return the whole page."""
        self._sent = ""
        return await self.idle()

    async def changed(self, batch: Batch) -> str:
        """Return the page, if it is another; while it rests, later."""
        if self._key and not batch.all_stale and self._key not in {c.key for c in batch.changes}:
            return ""
        if self._rest_left_s() > 0:
            self._is_stale = True
            return ""
        return await self.idle()

    async def idle(self) -> str:
        """Return the page, if it is another; nothing while what it shows is busy for a moment."""
        self._is_stale = False
        try:
            self._names = await self.page.load(self.context, self.now())
        except Refusal as refusal:
            if refusal.status != _BUSY:
                raise
            return ""
        drawn = self.draw_elements(*self._redrawn.elements, **self._names)
        found = fingerprint(drawn)
        if found == self._sent:
            return ""
        self._sent = found
        self._drawn_s = self.steady_s()
        return drawn


class _WithWaiting:
    """Any live page, and the number of requests that wait, which the bar of every page shows."""

    def __init__(self, page: LivePage, opened: OpenPage) -> None:
        self._page = page
        self._opened = opened
        self.topics = page.topics | {topics.PAIRING}
        self._waiting = -1
        self._asked_s = 0.0

    @property
    def idle_s(self) -> float:
        """Return what the page itself wants."""
        return self._page.idle_s

    async def full(self) -> str:
        """Return the page and the number."""
        self._waiting = -1
        return await self._page.full() + await self._number()

    async def changed(self, batch: Batch) -> str:
        """Return what changed on the page, and the number if that did."""
        mine = tuple(each for each in batch.changes if each.topic in self._page.topics)
        drawn = ""
        if mine or batch.all_stale:
            drawn = await self._page.changed(batch._replace(changes=mine))
        is_told = batch.all_stale or any(each.topic == topics.PAIRING for each in batch.changes)
        return drawn + (await self._number() if is_told else "")

    async def idle(self) -> str:
        """Return what time made different: of the number too, since requests expire."""
        drawn = await self._page.idle()
        is_due = self._opened.steady_s() - self._asked_s >= LOOK_S
        return drawn + (await self._number() if drawn or is_due else "")

    async def _number(self) -> str:
        """Return how many wait, if that is another number."""
        self._asked_s = self._opened.steady_s()
        found = (await waiting(self._opened.context, self._opened.now())).total
        if found == self._waiting:
            return ""
        self._waiting = found
        return self._opened.context.renderer.draw_elements("base.html", ("waiting",), waiting=found)


def _bad_parameter(field: str, message: str, fix: str) -> Refusal:
    return Refusal(400, "bad_parameter", message, field=field, fix=fix)


class Live:
    """Makes the streams of open pages."""

    def __init__(
        self, context: Context, pages: Iterable[Page], *, life_s: float = STREAM_LIFE_S
    ) -> None:
        self._context = context
        self._pages = {page.name: page for page in pages}
        self._life_s = life_s

    async def serve(self, call: Call) -> Reply:
        """Answer with the stream of a page; refuse (400, 403) one that cannot be drawn."""
        page = self._pages.get(call.query["page"])
        if page is None or page.live is None:
            raise _bad_parameter("page", "this page is not live", "leave its stream out")
        for name in page.stream_params:
            if not call.query.get(name):
                raise _bad_parameter(name, f"this page needs its {name}", f"send the {name}")
        path = {param: call.query[name] for name, param in page.stream_params.items()}
        call = replace(call, path=path)
        if page.endpoint.scope == "operator":
            operators_only(call)
        opened = _WithWaiting(
            page.live(self._context, page, call), OpenPage(self._context, page, call)
        )
        return Reply(stream=self._run(call, opened), content_type="text/event-stream")

    async def _run(self, call: Call, page: LivePage) -> AsyncIterator[bytes]:
        """Yield events until the page closes, the life ends, or what it shows is gone."""
        hub, clock = self._context.hub, self._context.clock
        ends_ms = clock.steady_ms() + self._life_s * 1_000
        spoke_ms = clock.steady_ms()
        with hub.subscribe(call.principal, page.topics) as subscription:
            try:
                yield stream.message(await page.full(), seq=hub.seq)
                while clock.steady_ms() < ends_ms:
                    batch = await subscription.next(min(page.idle_s, HEARTBEAT_S))
                    seq = hub.seq
                    drawn = await (page.idle() if batch is None else page.changed(batch))
                    if drawn:
                        yield stream.message(drawn, seq=seq)
                    elif clock.steady_ms() - spoke_ms >= HEARTBEAT_S * 1_000 - 100:
                        yield stream.HEARTBEAT
                    else:
                        continue
                    spoke_ms = clock.steady_ms()
            except Refusal as refusal:
                gone = self._context.renderer.draw("parts/gone.html", problem=refusal.problem)
                yield stream.message(update("#toasts", gone, swap="beforeend"), seq=hub.seq)
                yield stream.signal("gone", seq=hub.seq)

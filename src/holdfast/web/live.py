"""The live stream of an open page, as server-sent events that carry pieces of HTML.

The first event draws everything that can change, so that whoever connects again, for whatever
reason, sees the present and nothing is lost in between. The stream ends after STREAM_LIFE_S: the
browser connects again by itself, and a session that has ended in the meantime is found out.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from holdfast.kernel.clock import Clock
from holdfast.web import hub as stream
from holdfast.web.gather import Gather
from holdfast.web.limits import HEARTBEAT_S, STREAM_LIFE_S
from holdfast.web.list_painters import LISTS, ListPainter
from holdfast.web.live_page import FleetPainter, Fragments, InstancePainter, Painter
from holdfast.web.live_painters import Counted, FeedPainter, InboxPainter
from holdfast.web.render import Renderer
from holdfast.wire.api.call import Call, Refusal, Reply

_WITH_ID: Final = frozenset({"instance", "operation", "brain"})
_OPERATOR_ONLY: Final = frozenset({"quarantine"})


class Live:
    """Makes the stream of a page."""

    def __init__(
        self,
        gather: Gather,
        renderer: Renderer,
        *,
        hub: stream.Hub,
        clock: Clock,
        life_s: float = STREAM_LIFE_S,
    ) -> None:
        self._gather = gather
        self._renderer = renderer
        self._hub = hub
        self._clock = clock
        self._life_s = life_s
        self.fragments = Fragments()

    async def serve(self, call: Call) -> Reply:
        """Answer with the stream of a page."""
        painter = Counted(self._painter(call), call, self._gather, self._renderer, self._clock)
        return Reply(stream=self._run(call, painter), content_type="text/event-stream")

    def _painter(self, call: Call) -> Painter:
        """Return what draws the page; refuse (400, 403) a page that cannot be drawn."""
        page = call.query["page"]
        if page in _WITH_ID and not call.query.get("id"):
            raise Refusal(
                400, "bad_parameter", "this page needs an id", field="id", fix="send the id"
            )
        if page in _OPERATOR_ONLY and call.principal.scope != "operator":
            raise Refusal(
                403, "scope_too_narrow", "this needs the scope operator", fix="ask an operator"
            )
        shared = (call, self._gather, self._renderer, self._clock)
        if page == "fleet":
            return FleetPainter(*shared, hub=self._hub, fragments=self.fragments)
        if page == "instance":
            return InstancePainter(*shared)
        if page == "pairing":
            return InboxPainter(*shared, hub=self._hub)
        if page == "corrections":
            return FeedPainter(*shared)
        return ListPainter(*shared, page=LISTS[page])

    async def _run(self, call: Call, painter: Painter) -> AsyncIterator[bytes]:
        """Yield events until the page closes, the life ends, or what it shows is gone."""
        ends_ms = self._clock.steady_ms() + self._life_s * 1_000
        spoke_ms = self._clock.steady_ms()
        with self._hub.subscribe(call.principal, painter.topics) as subscription:
            try:
                yield stream.message(await painter.full(), seq=self._hub.seq)
                while self._clock.steady_ms() < ends_ms:
                    batch = await subscription.next(min(painter.idle_s, HEARTBEAT_S))
                    seq = self._hub.seq
                    drawn = await (painter.idle() if batch is None else painter.changed(batch))
                    if drawn:
                        yield stream.message(drawn, seq=seq)
                    elif self._clock.steady_ms() - spoke_ms >= HEARTBEAT_S * 1_000 - 100:
                        yield stream.HEARTBEAT
                    else:
                        continue
                    spoke_ms = self._clock.steady_ms()
            except Refusal as refusal:
                gone = self._renderer.draw("live/gone.html", problem=refusal.problem)
                yield stream.message(gone, seq=self._hub.seq)
                yield stream.signal("gone", seq=self._hub.seq)

"""The pages over samples, for one kind of reader after another."""

from __future__ import annotations

from typing import Any

from holdfast.kernel.clock import ManualClock
from holdfast.web.hub import Hub
from holdfast.web.site import Pages
from holdfast.wire.api.call import Call, Principal
from tests.support.sample_brains import SampleBrains
from tests.support.sample_fleet import SampleFleet
from tests.support.sample_maintenance import SampleMaintenance
from tests.support.sample_pairing import SamplePairing
from tests.support.sample_town import SampleTown

NOW = 1_795_000_000_000
OPERATOR = Principal("operator", "operator", None, "session", "s1")
OWNER = Principal("olga", "owner", "local", "session", "s2")
HOSTILE = "<script>alert(1)</script>\"'"


class SamplePages:
    """The pages over a sample fleet of one kind of reader after another."""

    def __init__(self, *, count: int = 12) -> None:
        self.hub = Hub()
        self.clock = ManualClock(NOW)
        self.fleet = SampleFleet(self.hub, now_ms=NOW, count=count)
        self.pairing = SamplePairing(self.hub, now_ms=NOW)
        self.brains = SampleBrains(self.hub, now_ms=NOW)
        self.maintenance = SampleMaintenance(now_ms=NOW)
        self.town = SampleTown(self.hub, now_ms=NOW)
        self.asked: list[str] = []
        api = {name: self._noted(name, made) for name, made in self.handlers().items()}
        self.pages = Pages(api, hub=self.hub, clock=self.clock, version="0.test")

    def handlers(self) -> dict[str, Any]:
        made = (self.fleet, self.pairing, self.brains, self.maintenance, self.town)
        return {name: handler for each in made for name, handler in each.handlers().items()}

    def _noted(self, name: str, handler: Any) -> Any:
        async def noted(call: Call) -> Any:
            assert call.endpoint == name
            self.asked.append(name)
            return await handler(call)

        return noted

    def call(self, endpoint: str, who: Principal = OPERATOR, **fields: Any) -> Call:
        return Call(endpoint, who, now_ms=NOW, **fields)

    async def show(self, page: str, who: Principal = OPERATOR, **fields: Any) -> str:
        reply = await self.pages.by_endpoint()[page](self.call(page, who, **fields))
        assert reply.content_type.startswith("text/html")
        return str(reply.body.decode())

    async def stream(self, who: Principal = OPERATOR, **query: str) -> Any:
        reply = await self.pages.live.serve(self.call("page.events", who, query=query))
        assert reply.content_type == "text/event-stream"
        return reply.stream

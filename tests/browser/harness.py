"""The real edge and pages over sample data, served to a real browser.

`serve()` runs uvicorn in a thread on a free port. `Served.run` calls into its loop, which is how
a test commits a change that the open pages must show.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import uvicorn

from holdfast.accounts.handlers import AccountHandlers
from holdfast.kernel.clock import SystemClock
from holdfast.web.hub import Hub
from holdfast.web.site import Pages
from tests.support.sample_brains import SampleBrains
from tests.support.sample_fleet import SampleFleet
from tests.support.sample_maintenance import SampleMaintenance
from tests.support.sample_pairing import SamplePairing
from tests.support.sample_town import SampleTown
from tests.support.stub_plane import StubPlane

T = TypeVar("T")
STARTED_S = 10.0
PASSWORD = "correct horse battery staple"


class Sampled:
    """A plane whose instances are samples; people, sessions and the edge are real."""

    def __init__(self, *, count: int = 60) -> None:
        clock = SystemClock()
        self.hub = Hub()
        self.fleet = SampleFleet(self.hub, now_ms=clock.now_ms(), count=count)
        self.pairing = SamplePairing(self.hub, now_ms=clock.now_ms())
        self.maintenance = SampleMaintenance(now_ms=clock.now_ms())
        self.brains = SampleBrains(self.hub, now_ms=clock.now_ms())
        self.town = SampleTown(self.hub, now_ms=clock.now_ms())
        samples = (self.fleet, self.pairing, self.brains, self.maintenance, self.town)
        api: dict[str, Any] = {}
        for sample in samples:
            api |= sample.handlers()
        pages = Pages(api, hub=self.hub, clock=clock, version="0.1.0")
        self.live = pages.live
        self.stub = StubPlane(
            clock=clock,  # type: ignore[arg-type]
            overrides={**api, **pages.by_endpoint()},
            options={"problem_page": pages.problem_page},
        )
        api |= AccountHandlers(self.stub.directory, self.stub.browsers).by_endpoint()

    async def prepare(self) -> None:
        """Make the people: an operator by the first run, and an owner."""
        await self.stub.prepare()
        await self.stub.directory.make_person("olga", scope="owner", account="local")

    async def link(self, person: str = "operator") -> str:
        """Return a one-time link's secret."""
        secret, _ = await self.stub.directory.make_link(person)
        return secret


@dataclass
class Served:
    """A served plane."""

    plane: Sampled
    url: str
    loop: asyncio.AbstractEventLoop

    def run(self, work: Callable[[], T]) -> T:
        """Call something on the serving loop."""

        async def call() -> T:
            return work()

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(STARTED_S)

    def link(self, person: str = "operator") -> str:
        """Return the address of a one-time link."""
        made = asyncio.run_coroutine_threadsafe(self.plane.link(person), self.loop)
        return f"{self.url}/sign-in?link={made.result(STARTED_S)}"


@contextmanager
def serve(*, count: int = 60) -> Iterator[Served]:
    """Serve a sampled plane on a free port of the loopback."""
    ready: threading.Event = threading.Event()
    made: dict[str, Any] = {}

    async def main() -> None:
        plane = Sampled(count=count)
        await plane.prepare()
        config = uvicorn.Config(
            plane.stub.edge, host="127.0.0.1", port=0, log_level="error", access_log=False,
            lifespan="off", timeout_graceful_shutdown=2,
        )  # fmt: skip
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve())
        while not server.started and not task.done():  # noqa: ASYNC110  it has no event for it
            await asyncio.sleep(0.01)
        made.update(server=server, plane=plane, loop=asyncio.get_running_loop())
        ready.set()
        await task

    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    assert ready.wait(STARTED_S), "the plane did not start"
    server, plane, loop = made["server"], made["plane"], made["loop"]
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield Served(plane, f"http://127.0.0.1:{port}", loop)
    finally:
        loop.call_soon_threadsafe(plane.stub.edge.close)
        server.should_exit = True
        thread.join(STARTED_S)
        assert not thread.is_alive(), "the plane did not stop"

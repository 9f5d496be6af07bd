"""The hosts under the contract: the twin, local processes, and an instance by its controller."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.kernel.clock import Clock, SystemClock
from holdfast.world.hosts.port import Exited, Host, Launch
from holdfast.world.hosts.simulated import SimulatedHost
from tests.integration.hosts.fleet_bench import FleetBench
from tests.support.host_benches import Bench, ProcessBench


class SimulatedBench(Bench):
    """The twin."""

    def __init__(self, clock: Clock, folder: Path) -> None:
        super().__init__(clock, folder)
        self._host = SimulatedHost(clock)

    async def open(self) -> None: ...

    @property
    def host(self) -> Host:
        return self._host

    def end(self, launch: Launch, code: int) -> None:
        seen = Exited(how="exited", code=code)
        self._host.finish(launch.town, launch.attempt, seen, written=b"up\nended\n")


BENCHES: dict[str, Any] = {
    "simulated": SimulatedBench,
    "processes": ProcessBench,
    "fleet": FleetBench,
}


@pytest.fixture(params=list(BENCHES))
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    made: Bench = BENCHES[request.param](SystemClock(), tmp_path)
    await made.open()
    yield made
    await made.close()

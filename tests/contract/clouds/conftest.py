"""The clouds under the contract: the simulated one without faults, and local processes."""

from __future__ import annotations

import random
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.kernel.clock import ManualClock, SystemClock
from holdfast.kernel.outcome import Ok
from holdfast.world.clouds.port import Cloud
from holdfast.world.clouds.process import ProcessCloud
from holdfast.world.clouds.simulated import SimulatedCloud
from holdfast.world.clouds.simulated_world import Timing

STUB = (sys.executable, "-S", "-E", str(Path(__file__).with_name("stub_machine.py")))


@pytest.fixture(params=["simulated", "process"])
async def cloud(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cloud]:
    if request.param == "simulated":
        yield simulated()
        return
    async with ProcessCloud(tmp_path, clock=SystemClock(), program=STUB) as opened:
        yield opened
        found = await opened.find({})
        assert isinstance(found, Ok)
        for machine in found.value:
            await opened.destroy(machine.id)


def simulated() -> SimulatedCloud:
    clock = ManualClock()

    async def sleep(by_ms: int) -> None:
        clock.advance(by_ms)

    # A second each way: a test that makes one call after the other never reaches the rate of one
    # call a second per action, and the listing has caught up after two calls.
    return SimulatedCloud(
        clock=clock, chance=random.Random(1), sleep=sleep, timing=Timing(call_ms=2_000)
    )

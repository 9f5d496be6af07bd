"""A clock that fails once ends no loop of the stream."""

from __future__ import annotations

import asyncio
from typing import Any

from holdfast.sim.loop import SimClock, SimLoop, run
from tests.unit.actors.test_one_call_fails import Fuse, Fused
from tests.unit.telemetry.test_flow import Bench


def test_the_wheel_turns_on_after_a_clock_that_failed() -> None:
    async def main(_loop: SimLoop, clock: SimClock) -> None:
        bench, fuse = Bench(), Fuse(1)
        failing: Any = Fused(clock, fuse)
        bench.clock = failing
        async with bench.running() as telemetry:
            (wheel,) = (t for t in telemetry.running() if t.get_name() == "contact wheel")
            telemetry.points.stop()  # the only other loop that asks for the time by itself
            await asyncio.sleep(0.1)
            fuse.open = True
            await asyncio.sleep(5)
            assert fuse.calls.total() > 1
            assert not wheel.done()

    run(1, main)

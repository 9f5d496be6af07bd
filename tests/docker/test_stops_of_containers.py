"""A stop on a real engine, and a start that comes before the stop was seen to be over."""

from __future__ import annotations

import asyncio

import pytest

from holdfast.kernel.outcome import Ok
from holdfast.world.clouds.port import Machine, MachineSpec, MachineState
from tests.docker.conftest import cloud_of
from tests.support.container_engine import RealEngine
from tests.support.patience import patience

pytestmark = [pytest.mark.docker, pytest.mark.timeout(180)]
SPEC = MachineSpec(name="box", instance_id="i", sandbox_id="box", account_id="a")
GRACE_MS = 2_000


async def test_a_stop_that_is_over_does_not_end_the_next_start(
    engine: RealEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with cloud_of(engine) as cloud:
        made = await cloud.create(SPEC, idempotency_key="k", timeout_ms=60_000)
        assert isinstance(made, Ok), made

        async def is_state(wanted: MachineState) -> Machine:
            async with asyncio.timeout(patience(20)):
                while True:
                    seen = await cloud.describe(made.value.id)
                    if isinstance(seen, Ok) and seen.value.state == wanted:
                        return seen.value
                    await asyncio.sleep(0.05)

        async def look_late(_machine: str, _seconds: float) -> None:
            await asyncio.sleep(GRACE_MS / 1_000 + 1)

        async with asyncio.timeout(patience(20)):  # its handler is there, so the grace is not used
            while await cloud.log_tail(made.value.id, lines=1) != Ok(("up",)):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        monkeypatch.setattr(cloud, "_pause", look_late)
        assert isinstance(await cloud.stop(made.value.id, grace_ms=GRACE_MS), Ok)
        await is_state("stopped")
        assert isinstance(await cloud.start(made.value.id), Ok)
        started = await is_state("started")
        await asyncio.sleep(GRACE_MS / 1_000 + 2)
        assert (await is_state("started")).incarnation == started.incarnation

"""An engine that does not answer: nothing is taken for gone, and the plane's side goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from holdfast.kernel.clock import SystemClock
from holdfast.kernel.outcome import Ok, Outcome, Retryable
from holdfast.world.clouds.docker.cloud import DockerCloud, Options
from holdfast.world.clouds.docker.examine import examine
from holdfast.world.clouds.port import MachineSpec, VolumeSpec, verdict
from holdfast.world.clouds.spec import no_keys


async def test_every_call_says_that_it_may_be_tried_again(tmp_path: Path) -> None:
    options = Options(url=f"unix://{tmp_path}/nothing.sock", image="i", owner="o")
    spec = MachineSpec(name="box", instance_id="i", sandbox_id="box", account_id="a")
    async with DockerCloud(options, clock=SystemClock(), keys=no_keys) as cloud:
        assert verdict(await cloud.describe("m")) == "unknown"
        answers: list[Outcome[Any]] = [
            await cloud.create(spec, idempotency_key="k", timeout_ms=9_000),
            await cloud.start("m"),
            await cloud.stop("m", grace_ms=1),
            await cloud.update("m", spec),
            await cloud.store("m", spec),
            await cloud.destroy("m"),
            await cloud.exec("m", ("true",), timeout_ms=1_000),
            await cloud.log_tail("m", lines=1),
            await cloud.find({}),
            await cloud.create_volume(VolumeSpec(name="v"), idempotency_key="k", timeout_ms=9_000),
            await cloud.describe_volume("holdfast-vol-1"),
            await cloud.find_volumes("v"),
            await cloud.destroy_volume("holdfast-vol-1"),
        ]
        assert not any(isinstance(answer, Ok) for answer in answers)
        assert all(isinstance(answer, Retryable) for answer in answers), answers
        assert isinstance(await examine(cloud.engine, options), Retryable)

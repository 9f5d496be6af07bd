"""The clouds under the contract: simulated without faults, local processes, Fly, and containers.

Containers need a real engine, so they are a part of `make test-docker`.
"""

from __future__ import annotations

import random
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from holdfast.kernel.clock import ManualClock, SystemClock
from holdfast.kernel.outcome import Ok
from holdfast.world.clouds.port import Cloud
from holdfast.world.clouds.process import ProcessCloud
from holdfast.world.clouds.simulated import SimulatedCloud
from holdfast.world.clouds.simulated_world import Timing
from holdfast.world.clouds.spec import no_keys
from tests.support.reached_fly import fly

if TYPE_CHECKING:
    from holdfast.world.clouds.docker.cloud import DockerCloud
    from tests.support.container_engine import RealEngine

STUB = (sys.executable, "-S", "-E", str(Path(__file__).with_name("stub_machine.py")))


STUB_TEXT = Path(__file__).with_name("stub_machine.py").read_text()


@pytest.fixture(
    params=["simulated", "process", "fly", pytest.param("docker", marks=pytest.mark.docker)]
)
def kind(request: pytest.FixtureRequest) -> tuple[str, RealEngine | None]:
    """Return a cloud's name, and its engine: that is started before a loop runs."""
    is_docker = request.param == "docker"
    return request.param, request.getfixturevalue("engine") if is_docker else None


@pytest.fixture
async def cloud(kind: tuple[str, RealEngine | None], tmp_path: Path) -> AsyncIterator[Cloud]:
    name, engine = kind
    if name == "simulated":
        yield simulated()
        return
    if name == "fly":
        async with fly(timing=Timing(listing_lag_ms=20)) as reached:
            yield reached.cloud
            assert not reached.fake.wrong
            assert not reached.fake.answered[429], "the client keeps to the rate by itself"
        return
    if engine is not None:
        async with containers(engine) as docker:
            yield docker
        return
    async with ProcessCloud(tmp_path, clock=SystemClock(), program=STUB) as opened:
        yield opened
        found = await opened.find({})
        assert isinstance(found, Ok)
        for machine in found.value:
            await opened.destroy(machine.id)


@asynccontextmanager
async def containers(engine: RealEngine) -> AsyncIterator[DockerCloud]:
    from holdfast.world.clouds.docker.cloud import DockerCloud, Options  # noqa: PLC0415

    owner = uuid.uuid4().hex
    options = Options(url=engine.url, image=engine.image, owner=owner)
    program = ("python3", "-S", "-E", "-c", STUB_TEXT)
    async with DockerCloud(
        options, clock=SystemClock(), keys=no_keys, program=program, wrapper=()
    ) as cloud:
        yield cloud
        found = await cloud.find({})
        assert isinstance(found, Ok)
        for machine in found.value:
            await cloud.destroy(machine.id)
        volumes = await cloud.volumes.listed()
        assert isinstance(volumes, Ok)
        for volume in volumes.value:
            await cloud.destroy_volume(volume.name)


def simulated() -> SimulatedCloud:
    clock = ManualClock()

    async def sleep(by_ms: int) -> None:
        clock.advance(by_ms)

    # A second each way: a test that makes one call after the other never reaches the rate of one
    # call a second per action, and the listing has caught up after two calls.
    return SimulatedCloud(
        clock=clock, chance=random.Random(1), sleep=sleep, timing=Timing(call_ms=2_000)
    )

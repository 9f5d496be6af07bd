"""A real engine for all tests here, and a plane whose machines are containers of it."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from holdfast.kernel.clock import SystemClock
from holdfast.kernel.outcome import Ok
from holdfast.world.clouds.docker.cloud import DockerCloud, Options
from holdfast.world.clouds.docker.shape import Limits
from holdfast.world.clouds.spec import no_keys
from tests.support.container_engine import RealEngine
from tests.support.planes import PlaneProcess, plane_at


@pytest.fixture(scope="module")
def plane(engine: RealEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlaneProcess]:
    home = tmp_path_factory.mktemp("docker") / "home"
    with plane_at(home, **settings_of(engine)) as started:
        yield started
    assert not engine.machines(), "every container is gone with its instance"


def settings_of(engine: RealEngine) -> dict[str, str]:
    return {
        "HOLDFAST_CLOUD": "docker",
        "HOLDFAST_DOCKER_SOCKET": engine.url,
        "HOLDFAST_DOCKER_IMAGE": engine.image,
    }


SLEEP = (
    "python3",
    "-c",
    (
        "import signal, sys; signal.signal(15, lambda *_: sys.exit()); print('up', flush=True);"
        "signal.pause()"
    ),
)


@asynccontextmanager
async def cloud_of(engine: RealEngine, limits: Limits | None = None) -> AsyncIterator[DockerCloud]:
    """Yield a cloud of its own on the engine, and remove what is left of it."""
    options = Options(
        url=engine.url, image=engine.image, owner=uuid.uuid4().hex, limits=limits or Limits()
    )
    async with DockerCloud(
        options, clock=SystemClock(), keys=no_keys, program=SLEEP, wrapper=(), sample_every_s=0.3
    ) as cloud:
        try:
            yield cloud
        finally:
            found = await cloud.find({})
            for machine in found.value if isinstance(found, Ok) else ():
                await cloud.destroy(machine.id)
            volumes = await cloud.volumes.listed()
            for volume in volumes.value if isinstance(volumes, Ok) else ():
                await cloud.destroy_volume(volume.name)

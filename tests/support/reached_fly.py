"""A Fly cloud at the fake, on a clock that runs faster than time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from holdfast.kernel.secret import Secret
from holdfast.wire.address import Base
from holdfast.world.clouds.fly.client import FlyClient, read_token
from holdfast.world.clouds.fly.cloud import FlyCloud, Options
from holdfast.world.clouds.port import MachineSpec
from holdfast.world.clouds.simulated_world import Timing
from tests.support.fake_fly import FAST, ORG, TOKEN, FakeFly
from tests.support.patience import slowness
from tests.support.scaled_clock import ScaledClock

IMAGE = "registry.example.com/agents:1"
FACTOR = 40.0
"""Of an idle machine; a busy one gets less, so that time limits hold there too."""


class ReachedFly(NamedTuple):
    fake: FakeFly
    cloud: FlyCloud
    client: FlyClient
    clock: ScaledClock


def key_of(spec: MachineSpec) -> Secret:
    return Secret(f"key-of-{spec.instance_id}")


def cloud_at(
    fake: FakeFly, clock: ScaledClock, *, token: str = TOKEN, org: str = ORG
) -> ReachedFly:
    """Return another plane's view of the same Fly."""
    client = FlyClient(
        Base.parse(fake.base), read_token(token, "the test"), clock=clock, sleep=clock.sleep
    )
    options = Options(image=IMAGE, regions=("ams", "fra", "iad"))
    cloud = FlyCloud(client, org=org, prefix="hf", options=options, clock=clock, keys=key_of)
    return ReachedFly(fake, cloud, client, clock)


@asynccontextmanager
async def fly(timing: Timing = FAST) -> AsyncIterator[ReachedFly]:
    clock = ScaledClock(FACTOR / slowness())
    fake = FakeFly(clock=clock, sleep=clock.sleep, timing=timing)
    async with fake.serving():
        reached = cloud_at(fake, clock)
        try:
            yield reached
        finally:
            await reached.cloud.close()

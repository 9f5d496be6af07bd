"""A plane with the simulated cloud beside the process cloud, for benches only.

It is the real command line with one part exchanged: instances whose provider is `simulated` live
in the simulated cloud, whose world is kept in a file beside the data, so that a plane that was
killed finds its machines as a real cloud would show them. `CROWD` instances are made when there
are none. Never a way to run a fleet.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import random
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from holdfast.actors.dispatch import Provider
from holdfast.actors.limiter import Limiter
from holdfast.actors.probing import Lookout
from holdfast.cli.main import main
from holdfast.instances import events
from holdfast.instances.definition import KIND, arrival
from holdfast.instances.effects import KEY_NAME, CloudCalls
from holdfast.instances.ports import Context, Holders, KeyMint
from holdfast.kernel.ids import address
from holdfast.plane.wiring import clouds as real
from holdfast.plane.wiring import plane as plane_module
from holdfast.plane.wiring.core import Core
from holdfast.relay.rate import Rate, Rates
from holdfast.wire.controller.identity import key_hash, sandbox_of_instance
from holdfast.world.clouds.simulated import SimulatedCloud
from holdfast.world.clouds.simulated_world import Timing

CROWD: Final = int(os.environ.get("CROWD", "10000"))
WORLD: Final = "world.pickle"
SIMULATED: Final = "simulated"
GROUP: Final = 250
SIMULATED_CLOUDS: Final[list[SimulatedCloud]] = []

open_real_clouds = real.open_clouds
start_really = plane_module.Plane.start


async def open_clouds(core: Core, *, mint: KeyMint, holders: Holders) -> real.Clouds:
    """Open the real clouds and the simulated one."""
    opened = await open_real_clouds(core, mint=mint, holders=holders)
    clock = core.clock
    cloud = SimulatedCloud(
        clock=clock, chance=random.Random(7), sleep=_sleep, timing=Timing(call_ms=1, create_ms=5)
    )
    cloud.rate_limited = False
    SIMULATED_CLOUDS.append(cloud)
    kept = core.home / WORLD
    if kept.exists():
        cloud._world = pickle.loads(kept.read_bytes())
    calls = CloudCalls(
        cloud,
        sealer=core.keyring,
        platform=real.platform_of(core.home, core.settings, core.url),
        token_secret=core.token_secret,
        mint=mint,
        holders=holders,
    )
    gate = Limiter(clock, concurrency=64, rate_per_s=100_000)
    core.closing.callback(_keep, cloud, kept)
    return replace(
        opened,
        by_name={**opened.by_name, SIMULATED: cloud},
        providers={**opened.providers, SIMULATED: Provider(execute=calls.execute, gate=gate)},
        lookouts={**opened.lookouts, SIMULATED: Lookout(look=calls.look, gate=gate)},
    )


async def start(plane: plane_module.Plane) -> None:
    """Start, without the limit on calls, and create the instances when there are none."""
    plenty = Rate(burst=1e9, per_s=1e9)
    plane.app._rates = Rates(plane.core.clock, calls=plenty, sign_ins=plenty)
    await start_really(plane)
    if not await plane.core.stores.reader.views("instance", account=None, after="", limit=1):
        plane.core.run(populate(plane))


async def populate(plane: plane_module.Plane) -> None:
    """Make the crowd, and keep the world once all of it runs."""
    for first in range(0, CROWD, GROUP):
        await plane.core.engine.mailbox.tell(
            [newcomer(plane, n) for n in range(first, min(first + GROUP, CROWD))]
        )
        await asyncio.sleep(0)
    (cloud,) = SIMULATED_CLOUDS
    while cloud.answers["create", "ok"] < CROWD or len(plane.core.engine.dispatch):  # noqa: ASYNC110
        await asyncio.sleep(0.2)
    _keep(cloud, plane.core.home / WORLD)


def newcomer(plane: plane_module.Plane, number: int) -> tuple[Any, Any]:
    """Return the arrival that makes one instance."""
    instance = f"{number:08x}-0000-4000-8000-{number:012x}"
    key = f"hfm_crowd{number}"
    created = events.InstanceCreated(
        account="local",
        name=f"crowd-{number:05d}",
        sandbox_id=sandbox_of_instance(instance),
        agent="demo",
        provider=SIMULATED,
        region="fra",
        key_hash=key_hash(key),
        sealed_key=plane.core.keyring.seal(key, Context("local", instance, KEY_NAME)),
    )
    return address(KIND, instance), arrival(created, dedupe="create", source="api")


def _keep(cloud: SimulatedCloud, path: Path) -> None:
    partial = path.with_suffix(".part")
    partial.write_bytes(pickle.dumps(cloud._world))
    partial.replace(path)


async def _sleep(ms: int) -> None:
    await asyncio.sleep(ms / 1_000)


if __name__ == "__main__":
    setattr(real, "open_clouds", open_clouds)  # noqa: B010  it is not exported
    setattr(plane_module.Plane, "start", start)  # noqa: B010  as above
    main(["serve"])

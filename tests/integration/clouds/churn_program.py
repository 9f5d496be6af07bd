"""A plane that makes random calls for a few machines concurrently, until it is killed."""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

from holdfast.kernel.clock import SystemClock
from holdfast.kernel.outcome import Ok
from holdfast.world.clouds.port import LABEL_SANDBOX, MachineSpec
from holdfast.world.clouds.process import ProcessCloud


async def main(home: str, stub: str, seed: int) -> None:
    """Open the cloud, print that, and churn."""
    program = (sys.executable, "-S", "-E", stub)
    async with ProcessCloud(Path(home), clock=SystemClock(), program=program) as cloud:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.gather(
            *(churn(cloud, f"box-{number}", random.Random(seed + number)) for number in range(4))
        )


async def churn(cloud: ProcessCloud, name: str, chance: random.Random) -> None:
    """Make one call after another for one machine."""
    spec = MachineSpec(name=name, instance_id=name, sandbox_id=name, account_id="account-1")
    while True:
        found = await cloud.find({LABEL_SANDBOX: name})
        machines = found.value if isinstance(found, Ok) else ()
        if not machines:
            await cloud.create(spec, idempotency_key=name, timeout_ms=20_000)
            continue
        machine_id = machines[0].id
        match chance.randrange(6):
            case 0:
                await cloud.destroy(machine_id)
            case 1:
                await cloud.update(machine_id, spec)
            case 2 | 3:
                await cloud.stop(machine_id, grace_ms=chance.randrange(30))
            case _:
                await cloud.start(machine_id)


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))

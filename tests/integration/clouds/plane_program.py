"""A plane that creates the named machines, prints that, and waits to be killed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from holdfast.kernel.clock import SystemClock
from holdfast.kernel.outcome import Ok
from holdfast.world.clouds.port import MachineSpec
from holdfast.world.clouds.process import ProcessCloud


async def main(home: str, stub: str, names: list[str]) -> None:
    """Create a machine for each name."""
    program = (sys.executable, "-S", "-E", stub)
    async with ProcessCloud(Path(home), clock=SystemClock(), program=program) as cloud:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        for name in names:
            wanted = MachineSpec(
                name=name, instance_id=f"instance-{name}", sandbox_id=name, account_id="account-1"
            )
            made = await cloud.create(wanted, idempotency_key=name, timeout_ms=20_000)
            told = made.value.id if isinstance(made, Ok) else made.code
            sys.stdout.write(f"{name} {told}\n")
            sys.stdout.flush()
        await asyncio.sleep(600)


asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3:]))

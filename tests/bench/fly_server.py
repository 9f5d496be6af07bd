"""The fake Fly as a process of its own, for benches: `python -m tests.bench.fly_server`.

It prints its address, then for each line that it reads what it counted so far, as JSON. `LIES` is
how many of a thousand requests are answered wrongly in each of several ways.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from collections import Counter
from typing import Any

import uvloop

from holdfast.kernel.clock import SystemClock
from holdfast.world.clouds.faults import seeded
from holdfast.world.clouds.simulated_world import Timing
from tests.support.fake_fly import FakeFly


async def sleep(by_ms: float) -> None:
    """Let so much real time pass."""
    await asyncio.sleep(by_ms / 1_000)


def counted(fake: FakeFly) -> dict[str, Any]:
    """Return what the fake has seen."""
    return {
        "asked": dict(fake.asked),
        "answered": {str(status): many for status, many in fake.answered.items()},
        "spans": dict(fake.spans),
        "wrong": fake.wrong[:3],
        "machines": sum(row.state == "started" for row in fake.world.rows()),
        "volumes": len(fake.world.volumes()),
        "sandboxes": len({row.spec.sandbox_id for row in fake.world.rows()}),
        "doubled": sum(
            many > 1
            for many in Counter(
                row.spec.sandbox_id for row in fake.world.rows() if row.state != "destroyed"
            ).values()
        ),
    }


async def main() -> None:
    """Serve until the input ends."""
    each = int(os.environ.get("LIES", "0"))
    lies = seeded(
        random.Random(1),
        per_mille={"refuse": each, "lose_reply": each, "repeat": each, "late": each},
        delay_ms_max=3_000,
    )
    fake = FakeFly(clock=SystemClock(), sleep=sleep, timing=Timing(), faults=lies)
    async with fake.serving():
        sys.stdout.write(f"{fake.base}\n")
        sys.stdout.flush()
        while await asyncio.to_thread(sys.stdin.readline):
            sys.stdout.write(json.dumps(counted(fake)) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(main())

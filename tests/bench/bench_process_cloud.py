"""How much the process cloud adds to the start of a machine.

Measured from the call to the moment the machine's program is at its gate with its record on the
disk (the answer), and to the program's own first sign of life (a socket it connects back to).
Run: `.venv/bin/python tests/bench/bench_process_cloud.py [machines]`.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

from holdfast.kernel.clock import SystemClock
from holdfast.kernel.outcome import Ok
from holdfast.world.clouds.port import MachineSpec
from holdfast.world.clouds.process import ProcessCloud

PROGRAM = (
    "/bin/sh",
    "-c",
    'trap "exit 0" TERM; : > "$HOLDFAST_STATE_DIR/up"; while :; do sleep 60 & wait $!; done',
)
LAG_STEP_S = 0.001


async def measure(machines: int) -> dict[str, list[float]]:
    """Make, stop, start and destroy machines one after the other; return milliseconds of each."""
    took: dict[str, list[float]] = {
        "create": [],
        "program up": [],
        "describe": [],
        "start": [],
        "stop to stopped": [],
        "destroy": [],
        "loop held": [],
    }
    with tempfile.TemporaryDirectory() as home:
        lag = asyncio.create_task(watch_loop(took["loop held"]))
        async with ProcessCloud(Path(home), clock=SystemClock(), program=PROGRAM) as cloud:
            for number in range(machines):
                await live(cloud, Path(home), f"box-{number}", took)
        lag.cancel()
    return took


async def live(cloud: ProcessCloud, home: Path, name: str, took: dict[str, list[float]]) -> None:
    """Take one machine through its life, noting how long each step takes."""
    wanted = MachineSpec(name=name, instance_id=name, sandbox_id=name, account_id="bench")
    begun = time.perf_counter()
    made = await cloud.create(wanted, idempotency_key=name, timeout_ms=30_000)
    took["create"].append(since_ms(begun))
    if not isinstance(made, Ok):
        raise SystemExit(f"create: {made}")
    sign = home / "machines" / name / "state" / "up"
    while not sign.exists():  # noqa: ASYNC110 - another process makes the file
        await asyncio.sleep(0.0005)
    took["program up"].append(since_ms(begun))
    for step, call in (
        ("describe", lambda: cloud.describe(made.value.id)),
        ("stop to stopped", lambda: stop(cloud, made.value.id)),
        ("start", lambda: cloud.start(made.value.id)),
        ("destroy", lambda: cloud.destroy(made.value.id)),
    ):
        begun = time.perf_counter()
        await call()
        took[step].append(since_ms(begun))


async def stop(cloud: ProcessCloud, machine_id: str) -> None:
    """Stop a machine and wait until it is."""
    await cloud.stop(machine_id, grace_ms=5_000)
    await cloud.wait(machine_id, state="stopped", incarnation="", timeout_ms=30_000)


async def watch_loop(held: list[float]) -> None:
    """Note by how much the loop is late to a timer, again and again."""
    while True:
        begun = time.perf_counter()
        await asyncio.sleep(LAG_STEP_S)
        held.append(max(0.0, since_ms(begun) - LAG_STEP_S * 1_000))


def since_ms(begun: float) -> float:
    """Return the milliseconds since a reading of the performance counter."""
    return (time.perf_counter() - begun) * 1_000


def main() -> None:
    """Measure and print percentiles."""
    machines = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    took = asyncio.run(measure(machines))
    sys.stdout.write(f"{'':16} {'p50':>8} {'p99':>8} {'worst':>8}  ms, {machines} machines\n")
    for step, values in took.items():
        cuts = statistics.quantiles(values, n=100, method="inclusive")
        line = f"{step:16} {cuts[49]:8.2f} {cuts[98]:8.2f} {max(values):8.2f}\n"
        sys.stdout.write(line)


if __name__ == "__main__":
    main()

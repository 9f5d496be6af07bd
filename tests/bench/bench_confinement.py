"""What confinement adds to a start and to an agent's memory.

    .venv/bin/python -m tests.bench.bench_confinement

It starts the demo agent 20 times in each kind that the host supports and measures the time from the
launch to its first line, and the memory of its sandbox's own processes: proportional set size, so
that pages shared with the controller and other sandboxes are counted once.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

from holdfast.machine.agents.catalogue import DEMO
from holdfast.machine.agents.pairing import Place
from holdfast.machine.confine.probing import Kind, probe
from holdfast.machine.confine.sandbox import Confinement, Order
from holdfast.machine.controller.process.children import Child, ChildProcesses
from tests.support.ports import free_port

STARTS = 20
PORTS = (20_000, 23_999)


def pss_kib(pid: int) -> int:
    """Return the proportional set size of one process."""
    rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith("Pss:"))


def around(child: Child) -> list[int]:
    """Return the processes between us and the program."""
    found, pid = [], child.session
    while pid != child.pid:
        found.append(pid)
        (pid,) = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return found


async def one_start(child_processes: ChildProcesses, home: Path) -> tuple[float, list[int]]:
    """Return seconds until the agent's first line, and what its sandbox holds in KiB."""
    place = Place(home=str(home), port=free_port(), token="x", python=sys.executable)
    for folder in DEMO.folders(place):
        os.makedirs(folder, exist_ok=True)  # noqa: PTH103  nothing else runs in this loop
    said, ended = asyncio.Event(), asyncio.Event()
    began = time.perf_counter()
    child = child_processes.launch(
        DEMO.argv(place), env={"PATH": os.environ["PATH"], **DEMO.env(place)}, cwd=str(home),
        on_line=lambda _stream, _line: said.set(), on_exit=lambda _code: ended.set(),
        write=(str(home),),
    )  # fmt: skip
    await said.wait()
    took = time.perf_counter() - began
    held = [pss_kib(pid) for pid in around(child)]
    child.kill()
    await ended.wait()
    return took, held


async def measure(kind: Kind) -> None:
    """Print what this kind adds."""
    order = Order(kind=kind, path=os.environ["PATH"], ports=PORTS, plane=8_700)
    began = time.perf_counter()
    child_processes = ChildProcesses(Confinement(order, probe(), agent_port=PORTS[0] + 1))
    opened = time.perf_counter() - began
    child_processes.open()
    with tempfile.TemporaryDirectory() as home:
        runs = [await one_start(child_processes, Path(home)) for _ in range(STARTS)]
    times = sorted(took for took, _ in runs)
    held = runs[-1][1]
    sys.stdout.write(
        f"{kind:20} opened in {opened * 1_000:4.0f} ms; start p50 {times[9] * 1_000:4.0f} ms"
        f" p95 {times[18] * 1_000:4.0f} ms; PSS {held} KiB; load {os.getloadavg()[0]:.1f}\n"
    )


async def main() -> None:
    """Measure each kind that is to be had."""
    offered = set(probe().kind.split("+"))
    kinds: tuple[Kind, ...] = ("none", "landlock", "bubblewrap", "bubblewrap+landlock")
    for kind in kinds:
        if kind == "none" or set(kind.split("+")) <= offered:
            await measure(kind)


if __name__ == "__main__":
    asyncio.run(main())

"""Observers under their controllers: created to first heartbeat, memory, processor while idle.

    python -m tests.bench.bench_observers [--instances 10] [--idle 60] [--without] [--json]

Real machines of a real plane, created at once. The first heartbeat is the time of the node's
`heard_at` at the plane; memory is the resident set, and the proportional one (PSS), of which pages
that several processes share count for each by its share. `--without` has the same plane without
observers, for what they add to the time until every agent is ready.
"""

from __future__ import annotations

import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil

from holdfast.machine.controller.observing.process import MODULE
from holdfast.wire.times import parse_time
from tests.bench.figures import parser, percentiles, tell
from tests.support.planes import PlaneProcess, cmdline, plane_at, processes_of, until

FIRST_HEARTBEAT_S = 60.0
MEMORY_MIB = 40.0
CPU_PERCENT = 1.0
_MIB = 1_048_576


def create(plane: PlaneProcess, instances: int) -> dict[str, Any]:
    """Create instances at once; return the seconds to each one's agent ready and heartbeat."""
    began_s = time.time()
    names = [f"i{number}" for number in range(instances)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: plane.cli("instance", "create", name), names))
    created_s = time.time() - began_s
    for name in names:
        plane.ready(name, seconds=120)
    return {"began_s": began_s, "create_calls_s": round(created_s, 2),
            "agents_ready_s": round(time.time() - began_s, 2)}  # fmt: skip


def heartbeats(plane: PlaneProcess, instances: int) -> list[float]:
    """Return the seconds from an instance's creation to its node's first heartbeat."""
    with plane.client() as client:
        made = {
            one.id: parse_time(one.created_at or "")
            for one in client.call("instance.list", query={"limit": "500"}).items
        }
        found: dict[str, float] = {}

        def look() -> bool:
            for node in client.call("content.nodes", query={"limit": "500"}).items:
                if node.heard_at is not None and node.instance not in found:
                    heard_ms, made_ms = parse_time(node.heard_at), made[node.instance]
                    assert heard_ms is not None
                    assert made_ms is not None
                    found[node.instance] = (heard_ms - made_ms) / 1_000
            return len(found) == instances

        until("every node is heard", look, seconds=120)
    return list(found.values())


def observers(plane: PlaneProcess) -> list[psutil.Process]:
    """Return the observers of a plane's machines."""
    return [p for p in processes_of(plane.home) if MODULE in cmdline(p).split()]


def cpu_s(process: psutil.Process) -> float:
    """Return the processor time of a process, in seconds."""
    times = process.cpu_times()
    return float(times.user + times.system)


def idle(plane: PlaneProcess, seconds: float) -> dict[str, Any]:
    """Return memory, and the share of a core in a stretch in which nothing happens."""
    running = observers(plane)
    before = {process.pid: cpu_s(process) for process in running}
    time.sleep(seconds)
    shares = [100 * (cpu_s(p) - before[p.pid]) / seconds for p in running]
    full = [process.memory_full_info() for process in running]
    controllers = [process.memory_info().rss / _MIB for process in plane.controllers()]
    return {
        "observers": len(running),
        "cpu_percent_idle": percentiles(shares),
        "rss_mib": percentiles([one.rss / _MIB for one in full], digits=1),
        "pss_mib": percentiles([one.pss / _MIB for one in full], digits=1),
        "controller_rss_mib": percentiles(controllers, digits=1),
    }


def main() -> None:
    """Measure and print; exit with 1 if a figure was missed."""
    options = parser(__doc__)
    options.add_argument("--instances", type=int, default=10)
    options.add_argument("--idle", type=float, default=60.0)
    options.add_argument("--without", action="store_true")
    asked = options.parse_args()
    on = "false" if asked.without else "true"
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        with plane_at(home, HOLDFAST_OBSERVERS=on) as plane:
            found = create(plane, asked.instances)
            if not asked.without:
                first = heartbeats(plane, asked.instances)
                found |= {"created_to_heartbeat_s": percentiles(first, digits=2)}
                found |= idle(plane, asked.idle)
    del found["began_s"]
    tell("observers", found, as_json=asked.json)
    if asked.without:
        return
    missed = (
        found["created_to_heartbeat_s"]["p99"] > FIRST_HEARTBEAT_S
        or found["rss_mib"]["max"] > MEMORY_MIB
        or found["cpu_percent_idle"]["p99"] > CPU_PERCENT
    )
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()

"""Random faults of an agent of real processes: a start a second at most, no orphan, one port.

    python -m tests.bench faults
    python -m tests.bench.bench_faults [--seeds 1000] [--workers 24] [--seconds 4] [--json]

Each seed is a run of some seconds: an agent of real processes exits with 0, 1 or 78, is killed,
runs out of memory, crashes, leaves a squatter on its port, starts a successor of itself, leaves
daemons, ignores SIGTERM, hangs, or never becomes ready, while it is started, stopped, restarted
and reconfigured at random. Judged: the least time between two starts, how many listened on the
port at once, and how many of its processes were left at the end. The bench fails when one run
broke a rule. The same rules hold for a thousand longer runs in virtual time in the suite.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from itertools import pairwise
from typing import Any

from tests.bench.figures import parser, tell
from tests.support.toys.process_faults import GAP_S


async def run_worker(first: int, last: int, seconds: float) -> list[dict[str, Any]]:
    """Run these seeds, one after another, in a process of their own."""
    command = (
        sys.executable,
        "-m",
        "tests.support.toys.process_faults",
        str(first),
        str(last),
        str(seconds),
    )
    worker = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await worker.communicate()
    found = [json.loads(line) for line in out.decode().splitlines()]
    if worker.returncode or len(found) != last - first:
        found.append({"seed": first, "broken": [f"the worker ended with {worker.returncode}"]})
    return found


async def run(seeds: int, workers: int, seconds: float) -> list[dict[str, Any]]:
    """Run all seeds, in as many processes as there are workers."""
    edges = [round(seeds * number / workers) for number in range(workers + 1)]
    spans = [(a, b) for a, b in pairwise(edges) if a < b]
    found = await asyncio.gather(*(run_worker(a, b, seconds) for a, b in spans))
    return [row for rows in found for row in rows]


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--seeds", type=int, default=1_000)
    options.add_argument("--workers", type=int, default=24)
    options.add_argument("--seconds", type=float, default=4.0)
    chosen = options.parse_args()
    rows = asyncio.run(run(chosen.seeds, chosen.workers, chosen.seconds))
    broken = [(row["seed"], row["broken"]) for row in rows if row["broken"]]
    done = [row for row in rows if "gap_s" in row]
    tell(
        "faults",
        {
            "runs": len(done),
            "starts": sum(len(row["starts_s"]) for row in done),
            "least_gap_s": min(row["gap_s"] for row in done),
            "figure_s": GAP_S,
            "listeners_max": max(row["listeners"] for row in done),
            "orphans": sum(row["orphans"] for row in done),
            "fates": dict(sorted(Counter(f for row in done for f in row["fates"]).items())),
            "broken": len(broken),
        },
        as_json=chosen.json,
    )
    if broken:
        sys.exit(f"rules were broken: {broken[:10]}")


if __name__ == "__main__":
    main()

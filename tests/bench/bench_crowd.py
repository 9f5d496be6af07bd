"""10,000 instances on the simulated cloud and 50 real processes: what the plane costs.

`python -m tests.bench.bench_crowd [--crowd 10000] [--real 50] [--json]`. It waits until every
instance runs and nothing is left to do, then reads the plane's memory before and after the fleet
page's charts were drawn, and counts what the journal grew by in a quiet while. The simulated
cloud's own world is part of the memory.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from holdfast.cli.client import Client
from holdfast.wire.api.instances import InstanceCreate
from tests.bench.figures import parser, percentiles, tell
from tests.support.planes import PlaneProcess, until

SERVE = (sys.executable, "-m", "tests.bench.crowd_server")
LONG_S = 1_200.0
QUIET_S = 20.0
MIB = 1024 * 1024
LIMITS = {"before": 250, "after": 450}


def crowd_plane(home: Path, crowd: int) -> PlaneProcess:
    """Return a plane with the simulated cloud, not started."""
    root = str(Path(__file__).parents[2])
    return PlaneProcess(
        home,
        SERVE,
        CROWD=str(crowd),
        PYTHONPATH=f"{root}:{root}/src",
        HOLDFAST_MACHINES_MAX="100",
        HOLDFAST_CHECKIN_FIRST_S="2",
    )


def counts(client: Client) -> dict[str, int]:
    """Return how many instances have each status."""
    found: dict[str, int] = client.call("instance.list", query={"limit": "1"}).counts
    return dict(found)


_WORLD = """
import os, pickle, sys
import holdfast.world.clouds.simulated_world
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
before = resident()
with open(sys.argv[1], "rb") as file:
    world = pickle.load(file)
print((resident() - before) / 2**20)
"""


def world_mib(home: Path) -> float:
    """Return what the simulated cloud's world takes by itself, in a process that loads it."""
    file = str(home / "world.pickle")
    said = subprocess.check_output((sys.executable, "-c", _WORLD, file), text=True)
    return round(float(said), 1)


def events_logged(home: Path) -> int:
    """Return how many rows the journal's tables have, by reading the file beside the plane."""
    with sqlite3.connect(f"file:{home / 'journal.db'}?mode=ro", uri=True) as database:
        names = [
            n for (n,) in database.execute("SELECT name FROM sqlite_master WHERE type='table'")
        ]
        return sum(
            database.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names
        )


def resident(plane: PlaneProcess) -> float:
    """Return the plane's resident memory in MiB."""
    assert plane.process is not None
    return round(float(psutil.Process(plane.process.pid).memory_info().rss) / MIB, 1)


def measure(plane: PlaneProcess, crowd: int, real: int) -> dict[str, Any]:
    """Return the figures of one crowd."""
    began = time.monotonic()
    plane.start()
    with plane.client() as client:
        for n in range(real):
            client.call("instance.create", body=InstanceCreate(name=f"real-{n}"))
        until(
            "everybody runs",
            lambda: counts(client).get("running", 0) == crowd + real,
            seconds=LONG_S,
        )
        converged = time.monotonic() - began
        time.sleep(5)
        until("the world is kept", (plane.home / "world.pickle").exists, seconds=60)
        before, rows = resident(plane), events_logged(plane.home)
        time.sleep(QUIET_S)
        grown = events_logged(plane.home) - rows
        lists, charts = [], []
        for _ in range(10):
            at = time.monotonic()
            client.call("instance.list", query={"limit": "100"})
            lists.append((time.monotonic() - at) * 1_000)
            at = time.monotonic()
            client.call("instance.fleet-charts")
            charts.append((time.monotonic() - at) * 1_000)
        after = resident(plane)
    return {
        "instances": crowd,
        "real machines": real,
        "until all ran, s": round(converged, 1),
        "memory before charts, MiB (at most 250)": before,
        "memory after charts, MiB (at most 450)": after,
        "of which the simulated cloud's own world, MiB": world_mib(plane.home),
        f"journal rows in {QUIET_S:g} quiet s (0)": grown,
        "instance list of the fleet, ms": percentiles(lists, digits=1),
        "fleet charts, ms": percentiles(charts, digits=1),
    }


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--crowd", type=int, default=10_000)
    options.add_argument("--real", type=int, default=50)
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        plane = crowd_plane(Path(folder) / "home", asked.crowd)
        try:
            figures = measure(plane, asked.crowd, asked.real)
        finally:
            plane.kill()  # ten thousand simulated machines are not worth an orderly end
            plane.close()
    tell("crowd", figures, as_json=asked.json)
    before = figures["memory before charts, MiB (at most 250)"]
    after = figures["memory after charts, MiB (at most 450)"]
    sys.exit(before > LIMITS["before"] or after > LIMITS["after"])


if __name__ == "__main__":
    main()

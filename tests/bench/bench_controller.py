"""Measures the controller: its start, its memory, its reaction to an agent's death.

    python -m tests.bench.bench_controller [--starts 20] [--deaths 20] [--json]

Every figure is a percentile over one run on this machine, of real processes: the time from making
the process to the first answer of each listener, resident memory with the agent ready and after
reports have been sent, and, by the controller's own log against the clock of this process, from
killing the agent to the notice and to the next start.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path

from tests.integration.machine.rig import TOKEN, Machine, run_plane, run_program, until
from tests.support.ports import free_port

FIGURES = {
    "listener_up_ms": 150,
    "all_routes_ms": 600,
    "rss_mib": 52,
    "death_to_notice_ms": 10,
    "death_to_restart_ms": 1_100,
}


def ask(port: int, path: str) -> int:
    """Return the status of a plain GET, 0 without an answer."""
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(request.encode())
            return int(connection.recv(64)[9:12] or b"0")
    except OSError:
        return 0


def wait_for(port: int, path: str, began_s: float) -> float:
    """Return the milliseconds since `began_s` at which `path` was first answered with 200."""
    while ask(port, path) != 200:
        if time.perf_counter() - began_s > 10:
            sys.exit("the controller did not answer within 10 s")
        time.sleep(0.001)
    return (time.perf_counter() - began_s) * 1_000


def rss_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1_024
    return 0.0


async def measure_starts(folder: Path, times: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {"listener_up_ms": [], "all_routes_ms": []}
    for number in range(times):
        port = free_port()
        began_s = time.perf_counter()
        async with run_program(folder / str(number), HOLDFAST_CONTROLLER_PORT=str(port)):
            up = await asyncio.to_thread(wait_for, port, "/health", began_s)
            routes = await asyncio.to_thread(wait_for, port, "/_kilo/gateway/status", began_s)
        found["listener_up_ms"].append(up)
        found["all_routes_ms"].append(routes)
    return found


async def measure_deaths(folder: Path, times: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {
        "death_to_notice_ms": [], "death_to_restart_ms": [], "rss_mib": [],
    }  # fmt: skip
    async with run_plane() as plane:
        for number in range(times):
            home = folder / f"death-{number}"
            async with run_program(home, HOLDFAST_PLANE_URL=plane.url) as machine:
                await measure_one_death(machine, found)
    return found


async def measure_one_death(machine: Machine, found: dict[str, list[float]]) -> None:
    await machine.opened()
    pid = (await machine.ready())["pid"]
    await until(lambda: machine.events("checkin.delivered"), "a report")
    died_ms = time.time() * 1_000
    os.kill(pid, signal.SIGKILL)
    await machine.reached(lambda status: status["crashes"] == 1 and status["ready"])
    # The log counts whole milliseconds, cut off, so up to one is added to be on the safe side.
    noticed_ms = machine.events("agent.exited")[0]["at_ms"] + 1
    spawned_ms = machine.events("agent.spawned")[1]["at_ms"] + 1
    found["death_to_notice_ms"].append(noticed_ms - died_ms)
    found["death_to_restart_ms"].append(spawned_ms - died_ms)
    found["rss_mib"].append(rss_mib(machine.process.pid))


def summarise(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    last = len(ordered) - 1
    picked = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return {name: round(ordered[round(share * last)], 1) for name, share in picked.items()}


async def run(starts: int, deaths: int) -> dict[str, dict[str, float]]:
    with tempfile.TemporaryDirectory() as folder:
        found = await measure_starts(Path(folder), starts)
        found |= await measure_deaths(Path(folder), deaths)
    return {
        name: {**summarise(values), "n": len(values), "figure": FIGURES[name]}
        for name, values in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=20)
    parser.add_argument("--deaths", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    found = asyncio.run(run(chosen.starts, chosen.deaths))
    if chosen.json:
        sys.stdout.write(json.dumps(found) + "\n")
        return
    for name, row in found.items():
        cells = "  ".join(f"{key} {value:g}" for key, value in row.items())
        sys.stdout.write(f"{name:22} {cells}\n")


if __name__ == "__main__":
    main()

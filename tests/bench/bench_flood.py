"""Measures a plane while strangers flood it: idle connections by the thousand, and wrong tokens.

    python -m tests.bench flood
    python -m tests.bench.bench_flood [--seconds 20] [--idle 1000] [--rate 4000] [--json]

A real plane with machines that check in every second. One caller opens the idle connections and
opens each again that is closed; another sends wrong tokens on hundreds of connections, at the
same address that the machines have, which is the harder case. Judged is that no machine goes
unheard for three of its intervals, that health answers every time, and that the log has the first
refusals and the number of the rest; the flood's own answers and the plane's memory are told.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

from holdfast.wire.api.instances import InstanceCreate
from holdfast.wire.times import parse_time
from tests.bench.figures import parser, percentiles, tell
from tests.support.planes import PlaneProcess

MACHINES = 5
INTERVAL_S = 1.0
UNHEARD_MS = 3 * INTERVAL_S * 1_000
CONNECTIONS = 600
"""Of the caller with wrong tokens: more than are held back at once."""

TICK_S = 0.02
LOOK_S = 0.1
IDLER = "127.0.0.2"
"""Where the idle connections come from: an address of loopback that nobody else has."""

_STATUS = re.compile(rb"HTTP/1\.1 (\d\d\d)")


async def flood(port: int, rate: int, seconds: float) -> dict[str, int]:
    """Send wrong tokens at a rate, if so many are taken; return how many had which answer."""
    answers: Counter[str] = Counter()
    began = time.monotonic()
    sent = 0

    async def knock() -> None:
        """Ask on one connection until it is closed, then on the next, as fast as the rate lets."""
        nonlocal sent
        while time.monotonic() - began < seconds:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            while True:
                while sent > (time.monotonic() - began) * rate:  # noqa: ASYNC110  it is a rate
                    await asyncio.sleep(TICK_S)
                sent += 1
                writer.write(
                    b"GET /api/instances HTTP/1.1\r\nhost: 127.0.0.1\r\n"
                    b"authorization: Bearer hf_%043d\r\n\r\n" % sent
                )
                head = await reader.read(4_096)
                found = _STATUS.match(head)
                answers[found[1].decode() if found else "closed"] += 1
                if not found or b"connection: close" in head:
                    break
            writer.close()

    async def keep_knocking() -> None:
        while time.monotonic() - began < seconds:
            try:
                await knock()
            except OSError:
                answers["refused"] += 1

    await asyncio.gather(*(keep_knocking() for _ in range(CONNECTIONS)))
    return {"sent": sent, **answers}


class Idlers:
    """Connections that say nothing, each opened again when it is closed."""

    def __init__(self, port: int, count: int) -> None:
        self._port = port
        self._count = count
        self.opened = 0
        self.failed = 0
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._hold()) for _ in range(self._count)]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _hold(self) -> None:
        while True:
            try:
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", self._port, local_addr=(IDLER, 0)
                )
                self.opened += 1
                await reader.read()
                writer.close()
            except OSError:
                self.failed += 1
                await asyncio.sleep(0.1)


async def probe(port: int) -> float:
    """Return how long health took on a connection of its own, in milliseconds."""
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
    head = await reader.readline()
    writer.close()
    if b" 200 " not in head:
        sys.exit(f"health was answered with {head!r}")
    return (time.perf_counter() - began) * 1_000


def heard(plane: PlaneProcess) -> dict[str, int]:
    """Return when each machine was heard last."""
    with plane.client() as client:
        views = client.call("instance.list").items
    return {view.name: parse_time(view.last_contact_at) or 0 for view in views}


async def watch(plane: PlaneProcess, seconds: float) -> tuple[list[float], dict[str, list[int]]]:
    """Ask for health, and note each time at which a machine was heard."""
    times: dict[str, list[int]] = {}
    probes: list[float] = []
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        probes.append(await probe(plane.port))
        for name, at_ms in (await asyncio.to_thread(heard, plane)).items():
            known = times.setdefault(name, [])
            if not known or known[-1] != at_ms:
                known.append(at_ms)
        await asyncio.sleep(LOOK_S)
    return probes, times


async def run(plane: PlaneProcess, chosen: Any) -> dict[str, Any]:
    for number in range(MACHINES):
        with plane.client() as client:
            client.call("instance.create", body=InstanceCreate(name=f"m{number}"))
    for number in range(MACHINES):
        await asyncio.to_thread(plane.ready, f"m{number}")
    assert plane.process is not None
    process = psutil.Process(plane.process.pid)
    quiet, _ = await watch(plane, chosen.seconds / 4)
    log_bytes, rss = len(plane.log()), process.memory_info().rss
    idlers = Idlers(plane.port, chosen.idle)
    idlers.start()
    words = ["--flood", str(plane.port), "--rate", str(chosen.rate)]
    flooding = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.bench_flood", *words, "--seconds", str(chosen.seconds),
        stdout=subprocess.PIPE,
    )  # fmt: skip
    cpu_before = process.cpu_times()
    probes, times = await watch(plane, chosen.seconds)
    cpu = process.cpu_times()
    descriptors = process.num_fds()
    told, _ = await flooding.communicate()
    await idlers.close()
    gaps = [b - a for known in times.values() for a, b in itertools.pairwise(known)]
    refusals = [line for line in plane.log()[log_bytes:].splitlines() if '"status": 4' in line]
    log_kib = round((len(plane.log()) - log_bytes) / 1_024, 1)
    spent_s = cpu.user + cpu.system - cpu_before.user - cpu_before.system
    return {
        "health, quiet, ms": percentiles(quiet),
        "health, flooded, ms": percentiles(probes),
        "from one check-in to the next, ms": percentiles(gaps),
        "check-ins heard, of at most": f"{len(gaps)} of {MACHINES * chosen.seconds:.0f}",
        "idle connections opened · failed": f"{idlers.opened} · {idlers.failed}",
        "wrong tokens": json.loads(told),
        "the plane's processor share": round(spent_s / chosen.seconds, 2),
        "its descriptors at the end": descriptors,
        "its memory before and after, MiB": f"{rss >> 20} · {process.memory_info().rss >> 20}",
        "written to the log meanwhile, KiB": log_kib,
        "lines of refusals among it": len(refusals),
    }


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--seconds", type=float, default=20.0)
    options.add_argument("--idle", type=int, default=1_000)
    options.add_argument("--rate", type=int, default=4_000)
    options.add_argument("--flood", type=int, default=0, help="the port, for the flooding process")
    chosen = options.parse_args()
    if chosen.flood:
        sys.stdout.write(json.dumps(asyncio.run(flood(chosen.flood, chosen.rate, chosen.seconds))))
        return
    with tempfile.TemporaryDirectory() as folder:
        plane = PlaneProcess(
            Path(folder, "home"), HOLDFAST_CHECKIN_INTERVAL_S=f"{INTERVAL_S:g}",
            HOLDFAST_MACHINES_MAX=str(MACHINES),
        )  # fmt: skip
        plane.start()
        try:
            found = asyncio.run(run(plane, chosen))
            plane.terminate()
            counted = [line for line in plane.log().splitlines() if "calls.refused" in line]
            found["what the log counts of the rest"] = counted[-1][-300:] if counted else "nothing"
        finally:
            plane.close()
    tell("flood", found, as_json=chosen.json)
    if found["from one check-in to the next, ms"]["max"] > UNHEARD_MS or not counted:
        sys.exit("a machine went unheard, or the log lost its evidence")


if __name__ == "__main__":
    main()

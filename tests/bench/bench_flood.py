"""Measures a plane while strangers flood it: idle connections by the thousand, and wrong tokens.

    python -m tests.bench flood
    python -m tests.bench.bench_flood [--seconds 20] [--idle 1000] [--rate 4000] [--json]

A real plane with machines that check in every second. One caller opens the idle connections and
opens each again that is closed; another sends each wrong token on a new connection, at the
same address that the machines have, which is the harder case. Judged is that no machine goes
unheard for three of its intervals, that health answers every time, and that the log has the first
refusals and the number of the rest; the flood's own answers and the plane's memory are told.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import select
import socket
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
CONNECTIONS = 900
"""Of the caller with wrong tokens: more than are held back at once, fewer than descriptors."""

AT_ONCE = 64
"""Connections begun before the next answers are read."""

REQUEST = (
    b"GET /api/instances HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer hf_%043d\r\n\r\n"
)
LOOK_S = 0.1
IDLER = "127.0.0.2"
"""Where the idle connections come from: an address of loopback that nobody else has."""

_STATUS = re.compile(rb"HTTP/1\.1 (\d\d\d)")


class Knocker:
    """Sends wrong tokens, each on a connection of its own, with as little work as possible.

    The plane closes a connection with its refusal, so that a token costs a connection. Sockets are
    plain and the request is prepared but for the number in its token: what limits the rate is to be
    the plane, not this.
    """

    def __init__(self, port: int, rate: int, seconds: float) -> None:
        """Knock at `port` `rate` times a second; a time at which too many are open is left out."""
        self._at = ("127.0.0.1", port)
        self._rate = rate
        self._seconds = seconds
        self._answers: Counter[str] = Counter()
        self._events = select.epoll()
        self._open: dict[int, socket.socket] = {}
        self._asked: set[int] = set()
        self._sent = 0

    def run(self) -> dict[str, int]:
        """Return how many were sent, and how many had which answer."""
        began = time.monotonic()
        while (spent_s := time.monotonic() - began) < self._seconds:
            due = int(spent_s * self._rate) - self._sent
            for _ in range(min(due, CONNECTIONS - len(self._open), AT_ONCE)):
                self._knock()
            for descriptor, _ in self._events.poll(0.001):
                self._hear(descriptor)
        late = int(self._seconds * self._rate) - self._sent
        return {"sent": self._sent, "not sent for want of room or time": late, **self._answers}

    def _knock(self) -> None:
        made = socket.socket()
        made.setblocking(False)  # noqa: FBT003  the standard library's signature
        made.connect_ex(self._at)
        self._open[made.fileno()] = made
        self._events.register(made, select.EPOLLOUT)

    def _hear(self, descriptor: int) -> None:
        """Send on a connection that is open now, or read its answer."""
        made = self._open[descriptor]
        try:
            if not made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                if descriptor in self._asked:
                    found = _STATUS.match(made.recv(4_096))
                    self._end(descriptor, found[1].decode() if found else "closed")
                    return
                self._sent += 1
                made.send(REQUEST % self._sent)
                self._asked.add(descriptor)
                self._events.modify(descriptor, select.EPOLLIN)
                return
        except OSError:
            pass
        self._end(descriptor, "reset")

    def _end(self, descriptor: int, how: str) -> None:
        self._answers[how] += 1
        self._asked.discard(descriptor)
        self._events.unregister(descriptor)
        self._open.pop(descriptor).close()


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
        sys.stdout.write(json.dumps(Knocker(chosen.flood, chosen.rate, chosen.seconds).run()))
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

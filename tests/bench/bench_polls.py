"""Figure: 15,000 long polls of nodes held at once, what each costs, and what is said to one more.

    python -m tests.bench.bench_polls [--polls 15000] [--seconds 60] [--beyond 200] [--json]

A whole plane in a process of its own holds one poll of each of so many nodes, which their clients
renew as they end, while health is asked ten times a second, and a person looks at one node after
another: that must end its poll at once. Then more nodes poll than there is room for. Clients have
addresses of their own, 127.1.0.1 and on, because one has 28,000 ports only.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final, cast

import psutil
import uvloop

from holdfast.plane.wiring.room import room_here
from holdfast.wire.consent import node_of_name
from tests.bench.bench_nodes import fill, key_of
from tests.bench.figures import parser, percentiles, tell
from tests.support.patience import patience
from tests.support.planes import PlaneProcess

POLLS: Final = 15_000
PORTS_EACH: Final = 10_000
"""Connections from one address: well below the ports that it has."""
OPENING_PER_S: Final = 1_500
LOOKS: Final = 50
WAKE_MS_MAX: Final = 1_000.0
HELD_FIRST_S: Final = 30.0
"""In which each node polls for the first time, and has been answered at least once after that."""


class Poll(asyncio.Protocol):
    """One node: it polls again as soon as it is answered."""

    def __init__(self, crowd: Crowd, number: int) -> None:
        self.crowd = crowd
        self.number = number
        self.transport: asyncio.Transport | None = None
        self.answered: asyncio.Future[dict[str, Any]] | None = None
        self._left = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Poll."""
        self.transport = cast("asyncio.Transport", transport)
        self.ask()

    def ask(self) -> None:
        """Send the poll, as our observer does."""
        assert self.transport is not None
        self.crowd.waiting += 1
        self.transport.write(
            f"GET /ingest/wake?node_id=node-{self.number}&wait=25 HTTP/1.1\r\nhost: 127.0.0.1\r\n"
            f"x-api-key: {key_of(self.number)}\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        """Take an answer, which is small, and poll again unless there is no room."""
        self._left += data
        head, found, body = self._left.partition(b"\r\n\r\n")
        if not found or not body.endswith(b"}"):
            return
        self._left = b""
        status = int(head[9:12])
        self.crowd.waiting -= 1
        self.crowd.statuses[status] += 1
        told = json.loads(body)
        if self.answered is not None and not self.answered.done():
            self.answered.set_result(told)
        if status == 200 and not self.crowd.over:
            self.ask()
        elif status != 200:
            self.crowd.refusals[f"{status} {told.get('error') or told.get('code')}"] += 1

    def connection_lost(self, exc: Exception | None) -> None:
        """Count a connection that the plane ended."""
        del exc
        self.crowd.lost += not self.crowd.over


class Crowd:
    """All nodes, and what they were answered."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.polls: list[Poll] = []
        self.waiting = 0
        self.statuses: Counter[int] = Counter()
        self.refusals: Counter[str] = Counter()
        self.lost = 0
        self.over = False

    async def grow(self, to: int) -> None:
        """Open connections until there are so many."""
        loop = asyncio.get_running_loop()
        began = time.monotonic()
        for number in range(len(self.polls), to):
            source = f"127.1.0.{1 + number // PORTS_EACH}"
            _, poll = await loop.create_connection(
                lambda number=number: Poll(self, number),  # type: ignore[misc]
                "127.0.0.1", self.port, local_addr=(source, 0),
            )  # fmt: skip
            self.polls.append(poll)
            ahead = len(self.polls) / OPENING_PER_S - (time.monotonic() - began)
            if ahead > 0:
                await asyncio.sleep(ahead)

    def end(self) -> None:
        """Close every connection."""
        self.over = True
        for poll in self.polls:
            if poll.transport is not None:
                poll.transport.abort()


async def health(plane: PlaneProcess, spent: list[float]) -> None:
    """Ask for health ten times a second, each on a connection of its own."""
    while True:
        began = time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", plane.port)
        writer.write(b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
        writer.close()
        spent.append((time.perf_counter() - began) * 1_000)
        await asyncio.sleep(0.1)


async def look(plane: PlaneProcess, crowd: Crowd, polls: int) -> list[float]:
    """Look at nodes, one after another; return the ms until each one's poll said so."""
    spent: list[float] = []
    token = plane.token()
    for turn in range(LOOKS):
        poll = crowd.polls[turn * (polls // LOOKS)]
        poll.answered = asyncio.get_running_loop().create_future()
        began = time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", plane.port)
        node = node_of_name("local", f"node-{poll.number}")
        writer.write(
            f"GET /api/nodes/{node} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n"
            f"authorization: Bearer {token}\r\n\r\n".encode()
        )
        told = await asyncio.wait_for(poll.answered, patience(20))
        spent.append((time.perf_counter() - began) * 1_000)
        assert told["viewer_active"], told
        await reader.read()
        writer.close()
        # One that was looked at is answered at once until its heartbeat: it takes no further part.
        assert poll.transport is not None
        crowd.lost -= 1
        poll.transport.abort()
    return spent


def slab_kib() -> int:
    """Return the kernel's memory for objects: both ends of each connection are here."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Slab:"))


async def run(plane: PlaneProcess, polls: int, seconds: float, beyond: int) -> dict[str, Any]:
    """Hold the polls; return what it costs."""
    assert plane.process is not None
    process, crowd = psutil.Process(plane.process.pid), Crowd(plane.port)
    before, slab = process.memory_info().rss, slab_kib()
    await crowd.grow(polls)
    await asyncio.sleep(HELD_FIRST_S)
    bytes_each = (process.memory_info().rss - before) / polls
    kernel_each = (slab_kib() - slab) * 1_024 / polls
    spent_s, spent = sum(process.cpu_times()[:2]), list[float]()
    asking = asyncio.create_task(health(plane, spent))
    least, renewed, began = crowd.waiting, sum(crowd.statuses.values()), time.monotonic()
    while time.monotonic() - began < seconds:
        await asyncio.sleep(0.05)
        least = min(least, crowd.waiting)
    share = (sum(process.cpu_times()[:2]) - spent_s) / (time.monotonic() - began)
    renewed, held = sum(crowd.statuses.values()) - renewed, crowd.waiting
    woken = await look(plane, crowd, polls)
    room = room_here()
    await crowd.grow(min(room.node_polls + beyond + LOOKS, room.connections - 100 + LOOKS))
    await asyncio.sleep(5)
    asking.cancel()
    found = {
        "polls": polls,
        "held, the fewest at one moment": least,
        "held at the end": held,
        "renewed a second": round(renewed / seconds),
        "bytes of the plane for each": round(bytes_each),
        "bytes of the kernel for each, both ends": round(kernel_each),
        "plane, MiB": round(process.memory_info().rss / 2**20),
        "share of a core": round(share, 2),
        "health beside it, ms": percentiles(spent, digits=1),
        "looked at to woken, ms": percentiles(woken, digits=1),
        "room for": room.node_polls,
        "answers to those beyond": dict(crowd.refusals),
        "statuses": dict(crowd.statuses),
        "connections lost": crowd.lost,
    }
    crowd.end()
    return found


def main() -> None:
    """Measure, and say whether the figure was kept."""
    options = parser(__doc__)
    options.add_argument("--polls", type=int, default=POLLS)
    options.add_argument("--seconds", type=float, default=60.0)
    options.add_argument("--beyond", type=int, default=200)
    asked = options.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    nodes = room_here().node_polls + asked.beyond + 2 * LOOKS
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        home.mkdir(mode=0o700)
        asyncio.run(fill(home, max(nodes, asked.polls)))
        plane = PlaneProcess(home).start()
        try:
            plane.token()
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                found = runner.run(run(plane, asked.polls, asked.seconds, asked.beyond))
        finally:
            plane.close()
    tell("polls", found, as_json=asked.json)
    full = {name for name in found["answers to those beyond"] if name != "404 polls_full"}
    missed = found["connections lost"] or full or set(found["statuses"]) - {200, 404}
    missed = missed or found["held, the fewest at one moment"] < asked.polls
    sys.exit(bool(missed) or found["looked at to woken, ms"]["p99"] > WAKE_MS_MAX)


if __name__ == "__main__":
    main()

"""Figure: 20,000 corrections a second, durable, over 64 connections that carry 4,000 brains.

Run it: `make bench ARGS="corrections"`, or `python -m tests.bench.bench_corrections` with
`--seconds`, `--batch`. A whole plane is served in a process of its own; this one sends batches made
beforehand, each connection the next one when its answer came, and nothing else. The machine's
two cores carry both, so the sender is counted apart: beside the rate by the clock stands the one
of the plane's share, rows / (seconds - the sender's own processor seconds / cores), and the
processor time that the plane spends on a row. The figure is held against the second, with the
limit of a minute and brain at 600, and again with it lifted.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import msgspec
import psutil
import uvloop

from holdfast.wire.api.brains import BrainKeyCreate
from tests.bench.figures import parser, percentiles, tell
from tests.support.planes import PlaneProcess

CONNECTIONS = 64
BRAINS = 4_000
BATCH = 50
SECONDS = 8.0
WARM_ROUNDS = 1
"""Batches that each brain sends before the measurement: the first of all makes the brain."""
RATE_MIN = 20_000
MARK = b"777777"
LIFTED = "10000000"
WORDS = ("ship", "plan", "draft", "note", "mail", "team", "week", "the", "clear", "order", "list")


def template(brain: int, batch: int) -> bytes:
    """Return a batch of a brain; `MARK` stands for the round in its numbers, ids and texts."""
    rows = []
    for at in range(batch):
        words = [WORDS[(brain * 7 + at * 3 + i * i) % len(WORDS)] for i in range(24)]
        draft = f"{' '.join(words)} {MARK.decode()} {at}"
        rows.append(
            {
                "seq": 0,
                "kind": "correction",
                "event_id": f"c{brain:05d}{MARK.decode()}{at:04d}",
                "at_ms": int(time.time() * 1_000),
                "payload": {
                    "session": f"s{brain}",
                    "category": "STYLE",
                    "severity": "minor",
                    "draft": draft,
                    "final": draft.replace("the", "our").replace("plan", "outline"),
                    "content_hash": "0" * 64,
                    "context": None,
                    "count": 1,
                    "edit_distance": 0.08,
                    "summary": "2 words changed",
                    "classifications": ["STYLE"],
                    "day": "2026-01-01",
                },
            }
        )
    body = {
        "version": 1,
        "sdk": "holdfast/bench",
        "source": f"src-{brain}",
        "brain": f"bench-{brain}",
        "queue": {"depth": batch, "oldest_ms": 10},
        "rows": rows,
    }
    return msgspec.json.encode(body)


def numbered(body: bytes, batch: int) -> list[bytes]:
    """Return the template in parts between which the numbers of a round's rows stand."""
    parts = body.split(b'"seq":0')
    assert len(parts) == batch + 1
    return parts


class Sender(asyncio.Protocol):
    """One connection and the brains it carries, in turn."""

    def __init__(self, load: Load, key: str, brains: list[list[bytes]]) -> None:
        """Send with `key`; `brains` are templates in parts."""
        self.load = load
        self.key = key
        self.brains = brains
        self.sent = 0
        self.began = 0.0
        self.left = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by class

    def send(self) -> None:
        """Send the next batch."""
        parts = self.brains[self.sent % len(self.brains)]
        number = 100_000 + self.sent // len(self.brains)
        first = (number - 100_000) * (len(parts) - 1) + 1
        pieces = [parts[0]]
        for at, part in enumerate(parts[1:]):
            pieces.append(b'"seq":%d' % (first + at))
            pieces.append(part)
        body = b"".join(pieces).replace(MARK, b"%d" % number)
        self.sent += 1
        self.began = time.perf_counter()
        assert self.transport is not None
        self.transport.write(
            b"POST /api/v1/ingest HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer "
            + self.key.encode()
            + b"\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
            + body
        )

    def data_received(self, data: bytes) -> None:
        """Take an answer; send the next batch while there is time."""
        self.left += data
        head, found, rest = self.left.partition(b"\r\n\r\n")
        if not found:
            return
        lowered = head.lower()
        at = lowered.find(b"content-length:")
        if len(rest) < int(lowered[at + 15 :].split(b"\r\n", 1)[0]):
            return
        self.left = b""
        self.load.answered(self, int(head[9:12]), rest)


class Load:
    """A closed load: first so many rounds of every brain, then so many seconds."""

    def __init__(self, seconds: float, warmed: Callable[[], None]) -> None:
        """Call `warmed` when the measurement begins."""
        self.seconds = seconds
        self.warmed = warmed
        self.warm_left = WARM_ROUNDS * BRAINS
        self.spent: list[float] = []
        self.accepted = 0
        self.statuses: dict[int, int] = {}
        self.busy = 0
        self.began = 0.0
        self.done = asyncio.Event()

    def answered(self, sender: Sender, status: int, body: bytes) -> None:
        """Count an answer."""
        now = time.perf_counter()
        if self.warm_left > 0:
            assert status == 200, body
            self.warm_left -= 1
            if self.warm_left == 0:
                self.warmed()
                self.began = now
            sender.send()
            return
        self.spent.append((now - sender.began) * 1_000)
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if status == 200:
            self.accepted += json.loads(body)["accepted"]
        if now < self.began + self.seconds:
            sender.send()
            return
        self.busy -= 1
        if self.busy == 0:
            self.done.set()

    async def run(self, port: int, keys: list[str], brains: list[list[bytes]]) -> float:
        """Send until the time is over; return the seconds from the warm-up to the last answer."""
        loop = asyncio.get_running_loop()
        senders = []
        for at, key in enumerate(keys):
            made = partial(Sender, self, key, brains[at :: len(keys)])
            _, sender = await loop.create_connection(made, "127.0.0.1", port)
            senders.append(sender)
        self.busy = len(senders)
        for sender in senders:
            sender.send()
        async with asyncio.timeout(self.seconds + 120):
            await self.done.wait()
        return time.perf_counter() - self.began


def measure(*, seconds: float, batch: int, per_minute: str) -> dict[str, Any]:
    """Serve a plane, load it, and return what came of it."""
    brains = [numbered(template(brain, batch), batch) for brain in range(BRAINS)]
    with tempfile.TemporaryDirectory() as folder:
        plane = PlaneProcess(Path(folder) / "home", HOLDFAST_CORRECTIONS_PER_MINUTE=per_minute)
        plane.start()
        try:
            with plane.client() as client:
                keys = [
                    client.call("brain-key.create", body=BrainKeyCreate(name=f"bench-{at}")).key
                    for at in range(CONNECTIONS)
                ]
            assert plane.process is not None
            served = psutil.Process(plane.process.pid)
            used: list[float] = []

            def warmed() -> None:
                times = served.cpu_times()
                used.extend((times.user + times.system, time.process_time()))

            load = Load(seconds, warmed)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                took_s = runner.run(load.run(plane.port, keys, brains))
            times, own = served.cpu_times(), time.process_time() - used[1]
            spent = times.user + times.system - used[0]
            mib = served.memory_info().rss / 2**20
        finally:
            plane.close()
    cores = len(os.sched_getaffinity(0))
    return {
        "brains": BRAINS,
        "connections": CONNECTIONS,
        "rows": load.accepted,
        "statuses": load.statuses,
        "per_s_by_the_clock": round(load.accepted / took_s),
        "per_s_without_the_sender": round(load.accepted / (took_s - own / cores)),
        "plane_us_per_row": round(spent / load.accepted * 1e6, 1),
        "sender_cores": round(own / took_s, 2),
        "plane_cores": round(spent / took_s, 2),
        "answer_ms": percentiles(load.spent, digits=1),
        "plane_mib": round(mib),
    }


def main() -> None:
    """Measure, print, and exit with 1 where a figure is missed."""
    options = parser(__doc__)
    options.add_argument("--seconds", type=float, default=SECONDS)
    options.add_argument("--batch", type=int, default=BATCH)
    given = options.parse_args()
    missed = False
    for title, per_minute in (("the limit on", "600"), ("the limit lifted", LIFTED)):
        found = measure(seconds=given.seconds, batch=given.batch, per_minute=per_minute)
        missed |= found["per_s_without_the_sender"] < RATE_MIN or set(found["statuses"]) != {200}
        tell(f"intake with {title}", found, as_json=given.json)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()

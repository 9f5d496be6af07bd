"""Figure: check-ins over HTTP, authenticated, validated and stored, at 2,000/s on one core.

Run it: `make bench ARGS="checkins"`, or `python -m tests.bench.bench_checkins` with
`--rate`, `--seconds`, `--machines`. The server has core 0 to itself, the sender core 1. Load is
open: each message has a moment at which it is due, and its time counts from then, so a stall
shows in every message that waited behind it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import Any, cast

import msgspec

from tests.support.toys.machines import KEY, OURS, facts, headers

RATE = 2_000
SECONDS = 40
MACHINES = 70_000
CONNECTIONS = 64
P99_MS_MAX = 20.0


def request(number: int, sequence: int) -> bytes:
    """Return one check-in as it goes over the wire."""
    known = facts(number)
    message = {
        **OURS,
        "sandboxId": known.sandbox,
        "machineId": known.machine_id,
        "bootId": f"boot-{number}",
        "sequence": sequence,
        "diskUsedBytes": 10**9 + number,
        "diskTotalBytes": 10**10,
        "intervalMs": 0,
    }
    body = msgspec.json.encode(message)
    head = "".join(f"{name}: {value}\r\n" for name, value in headers(known, KEY).items())
    return (
        f"POST /api/controller/checkin HTTP/1.1\r\nhost: plane\r\n{head}"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode() + body


class Line(asyncio.Protocol):
    """One connection: a request is sent when the answer before it is complete."""

    def __init__(self, load: Load) -> None:
        """Take requests from `load`."""
        self.load = load
        self.due = 0.0
        self.transport: asyncio.Transport | None = None
        self.left = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be ready for a request."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by class
        self.load.idle.append(self)

    def data_received(self, data: bytes) -> None:
        """Take an answer; count it when it is complete."""
        self.left += data
        head, found, rest = self.left.partition(b"\r\n\r\n")
        if not found:
            return
        lowered = head.lower()
        at = lowered.find(b"content-length:")
        length = int(lowered[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(rest) < length:
            return
        self.left = b""
        self.load.answered(self, int(head[9:12]))

    def connection_lost(self, exc: Exception | None) -> None:
        """Count a connection that ended early as an error."""
        self.load.lost += not self.load.over


class Load:
    """An open load of so many messages a second."""

    def __init__(self, requests: list[bytes], rate: float) -> None:
        """Send `requests` in order."""
        self.requests = requests
        self.rate = rate
        self.idle: deque[Line] = deque()
        self.waiting: deque[tuple[float, bytes]] = deque()
        self.spent: list[tuple[float, float]] = []
        self.statuses: dict[int, int] = {}
        self.lost = 0
        self.over = False
        self.done = asyncio.Event()

    def send(self, due: float, message: bytes) -> None:
        """Send now if a connection is free, else as soon as one is."""
        if self.idle:
            line = self.idle.popleft()
            line.due = due
            assert line.transport is not None
            line.transport.write(message)
        else:
            self.waiting.append((due, message))

    def answered(self, line: Line, status: int) -> None:
        """Note the time from when the message was due."""
        now = time.perf_counter()
        self.spent.append((line.due, (now - line.due) * 1_000))
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.idle.append(line)
        if self.waiting:
            self.send(*self.waiting.popleft())
        if len(self.spent) == len(self.requests):
            self.done.set()

    async def run(self, port: int) -> None:
        """Connect, send everything on time, and wait for the last answer."""
        loop = asyncio.get_running_loop()
        for _ in range(CONNECTIONS):
            await loop.create_connection(lambda: Line(self), "127.0.0.1", port)
        began = time.perf_counter() + 0.1
        for number, message in enumerate(self.requests):
            due = began + number / self.rate
            while (left := due - time.perf_counter()) > 0:  # noqa: ASYNC110  a moment, no event
                await asyncio.sleep(left if left > 0.002 else 0)
            self.send(due, message)
        async with asyncio.timeout(60):
            await self.done.wait()
        self.over = True


def percentile(values: list[float], share: float) -> float:
    """Return the value below which that share lies."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def measure(*, rate: int, seconds: int, machines: int) -> dict[str, Any]:
    """Run the server and the load, and return what came of it."""
    import uvloop  # noqa: PLC0415  the sender's loop, not the test's

    requests = [
        request(number % machines, 1 + number // machines) for number in range(rate * seconds)
    ]
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.checkin_server", folder, str(machines), "0"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": "src:."},
            cwd=Path(__file__).parents[2],
        )
        assert server.stdout is not None
        try:
            hello = json.loads(server.stdout.readline())
            before = os.sched_getaffinity(0)
            os.sched_setaffinity(0, {max(before)})
            load = Load(requests, rate)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(load.run(hello["port"]))
            os.sched_setaffinity(0, before)
            out, _ = server.communicate("", timeout=120)
        finally:
            server.kill()
            server.wait()
    stored = json.loads(out.splitlines()[-1])
    spent = [ms for _, ms in load.spent]
    took_s = max(due + ms / 1_000 for due, ms in load.spent) - min(due for due, _ in load.spent)
    return {
        "offered_per_s": rate,
        "answered_per_s": round(len(spent) / took_s),
        "distinct": len({number % machines for number in range(rate * seconds)}),
        "statuses": load.statuses,
        "lost": load.lost,
        "p50_ms": round(percentile(spent, 0.50), 2),
        "p90_ms": round(percentile(spent, 0.90), 2),
        "p99_ms": round(percentile(spent, 0.99), 2),
        "max_ms": round(max(spent), 1),
        "mib_before": round(hello["mib"]),
        **stored,
    }


def test_checkins_at_two_thousand_a_second() -> None:
    """All are answered and stored, and the slowest hundredth takes at most 20 ms."""
    found = measure(rate=RATE, seconds=SECONDS, machines=MACHINES)
    sys.stdout.write(json.dumps(found, indent=1) + "\n")
    count = RATE * SECONDS
    assert found["distinct"] >= 60_000
    assert found["statuses"] == {200: count}
    assert (found["checkins"], found["dropped"], found["lost"]) == (count, 0, 0)
    assert found["contacts"] == MACHINES
    assert found["p99_ms"] <= P99_MS_MAX


def main() -> None:
    """Measure with other numbers than the figure's."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=int, default=RATE)
    parser.add_argument("--seconds", type=int, default=SECONDS)
    parser.add_argument("--machines", type=int, default=MACHINES)
    given = parser.parse_args()
    found = measure(rate=given.rate, seconds=given.seconds, machines=given.machines)
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()

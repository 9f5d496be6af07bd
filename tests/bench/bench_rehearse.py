"""A dry run of the 64 next of 1,000 pending events, in the plane's own rehearsal process.

`python -m tests.bench.bench_rehearse [--rounds 200] [--json]`. Timed from the question to the
answer in the asking process, with the journey to the worker and back. The journal and its WAL are
compared byte by byte, and the worker's open files are looked through for sockets.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
import tempfile
import time
from pathlib import Path

import psutil
import structlog

from holdfast.actors.kinds import make_kinds
from holdfast.actors.ports import Arrival
from holdfast.actors.rehearsal_worker import Ahead
from holdfast.instances import events
from holdfast.instances.definition import KIND, arrival
from holdfast.kernel.clock import SystemClock
from holdfast.kernel.ids import address
from holdfast.plane.settings import load_settings
from holdfast.plane.wiring.engine import make_worker
from holdfast.plane.wiring.holder import JOURNAL_FILE
from holdfast.plane.wiring.instances import instance_kind, instance_policy
from holdfast.stores.sqlite.journal import SqliteJournal
from holdfast.wire.api.instances import InstanceCreate
from tests.bench.figures import parser, percentiles, tell
from tests.support.planes import plane_at

PENDING = 1_000
TAKEN = 64
LIMIT_MS = 20.0


def arrivals() -> list[Arrival]:
    """Return the events that wait: changes of the instance's variables."""
    return [
        arrival(
            events.ConfigChanged(env={"COUNT": str(n)}, secrets={}),
            dedupe=f"bench:{n}",
            source="api",
        )
        for n in range(PENDING)
    ]


def make_instance(home: Path) -> str:
    """Run a plane for a moment in which it makes an instance; return the instance's id."""
    with plane_at(home) as plane, plane.client() as client:
        body = InstanceCreate(name="busy", desired="stopped")
        made = str(client.call("instance.create", body=body).id)
        plane.terminate()
    return made


def fingerprint(home: Path) -> tuple[str, ...]:
    """Return the hashes of the journal and its WAL."""
    files = (home / JOURNAL_FILE, home / f"{JOURNAL_FILE}-wal")
    return tuple(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)


def sockets() -> int:
    """Return how many sockets the processes that this one has started hold."""
    return sum(
        str(link.readlink()).startswith("socket:")
        for child in psutil.Process().children()
        for link in Path(f"/proc/{child.pid}/fd").iterdir()
    )


async def measure(home: Path, instance: str, rounds: int) -> dict[str, object]:
    """Return the figures."""
    clock = SystemClock()
    journal = SqliteJournal(home / JOURNAL_FILE, clock=clock)
    policy = instance_policy(load_settings({}, home=str(home)))
    kinds = make_kinds(instance_kind(policy))
    worker = make_worker(home / JOURNAL_FILE, kinds, structlog.get_logger())
    try:
        await journal.accept([(address(KIND, instance), row) for row in arrivals()])
        asked = Ahead(actor=f"{KIND}/{instance}", now_ms=clock.now_ms())
        first = time.perf_counter()
        answer = await worker.dry_run(asked)
        cold = time.perf_counter() - first
        before, spent = fingerprint(home), []
        for _ in range(rounds):
            began = time.perf_counter()
            answer = await worker.dry_run(asked)
            spent.append((time.perf_counter() - began) * 1_000)
        assert fingerprint(home) == before, "the journal was touched"
        assert not sockets(), "the worker holds a socket"
        assert len(answer.steps[0].inputs) == TAKEN, len(answer.steps[0].inputs)
    finally:
        await worker.stop()
        await journal.close()
    return {
        "dry run, ms (at most 20)": percentiles(spent),
        "the first, with the start of the process, ms": round(cold * 1_000, 1),
        "journal and WAL byte-equal": "yes",
        "sockets of the worker": 0,
    }


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=200)
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        figures = asyncio.run(measure(home, make_instance(home), asked.rounds))
    tell("rehearse", figures, as_json=asked.json)
    spent = figures["dry run, ms (at most 20)"]
    assert isinstance(spent, dict)
    sys.exit(spent["p99"] > LIMIT_MS)


if __name__ == "__main__":
    main()

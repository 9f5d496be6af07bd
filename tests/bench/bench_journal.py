"""What the journal in SQLite does a second: `python tests/bench/bench_journal.py [--json]`.

Every figure is of durable work (synchronous=FULL), of one run, with percentiles over all calls.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop

from holdfast.actors.definition import ViewRow
from holdfast.actors.ports import Arrival, Commit, Stamp
from holdfast.kernel.clock import SystemClock
from holdfast.kernel.ids import Address, address
from holdfast.stores.sqlite.journal import SqliteJournal

BODY = b"\x83" + b"b" * 200
STATE = b"s" * 700
RECORD = b'{"actor":"instance/i-000000","number":1}' + b"r" * 500
VIEW = b"{" + b"v" * 600 + b"}"


def arrival(key: str) -> Arrival:
    """One event of the usual size."""
    return Arrival(body=BODY, dedupe=key, version=1, source="effect", cause="", by="")


def percentiles(times: list[float]) -> dict[str, float]:
    """Milliseconds of the middle and of the slow end."""
    ordered = sorted(times)
    pick = {"p50_ms": 0.5, "p99_ms": 0.99, "max_ms": 1.0}
    return {
        name: round(ordered[min(int(len(ordered) * at), len(ordered) - 1)] * 1e3, 3)
        for name, at in pick.items()
    }


async def timed(
    producers: int, each: int, work: Callable[[int, int], Awaitable[Any]]
) -> dict[str, float]:
    """Let `producers` call `work(producer, n)` one after another, `each` times."""
    times: list[float] = []

    async def produce(producer: int) -> None:
        for n in range(each):
            start = time.perf_counter()
            await work(producer, n)
            times.append(time.perf_counter() - start)

    start = time.perf_counter()
    await asyncio.gather(*(produce(producer) for producer in range(producers)))
    rate = len(times) / (time.perf_counter() - start)
    return {"per_s": round(rate), **percentiles(times)}


async def accepts(journal: SqliteJournal, producers: int, each: int, tag: str) -> dict[str, float]:
    """Accept single events, each awaited."""
    actors = [address("bench", f"{tag}-{n:06d}") for n in range(producers)]

    async def work(producer: int, n: int) -> None:
        await journal.accept([(actors[producer], arrival(f"{tag}{n}"))])

    return await timed(producers, each, work)


async def ticks(
    journal: SqliteJournal, producers: int, each: int, *, first: int = 0
) -> dict[str, float]:
    """Accept, read what is pending, and commit it with state, record, view and alarm."""
    epoch = await journal.lease("bench")
    actors = [address("tick", f"i-{n:06d}") for n in range(first, first + producers)]

    async def work(producer: int, n: int) -> None:
        actor = actors[producer]
        await journal.accept([(actor, arrival(f"t{n}"))])
        pending = await journal.pending(actor, 64)
        await journal.commit(full_commit(actor, n, epoch, pending[0].id))

    return await timed(producers, each, work)


def full_commit(actor: Address, n: int, epoch: int, event: Any) -> Commit:
    """One tick of an instance: an event, its state, a view row, an alarm and a record."""
    now = 1_700_000_000_000 + n
    stamp = Stamp(id=event, seq=n + 1, tick=n + 1, at_ms=now, outcome="applied")
    return Commit(
        actor=actor,
        account="bench",
        expected_seq=n,
        lease_epoch=epoch,
        number=n + 1,
        now_ms=now,
        stamps=(stamp,),
        views=(ViewRow("fleet", str(actor), "bench", VIEW),),
        alarm_ms=now + 60_000,
        alarm_changed=True,
        state=STATE,
        state_version=1,
        digest=f"{n:032x}",
        record=RECORD,
    )


async def boot(path: Path, count: int) -> dict[str, float]:
    """Fill a journal with actors, then open it and look at everything that a boot looks at."""
    journal = SqliteJournal(path, clock=SystemClock())
    epoch = await journal.lease("bench")
    actors = [address("boot", f"i-{n:06d}") for n in range(count)]
    for start in range(0, count, 500):
        part = actors[start : start + 500]
        taken = await journal.accept([(actor, arrival("first")) for actor in part])
        await asyncio.gather(
            *(
                journal.commit(full_commit(actor, 0, epoch, event.id))
                for actor, event in zip(part, taken, strict=True)
            )
        )
    await journal.close()
    figures = {}
    start_s = time.perf_counter()
    journal = SqliteJournal(path, clock=SystemClock())
    figures["open_ms"] = round((time.perf_counter() - start_s) * 1e3, 2)
    start_s = time.perf_counter()
    alarms = await journal.alarms(2**60, count)
    await journal.waiting_actors(count)
    await journal.waiting_effects(count)
    await journal.probes(count)
    figures["scan_ms"] = round((time.perf_counter() - start_s) * 1e3, 2)
    start_s = time.perf_counter()
    for alarm in alarms:
        await journal.load(alarm.actor)
    figures["load_us_each"] = round((time.perf_counter() - start_s) / len(alarms) * 1e6, 1)
    await journal.close()
    return figures


async def measure(folder: Path, scale: int) -> dict[str, dict[str, float]]:
    """Take every figure."""
    found: dict[str, dict[str, float]] = {}
    journal = SqliteJournal(folder / "accept.db", clock=SystemClock())
    await accepts(journal, 64, 200, "warm")
    found["accept, 64 producers"] = await accepts(journal, 64, 40 * scale, "a")
    found["accept, 1,024 producers"] = await accepts(journal, 1_024, 3 * scale, "b")
    found["accept, 1 producer"] = await accepts(journal, 1, 20 * scale, "c")
    await journal.close()
    journal = SqliteJournal(folder / "tick.db", clock=SystemClock())
    found["accept, read, commit: 64 actors"] = await ticks(journal, 64, 4 * scale)
    found["accept, read, commit: 256 actors"] = await ticks(journal, 256, 2 * scale, first=64)
    await journal.close()
    found["boot with 10,000 actors"] = await boot(folder / "boot.db", 10_000)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--scale", type=int, default=50, help="how long to measure")
    parser.add_argument("--folder", type=Path, help="where to write; default: a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        found = uvloop.run(measure(Path(folder), options.scale))
    if options.json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
        return
    for name, figures in found.items():
        cells = "  ".join(f"{key} {value:>10,}" for key, value in figures.items())
        sys.stdout.write(f"{name:34} {cells}\n")


if __name__ == "__main__":
    main()

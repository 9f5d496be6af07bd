"""A program that records corrections, and what a restart finds of them after a loss of power.

    python -m tests.integration.outbox.power FOLDER LEVEL [--number N] [--threads N]

It prints the event id of each correction once `correct` has said that it is persisted.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple
from unittest import mock

from holdfast.outbox import database, limits
from holdfast.sdk import Brain
from tests.support import power_loss

FOLDER: Final = "agent/brain"
"""Below the watched folder, so that the names of the brain's own folders count as well."""
ROWS_EACH: Final = 2
"""Rows that a correction queues at most: itself, and the change of its lesson."""


def main() -> None:
    """Record, as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("level", choices=database.DURABILITIES)
    parser.add_argument("--number", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--openings", type=int, default=2)
    parser.add_argument("--log-bytes", type=int, help="checkpoint from here on")
    parser.add_argument("--synchronous", help="the wrong pragma for the level")
    given = parser.parse_args()
    if given.log_bytes:
        mock.patch.object(limits, "WAL_CALLER_BYTES", given.log_bytes).start()
    if given.synchronous:
        wrong = {given.level: given.synchronous}
        mock.patch.dict(database._SYNCHRONOUS, wrong).start()  # a wrong level is the point
    for opening in range(given.openings):
        with Brain(given.folder, durability=given.level, notice=_ignored) as brain:
            threads = [
                threading.Thread(target=_record, args=(brain, f"{opening}-{thread}", given.number))
                for thread in range(given.threads)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()


def _record(brain: Brain, name: str, number: int) -> None:
    for count in range(number):
        text = f"the {name}-{count} report"
        made = brain.correct(f"Utilize {text}.", f"Use {text}.", session=name)
        if made.persisted and made.queued:
            os.write(1, f"{made.event_id}\n".encode())


def record(
    scratch: Path,
    level: str,
    *,
    number: int = 30,
    threads: int = 1,
    openings: int = 2,
    log_bytes: int = 0,
    synchronous: str = "",
) -> power_loss.Recorded:
    """Run the program under the folder `watched` in `scratch`, and return what it did there."""
    watched = scratch / "watched"
    watched.mkdir(exist_ok=True)
    command = [
        sys.executable, "-m", "tests.integration.outbox.power", str(watched / FOLDER), level,
        f"--number={number}", f"--threads={threads}", f"--openings={openings}",
        f"--log-bytes={log_bytes}",
    ]  # fmt: skip
    if synchronous:
        command.append(f"--synchronous={synchronous}")
    env = {**os.environ, "HOLDFAST_KEY_FILE": str(scratch / "none"), "HOLDFAST_URL": ""}
    return power_loss.record(command, watched=watched, scratch=scratch, env=env)


class Found(NamedTuple):
    """What a restart finds after one cut.

    `lost` are the places, among the lines before the cut, of corrections that are gone; `counted`
    is how many rows the outbox itself calls lost.
    """

    lost: tuple[int, ...]
    counted: int
    quarantined: int
    problem: str


def in_queue(folder: Path) -> set[str]:
    """Return the event ids that wait and are in the record, opening the brain as any program."""
    with Brain(
        folder, durability=database.PROCESS, gate=lambda: "looking", notice=_ignored
    ) as brain:
        there = {event.event_id for event in brain.tail(after=0, most=100_000)}
        return there.intersection(_queued(brain))


def after(cut: power_loss.Cut) -> Found:
    """Open the brain as a program would after a restart."""
    with Brain(
        cut.folder / FOLDER, durability=database.PROCESS, gate=lambda: "looking", notice=_ignored
    ) as brain:
        there = {event.event_id for event in brain.tail(after=0, most=100_000)}
        whole = there.intersection(_queued(brain))
        stats = brain.stats()
    lost = [place for place, event_id in enumerate(cut.acknowledged) if event_id not in whole]
    return Found(tuple(lost), stats.lost, stats.quarantined, stats.problem)


def checkpointed(recorded: power_loss.Recorded, cut: power_loss.Cut) -> int:
    """Return how many lines before the cut were written before the last checkpoint began."""
    database_file = f"{FOLDER}/{database.DATABASE}"
    begun = 0
    for change in recorded.changes[: cut.at]:
        if isinstance(change, power_loss.Synced) and change.path == database_file:
            begun = change.begun
    return sum(isinstance(change, power_loss.Line) for change in recorded.changes[:begun])


def breach(recorded: power_loss.Recorded, cut: power_loss.Cut, found: Found, level: str) -> str:
    """Return which promise of the level is broken for one that records alone, empty if none.

    At `process` what was committed since the last checkpoint may be gone: corrections that were
    acknowledged, and one more, which was committed and whose line was still to be written. The
    outbox counts it as well, because its count is on the disk on its own.
    """
    if level == database.POWER:
        return f"lost at {level}: {found}" if found.lost or found.counted else ""
    kept = checkpointed(recorded, cut)
    first = len(cut.acknowledged) - len(found.lost)
    if found.lost and found.lost != tuple(range(first, len(cut.acknowledged))):
        return f"an older one is lost, and a newer one is there: {found}"
    if first < kept:
        return f"lost from the first {kept}, which were checkpointed: {found}"
    rows = ROWS_EACH * (len(found.lost) + 1)
    return f"more than {rows} rows are counted as lost: {found}" if found.counted > rows else ""


def _queued(brain: Brain) -> Iterator[str]:
    """Yield the event ids that wait; no public call lists them."""
    query = "SELECT event_id FROM sync_queue WHERE state = 0"
    rows = brain._outbox.read(lambda connection: connection.execute(query).fetchall())
    return (event_id for (event_id,) in rows)


def _ignored(_text: str) -> None:
    """Tell nobody."""


if __name__ == "__main__":
    main()

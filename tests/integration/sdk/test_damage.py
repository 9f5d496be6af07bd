"""Damaged folders: the program runs, and losses of the record or the queue are counted.

HOLDFAST_SDK_SEEDS sets how many seeds are tried, HOLDFAST_SDK_FIRST_SEED where they begin.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from holdfast.outbox import Answer, Answered, Batch, open_outbox
from holdfast.sdk import Brain, doctor
from tests.support.slices import slice_of

SEEDS = int(os.environ.get("HOLDFAST_SDK_SEEDS", slice_of(20, here=10)))
FIRST_SEED = int(os.environ.get("HOLDFAST_SDK_FIRST_SEED", "0"))
ROWS = 30
FILES = ("system.db", "system.db-wal", "events.jsonl", "outbox.ledger", "brain.id")
QUIET: dict[str, Any] = {"durability": "process", "notice": lambda _text: None}


def shut() -> str:
    return "not now"


def fill(folder: Path) -> list[str]:
    with Brain(folder, gate=shut, **QUIET) as brain:
        return [
            brain.correct(
                f"We utilize part {n}a.", f"We use part {n}a.", session=f"s{n % 3}"
            ).event_id
            for n in range(ROWS)
        ]


def spoil(folder: Path, chance: random.Random) -> str:
    there = [name for name in FILES if (folder / name).is_file()]
    name = chance.choice([*there, "system.db", "system.db", "system.db"])
    path = folder / name
    raw = bytearray(path.read_bytes())
    how = chance.choice(["flip", "flip", "cut", "noise", "zero", "remove"])
    if how == "flip":
        for _ in range(chance.choice([1, 3, 30])):
            raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
    elif how == "cut":
        raw = raw[: chance.randrange(len(raw))]
    else:
        at, size = chance.randrange(len(raw)), chance.choice([100, 4_096, 20_000])
        part = raw[at : at + size]
        raw[at : at + size] = chance.randbytes(len(part)) if how == "noise" else bytes(len(part))
    path.write_bytes(raw)
    if how == "remove":
        path.unlink()
    return f"{how} {name}"


class Taker:
    def __init__(self) -> None:
        self.taken: set[str] = set()

    def __call__(self, batch: Batch) -> Answer:
        ids = frozenset(item.event_id for item in batch.items)
        self.taken |= ids
        return Answered(ids, {})


@pytest.mark.timeout(1_800)
def test_the_program_runs_on_whatever_is_left_of_its_folder(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    made = fill(whole)
    with Brain(whole, gate=shut, **QUIET) as brain:
        before = brain.stats().pending
    for seed in range(FIRST_SEED, FIRST_SEED + SEEDS):
        folder = tmp_path / f"seed{seed}"
        shutil.copytree(whole, folder, ignore=shutil.ignore_patterns("*.sock"))
        # In place, so that the files keep their identity as they do when a disk spoils them.
        Brain(folder, gate=shut, **QUIET).close(0)
        what = f"seed {seed}: {spoil(folder, random.Random(seed))}"
        with Brain(folder, gate=shut, **QUIET) as brain:
            first = brain.correct("after the damage", "as if nothing was", session="after")
            again = brain.correct("We utilize part 4a.", "We use part 4a.", session="s1")
            brain.record("NOTE", {"still": "here"})
            brain.rules_for("anything")
            brain.end_session("s1", deadline_s=0)
            doctor.examine(folder)
            # What could not be written says why, and is counted.
            for one in (first, again):
                assert one.persisted or one.reason, what
        doctor.repair(folder)
        taker = Taker()
        with Brain(folder, gate=shut, **QUIET) as brain:
            late = brain.correct("after the repair", "all is well", session="late")
            assert late.persisted, (what, late)
        with open_outbox(folder, sender=taker, **QUIET) as box:
            assert box.flush(20).pending == 0, what
            stats = box.stats()
        assert late.event_id in taker.taken, what
        missing = set(made) - taker.taken
        # Lessons are rows as well, so at least what is missing of corrections was counted.
        assert stats.lost >= len(missing), (what, stats, missing)
        assert stats.lost <= before + 4, (what, stats)
        for line in (folder / "events.jsonl").read_bytes().splitlines():
            json.loads(line)
        shutil.rmtree(folder)

"""A tick decides alike in processes whose hashes differ."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
SCENARIO = """
import hashlib, msgspec
from holdfast.actors.kinds import make_kind
from tests.support.toys.lamp import LAMP, Policy, Made, BulbAdded
from tests.support.toys.lamp import SwitchedOn, SwitchedOff, NoteWritten
from tests.unit.actors.histories import live, rows, split
events = [Made("sun"), *(BulbAdded(k) for k in "qwertyuiop"), SwitchedOn(),
          NoteWritten("lamp/attic", "echo"), SwitchedOff(), SwitchedOn()]
done = live(make_kind(LAMP, Policy()), split(rows(events), [3, 1]), step_ms=70_000)
print(hashlib.sha256(msgspec.json.encode([commit for _, commit in done])).hexdigest())
"""


def test_hash_seeds_change_nothing() -> None:
    answers = {
        subprocess.run(
            [sys.executable, "-c", SCENARIO],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("0", "1")
    }
    assert len(answers) == 1

"""Limits of an attempt that nothing confines: there is no sandbox whose processes are counted."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import msgspec
import pytest

from holdfast.wire.attempt import AttemptEnd
from holdfast.world.hosts.steps import PROGRAM
from holdfast.world.processes.confine import VARIABLE, Confine, order
from holdfast.world.processes.table import MARKER, kill_members
from tests.support.patience import patience

ORPHANS = "i=0; while [ $i -lt 12 ]; do (setsid sleep 600 &); i=$((i+1)); done; "


def run(folder: Path, script: str) -> AttemptEnd:
    """Run a script as an attempt with at most 8 processes; return the end that was recorded."""
    mark = f"limits-{os.getpid()}"
    env = {
        "PATH": os.environ["PATH"], MARKER: mark,
        VARIABLE: order(Confine(kind="none"), os.environ, (0, 0), ()),
    }  # fmt: skip
    argv = (
        *PROGRAM, "--end", str(folder / "end"), "--output", str(folder / "output"),
        "--output-bytes", "65536", "--memory-bytes", "0", "--processes", "8",
        "--folder", str(folder), "--write", str(folder), "--accept-unconfined",
        "--", "sh", "-c", script,
    )  # fmt: skip
    try:
        subprocess.run(argv, env=env, check=False, timeout=patience(20))
    finally:
        kill_members(None, mark)
    return msgspec.json.decode((folder / "end").read_bytes(), type=AttemptEnd)


@pytest.mark.parametrize(
    ("script", "because"),
    [
        (f"{ORPHANS} sleep 600", "processes"),
        ("i=0; while [ $i -lt 20 ]; do (setsid true &); i=$((i+1)); done; sleep 1; exit 3", ""),
    ],
)
def test_processes_that_left_their_parents_count_while_they_live(
    tmp_path: Path, script: str, because: str
) -> None:
    end = AttemptEnd(code=3) if not because else AttemptEnd(code=-9, because=because)
    assert run(tmp_path, script) == end

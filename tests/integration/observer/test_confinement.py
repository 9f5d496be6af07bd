"""What an agent puts in the way of an observer leads it nowhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.confinement import need
from tests.support.patience import patience

_PROGRAM = """
import os, sys
from pathlib import Path
from holdfast.machine.observer.confinement import confine
from holdfast.machine.observer.settings import read_settings
home, folder, other = map(Path, sys.argv[1:])
environ = {"HOLDFAST_AGENT_HOME": str(home), "HOLDFAST_OBSERVER_HOME": str(folder),
           "HOLDFAST_OBSERVER_WITHIN": str(home)}
assert confine(read_settings(environ)) == ""
(folder / "own").write_text("kept")
assert (home / "agents").read_text() == "of the agent"
import sqlite3
sqlite3.connect(folder / "own.sqlite").execute("CREATE TABLE t (c)")
for refused in (other / "secret", home / "link", home / "folder/secret", Path("/proc/1/environ")):
    try:
        refused.read_bytes()
    except PermissionError:
        print("refused", flush=True)
try:
    os.listdir(other)
except PermissionError:
    print("refused")
try:
    (other / "made").touch()
except PermissionError:
    print("refused")
"""


def test_what_is_of_others_is_refused_by_the_kernel(tmp_path: Path) -> None:
    need("landlock")
    home, folder, other = tmp_path / "home", tmp_path / "observer", tmp_path / "other"
    home.mkdir()
    other.mkdir()
    (other / "secret").write_text("of another")
    (home / "agents").write_text("of the agent")
    (home / "link").symlink_to(other / "secret")
    (home / "folder").symlink_to(other)
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(home), str(folder), str(other)],
        capture_output=True, text=True, check=False, timeout=patience(20),
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["refused"] * 6

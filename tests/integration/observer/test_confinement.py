"""What an agent puts in the way of an observer leads it nowhere, and does not hold it up."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

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


_READING = """
import sys
from pathlib import Path
from holdfast.machine.observer.readers.openclaw_sqlite import _reading
path = Path(sys.argv[1])
try:
    with _reading(path, path.parent) as connection:
        print(connection.execute("SELECT count(*) FROM transcript_events").fetchone())
except OSError as error:
    print(error.strerror)
"""


@pytest.mark.parametrize("beside", ["", "-journal", "-shm"])
def test_a_fifo_beside_a_database_is_not_opened(tmp_path: Path, beside: str) -> None:
    path = tmp_path / "openclaw-agent.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("CREATE TABLE transcript_events (session_id TEXT)")
    path.with_name(f"{path.name}-wal").touch()
    if beside:
        os.mkfifo(path.with_name(path.name + beside))
    done = subprocess.run(  # killed where it waits: SQLite hears of no other signal meanwhile
        [sys.executable, "-c", _READING, str(path)],
        capture_output=True, text=True, check=False, timeout=patience(10),
    )  # fmt: skip
    assert done.stdout.strip() == ("not a regular file" if beside else "(0,)"), done.stderr

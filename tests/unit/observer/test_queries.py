"""What an agent does to whoever reads its database costs one process and a bounded time."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.kernel.clock import ManualClock, SystemClock
from holdfast.machine.confine.sandbox import isolated
from holdfast.machine.observer import limits
from holdfast.machine.observer.readers.openclaw import OpenClaw
from holdfast.machine.observer.readers.openclaw_sqlite import DATABASE, SqliteTranscripts
from holdfast.machine.observer.readers.parts import Unread
from holdfast.machine.observer.readers.queries import GivenUpError, Queries, Query, UnansweredError
from tests.support.confinement import need
from tests.support.patience import patience

ENDLESS = (
    "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c)"
    " SELECT hex(n) session_id, 0 seq, '' event_json, 0 created_at FROM c"
)
_TABLE = "CREATE TABLE transcript_events (session_id TEXT, seq INTEGER, event_json, created_at)"


class Reading:
    """One database of an agent, and its reader."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "agents/main/agent" / DATABASE
        self.path.parent.mkdir(parents=True)
        self.clock = SystemClock()
        self.wanted = True
        self.queries = Queries(folder, clock=self.clock, unwanted=lambda: not self.wanted)
        self.openclaw = OpenClaw(folder, workspace=folder, log_folders=(), clock=self.clock)
        self.program = SqliteTranscripts(self.openclaw, self.queries, clock=self.clock)

    def made(self, path: Path | None = None) -> sqlite3.Connection:
        connection = sqlite3.connect(path or self.path, isolation_level=None)
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute(_TABLE)
        connection.execute("INSERT INTO transcript_events VALUES ('s1', 1, '{}', 1)")
        return connection

    def why(self) -> str:
        """Return why its only source cannot be read."""
        (source,) = self.program.sources("transcripts")
        assert isinstance(source, Unread)
        return str(source.error)

    def ask(self, sql: str) -> list[list[object]]:
        uri = f"file:{self.path}?mode=ro"
        return self.queries.ask(self.path, Query(uri, sql), list[list[object]])


@pytest.fixture
def reading(tmp_path: Path) -> Iterator[Reading]:
    made = Reading(tmp_path)
    yield made
    made.queries.close()


def test_a_pipe_in_the_place_of_its_index_is_said(reading: Reading) -> None:
    reading.made().close()
    reading.path.with_name(f"{DATABASE}-wal").touch()
    os.mkfifo(reading.path.with_name(f"{DATABASE}-shm"))
    assert reading.why().startswith(f"{DATABASE}: SQLITE_")


def test_a_pipe_beside_a_database_ends_one_read(
    reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = reading.made()
    connection.close()
    reading.path.with_name(f"{DATABASE}-wal").touch()
    at = reading.path.with_name(f"{DATABASE}-journal")
    os.mkfifo(at)
    with monkeypatch.context() as patched:
        patched.setattr(limits, "QUERY_S", 1)
        assert reading.why() == f"{DATABASE}: reading it took more than 1 s"
    began = reading.queries._failed[reading.path]
    assert reading.why() == f"{DATABASE}: reading it took more than 1 s"
    assert reading.queries._failed[reading.path] == began, "it was not read again so soon"
    at.unlink()
    reading.queries._failed.clear()
    assert [source.name for source in reading.program.sources("transcripts")] == [
        "openclaw/main/s1"
    ]


@pytest.mark.parametrize(
    ("rows", "because"),
    [
        ("hex(n)", "SQLITE_(CANTOPEN|NOMEM|FULL|IOERR)"),
        ("n % 3", "reading it was ended by SIGXCPU"),
    ],
)
def test_a_view_without_end_ends_one_read_and_others_are_read(
    reading: Reading, monkeypatch: pytest.MonkeyPatch, rows: str, because: str
) -> None:
    monkeypatch.setattr(limits, "QUERY_S", 3_600)
    monkeypatch.setattr(limits, "QUERY_CPU_S", 1 if "SIG" in because else 3_600)
    connection = reading.made()
    connection.execute("DROP TABLE transcript_events")
    connection.execute(
        "CREATE VIEW transcript_events AS WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1"
        f" FROM c) SELECT 's' || {rows} session_id, 0 seq, '' event_json, 0 created_at FROM c"
    )
    other = reading.folder / "agents/other/agent" / DATABASE
    other.parent.mkdir(parents=True)
    second = reading.made(other)
    looks = [
        {type(source).__name__ for source in reading.program.sources("transcripts")}
        for _ in range(2)
    ]
    assert looks[1] == {"Unread", "SqliteSession"}, "one read without an answer is enough a look"
    (failed,) = reading.queries._failed.values()
    assert re.search(because, failed.because), "it may not sort on the disk without end"
    second.close()
    connection.close()


def test_an_index_of_the_log_that_is_cut_off_ends_the_process_and_not_us(reading: Reading) -> None:
    """A mapped file that is cut is SIGBUS, the same as here."""
    connection = reading.made()
    assert reading.ask("SELECT 1") == [[1]]
    process = reading.queries._process
    assert process is not None
    reading.queries._running = lambda: process  # type: ignore[method-assign]  # no other one
    process.send_signal(7)
    with pytest.raises(UnansweredError, match="reading it was ended by SIGBUS"):
        reading.ask("SELECT 1")
    del reading.queries._running
    reading.queries._failed.clear()
    assert reading.ask("SELECT 2") == [[2]], "by another process"
    connection.close()


def test_a_read_that_is_not_wanted_any_more_is_given_up(reading: Reading) -> None:
    connection = reading.made()
    reading.wanted = False
    with pytest.raises(GivenUpError):
        reading.ask(f"SELECT sum(seq), hex(session_id) FROM ({ENDLESS})")
    reading.wanted = True
    assert reading.ask("SELECT 1") == [[1]], "and nothing is held against the database"
    connection.close()


_BUSY = """
import sqlite3, sys
made = sqlite3.connect(sys.argv[1], isolation_level=None)
made.execute("PRAGMA locking_mode = exclusive")
made.execute("INSERT INTO transcript_events VALUES ('s2', 1, '{}', 1)")
print("busy", flush=True)
sys.stdin.read()
made.close()
"""


@contextmanager
def busy(path: Path) -> Iterator[None]:
    """Add a session, and let nobody else read until the end.

    In a process of its own: one of ours that closes the file would give up the lock.
    """
    with subprocess.Popen(
        [sys.executable, "-c", _BUSY, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"busy\n"
        yield
        process.stdin.close()
        assert process.wait(patience(10)) == 0


def test_one_that_is_busy_has_what_it_had_and_is_looked_at_again(reading: Reading) -> None:
    reading.made().close()
    before = list(reading.program.sources("transcripts"))
    with busy(reading.path):
        assert list(reading.program.sources("transcripts")) == before
    now_ns = reading.clock.now_ms() * 1_000_000
    after = list(reading.program.sources("transcripts"))
    assert [source.name for source in after] == ["openclaw/main/s1", "openclaw/main/s2"]
    # Else what was written while it was busy would wait until every file is looked at.
    assert all(source.changed_ns >= now_ns for source in after)


def test_what_could_not_be_looked_at_yet_is_said_and_not_taken_for_nothing(
    reading: Reading,
) -> None:
    reading.made().close()
    with busy(reading.path):
        assert reading.why() == f"{DATABASE}: SQLITE_BUSY"
    reading.wanted = False
    (source,) = reading.program.sources("transcripts")
    assert isinstance(source, Unread)
    assert isinstance(source.error, GivenUpError)
    reading.wanted = True
    assert len(list(reading.program.sources("transcripts"))) == 2


def test_one_that_ended_for_want_of_questions_is_replaced(reading: Reading) -> None:
    connection = reading.made()
    assert reading.ask("SELECT 1") == [[1]]
    process = reading.queries._process
    assert process is not None
    process.terminate()
    process.wait(patience(10))
    process.returncode = 0  # that of one that ended by itself
    assert reading.ask("SELECT 2") == [[2]]
    connection.close()


def test_what_is_no_text_and_no_number_and_too_much_is_left_out(reading: Reading) -> None:
    connection = reading.made()
    assert reading.ask("SELECT x'00', 9e999, 'é', NULL, CAST(x'ff' AS TEXT)") == [
        [None, None, "é", None, "\ufffd"]
    ]
    with pytest.raises(OSError, match=f"{DATABASE}: SQLITE_ERROR"):
        reading.ask("SELECT seq FROM nothing_here")
    rows = reading.ask(f"SELECT printf('%.*c', 100000, 'a') FROM ({ENDLESS})")
    assert len(rows) == 2, "as many as fill an upload"
    connection.close()


_TRIED = """
import socket, sys
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
    for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK):
        try:
            socket.socket(family, kind)
        except PermissionError:
            print("refused")
for path in sys.argv[1:]:
    try:
        open(path, "a+")
        print("opened")
    except PermissionError:
        print("refused")
"""


def test_the_process_makes_no_socket_and_reaches_no_other_files(tmp_path: Path) -> None:
    need("landlock")
    (tmp_path / "own").mkdir()
    launch = isolated(
        [sys.executable, "-c", _TRIED, str(tmp_path / "own/file"), str(tmp_path / "other")],
        write=[str(tmp_path / "own")],
    )
    try:
        done = subprocess.run(
            launch.argv, env=launch.env, pass_fds=launch.inherited, capture_output=True, text=True,
            check=False, timeout=patience(20),
        )  # fmt: skip
    finally:
        launch.started()
    assert (done.stdout.split(), done.stderr) == (["refused"] * 8 + ["opened", "refused"], "")


def test_the_wait_for_a_database_grows(reading: Reading) -> None:
    clock = ManualClock(0)
    queries = Queries(reading.folder, clock=clock, unwanted=lambda: False)
    waits = []
    for _ in range(9):
        queries._remembered(reading.path, "it hangs")
        waits.append(queries._failed[reading.path].until_ms - clock.steady_ms())
    assert waits[:5] == sorted(waits[:5])
    assert waits[0] <= limits.QUERY_RETRY_FIRST_MS
    assert waits[-1] <= limits.QUERY_RETRY_MAX_MS
    for number in range(2 * limits.QUERY_FAILURES_KEPT):
        queries._remembered(Path(f"/{number}"), "it hangs")
    assert len(queries._failed) == limits.QUERY_FAILURES_KEPT

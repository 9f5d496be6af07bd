"""Opening SQLite files: one connection that writes and checkpoints, any number that only read.

SQLite before 3.51.3 can corrupt a WAL when two connections write or checkpoint at once. apsw brings
a newer one, and still exactly one connection does either.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

import apsw

from holdfast.disk.durable_file import sync_names
from holdfast.stores.migrate import migrate, shipped
from holdfast.stores.sqlite import MIGRATIONS
from holdfast.stores.trouble import Trouble

DAMAGE: Final = (apsw.CorruptError, apsw.NotADBError)
"""What SQLite raises when it finds that a file is damaged, or none of its own."""

UNWRITABLE: Final = (apsw.CantOpenError, apsw.FullError, apsw.IOError, apsw.ReadOnlyError)
"""What it raises when there is no room, or the disk or its rights do not let it write."""

BUSY_MS: Final = 5_000
"""How long a transaction waits for one of another process, in milliseconds."""

WRITER_CACHE_KIB: Final = 32_768
"""Page cache of a writer, unless its store sets another size."""
READER_CACHE_KIB: Final = 4_096
WAL_KEPT_BYTES: Final = 67_108_864
"""The size that the WAL is truncated to when it restarts; overwriting is quicker than growing."""


def open_store(
    path: Path,
    name: str,
    *,
    now_ms: int,
    cache_kib: int = WRITER_CACHE_KIB,
    checkpoint_pages: int = 0,
) -> apsw.Connection:
    """Open a store's file for writing, in the form of the migrations in the folder `name`.

    A commit that brings the WAL to `checkpoint_pages` checkpoints it; 0 leaves that to the
    store. Raise MigrationError when newer code wrote the file.
    """
    connection = open_writer(path)
    try:
        connection.execute(f"PRAGMA cache_size = -{cache_kib}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {checkpoint_pages}")
        if _is_new(connection):
            sync_names(path)
        migrations = shipped(MIGRATIONS / name)
        try:
            migrate(connection, migrations, now_ms=now_ms)
        except apsw.Error:
            # The command line may be creating the same file at the same moment; the second try
            # finds it done, or raises the real error.
            migrate(connection, migrations, now_ms=now_ms)
    except BaseException:
        connection.close()
        raise
    return connection


def _is_new(connection: apsw.Connection) -> bool:
    """Return whether no table was committed: one that has a table has names that are durable."""
    return not connection.execute("SELECT count(*) FROM sqlite_master").get


def make_trouble() -> Trouble:
    """Return what hears of one file's errors."""
    return Trouble(is_damage=lambda error: isinstance(error, DAMAGE), unwritable=UNWRITABLE)


def find_damage(path: Path, *, within_s: float) -> str:
    """Return what SQLite finds wrong with a file, or nothing; it looks for `within_s` at most.

    Only reading; raise apsw.Error where the file cannot be opened.
    """
    ends = time.monotonic() + within_s
    connection = open_reader(path)
    try:
        connection.set_progress_handler(lambda: time.monotonic() > ends, 10_000)
        found = [str(row[0]) for row in connection.execute("PRAGMA quick_check(1)")]
    except DAMAGE as error:
        return str(error)
    except apsw.InterruptError:
        return ""
    finally:
        connection.close()
    return "" if found == ["ok"] else found[0]


def open_writer(path: Path) -> apsw.Connection:
    """Open the file for writing; a new one is readable by its owner only.

    A commit is durable when it returns: synchronous is FULL.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    connection = apsw.Connection(
        str(path), flags=apsw.SQLITE_OPEN_READWRITE, statementcachesize=256
    )
    connection.set_busy_timeout(BUSY_MS)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_KEPT_BYTES}")
    # The statement journal of a bulk statement is kept in memory, not in a temporary file.
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


def open_reader(path: Path) -> apsw.Connection:
    """Open the file for reading only; raise apsw.CantOpenError when it is not there."""
    connection = apsw.Connection(
        f"{path.absolute().as_uri()}?mode=ro",
        flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI,
        statementcachesize=128,
    )
    connection.set_busy_timeout(BUSY_MS)
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute(f"PRAGMA cache_size = -{READER_CACHE_KIB}")
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection

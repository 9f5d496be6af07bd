"""Opens SQLite for a queue: durability, journal, tables; and classifies its errors.

Always the write-ahead log, never mmap, never an automatic checkpoint: the caller holds the folder's
lock around every write, checkpoint and close.
"""

from __future__ import annotations

import _sqlite3 as sqlite3
import os
from collections.abc import Callable
from typing import Final

from holdfast.disk.durable_file import sync_names
from holdfast.outbox import limits, statements

DATABASE: Final = "system.db"
"""The file's name in its folder."""
MEMORY: Final = "memory"
PROCESS: Final = "process"
POWER: Final = "power"
DURABILITIES: Final = (MEMORY, PROCESS, POWER)
"""`memory` survives nothing, `process` a crash of the program, `power` a loss of power too."""

_SYNCHRONOUS: Final = {MEMORY: "OFF", PROCESS: "NORMAL", POWER: "FULL"}
_PRIMARY: Final = 0xFF
_DAMAGE: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_CIRCUMSTANCE: Final = (
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_AUTH,
)  # fmt: skip


class UnavailableError(Exception):
    """The folder cannot be used now: full, read-only, locked; it may work later."""


class RenewedError(UnavailableError):
    """The database was damaged and has been renewed: what was rolled back may be repeated."""


Prepare = Callable[[sqlite3.Connection], None]
"""Makes the caller's own tables on a connection that was just opened."""


class DamagedError(Exception):
    """The database is damaged and must be set aside."""


BROKEN: Final = (sqlite3.Error, UnicodeError, DamagedError)
"""Errors of reading a damaged database: its names and error texts may not be UTF-8."""


def damage(error: sqlite3.Error) -> bool:
    """Return whether the error means a torn or corrupt file."""
    return _code(error) in _DAMAGE


def disk_full(error: sqlite3.Error) -> bool:
    """Return whether the error means that the disk is full."""
    return _code(error) == sqlite3.SQLITE_FULL


def circumstance(error: sqlite3.Error) -> bool:
    """Return whether the error concerns the disk, permissions or another connection."""
    return _code(error) in _CIRCUMSTANCE


def _code(error: sqlite3.Error) -> int:
    code = getattr(error, "sqlite_errorcode", None)
    return code & _PRIMARY if isinstance(code, int) else sqlite3.SQLITE_ERROR


def nothing_to_prepare(_connection: sqlite3.Connection) -> None:
    """Make no tables."""


def connect(
    path: str | None, durability: str, prepare: Prepare = nothing_to_prepare
) -> sqlite3.Connection:
    """Return a connection in autocommit mode, with tables; None as `path` keeps it in memory.

    Raise UnavailableError or DamagedError. The caller holds the folder's lock.
    """
    connection = None
    try:
        _create(path)
        connection = sqlite3.connect(
            ":memory:" if path is None else path,
            timeout=limits.SQLITE_BUSY_S,
            isolation_level=None,
            check_same_thread=False,
        )
        _set_up(connection, durability)
        if path is not None and _is_new(connection):
            # Before the first table: a file that has one was reached by names on the disk.
            sync_names(path)
        prepare(connection)
        _make_tables(connection)
    except UnavailableError:
        if connection is not None:
            connection.close()
        raise
    except BROKEN as error:
        if connection is not None:
            connection.close()
        if isinstance(error, sqlite3.Error) and circumstance(error):
            raise UnavailableError(f"{path}: {error}") from error
        raise DamagedError(f"{path}: {error}") from error
    return connection


def _create(path: str | None) -> None:
    """Create the file with mode 0600; SQLite would make it readable for everybody.

    An existing one is not opened: closing it again would end other connections' locks on it.
    """
    if path is None or os.path.exists(path):
        return
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return
    except OSError as error:
        raise UnavailableError(str(error)) from error


def _is_new(connection: sqlite3.Connection) -> bool:
    there: int = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    return not there


def _set_up(connection: sqlite3.Connection, durability: str) -> None:
    connection.execute("PRAGMA journal_mode = WAL").fetchone()
    for setting in (
        f"synchronous = {_SYNCHRONOUS[durability]}",
        # If there is more than one kind of fsync (macOS), the one that reaches the platter.
        "fullfsync = 1",
        "checkpoint_fullfsync = 1",
        "wal_autocheckpoint = 0",
        "mmap_size = 0",
        f"journal_size_limit = {limits.WAL_CHECKPOINT_BYTES}",
    ):
        connection.execute(f"PRAGMA {setting}").fetchall()


def _make_tables(connection: sqlite3.Connection) -> None:
    there = {row[1] for row in connection.execute("PRAGMA table_info(sync_queue)")}
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    wanted = {name for name, _ in statements.OUR_COLUMNS}
    if wanted <= there and {"outbox_meta", "outbox_notes", "outbox_event"} <= names:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(statements.QUEUE_TABLE)
        for name, kind in statements.OUR_COLUMNS if there else ():
            if name not in there:
                connection.execute(f"ALTER TABLE sync_queue ADD COLUMN {name} {kind}")
        connection.execute(statements.META_TABLE)
        connection.execute(statements.NOTES_TABLE)
        for index in statements.INDEXES:
            connection.execute(index)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")

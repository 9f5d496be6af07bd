"""Sets a damaged database aside, and reads from it what can still be read.

Nothing is deleted but the oldest of several quarantined sets. Every row is accepted only with a
valid checksum. It must never raise: the host program runs on whatever is found.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final, NamedTuple

from holdfast.outbox import limits, statements
from holdfast.outbox.counters import Counters, parse
from holdfast.outbox.rows import Found, believed

_SUFFIXES: Final = ("", "-wal")
_LOOKUPS_MAX: Final = 2 * limits.PENDING_ROWS_MAX
_DELIVERED: Final = 1
# A damaged schema may have names, and even error texts, that are not UTF-8.
_UNREADABLE: Final = (sqlite3.Error, UnicodeError, MemoryError, OverflowError)
_UNCLOSED: Final[list[sqlite3.Connection]] = []


def set_aside(name: str) -> Path:
    """Move the database and its log away; return the new path. Raise OSError on failure."""
    path = Path(name)
    taken = sorted(_sets(path))
    target = path.with_name(f"{path.name}.quarantine-{(taken[-1] if taken else 0) + 1:06d}")
    for suffix in _SUFFIXES:
        part = path.with_name(path.name + suffix)
        if part.exists() or part.is_symlink():
            part.rename(target.with_name(target.name + suffix))
    path.with_name(path.name + "-shm").unlink(missing_ok=True)
    for number in taken[: -limits.QUARANTINED_KEPT + 1]:
        for suffix in (*_SUFFIXES, "-shm"):
            old = path.with_name(f"{path.name}.quarantine-{number:06d}{suffix}")
            if old.is_file():
                old.unlink()
    return target


def quarantined(path: Path) -> int:
    """Return how many sets are beside the database."""
    return len(_sets(path))


def _sets(path: Path) -> list[int]:
    found = path.parent.glob(f"{path.name}.quarantine-*")
    return [int(tail) for file in found if (tail := file.name.rpartition("-")[2]).isdigit()]


class Salvage(NamedTuple):
    """What could be read: valid rows that are pending or dead, and the counts if valid."""

    rows: tuple[Found, ...]
    counters: Counters | None


def put_back(target: Path, name: str) -> None:
    """Undo `set_aside`; raise OSError when that fails."""
    path = Path(name)
    for suffix in (*_SUFFIXES, "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    for suffix in _SUFFIXES:
        part = target.with_name(target.name + suffix)
        if part.exists():
            part.rename(path.with_name(path.name + suffix))


def read_out(path: Path, *, last_row: int) -> Salvage:
    """Return the valid rows.

    `last_row` is the highest row number there was, as far as known.
    """
    if not path.is_file():
        return Salvage((), None)
    try:
        connection = sqlite3.connect(str(path), isolation_level=None, timeout=0)
    except sqlite3.Error:
        return Salvage((), None)
    try:
        rows = _rows(connection, last_row)
        return Salvage(tuple(rows.values()), _counters(connection))
    finally:
        # A corrupt log may make even closing fail; the file is not needed any more.
        try:
            connection.close()
        except sqlite3.Error:
            _UNCLOSED.append(connection)


def _counters(connection: sqlite3.Connection) -> Counters | None:
    try:
        row = connection.execute(statements.META_READ).fetchone()
        if row is None:
            return None
        source, *figures = row
        return parse((source.decode() if isinstance(source, bytes) else source, *figures))
    except _UNREADABLE:
        return None


def _rows(connection: sqlite3.Connection, last_row: int) -> dict[int, Found]:
    found: dict[int, Found] = {}
    connection.text_factory = bytes
    seen = 0
    try:
        connection.execute("PRAGMA mmap_size = 0")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        for raw in connection.execute(statements.SALVAGE_SCAN, (0,)):
            seen = raw[0] if isinstance(raw[0], int) else seen
            _keep(found, raw)
    except _UNREADABLE:
        for row in range(seen + 1, min(last_row, seen + _LOOKUPS_MAX) + 1):
            _look(connection, found, row)
    return found


def _look(connection: sqlite3.Connection, found: dict[int, Found], row: int) -> None:
    try:
        raw = connection.execute(statements.SALVAGE_ROW, (row,)).fetchone()
    except _UNREADABLE:
        # This row is on a page that is gone: it is counted by its absence.
        return
    if raw is not None:
        _keep(found, raw)


def _keep(found: dict[int, Found], raw: tuple[object, ...]) -> None:
    values = []
    for value in raw:
        try:
            values.append(value.decode() if isinstance(value, bytes) else value)
        except UnicodeDecodeError:
            return
    row = believed(tuple(values))
    if row is not None and row.state != _DELIVERED:
        found[row.row] = row

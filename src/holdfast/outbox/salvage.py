"""Sets a damaged database aside, and reads from it what can still be read.

Nothing is deleted but the oldest of several quarantined sets. Every row is accepted only with a
valid checksum. It must never raise: the host program runs on whatever is found.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from holdfast.disk.durable_file import sync_folder
from holdfast.outbox import limits, statements
from holdfast.outbox.counters import Counters, parse
from holdfast.outbox.rows import Found, believed

_SUFFIXES: Final = ("", "-wal", "-journal")
"""A journal left beside a database is applied to whatever has its name: it goes where that goes."""
_LOOKUPS_MAX: Final = 2 * limits.PENDING_ROWS_MAX
_DELIVERED: Final = 1
# A damaged schema may have names, and even error texts, that are not UTF-8.
_UNREADABLE: Final = (sqlite3.Error, UnicodeError, MemoryError, OverflowError)
_UNCLOSED: Final[list[sqlite3.Connection]] = []


SALVAGE: Final = ".salvage"
"""Added to the name of a damaged database while its rows are taken over into a new one."""


def set_aside(name: str) -> Path:
    """Move the database and its log away for good; return the new path. Raise OSError on failure.

    For what holds no rows; a database is set aside by `begin` and `finish`.
    """
    path = Path(name)
    target = _next_set(path)
    for suffix in _SUFFIXES:
        part = _part(path, suffix)
        if part.exists() or part.is_symlink():
            part.rename(_part(target, suffix))
    _part(path, "-shm").unlink(missing_ok=True)
    _remove_oldest(path)
    return target


def begin(name: str) -> Path:
    """Move a damaged database away while its rows are taken over; return its path there.

    What belongs to it goes first: `resume` tells by the database's name how far this came.
    """
    path = Path(name)
    aside = _part(path, SALVAGE)
    for suffix in reversed(_SUFFIXES):
        part = _part(path, suffix)
        if part.exists() or part.is_symlink():
            part.rename(_part(aside, suffix))
    _part(path, "-shm").unlink(missing_ok=True)
    return aside


def resume(name: str) -> None:
    """Undo a `begin` that was not finished, because its process was killed or the power went.

    The new database holds nothing but what was taken over; the damage is found once more. Raise
    OSError on failure.
    """
    path = Path(name)
    aside = _part(path, SALVAGE)
    if aside.exists():
        put_back(aside, name)
        return
    for suffix in _SUFFIXES[1:]:
        if _part(aside, suffix).exists() and path.exists():
            _part(aside, suffix).rename(_part(path, suffix))


def finish(name: str) -> None:
    """Keep the damaged database among the quarantined; its rows are in the new one, on the disk."""
    path = Path(name)
    aside, target = _part(path, SALVAGE), _next_set(path)
    for suffix in _SUFFIXES:
        if _part(aside, suffix).exists():
            _part(aside, suffix).rename(_part(target, suffix))
    # A name that came back with the power would undo what is stored from now on.
    with suppress(OSError):
        sync_folder(path.parent)
    _remove_oldest(path)


def _part(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _next_set(path: Path) -> Path:
    return _part(path, f".quarantine-{max(_sets(path), default=0) + 1:06d}")


def _remove_oldest(path: Path) -> None:
    for number in sorted(_sets(path))[: -limits.QUARANTINED_KEPT]:
        for suffix in (*_SUFFIXES, "-shm"):
            old = _part(path, f".quarantine-{number:06d}{suffix}")
            if old.is_file():
                old.unlink()


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
    """Undo `begin`; raise OSError when that fails."""
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

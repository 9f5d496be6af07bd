"""Pairing requests in OpenClaw's database, where they are since 2026.8.1.

The database belongs to the agent, whose main thread stops while another process holds its lock. So
it is opened read-only for one short read and closed again, never in a transaction that outlives the
rows. Its schema is private and changes with releases: a schema that differs by as little as a
column is reported as not understood, never as an empty list.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from holdfast.kernel.failure import brief
from holdfast.machine.controller.pairing import limits
from holdfast.machine.controller.pairing.openclaw.entries import channel_rows, device_rows
from holdfast.machine.controller.pairing.ports import Parts
from holdfast.machine.controller.pairing.state import DEVICES, Failure
from holdfast.machine.controller.process import atomic_file
from holdfast.wire.controller.pairing import Kind

KNOWN_VERSIONS: Final = frozenset({18})
"""Values of `user_version` with known tables; 18 is that of 2026.9.6."""

_CHANNEL_COLUMNS: Final[Mapping[str, str]] = {
    "channel_key": "channel", "account_id": "accountId", "request_id": "id", "code": "code",
    "created_at": "createdAt", "last_seen_at": "lastSeenAt", "meta_json": "meta",
}  # fmt: skip
_DEVICE_COLUMNS: Final[Mapping[str, str]] = {
    "request_id": "requestId", "device_id": "deviceId", "display_name": "displayName",
    "platform": "platform", "device_family": "deviceFamily", "client_id": "clientId",
    "client_mode": "clientMode", "role": "role", "roles_json": "roles", "scopes_json": "scopes",
    "remote_ip": "remoteIp", "is_repair": "isRepair", "ts": "ts",
    "refreshed_at_ms": "refreshedAtMs",
}  # fmt: skip
_TABLES: Final[Mapping[Kind, tuple[str, Mapping[str, str], str]]] = {
    "channels": ("channel_pairing_requests", _CHANNEL_COLUMNS, "created_at"),
    "devices": ("device_pairing_pending", _DEVICE_COLUMNS, "ts"),
}
_BESIDE: Final = ("-journal", "-wal", "-shm")
"""Files that SQLite opens besides the database, if they exist."""

_ROWS_READ_MAX: Final = 4 * limits.ROWS_MAX
"""Rows read at a time, newest first: expired ones stay until the agent prunes them."""


class SqliteSource:
    """Reads the database."""

    def __init__(
        self, path: str, *, below: str = "", is_serving: Callable[[], bool] = lambda: False
    ) -> None:
        """Read the database at `path`, which exists once the agent serves.

        `below` is a folder above it that the agent cannot replace; no step from there is a link.
        """
        self.name, self.debounce_ms = "sqlite", limits.DEBOUNCE_MS
        self._path = Path(path)
        self._below = Path(below) if below else None
        self._is_serving = is_serving

    async def look(self, kind: Kind, names: Sequence[str]) -> Parts:
        """Return the requests in the tables; see `Source`."""
        try:
            async with asyncio.timeout(limits.STORE_TIMEOUT_S):
                found = await asyncio.to_thread(self._read, kind)
        except TimeoutError:
            found = Failure("store_timeout", "Reading the pairing database took too long")
        if isinstance(found, Failure):
            if found.missing and self._is_serving():
                found = _unknown("the agent serves, and there is no database")
            return dict.fromkeys(names, found)
        if kind == "devices":
            return {DEVICES: device_rows(found)}
        return {
            name: channel_rows(name, [row for row in found if row["channel"] == name])
            for name in names
        }

    def _read(self, kind: Kind) -> list[dict[str, Any]] | Failure:
        try:
            with atomic_file.open_folder(self._path.parent, below=self._below) as folder:
                return self._read_in(folder, kind)
        except FileNotFoundError:
            return _missing(str(self._path))
        except atomic_file.NotAFileError:
            return _unknown("it is no plain file")
        except sqlite3.OperationalError as error:
            return _explain(error)
        except (sqlite3.Error, OSError, ValueError) as error:
            return _unreadable(error)

    def _read_in(self, folder: int, kind: Kind) -> list[dict[str, Any]] | Failure:
        """Read the database in an open folder; raise OSError and sqlite3.Error.

        SQLite opens a path and follows links, so the opened file is compared with the one that was
        checked: if the file was exchanged in between, its content is not returned.
        """
        name = self._path.name
        looked_at = _look_at(folder, name)
        uri = f"file:/proc/self/fd/{folder}/{quote(name)}?mode=ro"
        with closing(
            sqlite3.connect(uri, uri=True, timeout=limits.SQLITE_BUSY_S, isolation_level=None)
        ) as database:
            found = _select(database, kind)
            return found if _has_open(looked_at) else _unknown("it was exchanged meanwhile")


def _look_at(folder: int, name: str) -> tuple[int, int]:
    """Return the device and inode of the database; raise OSError if it must not be opened.

    A thread that opens a pipe never returns, and SQLite writes to the files beside a database.
    Nothing is opened here: closing any descriptor of a database drops its locks.
    """
    found = atomic_file.stat_plain(folder, name)
    for suffix in _BESIDE:
        with suppress(FileNotFoundError):
            atomic_file.stat_plain(folder, name + suffix)
    return found.st_dev, found.st_ino


def _has_open(file: tuple[int, int]) -> bool:
    """Return whether this process has a file open, by device and inode."""
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found = os.fstat(int(descriptor.name))
            if (found.st_dev, found.st_ino) == file:
                return True
    return False


def _select(database: sqlite3.Connection, kind: Kind) -> list[dict[str, Any]] | Failure:
    table, columns, order = _TABLES[kind]
    database.execute("BEGIN")  # version, columns and rows from one snapshot
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version == 0:
        return _missing("the database is being made")
    if version not in KNOWN_VERSIONS:
        return _unknown(f"user_version {version} is not known")
    there = {row[1] for row in database.execute(f"PRAGMA table_info({table})")}
    missing = sorted(columns.keys() - there)
    if missing:
        return _unknown(f"{table} has no {', '.join(missing)}")
    names = ", ".join(columns)
    rows = database.execute(
        f"SELECT {names} FROM {table} ORDER BY {order} DESC LIMIT {_ROWS_READ_MAX}"  # noqa: S608  names of ours
    ).fetchall()
    return [_entry(dict(zip(columns.values(), row, strict=True))) for row in rows]


def _entry(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row in the form of the agent's own lists."""
    for name in ("meta", "roles", "scopes"):
        if name in row:
            row[name] = _decode(row[name])
    if "isRepair" in row:
        row["isRepair"] = bool(row["isRepair"])
    return row


def _decode(text: object) -> Any:
    if not isinstance(text, str):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _missing(detail: str) -> Failure:
    return Failure("store_missing", "There is no pairing database", missing=True, detail=detail)


def _unknown(detail: str) -> Failure:
    message = "The pairing database has a layout that is not known"
    return Failure("store_unknown", message, strange=True, detail=detail)


def _unreadable(error: Exception) -> Failure:
    message = "The pairing database cannot be read"
    return Failure("store_unreadable", message, strange=True, detail=brief(error))


def _explain(error: sqlite3.OperationalError) -> Failure:
    """Return the failure for an error of opening or reading."""
    if error.sqlite_errorcode in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return Failure("store_busy", "The pairing database is locked", detail=brief(error))
    return _unreadable(error)

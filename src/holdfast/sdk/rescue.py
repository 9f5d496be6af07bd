"""Fills a new database with what is left of the one before: damaged and set aside, or deleted.

The queue salvages its own rows. Here the local record is taken from the database that was set
aside, row by row as far as it can be read, and what is missing there from events.jsonl.
"""

from __future__ import annotations

import _sqlite3 as sqlite3
import json
import os
from collections.abc import Iterable, Iterator
from typing import Any, Final

from holdfast.sdk import schema
from holdfast.sdk.identity import occasion_of

_UNREADABLE: Final = (sqlite3.Error, UnicodeError, MemoryError, OverflowError)
_LOG: Final = "events.jsonl"
_BEING_REPLACED: Final = "system.db.salvage"
"""The damaged database whose rows are taken over now; see the outbox's salvage."""
_TABLES: Final = {
    "hf_brain": 2,
    "hf_patterns": 2,
    "hf_corrections": 7,
    "hf_lessons": 12,
    "hf_verdicts": 6,
    "hf_events": 8,
}
"""Our tables, and how many columns each has."""


def refill(connection: sqlite3.Connection, folder: str) -> None:
    """Insert what can be read into the new tables; the caller is in a transaction."""
    there = os.listdir(folder)
    newest = _BEING_REPLACED if _BEING_REPLACED in there else ""
    newest = newest or max(filter(_is_set_aside, there), default="")
    if newest:
        _from_database(connection, os.path.join(folder, newest))
        # Some may be lost: the plane must send all verdicts once more.
        connection.execute("DELETE FROM hf_brain WHERE name = 'verdicts'")
    _from_log(connection, os.path.join(folder, _LOG))
    _corrections_of_events(connection)


def _is_set_aside(name: str) -> bool:
    return name.startswith("system.db.quarantine-") and name.rpartition("-")[2].isdigit()


def _from_database(connection: sqlite3.Connection, path: str) -> None:
    try:
        old = sqlite3.connect(path, isolation_level=None, timeout=0)
    except sqlite3.Error:
        return
    try:
        for table, columns in _TABLES.items():
            marks = ",".join("?" * columns)
            for row in _readable(old, table):
                _add(connection, f"INSERT OR IGNORE INTO {table} VALUES ({marks})", row)  # noqa: S608
    finally:
        try:
            old.close()
        except sqlite3.Error:
            # A corrupt log may make even closing fail; the file is not needed any more.
            _UNCLOSED.append(old)


_UNCLOSED: Final[list[sqlite3.Connection]] = []


def _readable(old: sqlite3.Connection, table: str) -> Iterator[tuple[Any, ...]]:
    """Yield rows until one cannot be read, then the readable ones from the other end."""
    for order in ("", " DESC"):
        try:
            yield from old.execute(f"SELECT * FROM {table} ORDER BY 1{order}")  # noqa: S608  # ours
        except _UNREADABLE:
            continue
        return


def _add(connection: sqlite3.Connection, statement: str, row: Iterable[Any]) -> None:
    try:
        connection.execute(statement, tuple(row))
    except sqlite3.IntegrityError:
        # A row that violates the table's own constraints was damaged.
        return


def _from_log(connection: sqlite3.Connection, path: str) -> None:
    """Add the events that only the log still has."""
    try:
        with open(path, "rb") as file:
            for line in file:
                event = _logged(line)
                if event is not None:
                    _add(
                        connection,
                        "INSERT OR IGNORE INTO hf_events VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                        event,
                    )
    except OSError:
        # Derived, and not there: nothing to take from it.
        return


def _logged(line: bytes) -> tuple[Any, ...] | None:
    if not line.startswith(b'{"n":'):
        return None
    try:
        read = json.loads(line)
        at_ms = _time(read["ts"])
        return (
            int(read["n"]), str(read["event_id"]), at_ms, str(read["type"]), str(read["source"]),
            read["session"], _text(read["data"]), _text(read["tags"]),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _time(text: str) -> int:
    from datetime import datetime  # noqa: PLC0415  # only a rescue needs it

    return round(datetime.fromisoformat(text).timestamp() * 1_000)


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _corrections_of_events(connection: sqlite3.Connection) -> None:
    """Make the rows that identify repeats, if they are missing; counts begin at one again."""
    missing = connection.execute(
        "SELECT id, at_ms, session, data_json FROM hf_events WHERE type = 'CORRECTION'"
        " AND id NOT IN (SELECT event FROM hf_corrections)"
    ).fetchall()
    for event, at_ms, session, data in missing:
        try:
            read = json.loads(data)
            values = (
                event, occasion_of(session, read["day"]), read["content_hash"],
                read["severity"], read["category"], at_ms,
            )  # fmt: skip
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
        _add(connection, schema.CORRECTION_ADD, values)

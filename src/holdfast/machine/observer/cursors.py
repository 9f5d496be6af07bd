"""How far each file was read, for each class: rows beside the queue, written in its transactions.

A cursor moves in the transaction that queues what it passed, so a kill at any point either queues
and moves or does neither. There is one writer: whoever holds the queue's folder.
"""

from __future__ import annotations

import _sqlite3 as sqlite3
from collections.abc import Callable
from typing import Final, NamedTuple

from holdfast.outbox.transaction import Transaction

NEVER: Final = -1

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS observer_cursors (
  id INTEGER PRIMARY KEY,
  content TEXT NOT NULL,
  stream TEXT NOT NULL,
  name TEXT NOT NULL,
  inode INTEGER NOT NULL,
  offset INTEGER NOT NULL,
  head TEXT NOT NULL,
  head_bytes INTEGER NOT NULL,
  tail TEXT NOT NULL,
  skipped INTEGER NOT NULL,
  bound_ms INTEGER NOT NULL,
  at_ms INTEGER NOT NULL,
  UNIQUE (content, stream)
)"""
_BOUNDS: Final = """
CREATE TABLE IF NOT EXISTS observer_bounds (
  content TEXT PRIMARY KEY,
  since_ms INTEGER NOT NULL
) WITHOUT ROWID"""
_INDEXES: Final = (
    "CREATE INDEX IF NOT EXISTS observer_inodes ON observer_cursors (content, inode)",
    "CREATE INDEX IF NOT EXISTS observer_names ON observer_cursors (content, name)",
)
_FIELDS: Final = "stream, name, inode, offset, head, head_bytes, tail, skipped, bound_ms, at_ms"
_SAVE: Final = (
    f"INSERT OR REPLACE INTO observer_cursors (content, {_FIELDS})"  # noqa: S608  # constants
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
# The newest row of a name or inode is that of the file that has it now.
_BY_NAME: Final = (
    f"SELECT content, {_FIELDS} FROM observer_cursors WHERE content = ? AND name = ?"  # noqa: S608
    " ORDER BY id DESC LIMIT 1"
)
_BY_INODE: Final = (
    f"SELECT content, {_FIELDS} FROM observer_cursors WHERE content = ? AND inode = ?"  # noqa: S608
    " ORDER BY id DESC LIMIT 1"
)
_REWIND: Final = (
    "UPDATE observer_cursors SET offset = min(offset, ?), tail = '', at_ms = 0"
    " WHERE content = ? AND stream = ?"
)
_WIDEN: Final = (
    "UPDATE observer_cursors SET offset = skipped, skipped = -1, tail = '', at_ms = 0"
    " WHERE content = ? AND skipped >= 0 AND bound_ms > ?"
)
_QUEUED: Final = (
    "SELECT substr(event_id, 1, instr(event_id, ':') - 1), count(*) FROM sync_queue"
    " WHERE state = 0 GROUP BY 1"
)
_WAITING: Final = "SELECT pending, pending_bytes FROM outbox_meta WHERE one = 1"


class Cursor(NamedTuple):
    """How far one file was read for one class.

    `offset` is the byte after the last full line that was passed. `head` and `tail` are hashes of
    the file's first `head_bytes`, and of the bytes before the cursor (empty: not known). `skipped`
    is where content begins that was too old to be sent, before `bound_ms`; -1 if there is none.
    `at_ms` is the time of the last line.
    """

    content: str
    stream: str
    name: str
    inode: int
    offset: int
    head: str
    head_bytes: int
    tail: str = ""
    skipped: int = NEVER
    bound_ms: int = 0
    at_ms: int = 0

    def passed_over(self, offset: int, since_ms: int) -> Cursor:
        """Return the cursor with a note that content from `offset` on was too old to be sent."""
        skipped = offset if self.skipped == NEVER else self.skipped
        return self._replace(skipped=skipped, bound_ms=max(self.bound_ms, since_ms))


def prepare(connection: sqlite3.Connection) -> None:
    """Make the table, on each connection that is opened."""
    connection.execute(_TABLE)
    connection.execute(_BOUNDS)
    for index in _INDEXES:
        connection.execute(index)


def save(current: Transaction, cursor: Cursor) -> None:
    """Write a cursor."""
    current.execute(_SAVE, cursor)


def rewind(current: Transaction, content: str, stream: str, offset: int) -> None:
    """Put a cursor back to `offset`, if it is beyond."""
    current.execute(_REWIND, (offset, content, stream))


def bounds(connection: sqlite3.Connection) -> dict[str, int]:
    """Return what the queue has nothing older than, by class: see `bound`."""
    return dict(connection.execute("SELECT content, since_ms FROM observer_bounds").fetchall())


def bound(current: Transaction, content: str, since_ms: int) -> None:
    """Note that what is queued of a class is not older than this."""
    current.execute("INSERT OR REPLACE INTO observer_bounds VALUES (?, ?)", (content, since_ms))


def widen(current: Transaction, content: str, since_ms: int) -> None:
    """Put cursors of a class back to what they passed over as older than a later time than this."""
    current.execute(_WIDEN, (content, since_ms))


Read = Callable[[Callable[[sqlite3.Connection], "Cursor | None"]], "Cursor | None"]


class CursorReader:
    """Finds the cursor of a file; raises UnavailableError where the folder cannot be read."""

    def __init__(self, read: Read) -> None:
        """Read with `read`, the queue's own."""
        self._read = read

    def of_name(self, content: str, name: str) -> Cursor | None:
        """Return the newest cursor of a name."""
        return self._read(lambda connection: _one(connection, _BY_NAME, (content, name)))

    def of_inode(self, content: str, inode: int) -> Cursor | None:
        """Return the newest cursor of an inode."""
        return self._read(lambda connection: _one(connection, _BY_INODE, (content, inode)))


def _one(connection: sqlite3.Connection, sql: str, values: tuple[str, str | int]) -> Cursor | None:
    row = connection.execute(sql, values).fetchone()
    return None if row is None else Cursor(*row)


def queued(connection: sqlite3.Connection) -> dict[str, int]:
    """Return how many rows wait, by class."""
    return dict(connection.execute(_QUEUED).fetchall())


def waiting(connection: sqlite3.Connection) -> tuple[int, int]:
    """Return how many rows wait, and their bytes."""
    row = connection.execute(_WAITING).fetchone()
    return (0, 0) if row is None else (row[0], row[1])

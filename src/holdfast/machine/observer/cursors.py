"""How far each file was read, for each class: rows beside the queue, written in its transactions.

A cursor moves in the transaction that queues what it passed, so a kill at any point either queues
and moves or does neither. There is one writer: whoever holds the queue's folder.
"""

from __future__ import annotations

import _sqlite3 as sqlite3
import json
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final, NamedTuple

from holdfast.machine.observer import limits
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
_GONE: Final = """
CREATE TABLE IF NOT EXISTS observer_gone (
  content TEXT NOT NULL,
  stream TEXT NOT NULL,
  since_ms INTEGER NOT NULL,
  PRIMARY KEY (content, stream)
) WITHOUT ROWID"""
_EDGES: Final = """
CREATE TABLE IF NOT EXISTS observer_edges (
  content TEXT NOT NULL,
  stream TEXT NOT NULL,
  offset INTEGER NOT NULL,
  PRIMARY KEY (content, stream, offset)
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
_EDGE: Final = "INSERT OR IGNORE INTO observer_edges VALUES (?, ?, ?)"
_EDGE_AT_CURSOR: Final = (
    "INSERT OR IGNORE INTO observer_edges SELECT content, stream, offset FROM observer_cursors"
    " WHERE content = ? AND stream = ?"
)
_EDGES_PASSED: Final = "DELETE FROM observer_edges WHERE content = ? AND stream = ? AND offset <= ?"
_EDGES_BEHIND: Final = (
    "DELETE FROM observer_edges WHERE content = ? AND offset <="
    " (SELECT offset FROM observer_cursors"
    " WHERE content = observer_edges.content AND stream = observer_edges.stream)"
)
_NEXT_EDGE: Final = (
    "SELECT min(offset) FROM observer_edges WHERE content = ? AND stream = ? AND offset > ?"
)
_EDGES_DROPPED: Final = (
    "DELETE FROM observer_edges WHERE content = :content"
    " AND stream NOT IN (SELECT stream FROM observer_cursors WHERE content = :content)"
)
_WIDEN: Final = (
    "UPDATE observer_cursors SET offset = skipped, skipped = -1, tail = '', at_ms = 0"
    " WHERE content = ? AND skipped >= 0 AND bound_ms > ?"
)
_STREAMS: Final = (
    "SELECT stream, name, inode FROM observer_cursors WHERE content = ? ORDER BY id DESC"
)
_NOT_GONE: Final = (
    "DELETE FROM observer_gone WHERE content = :content"
    " AND stream NOT IN (SELECT value FROM json_each(:gone))"
)
_GONE_NOW: Final = (
    "INSERT OR IGNORE INTO observer_gone SELECT :content, value, :now_ms FROM json_each(:gone)"
)
_DROP: Final = (
    "DELETE FROM observer_cursors WHERE content = :content AND stream IN ("
    " SELECT stream FROM observer_gone WHERE content = :content AND since_ms < :kept_ms)"
)
_DROP_MORE: Final = (
    "DELETE FROM observer_cursors WHERE content = :content AND stream IN ("
    " SELECT stream FROM observer_gone WHERE content = :content"
    " ORDER BY since_ms DESC LIMIT -1 OFFSET :most)"
)
_DROPPED: Final = (
    "DELETE FROM observer_gone WHERE content = :content"
    " AND stream NOT IN (SELECT stream FROM observer_cursors WHERE content = :content)"
)
_QUEUED: Final = (
    "SELECT substr(event_id, 1, instr(event_id, ':') - 1), count(*) FROM sync_queue"
    " WHERE state = 0 GROUP BY 1"
)
_REMEMBERED: Final = "SELECT event_id FROM sync_queue WHERE event_id >= ? AND event_id < ?"
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
    connection.execute(_GONE)
    connection.execute(_EDGES)
    for index in _INDEXES:
        connection.execute(index)


def save(current: Transaction, cursor: Cursor) -> None:
    """Write a cursor."""
    current.execute(_SAVE, cursor)
    current.execute(_EDGES_PASSED, (cursor.content, cursor.stream, cursor.offset))


class Place(NamedTuple):
    """Where an upload begins: its stream, and the offset there."""

    stream: str
    start: int


def rewind(
    current: Transaction, content: str, withdrawn: Iterable[Place], ends: Sequence[Place] = ()
) -> None:
    """Put cursors back to where withdrawn uploads began, if they are beyond; see `_keep_ends`."""
    _keep_ends(current, content, ends)
    for stream, start in withdrawn:
        current.execute(_REWIND, (start, content, stream))
    current.execute(_EDGES_BEHIND, (content,))


def _keep_ends(current: Transaction, content: str, uploads: Sequence[Place]) -> None:
    """Keep the ends of uploads as edges, at which reading stops, before cursors are put back.

    They may have arrived, with an answer or without one, and only an upload of the same events is
    known to the plane as the same. One ends where the next begins, the last one at the cursor.
    """
    for stream in {upload.stream for upload in uploads}:
        current.execute(_EDGE_AT_CURSOR, (content, stream))
    for stream, start in uploads:
        current.execute(_EDGE, (content, stream, start))


def remembered(current: Transaction, prefix: str) -> list[str]:
    """Return the event ids of the queue's rows that begin so: delivered ones too, for a while."""
    found = current.execute(_REMEMBERED, (prefix, prefix[:-1] + chr(ord(prefix[-1]) + 1)))
    return [event_id for (event_id,) in found.fetchall()]


def bounds(connection: sqlite3.Connection) -> dict[str, int]:
    """Return what the queue has nothing older than, by class: see `bound`."""
    return dict(connection.execute("SELECT content, since_ms FROM observer_bounds").fetchall())


def bound(current: Transaction, content: str, since_ms: int) -> None:
    """Note that what is queued of a class is not older than this."""
    current.execute("INSERT OR REPLACE INTO observer_bounds VALUES (?, ?)", (content, since_ms))


def widen(current: Transaction, content: str, since_ms: int, ends: Sequence[Place] = ()) -> None:
    """Put cursors of a class back to what they passed over as older than a later time than this.

    Uploads that begin at `ends` are read again as they were: see `_keep_ends`.
    """
    _keep_ends(current, content, ends)
    current.execute(_WIDEN, (content, since_ms))
    current.execute(_EDGES_BEHIND, (content,))


class Live(NamedTuple):
    """What is there now: names, and inodes of files."""

    names: AbstractSet[str]
    inodes: AbstractSet[int]


def find_gone(connection: sqlite3.Connection, content: str, live: Live) -> list[str]:
    """Return the streams of a class that no file will find: see `readers.files.find_cursor`.

    Of an inode and of a name it finds the newest.
    """
    names, inodes = set(live.names), set(live.inodes)
    gone = []
    for stream, name, inode in connection.execute(_STREAMS, (content,)):
        if inode not in inodes and name not in names:
            gone.append(stream)
        inodes.discard(inode)
        names.discard(name)
    return gone


def forget(current: Transaction, content: str, gone: Sequence[str], now_ms: int) -> None:
    """Drop cursors of what has been gone for long, and the oldest of too many."""
    values = {
        "content": content, "gone": json.dumps(gone), "now_ms": now_ms,
        "kept_ms": now_ms - limits.GONE_KEPT_MS, "most": limits.GONE_MAX,
    }  # fmt: skip
    for statement in (_NOT_GONE, _GONE_NOW, _DROP, _DROP_MORE, _DROPPED, _EDGES_DROPPED):
        current.execute(statement, values)


Read = Callable[[Callable[[sqlite3.Connection], Any]], Any]
"""Returns what the callable found in the queue's database."""


class CursorReader:
    """Finds the cursor of a file; raises UnavailableError where the folder cannot be read."""

    def __init__(self, read: Read) -> None:
        """Read with `read`, the queue's own."""
        self._read = read

    def of_name(self, content: str, name: str) -> Cursor | None:
        """Return the newest cursor of a name."""
        found: Cursor | None = self._read(
            lambda connection: _one(connection, _BY_NAME, (content, name))
        )
        return found

    def of_inode(self, content: str, inode: int) -> Cursor | None:
        """Return the newest cursor of an inode."""
        found: Cursor | None = self._read(
            lambda connection: _one(connection, _BY_INODE, (content, inode))
        )
        return found

    def next_edge(self, cursor: Cursor) -> int | None:
        """Return where the next upload has to end, if one that began there was withdrawn."""
        values = cursor.content, cursor.stream, cursor.offset
        found: int | None = self._read(
            lambda connection: connection.execute(_NEXT_EDGE, values).fetchone()[0]
        )
        return found


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

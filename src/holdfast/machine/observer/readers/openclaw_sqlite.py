"""Transcripts of OpenClaw releases that keep them in SQLite (compat/openclaw.md).

A database is opened read-only for one short query at a time, so that the agent's writes never wait
for us. In the log mode that OpenClaw uses (WAL) a reader and the writer do not meet at all; one in
another mode is left alone, because there a reader would hold the writer up. One without a log is
open nowhere, and is read without making a log.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias
from urllib.parse import quote

from holdfast.kernel.failure import OperationError
from holdfast.machine.controller.process import atomic_file
from holdfast.machine.observer import limits
from holdfast.machine.observer.cursors import Cursor, CursorReader
from holdfast.machine.observer.readers import files
from holdfast.machine.observer.readers.openclaw import OpenClaw, transcript_fields
from holdfast.machine.observer.readers.parts import Lines, Part, Source, event_id, stream_id
from holdfast.machine.observer.readers.records import Record, oversized, read_record, to_ms
from holdfast.wire.consent import ContentClass

DATABASE: Final = "openclaw-agent.sqlite"
_MODE_AT: Final = 18
_WAL: Final = b"\2\2"
"""Bytes 18 and 19 of a database in WAL mode (https://sqlite.org/fileformat.html)."""
_SESSIONS: Final = "SELECT session_id, max(seq) FROM transcript_events GROUP BY session_id"
_KIND: Final = "SELECT type FROM sqlite_schema WHERE name = 'transcript_events'"
_STEP: Final = 1_000_000
_STEPS_MAX: Final = 60
"""Millions of instructions of SQLite's machine that one look may take, since a table may have any
size: 2 to 10 s (a recursive sum and a large sort, measured on a machine with other work)."""
_BESIDE: Final = ("-journal", "-wal", "-shm")
"""What SQLite opens beside a database."""
_EVENTS: Final = (
    "SELECT seq, CASE WHEN length(event_json) <= ? THEN event_json END, created_at,"
    " length(event_json) FROM transcript_events"
    " WHERE session_id = ? AND seq >= ? ORDER BY seq LIMIT ?"
)


_Row: TypeAlias = tuple[int, str | None, Any, int | None]
"""Number, text, time and length of an event; no text where it is too long or compressed."""


class SqliteTranscripts:
    """The transcripts of every agent of one OpenClaw."""

    def __init__(self, openclaw: OpenClaw) -> None:
        """Look below the folders of its agents."""
        self._openclaw = openclaw

    def sources(self, content: ContentClass) -> Iterator[Source]:
        """Yield a source for each session of each database."""
        if content != "transcripts":
            return
        for agent, folder in self._openclaw.agents():
            path = folder / "agent" / DATABASE
            changed_ns = _changed_ns(path)
            if not changed_ns:
                continue
            below = self._openclaw.state
            try:
                with _reading(path, below) as connection:
                    found = [] if connection is None else connection.execute(_SESSIONS).fetchall()
            except (sqlite3.Error, OSError):
                # Another schema, or busy: the next look tries again.
                continue
            for session, newest in found:
                yield SqliteSession(
                    path, below, f"openclaw/{agent}/{session}", session, newest, changed_ns
                )


class SqliteSession(NamedTuple):
    """One session in a database; its cursor is the number of the next event.

    `below` is the folder from which on no link is followed.
    """

    path: Path
    below: Path
    name: str
    session: str
    newest: int
    changed_ns: int
    content: ContentClass = "transcripts"
    endpoint: Any = "events"

    def next_part(self, cursors: CursorReader, *, since_ms: int) -> Part | None:
        """Return the next events; see `parts.Source`."""
        cursor = self._cursor(cursors, self.content)
        return self._part(cursor, self._rows(cursor), since_ms)

    def next_lines(self, cursors: CursorReader, content: ContentClass) -> Lines | None:
        """Return raw events; see `parts.Source`."""
        cursor = self._cursor(cursors, content)
        rows = self._rows(cursor)
        if not rows:
            return None
        contents = [text.encode("utf-8", "replace") for _, text, _, _ in rows if text is not None]
        return Lines(contents, cursor._replace(offset=rows[-1][0] + 1), anew=cursor.offset == 0)

    def _cursor(self, cursors: CursorReader, content: ContentClass) -> Cursor:
        known = cursors.of_name(content, self.name)
        if known is not None and known.offset <= self.newest + 1:
            return known
        # New, or written anew: it ends before what was read of it.
        stream = stream_id(content, self.name, "sqlite")
        return Cursor(content, stream, self.name, 0, 0, "", 0)

    def _rows(self, cursor: Cursor) -> list[_Row]:
        if self.newest < cursor.offset:
            return []
        asked = (
            limits.LINE_BYTES_MAX, self.session, cursor.offset, limits.BLOCK_LINES_MAX,
        )  # fmt: skip
        try:
            with _reading(self.path, self.below) as connection:
                return [] if connection is None else _taken(connection.execute(_EVENTS, asked))
        except sqlite3.Error as error:
            raise OperationError(f"{DATABASE}: {error.sqlite_errorname}") from error

    def _part(self, cursor: Cursor, rows: list[_Row], since_ms: int) -> Part | None:
        values: list[Any] = []
        ids: list[str] = []
        size, end, at_ms, start = limits.BODY_ROOM_BYTES, cursor.offset, cursor.at_ms, cursor.offset
        for seq, text, created_at, length in rows:
            record = _record(seq, text, length or 0)
            if values and size + record.size > limits.BODY_BYTES_MAX:
                break
            end = seq + 1
            at_ms = record.at_ms or to_ms(created_at) or at_ms
            if at_ms < since_ms:
                cursor = cursor.passed_over(seq, since_ms)
                continue
            start = seq if not values else start
            values.append(record.value)
            ids.append(event_id(self.name, seq, (text or "").encode()))
            size += record.size + 1
        if end == cursor.offset:
            return None
        fields = transcript_fields(self.session, "")(values)
        moved = cursor._replace(offset=end, at_ms=at_ms)
        return Part(fields, tuple(ids), moved, start, more=end <= self.newest)


def _record(seq: int, text: str | None, size: int) -> Record:
    if size > limits.LINE_BYTES_MAX:
        return oversized(size)
    if text is None:
        # Compressed with zstd, which the standard library cannot read before Python 3.14.
        value = {"type": "unreadable", "encoding": "zstd", "seq": seq}
        return Record(value, 64, None)
    return read_record(text.encode("utf-8", "replace"))


def _taken(rows: Iterable[_Row]) -> list[_Row]:
    """Return as many rows as fill an upload; the rest is not taken into memory."""
    taken: list[_Row] = []
    size = 0
    for row in rows:
        taken.append(row)
        size += min(row[3] or 0, limits.LINE_BYTES_MAX)
        if size > limits.BODY_BYTES_MAX:
            break
    return taken


def _changed_ns(path: Path) -> int:
    """Return when the database or its log last changed, 0 if there is none."""
    newest = 0
    for name in (path, path.with_name(f"{path.name}-wal")):
        try:
            newest = max(newest, name.stat(follow_symlinks=False).st_mtime_ns)
        except OSError:
            continue
    return newest


@contextmanager
def _reading(path: Path, below: Path) -> Iterator[sqlite3.Connection | None]:
    """Open a database to read, None if it is not ours to read; raise sqlite3.Error or OSError.

    Without a log SQLite would make one, and leave it there. It is told instead that the file does
    not change; where it did meanwhile, that is an OSError, and what was read does not count.
    """
    before = _found(path, below)
    if _has_log(path):
        with _connected(path, "mode=ro") as connection:
            mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
            yield connection if mode == "wal" and _is_table(connection) else None
        return
    with files.opened(path, below=below) as file:
        mode = os.pread(file.descriptor, len(_WAL), _MODE_AT)
    if mode != _WAL:
        yield None
        return
    with _connected(path, "mode=ro&immutable=1") as connection:
        yield connection if _is_table(connection) else None
    if _has_log(path) or _found(path, below) != before:
        raise OSError(errno.EAGAIN, "changed while it was read", DATABASE)


def _connected(path: Path, how: str) -> closing[sqlite3.Connection]:
    uri = f"file:{quote(str(path))}?{how}"
    connection = sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None)
    steps = iter(range(_STEPS_MAX))
    connection.set_progress_handler(lambda: int(next(steps, None) is None), _STEP)
    return closing(connection)


def _is_table(connection: sqlite3.Connection) -> bool:
    """Return whether what is read is a table, and no view that computes what the agent likes."""
    return bool(connection.execute(_KIND).fetchone() == ("table",))


def _found(path: Path, below: Path) -> tuple[int, int, int]:
    """Return what changes with a database; raise OSError for what is no plain file of ours."""
    with atomic_file.open_folder(path.parent, below=below) as folder:
        found = atomic_file.stat_plain(folder, path.name)
        for name in _BESIDE:
            with suppress(FileNotFoundError):  # any other, a fifo above all, SQLite would wait for
                atomic_file.stat_plain(folder, path.name + name)
    return found.st_ino, found.st_size, found.st_mtime_ns


def _has_log(path: Path) -> bool:
    return os.path.lexists(f"{path}-wal")

"""Transcripts of OpenClaw releases that keep them in SQLite (compat/openclaw.md).

A database is opened read-only for one short query at a time, so that the agent's writes never wait
for us. In the log mode that OpenClaw uses (WAL) a reader and the writer do not meet at all; one in
another mode is left alone, because there a reader would hold the writer up. One without a log is
open nowhere, and is read without making a log. What else a database may do to whoever reads it,
it does to a process that is made for it (`queries`).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar
from urllib.parse import quote

from holdfast.kernel.clock import Clock
from holdfast.machine.controller.process import atomic_file
from holdfast.machine.observer import limits
from holdfast.machine.observer.cursors import Cursor, CursorReader
from holdfast.machine.observer.readers import files
from holdfast.machine.observer.readers.openclaw import OpenClaw, transcript_fields
from holdfast.machine.observer.readers.parts import (
    Lines,
    Part,
    Source,
    Unread,
    event_id,
    stream_id,
)
from holdfast.machine.observer.readers.queries import (
    OtherSchemaError,
    Queries,
    Query,
    UnansweredError,
)
from holdfast.machine.observer.readers.records import Record, oversized, read_record, to_ms
from holdfast.wire.consent import ContentClass

_T = TypeVar("_T")

DATABASE: Final = "openclaw-agent.sqlite"
_NS: Final = 1_000_000
"""Nanoseconds of a millisecond."""
_MODE_AT: Final = 18
_WAL: Final = b"\2\2"
"""Bytes 18 and 19 of a database in WAL mode (https://sqlite.org/fileformat.html)."""
_SESSIONS: Final = Query(
    "",
    "SELECT session_id, max(seq) FROM transcript_events"
    " WHERE typeof(session_id) = 'text' AND length(session_id) <= ? GROUP BY session_id"
    " HAVING typeof(max(seq)) = 'integer' ORDER BY session_id LIMIT ?",
    (limits.SESSION_CHARS_MAX, limits.SESSIONS_MAX),
    limits.QUERY_ANSWER_BYTES_MAX // 2,
)
_EVENTS: Final = Query(
    "",
    "SELECT seq, CASE WHEN length(event_json) <= ? THEN event_json END, created_at,"
    " length(event_json) FROM transcript_events"
    " WHERE session_id = ? AND seq >= ? ORDER BY seq LIMIT ?",
)

_Row: TypeAlias = tuple[int, str | None, Any, int | None]
"""Number, text, time and length of an event; no text where it is too long or compressed."""


class _Stamp(NamedTuple):
    """What changes with a database: inode, size and time in ns, of the file and of its log."""

    file: tuple[int, int, int]
    log: tuple[int, int, int] | None

    @property
    def changed_ns(self) -> int:
        return max(self.file[2], 0 if self.log is None else self.log[2])


class Database(NamedTuple):
    """A database of the agent; `below` is the folder from which on no link is followed."""

    path: Path
    below: Path
    queries: Queries

    def stamp(self) -> _Stamp:
        """Return what it is now; raise OSError for what is no plain file of ours."""
        name = self.path.name
        with atomic_file.open_folder(self.path.parent, below=self.below) as folder:
            file = atomic_file.stat_plain(folder, name)
            try:
                log = os.stat(f"{name}-wal", dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                return _Stamp(_told(file), None)
        return _Stamp(_told(file), _told(log))

    def sessions(self) -> list[tuple[str, int]]:
        """Return each session with the number of its newest event; raise OSError."""
        return self._read(_SESSIONS, list[tuple[str, int]])

    def events(self, session: str, seq: int) -> list[_Row]:
        """Return events of a session from a number on, an upload's worth; raise OSError."""
        asked = limits.LINE_BYTES_MAX, session, seq, limits.BLOCK_LINES_MAX
        return self._read(_EVENTS._replace(values=asked), list[_Row])

    def _read(self, query: Query, kind: type[list[_T]]) -> list[_T]:
        """Return rows, none where it is not ours to read; raise OSError.

        Without a log SQLite would make one, and leave it there. It is told instead that the file
        does not change; where it did meanwhile, what was read does not count.
        """
        before = self.stamp()
        with files.opened(self.path, below=self.below) as file:
            if os.pread(file.descriptor, len(_WAL), _MODE_AT) != _WAL:
                return []
        how = "mode=ro" if before.log else "mode=ro&immutable=1"
        uri = f"file:{quote(str(self.path))}?{how}"
        rows = self.queries.ask(self.path, query._replace(uri=uri), kind)
        if not before.log and self.stamp() != before:
            raise OSError(errno.EAGAIN, "changed while it was read", DATABASE)
        return rows


class _Listed(NamedTuple):
    """The sessions of a database, what that was then, and when it was looked at, in ms.

    The stamp is None where it could not be looked at yet. `is_behind` if a later look failed;
    `changed_ns` of the next one is then its own time, since the change was passed over.
    """

    found: list[tuple[str, int]]
    stamp: _Stamp | None
    at_ms: int
    changed_ns: int
    is_behind: bool = False

    def holds(self, stamp: _Stamp) -> bool:
        """Return whether there is nothing new: change times are coarse, see CHANGE_MARGIN_MS."""
        quiet_ms = self.at_ms - stamp.changed_ns // _NS
        return not self.is_behind and self.stamp == stamp and quiet_ms > limits.CHANGE_MARGIN_MS


_UNLISTED: Final = _Listed([], None, 0, 0)


class SqliteTranscripts:
    """The transcripts of every agent of one OpenClaw."""

    def __init__(self, openclaw: OpenClaw, queries: Queries, *, clock: Clock) -> None:
        """Look below the folders of its agents."""
        self._openclaw = openclaw
        self._queries = queries
        self._clock = clock
        self._listed: dict[Path, _Listed] = {}

    def sources(self, content: ContentClass) -> Iterator[Source]:
        """Yield a source for each session of each database, and one where reading did not end."""
        if content != "transcripts":
            return
        before, self._listed = self._listed, {}
        is_over = False
        for agent, folder in self._openclaw.agents():
            database = Database(folder / "agent" / DATABASE, self._openclaw.state, self._queries)
            known = before.get(database.path, _UNLISTED)
            if is_over:
                self._listed[database.path] = known._replace(is_behind=True)
                continue
            listed, unread = self._look(database, known)
            if listed is None:
                continue
            self._listed[database.path] = listed
            name = f"openclaw/{agent}"
            if unread is not None:
                yield Unread("transcripts", f"{name}/{DATABASE}", unread)
                # One read without an answer is enough for one look at the files.
                is_over = isinstance(unread, UnansweredError) and unread.is_new
                continue
            for session, newest in listed.found:
                yield SqliteSession(
                    database, f"{name}/{session}", session, newest, listed.changed_ns
                )

    def _look(self, database: Database, known: _Listed) -> tuple[_Listed | None, OSError | None]:
        """Return the sessions of a database, and why they cannot be read, if so.

        None where there is no database of ours, or one with another schema. One that is busy, or
        whose answer is not wanted any more, has those that it had.
        """
        try:
            stamp = database.stamp()
        except OSError:
            return None, None
        if known.holds(stamp):
            return known, None
        try:
            found = database.sessions()
        except OtherSchemaError:
            return None, None
        except OSError as error:
            is_known = known.stamp is not None and not isinstance(error, UnansweredError)
            return known._replace(is_behind=True), None if is_known else error
        now_ms = self._clock.now_ms()
        changed_ns = now_ms * _NS if known.is_behind else stamp.changed_ns
        return _Listed(found, stamp, now_ms, changed_ns), None


class SqliteSession(NamedTuple):
    """One session in a database; its cursor is the number of the next event."""

    database: Database
    name: str
    session: str
    newest: int
    changed_ns: int
    content: ContentClass = "transcripts"
    endpoint: Any = "events"
    inode: int = 0

    def next_part(self, cursors: CursorReader, *, since_ms: int) -> Part | None:
        """Return the next events; see `parts.Source`."""
        cursor = self._cursor(cursors, self.content)
        rows = self._rows(cursor)
        edge = cursors.next_edge(cursor)
        # Where nothing is left before the edge, it is none.
        before = rows if edge is None else [row for row in rows if row[0] < edge]
        return self._part(cursor, before or rows, since_ms)

    def next_lines(self, cursors: CursorReader, content: ContentClass) -> Lines | None:
        """Return raw events; see `parts.Source`."""
        cursor = self._cursor(cursors, content)
        rows = self._rows(cursor)
        if not rows:
            return None
        contents = [text.encode("utf-8", "replace") for _, text, _, _ in rows if text is not None]
        return Lines(contents, cursor._replace(offset=rows[-1][0] + 1), anew=cursor.offset == 0)

    def unread(self, cursors: CursorReader, content: ContentClass) -> int | None:
        """Return 0 while it has events that were not read; their bytes are not known."""
        return 0 if self._cursor(cursors, content).offset <= self.newest else None

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
        return self.database.events(self.session, cursor.offset)

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


def _told(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_ino, found.st_size, found.st_mtime_ns

"""A file that grows by lines: a transcript or a log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from holdfast.machine.observer import limits
from holdfast.machine.observer.cursors import NEVER, Cursor, CursorReader
from holdfast.machine.observer.readers import files
from holdfast.machine.observer.readers.files import Opened
from holdfast.machine.observer.readers.parts import Lines, Part, event_id
from holdfast.machine.observer.readers.records import oversized, read_record
from holdfast.machine.observer.upload import Endpoint
from holdfast.wire.consent import ContentClass

_COMMA: Final = 1


class LineFile(NamedTuple):
    """A file of lines. `name` is what the plane calls it, wherever it lies and however renamed.

    `below` is the folder from which on no link is followed. `fields` makes a body of its lines.
    `size` and `inode` are what it had when it was listed.
    """

    content: ContentClass
    endpoint: Endpoint
    path: Path
    below: Path | None
    name: str
    changed_ns: int
    fields: Callable[[list[Any]], dict[str, Any]]
    size: int = 0
    inode: int = 0

    def next_part(self, cursors: CursorReader, *, since_ms: int) -> Part | None:
        """Return the next lines; see `parts.Source`."""
        with files.opened(self.path, below=self.below) as file:
            if not file.size:
                return None
            cursor = files.find_cursor(file, cursors, self.content, self.name)
            if file.modified_ms < since_ms and cursor.offset < file.size:
                return _all_too_old(file, cursor, since_ms)
            return self._lines(file, cursor, since_ms, cursors.next_edge(cursor))

    def next_lines(self, cursors: CursorReader, content: ContentClass) -> Lines | None:
        """Return raw lines; see `parts.Source`."""
        with files.opened(self.path, below=self.below) as file:
            if not file.size:
                return None
            cursor = files.find_cursor(file, cursors, content, self.name)
            found = list(files.lines_after(file, cursor.offset))
            if not found:
                return None
            end = found[-1].end
            moved = cursor._replace(offset=end, tail=files.tail_of(file, end))
            contents = [line.content for line in found if line.content is not None]
            return Lines(contents, moved, anew=cursor.offset == 0, left=max(file.size - end, 0))

    def unread(self, cursors: CursorReader, content: ContentClass) -> int | None:
        """Return the bytes behind the cursor of its name; see `parts.Source`."""
        known = cursors.of_name(content, self.name)
        offset = 0 if known is None else known.offset
        return self.size - offset if self.size > offset else None

    def _lines(self, file: Opened, cursor: Cursor, since_ms: int, edge: int | None) -> Part | None:
        values: list[Any] = []
        ids: list[str] = []
        size, end, at_ms = limits.BODY_ROOM_BYTES, cursor.offset, cursor.at_ms
        start, too_long = NEVER, 0
        for line in files.lines_after(file, cursor.offset):
            if edge is not None and end > cursor.offset and line.start >= edge:
                break
            record = (
                oversized(line.end - line.start - 1)
                if line.content is None
                else read_record(line.content)
            )
            full = values and size + record.size + _COMMA > limits.BODY_BYTES_MAX
            if full or len(values) >= limits.BLOCK_LINES_MAX:
                break
            end = line.end
            # A line without a time has that of the one before it; the first one, the file's.
            at_ms = record.at_ms or at_ms or file.modified_ms
            if at_ms < since_ms:
                cursor = cursor.passed_over(line.start, since_ms)
            elif line.content != b"":
                too_long += line.content is None
                start = line.start if start == NEVER else start
                values.append(record.value)
                ids.append(event_id(self.name, line.start, line.content or b""))
                size += record.size + _COMMA
        if end == cursor.offset:
            return None
        moved = cursor._replace(offset=end, tail=files.tail_of(file, end), at_ms=at_ms)
        left = max(file.size - end, 0)
        return Part(
            self.fields(values), tuple(ids), moved, max(start, 0), more=left > 0, left=left,
            too_long=too_long,
        )  # fmt: skip


def _all_too_old(file: Opened, cursor: Cursor, since_ms: int) -> Part | None:
    """Pass over a file that has not changed since what may be sent began."""
    end = files.last_line_end(file)
    if end <= cursor.offset:
        return None
    passed = cursor.passed_over(cursor.offset, since_ms)
    moved = passed._replace(offset=end, tail=files.tail_of(file, end))
    return Part({}, (), moved, cursor.offset, more=False)

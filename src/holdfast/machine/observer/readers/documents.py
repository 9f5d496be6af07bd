"""A file that is sent whole when it has changed: a memory file, or the list of cron jobs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from holdfast.kernel.clock import Clock
from holdfast.machine.observer import limits
from holdfast.machine.observer.cursors import Cursor, CursorReader
from holdfast.machine.observer.readers import files
from holdfast.machine.observer.readers.parts import Lines, Part, encoded, event_id, stream_id
from holdfast.machine.observer.upload import Endpoint
from holdfast.wire.consent import ContentClass


class Document(NamedTuple):
    """A file's bytes, when they last changed, and the oldest content that may be sent."""

    name: str
    raw: bytes
    modified_ms: int
    since_ms: int


class Body(NamedTuple):
    """The fields of a body, None for nothing to send; `older` if something was too old for it."""

    fields: dict[str, Any] | None
    older: bool = False


_TOO_OLD: Final = Body(None, older=True)


class DocumentFile(NamedTuple):
    """A file that is read as a whole; `body` makes what is sent of it.

    A file is read once it has not changed for a second, since it may be half written.
    """

    content: ContentClass
    endpoint: Endpoint
    path: Path
    below: Path | None
    name: str
    changed_ns: int
    clock: Clock
    body: Callable[[Document], Body]
    inode: int = 0

    def next_part(self, cursors: CursorReader, *, since_ms: int) -> Part | None:
        """Return the whole file, if it is another than the last one; see `parts.Source`."""
        if 0 <= self.clock.now_ms() - self.changed_ns // 1_000_000 < limits.SETTLED_MS:
            return None
        raw, file = files.read_whole(self.path, below=self.below, limit=limits.DOCUMENT_BYTES_MAX)
        digest = hashlib.sha256(raw).hexdigest()
        known = cursors.of_name(self.content, self.name)
        # An offset of 0 is that of a document that was withdrawn from the queue.
        if known is not None and known.tail == digest and known.offset:
            return None
        stream = stream_id(self.content, self.name, "")
        cursor = Cursor(
            self.content, stream, self.name, file.inode, file.modified_ms, "", 0, tail=digest,
            at_ms=file.modified_ms,
        )  # fmt: skip
        document = Document(self.name, raw, file.modified_ms, since_ms)
        body = _TOO_OLD if file.modified_ms < since_ms else self.body(document)
        if body.older:
            cursor = cursor.passed_over(0, since_ms)
        if body.fields is None:
            return Part({}, (), cursor, 0, more=False)
        # Of what is sent: another since_ms makes another body of the same bytes.
        ids = (event_id(self.name, file.modified_ms, encoded(body.fields)),)
        return Part(body.fields, ids, cursor, 0, more=False)

    def next_lines(self, _cursors: CursorReader, _content: ContentClass) -> Lines | None:
        """Return nothing: it has no lines."""
        return None

    def unread(self, _cursors: CursorReader, _content: ContentClass) -> int | None:
        """Return nothing: it is read as a whole."""
        return None

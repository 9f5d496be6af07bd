"""What a reader returns: one upload's worth of content, and the cursor behind it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import msgspec

from holdfast.machine.observer.cursors import Cursor, CursorReader
from holdfast.machine.observer.upload import Endpoint
from holdfast.wire.consent import ContentClass

_ID_DIGITS = 24
_STREAM_DIGITS = 16


class Part(NamedTuple):
    """The fields of one body, the ids of its events, and where reading goes on.

    Ids are made of content, so they stay on the machine: the collector sends names of them. Without
    any there is nothing to send: the cursor passes what is too old. `start` is where the part
    begins, `more` whether the source has more already, and `left` how many bytes of it, 0 where
    they are not known. `too_long` counts lines of which only the length is sent.
    """

    fields: Mapping[str, Any]
    event_ids: tuple[str, ...]
    cursor: Cursor
    start: int
    more: bool
    left: int = 0
    too_long: int = 0


class Lines(NamedTuple):
    """Raw lines after a cursor, and the cursor behind them; `anew` if they begin their file.

    `left` is as in a part.
    """

    contents: list[bytes]
    cursor: Cursor
    anew: bool
    left: int = 0


class Source(Protocol):
    """One thing that is read: a file, or a session in a database.

    `changed_ns` is when it last changed, by the file system's clock.
    """

    @property
    def name(self) -> str:
        """Return what it is called, the same as in its cursor."""
        ...

    @property
    def inode(self) -> int:
        """Return its file's, 0 for what is known by its name alone."""
        ...

    @property
    def content(self) -> ContentClass:
        """Return its class."""
        ...

    @property
    def endpoint(self) -> Endpoint:
        """Return where its content is sent."""
        ...

    @property
    def changed_ns(self) -> int:
        """Return when it last changed, in ns since the epoch."""
        ...

    def next_part(self, cursors: CursorReader, /, *, since_ms: int) -> Part | None:
        """Return what comes next that is not older than `since_ms`; None if there is nothing.

        Raise OSError where it cannot be read now.
        """
        ...

    def next_lines(self, cursors: CursorReader, content: ContentClass, /) -> Lines | None:
        """Return raw lines after the cursor of another class; None if there are none."""
        ...

    def unread(self, cursors: CursorReader, content: ContentClass, /) -> int | None:
        """Return how many bytes the cursor of a class has before it, 0 where they are not known.

        None for nothing, and for what is read as a whole. It opens nothing.
        """
        ...


class Unread(NamedTuple):
    """What cannot be read or listed: it is a source, so that it is said as of any other."""

    content: ContentClass
    name: str
    error: OSError
    endpoint: Endpoint = "events"
    changed_ns: int = 2**63 - 1
    inode: int = 0

    def next_part(
        self,
        _cursors: CursorReader,
        *,
        since_ms: int,  # noqa: ARG002  of the protocol
    ) -> Part | None:
        """Raise why it cannot be read."""
        raise self.error.with_traceback(None)

    def next_lines(self, _cursors: CursorReader, _content: ContentClass) -> Lines | None:
        """Raise why it cannot be read."""
        raise self.error.with_traceback(None)

    def unread(self, _cursors: CursorReader, _content: ContentClass) -> int | None:
        """Return nothing: nobody knows."""
        return None


def event_id(name: str, offset: int, content: bytes) -> str:
    """Return the id of a piece of content: the same whenever the same is read at the same place."""
    digest = hashlib.sha256(f"{name}\0{offset}\0".encode("utf-8", "surrogateescape"))
    digest.update(content)
    return digest.hexdigest()[:_ID_DIGITS]


def stream_id(content: str, name: str, head: str) -> str:
    """Return the id of a stream: of one file's content from its first byte on."""
    told = f"{content}\0{name}\0{head}".encode("utf-8", "surrogateescape")
    return hashlib.sha256(told).hexdigest()[:_STREAM_DIGITS]


def encoded(value: Any) -> bytes:
    """Return a value as compact JSON."""
    return msgspec.json.encode(value)

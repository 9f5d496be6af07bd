"""Opens files of the agent, and tells a file that grew from one that was cut, replaced or renamed.

A file is known by its inode and by a hash of its first bytes; whether it was written anew behind
them shows in a hash of the bytes before the cursor. Only plain files of our user are opened, and no
link is followed: what is read leaves the machine.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from holdfast.machine.controller.process import atomic_file
from holdfast.machine.observer import limits
from holdfast.machine.observer.cursors import Cursor, CursorReader
from holdfast.machine.observer.readers.parts import stream_id

_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_HASH_DIGITS: Final = 32
_SKIP_BYTES: Final = 65_536
_SKIP_BYTES_MAX: Final = 67_108_864
"""Bytes that are searched at a time for the end of a line. A longer one is passed over piece by
piece, holes of a sparse file at once, and each piece stands for a line."""

_within: tuple[Path, ...] = ()


def stay_within(folders: Sequence[Path]) -> None:
    """Open nothing outside of these folders from now on, and follow no link from there on.

    An agent in a sandbox can name what lies outside: by a link in its home that its own programs
    cannot follow, and we could. The folders are those that it cannot replace. For the process as a
    whole, and no way back; without folders, nothing changes.
    """
    global _within  # noqa: PLW0603  one observer a process
    _within = (*_within, *folders)


def _root_of(path: Path) -> Path | None:
    """Return which of the folders a path is in, None without folders; raise OSError outside."""
    if not _within:
        return None
    for folder in _within:
        if path.is_relative_to(folder):
            return folder
    raise OSError(errno.EACCES, "not in the agent's home", path.name)


class Opened(NamedTuple):
    """An open file, its size, inode, and time of the last change of its content in ms."""

    descriptor: int
    size: int
    inode: int
    modified_ms: int


@contextmanager
def opened(path: Path, *, below: Path | None) -> Iterator[Opened]:
    """Open a plain file of ours; raise OSError for any other, also for one behind a link.

    `below` is the folder from which on no step may be a link; see `atomic_file.open_folder`.
    """
    with atomic_file.open_folder(path.parent, below=_root_of(path) or below) as folder:
        descriptor = os.open(path.name, _FLAGS, dir_fd=folder)
    try:
        found = os.fstat(descriptor)
        atomic_file.check_plain(found, path.name)
        modified_ms = found.st_mtime_ns // 1_000_000
        yield Opened(descriptor, found.st_size, found.st_ino, modified_ms)
    finally:
        os.close(descriptor)


def find_cursor(file: Opened, cursors: CursorReader, content: str, name: str) -> Cursor:
    """Return where reading goes on: where it was, or at 0 for a file that is new, cut or replaced.

    A file that was renamed keeps its cursor by its inode; one that was replaced by a copy with the
    same content keeps it by its name.
    """
    for known in (cursors.of_inode(content, file.inode), cursors.of_name(content, name)):
        if known is not None and _goes_on(file, known):
            return known._replace(name=name, inode=file.inode)
    head_bytes = min(file.size, limits.HEAD_BYTES)
    head = _hash(file, 0, head_bytes)
    return Cursor(content, stream_id(content, name, head), name, file.inode, 0, head, head_bytes)


def _goes_on(file: Opened, known: Cursor) -> bool:
    """Return whether the file still begins with what the cursor has passed."""
    if file.size < max(known.offset, known.head_bytes):
        return False
    if _hash(file, 0, known.head_bytes) != known.head:
        return False
    return not known.tail or tail_of(file, known.offset) == known.tail


def tail_of(file: Opened, offset: int) -> str:
    """Return the hash of the bytes before an offset, empty at 0."""
    start = max(offset - limits.TAIL_BYTES, 0)
    return _hash(file, start, offset - start) if offset else ""


def _hash(file: Opened, start: int, size: int) -> str:
    return hashlib.sha256(os.pread(file.descriptor, size, start)).hexdigest()[:_HASH_DIGITS]


class Line(NamedTuple):
    """A full line without its end; `content` is None where it is longer than the bound.

    Of a line that is longer than what is searched for its end it is one piece.
    """

    start: int
    end: int
    content: bytes | None


def lines_after(file: Opened, offset: int) -> Iterator[Line]:
    """Yield full lines of one block from an offset on, at least one if the file has one.

    A line whose end is not written yet is not there yet.
    """
    if offset and os.pread(file.descriptor, 1, offset - 1) != b"\n":
        # A piece of a line was passed over: this is its next.
        yield from _long_line(file, offset, passed=True)
        return
    block = os.pread(file.descriptor, limits.BLOCK_BYTES, offset)
    at = 0
    while (end := block.find(b"\n", at)) >= 0:
        yield Line(offset + at, offset + end + 1, block[at:end])
        at = end + 1
    if at == 0 and len(block) == limits.BLOCK_BYTES:
        yield from _long_line(file, offset, passed=False)


def _long_line(file: Opened, offset: int, *, passed: bool) -> Iterator[Line]:
    """Yield a line that is longer than a block, or a piece of it; nothing while its end is open."""
    end = _end_of_line(file, offset)
    if end is None:
        return
    size = end - 1 - offset
    is_long = passed or size > limits.LINE_BYTES_MAX
    yield Line(offset, end, None if is_long else os.pread(file.descriptor, size, offset))


def _end_of_line(file: Opened, offset: int) -> int | None:
    """Return where a line ends, or where its next piece begins; None where it is not that far."""
    last = offset + _SKIP_BYTES_MAX
    at = offset
    while at < last:
        data = _next_data(file, at)
        if data > at:
            at = data
            continue
        block = os.pread(file.descriptor, _SKIP_BYTES, at)
        if not block:
            return None
        found = block.find(b"\n")
        if found >= 0:
            return at + found + 1
        at += len(block)
    return at


def _next_data(file: Opened, offset: int) -> int:
    """Return where data begins from an offset on: there, behind a hole, or at the file's end."""
    try:
        return os.lseek(file.descriptor, offset, os.SEEK_DATA)
    except OSError as error:
        # No data any more; or a file system that does not tell.
        return max(offset, file.size) if error.errno == errno.ENXIO else offset


def last_line_end(file: Opened) -> int:
    """Return the offset behind the last full line, 0 if there is none near the end."""
    end = file.size
    last = end - _SKIP_BYTES_MAX
    while end > max(last, 0):
        start = max(end - _SKIP_BYTES, 0)
        found = os.pread(file.descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def read_whole(path: Path, *, below: Path | None, limit: int) -> tuple[bytes, Opened]:
    """Return a file's first `limit` bytes, and what it was; raise OSError."""
    with opened(path, below=below) as file:
        return os.pread(file.descriptor, limit, 0), file

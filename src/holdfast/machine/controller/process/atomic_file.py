"""The only access to files in folders that the agent writes to: plain files of our user.

The agent runs as our user and may put anything there, in particular links to what it must not see.
So every step of a path is opened relative to the folder opened before it, and none may be a link;
what is read is a regular file of our user with a single name. A file with a second name (a hard
link) may be a file from elsewhere, which cannot be detected.

A write is never visible half done, and replaces only the content the writer expects. The new text
is complete on disk before it takes the name. Where the kernel supports it, old and new file are
exchanged, and the old one is compared: a write by another program in the last instant is put back
and reported, not lost. Names are relative to an open folder, so that no other folder can be slipped
in below a path.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from holdfast.disk import durable_file

_NOREPLACE: Final = 1
_EXCHANGE: Final = 2
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NAMES_TRIED: Final = 100
_UNSUPPORTED: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})

_libc = ctypes.CDLL(None, use_errno=True)
_numbers = itertools.count(1)


class TooLargeError(OSError):
    """A file has more bytes than the reader takes."""


class NotAFileError(OSError):
    """The name belongs to a folder, a device or a symbolic link."""


class LinkedError(NotAFileError):
    """The file has a second name: it may be a file from elsewhere."""


class NotOursError(NotAFileError):
    """The file belongs to another user than the machine's."""


@contextmanager
def open_folder(path: Path, *, below: Path | None = None) -> Iterator[int]:
    """Yield a descriptor of a folder; raise OSError.

    `below` is a folder above it that the agent cannot replace: from there on no step may be a link,
    itself included. Without one, or for a folder that is elsewhere, that applies to the last step
    alone.
    """
    steps: tuple[str, ...] = ()
    if below is not None and path.is_relative_to(below):
        steps, path = path.relative_to(below).parts, below
    if ".." in steps:
        raise OSError(errno.EINVAL, "goes up", str(path.joinpath(*steps)))
    current = os.open(path, _FOLDER)
    try:
        for step in steps:
            above = current
            current = os.open(step, _FOLDER, dir_fd=above)
            os.close(above)
        yield current
    finally:
        os.close(current)


def make_folder(path: Path) -> None:
    """Make a folder of mode 0700 and those above it, with names that are durable; raise OSError.

    A file that is synced in a folder whose own name is not can be lost with it.
    """
    durable_file.make_folder(path)


def read_file(path: Path, limit: int, *, below: Path | None = None) -> bytes:
    """Return the bytes of the file at a path; see `open_folder` and `read`."""
    with open_folder(path.parent, below=below) as folder:
        return read(folder, path.name, limit)


def stat_plain(folder: int, name: str) -> os.stat_result:
    """Return the stat result of a plain file without opening it; raise OSError as `read` does."""
    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    check_plain(found, name)
    return found


def check_plain(found: os.stat_result, name: str) -> None:
    """Raise NotAFileError unless this is a regular file of ours with a single name."""
    if not stat.S_ISREG(found.st_mode):
        raise NotAFileError(errno.EISDIR, "not a regular file", name)
    if found.st_nlink > 1:
        raise LinkedError(errno.EMLINK, "has another name (a hard link)", name)
    if found.st_uid != os.geteuid():
        raise NotOursError(errno.EPERM, "belongs to another user", name)


def read(folder: int, name: str, limit: int) -> bytes:
    """Return a plain file's bytes; raise OSError, or an error of this module.

    It never follows a symbolic link, and never blocks on what is no file.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(name, flags, dir_fd=folder)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO}:
            raise NotAFileError(error.errno, "not a regular file", name) from error
        raise
    try:
        check_plain(os.fstat(descriptor), name)
    except OSError:
        os.close(descriptor)
        raise
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise TooLargeError(errno.EFBIG, f"more than {limit} bytes", name)
    return content


def put(folder: int, name: str, content: bytes, *, over: bytes | None, mode: int = 0o600) -> bool:
    """Give `content` the name, if the name now has `over`; None requires that it is free.

    Return False, with no change, if the name has something else. Raise OSError.
    """
    fresh = _write_fresh(folder, content, mode)
    try:
        done = (
            _create(folder, fresh, name) if over is None else _exchange(folder, fresh, name, over)
        )
    finally:
        _remove(folder, fresh)
    os.fsync(folder)
    return done


def write(
    path: Path, content: str | bytes, *, below: Path | None = None, mode: int = 0o600
) -> None:
    """Write a file with no other writer, durably and atomically; raise OSError.

    See `open_folder` for `below`.
    """
    raw = content.encode() if isinstance(content, str) else content
    with open_folder(path.parent, below=below) as folder:
        put_over(folder, path.name, raw, mode=mode)


def put_over(folder: int, name: str, content: bytes, *, mode: int = 0o600) -> None:
    """Give `content` the name of a file with no other writer; raise OSError."""
    fresh = _write_fresh(folder, content, mode)
    try:
        os.rename(fresh, name, src_dir_fd=folder, dst_dir_fd=folder)
    finally:
        _remove(folder, fresh)
    os.fsync(folder)


def _write_fresh(folder: int, content: bytes, mode: int) -> str:
    # The name may have the maximum length of the file system, so it is not part of this one.
    fresh, descriptor = _open_fresh(folder)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    return fresh


def _open_fresh(folder: int) -> tuple[str, int]:
    """Open a file that did not exist: an existing name may be a link to anything."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    for _ in range(_NAMES_TRIED):
        fresh = f".holdfast-{os.getpid()}-{next(_numbers)}.new"
        with suppress(FileExistsError):
            return fresh, os.open(fresh, flags, 0o600, dir_fd=folder)
    raise FileExistsError(errno.EEXIST, "every new name is taken by another process")


def _create(folder: int, fresh: str, name: str) -> bool:
    try:
        _rename(folder, fresh, name, _NOREPLACE)
    except FileExistsError:
        return False
    return True


def _exchange(folder: int, fresh: str, name: str, over: bytes) -> bool:
    """Exchange the files and compare the old one; put it back if it is not `over`."""
    ours = read(folder, fresh, len(over) + 2**30)
    if _read_or_none(folder, name, len(over)) != over:
        return False
    _rename(folder, fresh, name, _EXCHANGE)
    out = _read_or_none(folder, fresh, len(over))
    if out is None or out == over:
        return True
    _rename(folder, fresh, name, _EXCHANGE)
    if _read_or_none(folder, fresh, len(ours)) != ours:
        # Written once more between the two: the newest text is the one to keep.
        _rename(folder, fresh, name, _EXCHANGE)
    return False


def _read_or_none(folder: int, name: str, limit: int) -> bytes | None:
    try:
        return read(folder, name, limit)
    except FileNotFoundError:
        return None
    except OSError:
        return b""  # larger, or no file: not what was expected


def _rename(folder: int, old: str, new: str, how: int) -> None:
    result = _libc.renameat2(folder, os.fsencode(old), folder, os.fsencode(new), how)
    if result == 0:
        return
    code = ctypes.get_errno()
    if code not in _UNSUPPORTED:
        raise OSError(code, os.strerror(code), new)
    # An old file system: the comparison of a moment ago must do.
    if how == _NOREPLACE:
        os.link(old, new, src_dir_fd=folder, dst_dir_fd=folder)
    else:
        os.rename(old, new, src_dir_fd=folder, dst_dir_fd=folder)


def _remove(folder: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return

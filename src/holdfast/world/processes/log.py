"""The log of a machine: its newest lines, and its rotation.

The machine writes to the file itself, so that it does not depend on the plane. Rotation therefore
copies and truncates: the file is opened for appending, so the writer goes on at the new end. What
is written between the copy and the truncation is lost (microseconds; the price of an independent
writer), and while no plane runs, nothing is rotated.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from pathlib import Path
from typing import Final

LOG_BYTES_MAX: Final = 8 * 1_048_576
"""Size at which the log is rotated; one older file of about this size is kept."""

TAIL_BYTES_MAX: Final = 262_144
"""Bytes that a tail reads back."""

LINE_CHARS_MAX: Final = 4_096
"""Characters kept of one line."""


class NotALogError(OSError):
    """The log's name belongs to a link, no file, another user's, or one with a second name."""

    def __init__(self, path: Path) -> None:
        text = "it is a link, or no plain file of the plane's user with this name alone; remove it"
        super().__init__(errno.EPERM, text, str(path))


def open_log(path: Path) -> int:
    """Return a handle that appends to the log; the caller closes it. Raise OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return _open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def rotate(path: Path, *, bytes_max: int = LOG_BYTES_MAX) -> bool:
    """Move the content to `<log>.1` if it is larger than allowed; return whether it was.

    What is no log is left alone: reading it reports why, and other logs still have to be rotated.
    """
    try:
        handle = _open(path, os.O_RDWR)
    except (FileNotFoundError, NotALogError):
        return False
    with os.fdopen(handle, "rb+") as log:
        if os.fstat(handle).st_size <= bytes_max:
            return False
        draft = path.with_name(f"{path.name}.1.new")
        draft.unlink(missing_ok=True)
        with os.fdopen(_open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as copy:
            shutil.copyfileobj(log, copy)
        os.ftruncate(handle, 0)
    draft.replace(older(path))
    return True


def older(path: Path) -> Path:
    """Return the path of the rotated content."""
    return path.with_name(f"{path.name}.1")


def tail(path: Path, *, lines: int) -> tuple[str, ...]:
    """Return the newest lines, oldest first, including rotated ones if there are few."""
    if lines <= 0:
        return ()
    found = _last_lines(path)
    if len(found) < lines:
        found = [*_last_lines(older(path)), *found]
    return tuple(line[:LINE_CHARS_MAX] for line in found[-lines:])


def _open(path: Path, flags: int) -> int:
    """Open a log in a folder that the machine's agent may write to.

    The name may be a link to the plane's own files, which must be neither shown nor written: raise
    NotALogError unless it is a regular file of ours with this single name.
    """
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            handle = os.open(path.name, flags, 0o600, dir_fd=folder)
        finally:
            os.close(folder)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.EISDIR}:
            raise NotALogError(path) from error
        raise
    found = os.fstat(handle)
    if stat.S_ISREG(found.st_mode) and found.st_nlink <= 1 and found.st_uid == os.geteuid():
        os.set_blocking(handle, True)
        return handle
    os.close(handle)
    raise NotALogError(path)


def _last_lines(path: Path) -> list[str]:
    try:
        with os.fdopen(_open(path, os.O_RDONLY), "rb") as file:
            size = file.seek(0, os.SEEK_END)
            start = max(0, size - TAIL_BYTES_MAX)
            file.seek(start)
            text = file.read(TAIL_BYTES_MAX).decode("utf-8", "replace")
    except FileNotFoundError:
        return []
    read = text.split("\n")
    if read and not read[-1]:
        read.pop()
    return read[1:] if start else read

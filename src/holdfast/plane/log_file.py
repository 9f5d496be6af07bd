"""The file that a plane in the background writes its log to, kept below a bound.

The process that starts the plane opens the file as its standard error, so that the output of a
crashing interpreter is in it too; the file is therefore copied and truncated in place, not renamed.
A standard error that is not this file, a terminal or a supervisor's pipe, is left alone.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import BinaryIO, Final

NAME: Final = "plane.log"
BYTES_MAX: Final = 32 * 1024 * 1024
"""Bytes at which the file is moved to `plane.log.1`; so at most twice this is kept."""


def open_log(home: Path) -> BinaryIO:
    """Open the log for appending; a new one is readable by its owner only."""
    descriptor = os.open(home / NAME, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    return os.fdopen(descriptor, "ab")


def is_ours(home: Path, descriptor: int | None = None) -> bool:
    """Return whether this process's standard error (or `descriptor`) is the log of `home`."""
    try:
        here = os.fstat(sys.stderr.fileno() if descriptor is None else descriptor)
        there = (home / NAME).stat()
    except (OSError, ValueError):
        return False
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


def shrink(home: Path, *, bytes_max: int = BYTES_MAX) -> bool:
    """Rotate the file if it is too large; return whether it was.

    Lines written between the copy and the truncation are lost: a few, once in 32 MiB.
    """
    path = home / NAME
    if path.stat().st_size <= bytes_max:
        return False
    kept = path.with_name(f"{NAME}.1")
    partial = path.with_name(f"{NAME}.{os.getpid()}")
    shutil.copyfile(path, partial)
    partial.chmod(0o600)
    partial.replace(kept)
    os.truncate(path, 0)
    return True


def tail(home: Path, lines: int, *, bytes_max: int = 65_536) -> list[str]:
    """Return the last lines; none where there is no log."""
    try:
        with (home / NAME).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - bytes_max))
            text = file.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return []
    return text.splitlines()[-lines:]

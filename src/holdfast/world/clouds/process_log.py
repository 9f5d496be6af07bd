"""The log of a machine: its newest lines, and keeping it small.

The machine writes to the file itself, so that it needs nobody to live. Rotation therefore copies
and cuts: the file is opened for appending, so the writer goes on at the new end. What is written
between the copy and the cut is lost (microseconds; the price of a writer that depends on nobody),
and while no plane runs, nothing is cut.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

LOG_BYTES_MAX: Final = 8 * 1_048_576
"""Size at which the log is rotated; one older file of about this size is kept beside it."""

TAIL_BYTES_MAX: Final = 262_144
"""How far back a tail reads."""

LINE_CHARS_MAX: Final = 4_096
"""Characters kept of one line."""


def open_log(path: Path) -> int:
    """Return a handle that appends to the log; the caller closes it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def rotate(path: Path, *, bytes_max: int = LOG_BYTES_MAX) -> bool:
    """Move the content to `<log>.1` when it is larger than allowed; return whether it was."""
    try:
        if path.stat().st_size <= bytes_max:
            return False
    except FileNotFoundError:
        return False
    draft = path.with_name(f"{path.name}.1.new")
    shutil.copyfile(path, draft)
    os.truncate(path, 0)
    draft.replace(older(path))
    return True


def older(path: Path) -> Path:
    """Return where the rotated content lies."""
    return path.with_name(f"{path.name}.1")


def tail(path: Path, *, lines: int) -> tuple[str, ...]:
    """Return the newest lines, oldest first, looking into the rotated file when they are few."""
    if lines <= 0:
        return ()
    found = _last_lines(path)
    if len(found) < lines:
        found = [*_last_lines(older(path)), *found]
    return tuple(line[:LINE_CHARS_MAX] for line in found[-lines:])


def _last_lines(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
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

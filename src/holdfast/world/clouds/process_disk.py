"""Disk usage of a machine's files: counted rarely and up to a limit.

Walking a home with a package tree costs seconds, so the result is cached for a while and the walk
gives up at a number of files. A figure that would be wrong is not returned at all.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Final

from holdfast.kernel.clock import MINUTE_MS, Clock

KEEP_MS: Final = MINUTE_MS
"""How long a figure is valid, in milliseconds."""

FILES_MAX: Final = 50_000
"""Files read before giving up."""

_BLOCK_BYTES: Final = 512


class DiskMeter:
    """Caches the usage of each folder."""

    __slots__ = ("_clock", "_guard", "_known")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._guard = threading.Lock()
        self._known: dict[Path, tuple[float, int | None]] = {}

    def measure(self, folder: Path) -> int | None:
        """Return the bytes that the files below take on disk; None if there are too many."""
        now = self._clock.steady_ms()
        with self._guard:
            known = self._known.get(folder)
        if known is not None and now - known[0] < KEEP_MS:
            return known[1]
        size = walk_bytes(folder)
        with self._guard:
            self._known[folder] = (now, size)
        return size

    def forget(self, folder: Path) -> None:
        """Remove a deleted folder from the cache."""
        with self._guard:
            self._known.pop(folder, None)


def walk_bytes(folder: Path, *, files_max: int = FILES_MAX) -> int | None:
    """Return the bytes below a folder, links not followed; None past `files_max` files."""
    total, seen = 0, 0
    waiting = [str(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    seen += 1
                    if seen > files_max:
                        return None
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    total += entry.stat(follow_symlinks=False).st_blocks * _BLOCK_BYTES
        except (FileNotFoundError, PermissionError):
            continue  # deleted meanwhile, or unreadable: the rest still counts
    return total

"""What processes and their descendants use, as /proc reports it."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Final

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_PR_SET_CHILD_SUBREAPER: Final = 36


def adopt_orphans() -> None:
    """Become the parent of each descendant whose parent ends, so that none leaves the tree.

    Whoever calls this has to reap them.
    """
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children_of(pid: int) -> list[int]:
    """Return the children of a process; raise OSError, ValueError where it ended."""
    tasks = Path("/proc", str(pid), "task").iterdir()
    return [int(one) for task in tasks for one in (task / "children").read_text().split()]


def resident(*pids: int) -> tuple[int, int]:
    """Return the resident memory of processes and their descendants in bytes, and their number.

    One that was orphaned is a descendant of who adopts it: without `adopt_orphans` in between, of
    the first process of the computer or of its sandbox.
    """
    used, count, left = 0, 0, list(pids)
    while left:
        current = left.pop()
        try:
            statm = Path("/proc", str(current), "statm").read_text()
            used += int(statm.split()[1]) * _PAGE_BYTES
            count += 1
            left += children_of(current)
        except (OSError, ValueError, IndexError):
            continue  # it ended in between
    return used, count

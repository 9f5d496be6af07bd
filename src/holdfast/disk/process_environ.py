"""The environment of another process, from /proc: so are processes found that we started.

While a process becomes another program (execve), the kernel shows no environment: for moments, on a
busy machine for longer. Who takes that for "not ours" leaves the process alive, so it is read again
until the kernel shows one, or says where in memory an empty one is.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")

EXEC_WAIT_S: Final = 0.5
"""Longest wait for a process that shows no environment, in seconds."""

_PAUSE_S: Final = 0.001
_FLAGS, _ENV_START, _ENV_END = 6, 47, 48
"""Fields of /proc/PID/stat, counted after the name: 9, 50 and 51 of proc(5)."""
_NO_PROGRAM: Final = 0x0020_0000 | 0x0000_0004
"""PF_KTHREAD and PF_EXITING of the kernel's sched.h: no environment will come."""


def read_environ(pid: int, proc: Path = PROC) -> list[bytes]:
    """Return the variables a process was started with, each as `NAME=value`.

    Raise OSError if it has ended or belongs to another user. Blocks, for `EXEC_WAIT_S` at most.
    """
    folder = proc / str(pid)
    until_s = time.monotonic() + EXEC_WAIT_S
    while not (environ := (folder / "environ").read_bytes()):
        if _has_none(folder) or time.monotonic() > until_s:
            return []
        time.sleep(_PAUSE_S)
    return environ.split(b"\0")


def _has_none(folder: Path) -> bool:
    """Return whether a process has no environment, rather than none yet."""
    fields = (folder / "stat").read_bytes().rpartition(b")")[2].split()
    flags, start, end = (int(fields[at]) for at in (_FLAGS, _ENV_START, _ENV_END))
    return bool(flags & _NO_PROGRAM) or (start == end != 0)

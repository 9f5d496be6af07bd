"""What an agent left running, found by the mark in its environment, and ended.

The agent itself dies with its controller. Its helpers may not, and they hold ports and locks; one
may even have left its session, as daemons do. Every process of an agent inherits the mark, which
names the agent's home, as only one machine has it; numbers of processes are used again and prove
nothing. The controller itself never carries the mark.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

from holdfast.machine.controller.process.procfs import parse_session

MARK: Final = "HOLDFAST_PROCESS_OF"
"""The variable in the agent's environment that names its home."""

_PROC: Final = Path("/proc")


def end_leftovers(home: str, *, spared: Callable[[], Collection[int]]) -> int:
    """Kill whatever an agent at `home` left behind; return how many there were.

    `spared` tells, each time, the sessions of what runs by our order, such as the question for
    the version.
    """
    return sum(kill(pid) for pid in find_leftovers(home) if session_of(pid) not in spared())


def find_leftovers(home: str, proc: Path = _PROC) -> list[int]:
    """Return the processes of an agent at `home` that live; a zombie does not."""
    return [
        int(entry.name)
        for entry in proc.iterdir()
        if entry.name.isdigit() and belongs(int(entry.name), home, proc)
    ]


def belongs(pid: int, home: str, proc: Path = _PROC) -> bool:
    """Return whether a process carries the mark of the agent at `home`."""
    try:
        mark = f"{MARK}={home}".encode()
        return mark in (proc / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return False  # it ended, or belongs to somebody else


def session_of(pid: int) -> int:
    """Return the session of a process, 0 when it has ended."""
    try:
        return parse_session((_PROC / str(pid) / "stat").read_text())
    except OSError:
        return 0


def kill(pid: int) -> int:
    """End a process at once; return 1, or 0 when it was gone or is not ours."""
    return send(pid, signal.SIGKILL)


def send(pid: int, number: int) -> int:
    """Send a signal; return 1, or 0 when the process was gone or is not ours."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return 0
    return 1

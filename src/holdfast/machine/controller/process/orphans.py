"""Processes an agent left running, found by the mark in their environment, and killed.

The agent itself dies with its controller. Its child programs may not, and they hold ports and
locks; one may even have left its session, as daemons do. Every process of an agent inherits the
mark, which names the agent's home, unique to a machine; process ids are reused and prove nothing.
The controller itself never carries the mark.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

from holdfast.disk.process_environ import PROC, read_environ
from holdfast.machine.controller.process.procfs import parse_session

MARK: Final = "HOLDFAST_PROCESS_OF"
"""The variable in the agent's environment that names its home."""

KILL_ROUNDS_MAX: Final = 20
"""Rounds of killing before giving up on processes that start others all the time."""


def end_orphans(home: str, *, spared: Callable[[], Collection[int]]) -> int:
    """Kill what an agent at `home` left behind; return how many.

    `spared` returns the sessions of our own commands, such as the version query, each time.
    """
    ended, asked = 0, set[int]()
    for _ in range(KILL_ROUNDS_MAX):  # one may start another between being found and being killed
        found = {pid for pid in find_orphans(home) if session_of(pid) not in spared()} - asked
        if not found:
            break
        asked |= found
        ended += sum(map(kill, found))
    return ended


def find_orphans(home: str, proc: Path = PROC) -> list[int]:
    """Return the living processes of an agent at `home`; zombies do not count."""
    return [
        int(entry.name)
        for entry in proc.iterdir()
        if entry.name.isdigit() and belongs(int(entry.name), home, proc)
    ]


def belongs(pid: int, home: str, proc: Path = PROC) -> bool:
    """Return whether a process carries the mark of the agent at `home`."""
    try:
        return f"{MARK}={home}".encode() in read_environ(pid, proc)
    except OSError:
        return False  # it ended, or belongs to another user


def session_of(pid: int) -> int:
    """Return the session of a process, 0 after its end."""
    try:
        return parse_session((PROC / str(pid) / "stat").read_text())
    except OSError:
        return 0


def kill(pid: int) -> int:
    """Kill a process; return 1, or 0 if it was gone or is not ours."""
    return send(pid, signal.SIGKILL)


def send(pid: int, number: int) -> int:
    """Send a signal; return 1, or 0 if the process was gone or is not ours."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return 0
    return 1

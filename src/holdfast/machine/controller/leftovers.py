"""What a controller that was killed left running, ended before a new one starts its agent.

The agent itself dies with its controller. Its helpers may not, and they hold ports and locks. The
agent's session is written down when it starts; whatever still belongs to that session, in the same
boot of the machine and with our mark in its environment, is killed. The mark is looked at because
numbers of processes are used again.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Final

from holdfast.machine.controller.proc import parse_session

MARK: Final = "HOLDFAST_AGENT_HOME"
"""The variable in the agent's environment that names its home, as only one machine does."""


def remember_session(path: Path, session: int) -> None:
    """Write down the session of the agent that was just started; raise OSError."""
    path.write_text(f"{_boot()} {session}\n")


def end_leftovers(path: Path, home: str, proc: Path = Path("/proc")) -> int:
    """Kill what is left of the session written down in `path`; return how many there were."""
    try:
        boot, _, session = path.read_text().strip().partition(" ")
    except OSError:
        return 0
    if boot != _boot() or not session.isdigit():
        return 0
    found = 0
    for entry in proc.iterdir():
        if entry.name.isdigit() and _belongs(entry, int(session), home):
            found += _kill(int(entry.name))
    return found


def _belongs(entry: Path, session: int, home: str) -> bool:
    try:
        if parse_session((entry / "stat").read_text()) != session:
            return False
        mark = f"{MARK}={home}".encode()
        return mark in (entry / "environ").read_bytes().split(b"\0")
    except (OSError, UnicodeDecodeError):
        return False  # it ended, or belongs to somebody else


def _kill(pid: int) -> int:
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return 0
    return 1


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"

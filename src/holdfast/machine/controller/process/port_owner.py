"""Finds the process that listens on a port, from /proc, where no tool need be installed.

Listening sockets are in /proc/net/tcp and tcp6; their owner is found by inode among the open files
of the processes. Another user's files are not readable; such an owner has no name.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, NamedTuple

from holdfast.machine.controller.process.procfs import parse_listeners

_TABLES: Final = ("net/tcp", "net/tcp6")


class Owner(NamedTuple):
    """The process that holds a port; `pid` is 0 if it is not visible."""

    pid: int
    name: str

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid})" if self.pid else "another user's process"


def find_owner(port: int, proc: Path = Path("/proc")) -> Owner | None:
    """Return the listener on `port`, on any address, or None."""
    inodes: set[int] = set()
    for table in _TABLES:
        try:
            inodes |= parse_listeners((proc / table).read_text(), port)
        except OSError:
            continue  # a machine without IPv6
    if not inodes:
        return None
    links = {f"socket:[{inode}]" for inode in inodes}
    for entry in proc.iterdir():
        if entry.name.isdigit() and _holds(entry, links):
            return Owner(int(entry.name), _name(entry))
    return Owner(0, "")


def _holds(entry: Path, links: set[str]) -> bool:
    try:
        with os.scandir(entry / "fd") as files:
            return any(_link(file.path) in links for file in files)
    except OSError:
        return False  # it ended, or belongs to another user


def _link(path: str) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115  thousands of them, and no path is wanted
    except OSError:
        return ""


def _name(entry: Path) -> str:
    try:
        return (entry / "comm").read_text().strip()
    except OSError:
        return "unknown"

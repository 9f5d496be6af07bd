"""Port ranges of machines: claimed on disk, and checked before each use.

A claim is a symbolic link from the range's first port to the machine's name: creating it is atomic,
so two planes cannot assign one range twice. A stopped machine keeps its range, so that its address
stays; a live one's is never reassigned. The range is below the kernel's own for outgoing
connections, which begins at 32768.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

FIRST_PORT: Final = 20_000
LAST_PORT: Final = 31_999
PORTS_PER_MACHINE: Final = 4
"""Controller, agent, and two for the agent's other programs."""

LOOPBACK: Final = "127.0.0.1"


class Ports:
    """The ranges of all machines under one folder of claims."""

    def __init__(self, folder: Path, *, first: int = FIRST_PORT, last: int = LAST_PORT) -> None:
        """Assign ranges from `first` to `last`, both included."""
        self._folder = folder
        self._first = first
        self._count = (last - first + 1) // PORTS_PER_MACHINE
        self._next = 0

    def claim(self, name: str) -> int | None:
        """Claim a range without a listener; return its first port, or None if all are held.

        The search continues after the last claim, so that a released range stays unused for long.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        held = set(self._held())
        for step in range(self._count):
            place = (self._next + step) % self._count
            port = self._first + place * PORTS_PER_MACHINE
            if port in held or not is_free(port):
                continue
            try:
                (self._folder / str(port)).symlink_to(name)
            except FileExistsError:
                continue
            self._next = (place + 1) % self._count
            return port
        return None

    def release(self, port: int, name: str) -> None:
        """Release a range, if it is this machine's."""
        link = self._folder / str(port)
        with suppress(FileNotFoundError):
            if link.readlink() == Path(name):
                link.unlink()

    def release_strays(self, holders: dict[int, str]) -> int:
        """Release every claim without a machine's record; return how many."""
        strays = [port for port in self._held() if self._owner(port) != holders.get(port)]
        for port in strays:
            (self._folder / str(port)).unlink(missing_ok=True)
        return len(strays)

    def _owner(self, port: int) -> str | None:
        try:
            return str((self._folder / str(port)).readlink())
        except FileNotFoundError:
            return None

    def _held(self) -> Iterator[int]:
        if self._folder.is_dir():
            names = [link.name for link in self._folder.iterdir()]
            yield from (int(name) for name in names if name.isdigit())


def is_free(port: int) -> bool:
    """Return whether the range that begins at `port` has no listener on loopback."""
    return all(_bindable(one) for one in range(port, port + PORTS_PER_MACHINE))


def _bindable(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a connection in TIME_WAIT does not hold the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True

"""Ports of this process's tests, apart from those of every other process on this machine.

A port that the system chose and that was closed again may be anybody's a moment later: another
test's, or that of any connection. Two servers with one port are not noticed at once: the second one
ends, and what is asked of it is answered by the first. So each process of tests has a range of its
own, below those that the system chooses from (32,768 and up on Linux).
"""

from __future__ import annotations

import functools
import itertools
import socket
from collections.abc import Iterator
from typing import Final

PORT_BASE: Final = 20_000
MACHINES: Final = 200
"""Ports of a process's machines, four each."""
SINGLE: Final = 200
"""Ports of a process for single servers."""
RANGES: Final = 27


@functools.cache
def port_first() -> int:
    """Return the first port of this process's range, from which its machines take theirs.

    The range belongs to who holds the name of a socket that has no file: names are apart where
    ports are apart, and end with the process.
    """
    for number in range(RANGES):
        held = socket.socket(socket.AF_UNIX)
        try:
            held.bind(f"\0holdfast-test-ports-{number}")
        except OSError:
            held.close()
        else:
            held.detach()  # open until the process ends
            return PORT_BASE + number * (MACHINES + SINGLE)
    raise RuntimeError(f"all {RANGES} ranges of ports are taken by other tests")


def machine_ports() -> tuple[int, int]:
    """Return the first and the last port of this process's machines."""
    return port_first(), port_first() + MACHINES - 1


def free_port() -> int:
    """Return a port of this process that nothing uses, each in its turn."""
    for port in itertools.islice(_singles(), SINGLE):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError(f"all {SINGLE} single ports of this process are in use")


@functools.cache
def _singles() -> Iterator[int]:
    first = port_first() + MACHINES
    return itertools.cycle(range(first, first + SINGLE))

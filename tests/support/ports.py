"""Ports for the machines of this process's tests, apart from those of every other process."""

from __future__ import annotations

import fcntl
import functools
import os
import tempfile
from pathlib import Path
from typing import Final

PORT_BASE: Final = 20_000
PORTS: Final = 200
"""Ports of one process: 50 machines at a time."""
RANGES: Final = 55


@functools.cache
def port_first() -> int:
    """Return the first of the ports that no other process's tests use now.

    A range belongs to whoever holds the lock of its file, until that process ends. Two machines
    with one port are not noticed at once: the second one's controller ends, and what is asked of it
    is answered by the first one's.
    """
    for number in range(RANGES):
        path = Path(tempfile.gettempdir(), f"holdfast-test-ports-{os.getuid()}-{number}")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
        else:
            return PORT_BASE + number * PORTS  # the descriptor stays open, and with it the lock
    raise RuntimeError(f"all {RANGES} ranges of ports are taken by other tests")


def machine_ports() -> tuple[int, int]:
    """Return the first and the last port of this process's machines."""
    return port_first(), port_first() + PORTS - 1

"""Reads the machine's figures: load, processors, memory, disk, traffic.

A reading that the system refuses becomes "unknown", never an exception: a report with a gap is
better than none.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from holdfast.machine.controller.process.procfs import Meter, Traffic, parse_memory, parse_traffic


class Sample(NamedTuple):
    """The machine's figures at one moment; `received` and `sent` count since our start."""

    load: tuple[float, float, float]
    cpus: int
    memory_bytes: int
    disk_used_bytes: int | None
    disk_total_bytes: int | None
    received: int
    sent: int


class Sampler:
    """Takes samples and keeps the totals of the traffic meters."""

    def __init__(self, disk: Path, proc: Path = Path("/proc")) -> None:
        """Measure the file system of `disk`; read the system's figures from `proc`."""
        self._disk = disk
        self._proc = proc
        self._received = Meter()
        self._sent = Meter()

    def sample(self) -> Sample:
        """Return the current figures."""
        traffic = self._traffic()
        if traffic is not None:
            self._received = self._received.read(traffic.received)
            self._sent = self._sent.read(traffic.sent)
        used, total = self._disk_bytes()
        return Sample(
            load=load_average(),
            cpus=len(os.sched_getaffinity(0)),
            memory_bytes=self._memory(),
            disk_used_bytes=used,
            disk_total_bytes=total,
            received=self._received.total,
            sent=self._sent.total,
        )

    def _traffic(self) -> Traffic | None:
        try:
            return parse_traffic((self._proc / "net/dev").read_text())
        except OSError:
            return None

    def _memory(self) -> int:
        try:
            return parse_memory((self._proc / "meminfo").read_text())
        except OSError:
            return 0

    def _disk_bytes(self) -> tuple[int | None, int | None]:
        try:
            stats = os.statvfs(self._disk)
        except OSError:
            return None, None
        total = stats.f_blocks * stats.f_frsize
        return total - stats.f_bavail * stats.f_frsize, total


def load_average() -> tuple[float, float, float]:
    """Return the load over 1, 5 and 15 minutes; zeros if the system has none."""
    try:
        return os.getloadavg()
    except OSError:
        return 0.0, 0.0, 0.0

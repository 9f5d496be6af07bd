"""Parses files of /proc into values; they are read elsewhere.

The columns of /proc/net/dev are not separated from the name if a counter is long, so the line is
split at the colon first. Bridges and virtual interfaces repeat what the real interface has counted
already; they are left out of the sum.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

_COLUMNS: Final = 16
_SENT: Final = 8
_LOCAL: Final = 1
_STATE: Final = 3
_INODE: Final = 9
_LISTENS: Final = "0A"
"""TCP_LISTEN, as the kernel writes it."""
_REPEATING: Final = (
    "lo",
    "veth",
    "br-",
    "docker",
    "virbr",
    "cni",
    "flannel",
    "tun",
    "tap",
    "dummy",
)


class Traffic(NamedTuple):
    """Bytes through the machine's interfaces since it started."""

    received: int
    sent: int


def parse_traffic(text: str) -> Traffic:
    """Return the bytes of `eth0`, or of all real interfaces if there is none."""
    rows = dict(_rows(text))
    if "eth0" in rows:
        return rows["eth0"]
    real = [row for name, row in sorted(rows.items()) if not name.startswith(_REPEATING)]
    return Traffic(sum(row.received for row in real), sum(row.sent for row in real))


def _rows(text: str) -> Iterator[tuple[str, Traffic]]:
    for line in text.splitlines():
        name, colon, rest = line.partition(":")
        columns = rest.split()
        if "|" in line or not colon or len(columns) < _COLUMNS:
            continue
        yield name.strip(), Traffic(_number(columns[0]), _number(columns[_SENT]))


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0


def parse_memory(text: str) -> int:
    """Return the machine's memory in bytes from /proc/meminfo; 0 if it is absent."""
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        if name == "MemTotal":
            return _number(rest.split()[0]) * 1_024 if rest.split() else 0
    return 0


def parse_session(text: str) -> int:
    """Return the session id from /proc/PID/stat; 0 when malformed."""
    fields = text.rpartition(")")[2].split()
    return _number(fields[3]) if len(fields) > 3 else 0  # noqa: PLR2004  proc(5), field 6


def parse_listeners(text: str, port: int) -> set[int]:
    """Return the inodes of sockets listening on `port`, from /proc/net/tcp or tcp6."""
    found: set[int] = set()
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) <= _INODE or fields[_STATE] != _LISTENS:
            continue
        if fields[_LOCAL].rpartition(":")[2] == f"{port:04X}":
            found.add(_number(fields[_INODE]))
    return found


class Meter(NamedTuple):
    """A total that survives resets of its counter."""

    total: int = 0
    last: int | None = None

    def read(self, current: int) -> Meter:
        """Return the meter after a reading; the first one is the starting point.

        A counter that went back was reset: its value is what came since.
        """
        if self.last is None:
            return Meter(self.total, current)
        grown = current - self.last if current >= self.last else current
        return Meter(self.total + grown, current)

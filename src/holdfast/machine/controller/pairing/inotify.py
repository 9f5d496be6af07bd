"""The kernel's news about files, by its own interface: the standard library has none for it.

Four calls of libc and one record to take apart; a package for that would cost more memory than it
saves lines.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

MODIFY: Final = 0x2
CLOSE_WRITE: Final = 0x8
MOVED_FROM: Final = 0x40
MOVED_TO: Final = 0x80
CREATE: Final = 0x100
DELETE: Final = 0x200
DELETE_SELF: Final = 0x400
MOVE_SELF: Final = 0x800
OVERFLOW: Final = 0x4000
IGNORED: Final = 0x8000
ONLYDIR: Final = 0x1000000
"""What may happen, as inotify(7) numbers it."""

_EVENT: Final = struct.Struct("iIII")
_READ_BYTES: Final = 65_536

_libc: Final = ctypes.CDLL(None, use_errno=True)


class Event(NamedTuple):
    """What happened: `watch` is -1 when news was lost, `name` that of the entry in the folder."""

    watch: int
    mask: int
    name: str


class Inotify:
    """One queue of news; give its descriptor to the loop."""

    def __init__(self) -> None:
        """Open the queue; raise OSError when the user has too many of them."""
        self.descriptor = _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))

    def add(self, folder: str, mask: int) -> int:
        """Return the number of a watch on this folder; raise OSError when there is none."""
        path = os.fsencode(folder)
        return _checked(_libc.inotify_add_watch(self.descriptor, path, mask | ONLYDIR))

    def remove(self, watch: int) -> None:
        """Forget a watch; one that is gone already is no error."""
        _libc.inotify_rm_watch(self.descriptor, watch)

    def read(self) -> list[Event]:
        """Return the news there is."""
        try:
            return list(_events(os.read(self.descriptor, _READ_BYTES)))
        except BlockingIOError:
            return []

    def close(self) -> None:
        """Close the queue."""
        os.close(self.descriptor)


def _events(data: bytes) -> Iterator[Event]:
    at = 0
    while at + _EVENT.size <= len(data):
        watch, mask, _, length = _EVENT.unpack_from(data, at)
        at += _EVENT.size
        name = data[at : at + length].rstrip(b"\0")
        at += length
        yield Event(watch, mask, os.fsdecode(name))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result

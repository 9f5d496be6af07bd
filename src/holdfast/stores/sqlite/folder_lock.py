"""The lock of the data folder: one plane at a time.

It is a lock of the operating system on an open file, so it ends with its process in any case, and
a stale file does not lock. The holder is written into the file, for error messages. It works for a
folder on this machine only, not for one that several machines share.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from holdfast.wire.parsers import json_as

NAME: Final = "plane.lock"
GLANCE_S: Final = 0.25
_STEP_S: Final = 0.01


class Holder(Struct, frozen=True):
    """The process that holds the folder; `since_ms` is in ms since the epoch."""

    pid: int
    since_ms: int
    host: str
    url: str


class LockedError(Exception):
    """Another plane has the folder; `holder` names it, or is None when it had not written yet."""

    def __init__(self, folder: Path, holder: Holder | None) -> None:
        """Make the message: the holder, and the fix."""
        who = (
            f"process {holder.pid} on {holder.host} at {holder.url}"
            if holder
            else "another process"
        )
        super().__init__(
            f"{folder} is in use by {who}; stop that plane, or set HOLDFAST_HOME to another folder"
        )
        self.holder = holder


class FolderLock:
    """The held lock. Keep it as long as the plane runs."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        """Release the lock; idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def read_holder(folder: Path) -> Holder | None:
    """Return the last holder written to the file, whether or not it still runs."""
    try:
        return json_as(Holder, (folder / NAME).read_bytes())
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def take_lock(folder: Path, holder: Holder) -> FolderLock:
    """Take the folder; raise LockedError when another process, or this one, has it.

    It is tried for GLANCE_S: a process that only checks the lock holds it for an instant.
    """
    descriptor = os.open(folder / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _lock(descriptor, until=time.monotonic() + GLANCE_S)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, msgspec.json.encode(holder), 0)
    except BlockingIOError:
        os.close(descriptor)
        raise LockedError(folder, read_holder(folder)) from None
    except BaseException:
        os.close(descriptor)
        raise
    return FolderLock(descriptor)


def _lock(descriptor: int, *, until: float) -> None:
    """Lock an open file; raise BlockingIOError when it stays locked until `until`."""
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise
            time.sleep(_STEP_S)
        else:
            return

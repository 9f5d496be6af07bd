"""Which of several processes drains a folder: a lease in a small file, kept by a heartbeat.

No clock is compared between processes: a beat is a number, and a process that sees it unchanged for
five seconds of its own steady clock, while rows are pending, takes over. So neither a kill, nor a
stopped process, nor a step of the time of day leaves a folder undrained. It prevents only double
work, not loss: two holders at once send twice, and event ids make that harmless.
"""

from __future__ import annotations

import fcntl
import os
import zlib
from collections.abc import Callable
from typing import Final, NamedTuple

from holdfast.kernel.clock import Clock
from holdfast.outbox import limits

LEASE: Final = "outbox.lease"
_BYTES: Final = 128


class Holder(NamedTuple):
    """The file's content: `token` is empty if the lease is free."""

    token: str
    pid: int
    beat: int
    term: int


FREE: Final = Holder("", 0, 0, 0)


class Lease:
    """This process's view of the lease; without a folder it is always ours."""

    def __init__(self, folder: str | None, *, token: str, clock: Clock) -> None:
        """`token` is unique to this contender."""
        self._path = None if folder is None else os.path.join(folder, LEASE)
        self._token = token
        self._clock = clock
        self.held = self._path is None
        self._beaten_ms = float("-inf")
        self._watched = FREE
        self._watched_since_ms = float("-inf")

    def take(self, *, abandoned: Callable[[], bool] = lambda: False) -> bool:
        """Take the lease if it is free or its holder stands still; return whether it is ours.

        Call only while rows are pending: an idle holder does not beat. `abandoned` means that the
        holder is gone for certain, which shortens the wait.
        """
        if self._path is None:
            return True
        now_ms = self._clock.steady_ms()
        there = read(self._path)
        if there.token and there.token != self._token:
            if there != self._watched:
                self._watched, self._watched_since_ms = there, now_ms
            still_ms = now_ms - self._watched_since_ms
            if still_ms < limits.LEASE_ABANDONED_MS:
                return False
            if still_ms < limits.LEASE_EXPIRY_MS and not abandoned():
                return False
        self.held = self._compare_and_set(
            there, there._replace(token=self._token, term=there.term + 1)
        )
        return self.held

    def forget(self) -> None:
        """Restart the observation: with nothing pending, a beat that stands still means nothing."""
        self._watched = FREE

    def beat(self) -> bool:
        """Beat, at most once a second; return whether the lease is still ours."""
        if self._path is None or not self.held:
            return self.held
        now_ms = self._clock.steady_ms()
        if now_ms - self._beaten_ms < limits.LEASE_BEAT_MS:
            return True
        there = read(self._path)
        if there.token == self._token:
            self.held = self._compare_and_set(there, there._replace(beat=there.beat + 1))
        else:
            # Removed or damaged is free, and so still ours; another's token is another's.
            self.held = not there.token and self.take()
        return self.held

    def release(self) -> None:
        """Release the lease, so that others need not wait for its expiry."""
        if self._path is None or not self.held:
            return
        self.held = False
        there = read(self._path)
        if there.token == self._token:
            self._compare_and_set(there, there._replace(token="", pid=0))

    def _compare_and_set(self, expected: Holder, wanted: Holder) -> bool:
        assert self._path is not None
        wanted = wanted._replace(pid=os.getpid() if wanted.token else 0)
        self._beaten_ms = self._clock.steady_ms()
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return True
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _decode(os.pread(file, _BYTES, 0)) != expected:
                return False
            os.pwrite(file, _encode(wanted), 0)
        except BlockingIOError:
            return False
        except OSError:
            # A full disk has no room for a lease: pending rows must be sent all the same.
            return True
        finally:
            os.close(file)
        return True


def read(path: str) -> Holder:
    """Return the holder of the lease; a missing or damaged file is a free one."""
    try:
        with open(path, "rb") as file:
            return _decode(file.read(_BYTES))
    except OSError:
        return FREE


def _encode(holder: Holder) -> bytes:
    body = f"{holder.token or '-'} {holder.pid} {holder.beat} {holder.term}".encode()
    return b"%08x %b\n" % (zlib.crc32(body), body.ljust(_BYTES - 10))


def _decode(raw: bytes) -> Holder:
    checksum, _, body = raw.partition(b" ")
    body = body.strip()
    parts = body.split()
    try:
        if len(parts) != len(Holder._fields) or int(checksum, 16) != zlib.crc32(body):
            return FREE
        token = parts[0].decode()
        return Holder(token.strip("-"), *(int(part) for part in parts[1:]))
    except (ValueError, UnicodeDecodeError):
        return FREE

"""One lock for a folder: between threads by a mutex, between processes by flock on a file.

SQLite before 3.51.3 can corrupt a write-ahead log when two connections write or checkpoint at once,
and a program brings whatever SQLite its Python was built with. So every write, checkpoint and close
holds this lock. Every wait is bounded: a stopped process may hold it.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from holdfast.kernel.clock import Clock

_FIRST_WAIT_S: Final = 0.000_1
_WAIT_MAX_S: Final = 0.004


class LockTimeoutError(Exception):
    """The folder was locked by another holder for longer than the limit."""


class FolderLock:
    """Reentrant in a thread; without a path only threads are excluded."""

    __slots__ = (
        "_clock", "_depth", "_file", "_in_vain_ms", "_inside", "_mutex", "_owner", "_path",
        "_pause",
    )  # fmt: skip

    def __init__(self, path: str | None, clock: Clock) -> None:
        """Store the lock file's path; it is opened when first needed."""
        self._path = path
        self._clock = clock
        self._mutex = threading.RLock()
        self._pause = threading.Event()
        self._file = -1
        self._depth = 0
        self._inside = 0
        self._owner = 0
        self._in_vain_ms = float("-inf")

    @contextmanager
    def mutex(self, timeout_s: float) -> Iterator[None]:
        """Exclude this process's other threads only: enough for reading."""
        mutex = self._mutex
        if not mutex.acquire(timeout=max(timeout_s, 0)):
            raise LockTimeoutError("another thread holds the outbox")
        self._inside += 1
        self._owner = threading.get_ident()
        try:
            yield
        finally:
            # A child that was forked in here has a mutex of its own, which is free.
            if mutex is self._mutex:
                self._inside -= 1
            mutex.release()

    def freeze(self, timeout_s: float) -> bool:
        """Exclude the other threads until `thaw`; return whether that worked."""
        return self._mutex.acquire(timeout=max(timeout_s, 0))

    def thaw(self) -> None:
        """Admit the other threads again."""
        self._mutex.release()

    @property
    def inside(self) -> bool:
        """Return whether the thread that holds the mutex is in the middle of an operation."""
        return self._inside > 0

    @property
    def mine(self) -> bool:
        """Return whether this thread is in the middle of an operation."""
        return self._inside > 0 and self._owner == threading.get_ident()

    @contextmanager
    def held(self, timeout_s: float, *, queue_s: float | None = None) -> Iterator[None]:
        """Exclude all others; raise LockTimeoutError, or OSError if the file cannot be opened.

        `timeout_s` is how long another process may hold it, `queue_s` (by default the same) how
        long this process's other threads may. If a wait for the process has just failed, those
        behind do not wait again.
        """
        with self.mutex(timeout_s if queue_s is None else queue_s):
            mutex = self._mutex
            if self._depth == 0 and self._path is not None:
                now_ms = self._clock.steady_ms()
                lately = now_ms - self._in_vain_ms < timeout_s * 1_000
                self._acquire(self._path, now_ms if lately else now_ms + timeout_s * 1_000)
            self._depth += 1
            try:
                yield
            finally:
                if mutex is self._mutex:
                    self._depth -= 1
                    if self._depth == 0 and self._file >= 0:
                        fcntl.flock(self._file, fcntl.LOCK_UN)

    def _acquire(self, path: str, end_ms: float) -> None:
        wait_s = _FIRST_WAIT_S
        while True:
            file = self._opened(path)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                now_ms = self._clock.steady_ms()
                if now_ms >= end_ms:
                    if wait_s > _FIRST_WAIT_S:
                        self._in_vain_ms = now_ms
                    raise LockTimeoutError("another process holds the outbox") from None
                self._pause.wait(wait_s)
                wait_s = min(wait_s * 2, _WAIT_MAX_S)
                continue
            # Had it been removed meanwhile, others would hold a lock of the same name.
            if _same(file, path):
                return
            self.close()

    def _opened(self, path: str) -> int:
        if self._file < 0:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return self._file

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def forked(self) -> None:
        """Start afresh in a child: the parent's lock is the parent's."""
        self._mutex = threading.RLock()
        self._pause = threading.Event()
        self._depth = 0
        self._inside = 0
        # Closing our copy does not unlock: the parent still has the file open.
        self.close()


def _same(file: int, path: str) -> bool:
    try:
        there = os.stat(path)
    except OSError:
        return False
    here = os.fstat(file)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)

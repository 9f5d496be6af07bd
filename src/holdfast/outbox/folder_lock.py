"""One lock for a folder: between threads by a mutex, between processes by flock on a file.

SQLite before 3.51.3 can corrupt a write-ahead log when two connections write or checkpoint at
once, and a program brings whatever SQLite its Python was built with. So every write, checkpoint
and close holds this lock. It must never wait without a bound: a stopped process may hold it.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from holdfast.kernel.clock import Clock

_FIRST_WAIT_S: Final = 0.000_1
_WAIT_MAX_S: Final = 0.004


class LockTimeoutError(Exception):
    """Somebody else held the folder for longer than we may wait."""


class FolderLock:
    """Reentrant in a thread; with no path only threads are kept apart."""

    __slots__ = ("_clock", "_depth", "_file", "_mutex", "_path", "_pause")

    def __init__(self, path: Path | None, clock: Clock) -> None:
        """Name the lock's file; it is opened when first needed."""
        self._path = path
        self._clock = clock
        self._mutex = threading.RLock()
        self._pause = threading.Event()
        self._file = -1
        self._depth = 0

    @contextmanager
    def mutex(self, timeout_s: float) -> Iterator[None]:
        """Keep out this process's other threads only: enough for reading."""
        if not self._mutex.acquire(timeout=max(timeout_s, 0)):
            raise LockTimeoutError("another thread holds the outbox")
        try:
            yield
        finally:
            self._mutex.release()

    @contextmanager
    def held(self, timeout_s: float) -> Iterator[None]:
        """Keep out everybody; raise LockTimeoutError, or OSError when the file cannot be had."""
        end_ms = self._clock.steady_ms() + timeout_s * 1_000
        with self.mutex(timeout_s):
            if self._depth == 0 and self._path is not None:
                self._acquire(self._path, end_ms)
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if self._depth == 0 and self._file >= 0:
                    fcntl.flock(self._file, fcntl.LOCK_UN)

    def _acquire(self, path: Path, end_ms: float) -> None:
        wait_s = _FIRST_WAIT_S
        while True:
            file = self._opened(path)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if self._clock.steady_ms() >= end_ms:
                    raise LockTimeoutError("another process holds the outbox") from None
                self._pause.wait(wait_s)
                wait_s = min(wait_s * 2, _WAIT_MAX_S)
                continue
            # Had it been removed meanwhile, others would hold a lock of the same name.
            if _same(file, path):
                return
            self.close()

    def _opened(self, path: Path) -> int:
        if self._file < 0:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return self._file

    def close(self) -> None:
        """Give the file back; the next use opens it again."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def forked(self) -> None:
        """Start afresh in a child: the parent's lock is the parent's."""
        self._mutex = threading.RLock()
        self._pause = threading.Event()
        self._depth = 0
        # Closing our copy does not unlock: the parent still has the file open.
        self.close()


def _same(file: int, path: Path) -> bool:
    try:
        there = path.stat()
    except OSError:
        return False
    here = os.fstat(file)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)

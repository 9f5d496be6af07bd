"""One thread that owns one connection and runs functions for awaiting callers.

Embedded stores block while they work, and each may be written by one thread only. A background
writer has a higher niceness than the event loop, so that a batch or a roll-up yields to requests
where both share one core. One thread serves one store.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final, TypeVar

T = TypeVar("T")

BACKGROUND: Final = 10
"""Niceness of a writer: about a tenth of the loop's share when both want one core."""


class OwnThread:
    """A single thread, started by the first call."""

    def __init__(self, name: str, *, nice: int = 0) -> None:
        """Name the thread; `nice` is added to its niceness where the system allows it."""
        self._pool = ThreadPoolExecutor(
            max_workers=1, thread_name_prefix=name, initializer=yield_more, initargs=(nice,)
        )
        self._closed = False

    async def run(self, work: Callable[[], T]) -> T:
        """Run `work` in the thread, in order of calls; raise RuntimeError once closed."""
        if self._closed:
            raise RuntimeError("the store is closed")
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    async def end(self, last: Callable[[], T]) -> None:
        """Run `last`, then end the thread; idempotent."""
        if self._closed:
            return
        self._closed = True
        try:
            await asyncio.get_running_loop().run_in_executor(self._pool, last)
        finally:
            self._pool.shutdown(wait=False)


def yield_more(nice: int) -> None:
    """Raise this thread's niceness; on Linux niceness is per thread."""
    if nice:
        with suppress(OSError):
            own = os.getpriority(os.PRIO_PROCESS, 0)
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), own + nice)

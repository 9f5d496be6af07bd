"""The one thread that writes: what waits together is written together.

Jobs that were submitted in one round of the loop reach the thread as one list, and their answers
come back in one call, so that a thousand of them wake each side once. The thread never waits for
more to come: a group is what gathered while the one before was being written.
It must never answer before the commit, and nothing that goes wrong may end it.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

GROUP_ROWS_MAX: Final = 4_096
"""Rows of one group, so that no job waits long behind others'."""

IDLE_S: Final = 0.5
"""How often the thread wakes without work, in seconds, to tidy up."""


class Job:
    """Something to write, and whom to tell; `weight` is about how many rows it comes to."""

    __slots__ = ("error", "future", "result", "weight")

    def __init__(self, weight: int = 1) -> None:
        """Make a job that nobody waits for yet."""
        self.weight = weight
        self.future: asyncio.Future[Any] | None = None
        self.result: Any = None
        self.error: BaseException | None = None


J = TypeVar("J", bound=Job)


class ClosedError(RuntimeError):
    """The store was closed; nothing is written any more."""


class GroupWriter(Generic[J]):
    """The thread and its queue; one loop may submit to it."""

    def __init__(
        self,
        *,
        name: str,
        apply: Callable[[list[J]], None],
        tidy: Callable[[bool], None],
        finish: Callable[[], None],
    ) -> None:
        """Start the thread.

        `apply` writes a group and sets each job's result or error. `tidy` is called after each
        group and when idle, which its argument tells; `finish` is the last thing that runs.
        """
        self._apply = apply
        self._tidy = tidy
        self._finish = finish
        self._queue: queue.SimpleQueue[list[J] | None] = queue.SimpleQueue()
        self._fresh: list[J] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._ended: asyncio.Future[None] | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: J) -> asyncio.Future[Any]:
        """Hand a job to the thread; the future is done after its commit, or has its error."""
        if self._closed:
            raise ClosedError("the store is closed")
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        if not self._fresh:
            loop.call_soon(self._hand_over)
        self._fresh.append(job)
        future: asyncio.Future[Any] = loop.create_future()
        job.future = future
        return future

    def _hand_over(self) -> None:
        if self._fresh:
            self._queue.put(self._fresh)
            self._fresh = []

    async def close(self) -> None:
        """Write what was submitted, run `finish`, and end the thread; twice is harmless."""
        if self._closed:
            if self._ended is not None:
                await asyncio.shield(self._ended)
            return
        self._closed = True
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        self._hand_over()
        self._queue.put(None)
        await asyncio.shield(self._ended)
        self._thread.join()

    # ------------------------------------------------------------------------- in the thread

    def _run(self) -> None:
        waiting: deque[J] = deque()
        error: BaseException | None = None
        going = True
        while going or waiting:
            going = self._gather(waiting, going=going)
            group = self._take(waiting)
            if group:
                try:
                    self._apply(group)
                except Exception as fault:  # noqa: BLE001  every job of the group hears of it
                    for job in group:
                        job.error = fault
                self._answer(group)
            try:
                self._tidy(not waiting and self._queue.empty())
            except Exception:
                logging.getLogger(__name__).exception("%s: tidying up failed", self._thread.name)
        try:
            self._finish()
        except Exception as fault:  # noqa: BLE001  whoever closes hears of it
            error = fault
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._end, error)

    def _gather(self, waiting: deque[J], *, going: bool) -> bool:
        """Move what was submitted into `waiting`; return whether more may come."""
        try:
            if going and not waiting:
                jobs = self._queue.get(timeout=IDLE_S)
                if jobs is None:
                    return False
                waiting.extend(jobs)
            while not self._queue.empty():
                jobs = self._queue.get_nowait()
                if jobs is None:
                    return False
                waiting.extend(jobs)
        except queue.Empty:
            pass  # nothing came within IDLE_S
        return going

    @staticmethod
    def _take(waiting: deque[J]) -> list[J]:
        group: list[J] = []
        rows = 0
        while waiting and rows < GROUP_ROWS_MAX:
            job = waiting.popleft()
            rows += job.weight
            group.append(job)
        return group

    def _answer(self, group: list[J]) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._settle, group)
        except RuntimeError:
            # The loop is closed: whoever asked is gone, and what was written stays written.
            self._closed = True

    @staticmethod
    def _settle(group: list[J]) -> None:
        for job in group:
            future = job.future
            if future is None or future.done():
                continue
            if job.error is not None:
                future.set_exception(job.error)
            else:
                future.set_result(job.result)

    def _end(self, error: BaseException | None) -> None:
        assert self._ended is not None
        if error is not None:
            self._ended.set_exception(error)
        else:
            self._ended.set_result(None)

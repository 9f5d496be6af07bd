"""One thread that writes one SQLite file: many jobs in one commit.

A job is a function of the connection. Jobs that wait together share a transaction, each in its
own savepoint, so that one that fails takes back nothing but its own; whoever asked is answered
after the commit, never before. One connection writes and checkpoints; readers do neither.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, TypeVar

import apsw

T = TypeVar("T")
_Job = tuple[Callable[[apsw.Connection], Any], "Future[Any]"]

GROUP_MAX: Final = 64
"""Jobs in one commit."""


class Writer:
    """The thread and its queue. Close it to have everything asked before written."""

    def __init__(self, connection: apsw.Connection, *, name: str) -> None:
        """Take over `connection`; nobody else may use it from now on."""
        self._connection = connection
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def write(self, job: Callable[[apsw.Connection], T]) -> T:
        """Return what the job returned, once it is durable; raise what it or the commit raised."""
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("this store is closed; nothing can be written any more")
            self._jobs.put((job, future))
        return await asyncio.wrap_future(future)

    async def close(self) -> None:
        """Write what was asked, close the connection and end the thread."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        """Take jobs until there is the mark of the end."""
        last = False
        while not last:
            group = [self._jobs.get()]
            while len(group) < GROUP_MAX and group[-1] is not None:
                try:
                    group.append(self._jobs.get_nowait())
                except queue.Empty:
                    break
            last = group[-1] is None
            jobs = [job for job in group if job is not None]
            # A caller may have gone away; its job then is not begun.
            self._commit([job for job in jobs if job[1].set_running_or_notify_cancel()])
        self._connection.close()

    def _commit(self, jobs: list[_Job]) -> None:
        """Do the jobs in one transaction and answer each."""
        if not jobs:
            return
        answers: list[tuple[Future[Any], Any, BaseException | None]] = []
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            answers = [(future, *self._try(job)) for job, future in jobs]
            self._connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001  every caller is told; the thread must live
            self._take_back(error)
            answers = [(future, None, error) for _, future in jobs]
        for future, value, failure in answers:
            if failure is None:
                future.set_result(value)
            else:
                future.set_exception(failure)

    def _try(self, job: Callable[[apsw.Connection], Any]) -> tuple[Any, BaseException | None]:
        """Do one job in its own savepoint; return its value or what it raised."""
        value = None
        try:
            with self._connection:
                value = job(self._connection)
        except Exception as error:
            if not self._connection.in_transaction:
                raise  # a full disk ends the whole transaction: nobody's job is done
            return None, error
        return value, None

    def _take_back(self, error: Exception) -> None:
        """Roll back, unless SQLite has done so already; note a failure of that on the first."""
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except apsw.Error as failure:
            error.add_note(f"and rolling back failed: {failure}")

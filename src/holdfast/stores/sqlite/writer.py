"""The one thread that writes a SQLite file, by group commit.

Jobs submitted in one iteration of the event loop reach the thread as one list, and their results
come back in one call, so that a thousand jobs wake each side once. The thread does not wait for
more jobs: a group is what arrived while the one before was written. Results are set after the
commit, and no error ends the thread.

The store makes a transaction of a group: the journal validates its jobs together; the other stores
submit functions of the connection, each run in a savepoint of its own (`CallWriter`).
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, Generic, TypeAlias, TypeVar

import apsw

from holdfast.kernel.failure import brief
from holdfast.kernel.liveness import Vital
from holdfast.stores.sqlite.database import make_trouble
from holdfast.stores.thread import yield_more
from holdfast.stores.trouble import Trouble

GROUP_ROWS_MAX: Final = 4_096
"""Rows of one group, so that no job waits long behind others."""

CALLS_MAX: Final = 64
"""Calls of one group: each is some statements and may read many rows."""

WAITING_MAX: Final = 65_536
"""Jobs in the thread's queue; a further `write` waits for room first."""

IDLE_S: Final = 0.5
"""How often an idle thread of a store with `tidy` wakes, in seconds."""

T = TypeVar("T")


class Job:
    """Something to write, with its future; `weight` is about how many rows it writes."""

    __slots__ = ("error", "future", "result", "weight")

    def __init__(self, weight: int = 1) -> None:
        self.weight = weight
        self.future: asyncio.Future[Any] | None = None
        self.result: Any = None
        self.error: BaseException | None = None


J = TypeVar("J", bound=Job)


class Call(Job):
    """A function of the connection; what it returns is the job's result."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[apsw.Connection], Any]) -> None:
        super().__init__()
        self.call = call


class ClosedError(RuntimeError):
    """The store is closed; nothing is written any more."""


Tidy: TypeAlias = Callable[[bool], None]
"""Called after each group, and when idle, with whether no job waits."""


class GroupWriter(Generic[J]):
    """The thread and its queue; one loop may write through it."""

    def __init__(
        self,
        *,
        name: str,
        apply: Callable[[list[J]], None],
        finish: Callable[[], None],
        tidy: Tidy | None = None,
        rows_max: int = GROUP_ROWS_MAX,
        nice: int = 0,
        trouble: Trouble | None = None,
    ) -> None:
        """Start the thread; `nice` is added to its niceness where the system allows it.

        `apply` writes a group of about `rows_max` rows and sets each job's result or error.
        `trouble` hears of what went wrong with the file. `tidy` is called after each group and when
        idle, which its argument tells; `finish` is the last thing that runs.
        """
        self._apply = apply
        self._tidy = tidy
        self._finish = finish
        self._rows_max = rows_max
        self._nice = nice
        self.trouble = trouble or make_trouble()
        self.waiting = 0
        self._room = asyncio.Event()
        self._queue: queue.SimpleQueue[list[J] | None] = queue.SimpleQueue()
        self._fresh: list[J] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self.fault: BaseException | None = None
        self._ended: asyncio.Future[None] | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def write(self, job: J) -> Awaitable[Any]:
        """Return an awaitable of the job's result once durable; it raises the job's error.

        Raise ClosedError when the store is closed.
        """
        return self._submit(job) if self.waiting < WAITING_MAX else self._submit_later(job)

    async def _submit_later(self, job: J) -> Any:
        while self.waiting >= WAITING_MAX:
            self._room.clear()
            await self._room.wait()
        return await self._submit(job)

    def _submit(self, job: J) -> asyncio.Future[Any]:
        """Submit a job; the future is done after its commit, or has its error."""
        if self._closed:
            raise ClosedError("the store is closed")
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        if not self._fresh:
            loop.call_soon(self._hand_over)
        self._fresh.append(job)
        self.waiting += 1
        future: asyncio.Future[Any] = loop.create_future()
        job.future = future
        return future

    def _hand_over(self) -> None:
        if self._fresh:
            self._queue.put(self._fresh)
            self._fresh = []
        if self.fault is not None:
            self._fail_all(self.fault)

    def vital(self) -> Vital:
        """Return the thread as what must not end before `close`."""
        return Vital(self._thread.name, self._why_ended)

    def _why_ended(self) -> str | None:
        if self._thread.is_alive() or self._ended is not None:
            return None
        return f"the thread ended: {self.fault!r}"

    async def close(self) -> None:
        """Write what was submitted, run `finish`, and end the thread; idempotent."""
        if self._closed:
            if self._ended is not None:
                await asyncio.shield(self._ended)
            return  # or the thread ended by a fault: it has released everything
        self._closed = True
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        self._hand_over()
        self._queue.put(None)
        await asyncio.shield(self._ended)
        self._thread.join()

    # ------------------------------------------------------------------------- in the thread

    def _run(self) -> None:
        """Write until the end; should the thread end by a fault, nobody is left waiting."""
        error: BaseException | None = None
        waiting: deque[J] = deque()
        try:
            yield_more(self._nice)
            self._write_all(waiting)
        except BaseException as fault:  # noqa: BLE001  whatever it is, whoever waits hears of it
            self.fault = error = fault
            self._closed = True
            self._queue.put([*waiting])
        try:
            self._finish()
        except Exception as fault:  # noqa: BLE001  whoever closes hears of it
            error = error or fault
        self._tell_loop(self._end, error)

    def _tell_loop(self, tell: Callable[[T], None], what: T) -> None:
        """Have the loop do something; one that is closed has nobody left who waits."""
        if self._loop is None:
            return
        try:
            self._loop.call_soon_threadsafe(tell, what)
        except RuntimeError:
            self._closed = True

    def _write_all(self, waiting: deque[J]) -> None:
        going = True
        while going or waiting:
            going = self._gather(waiting, going=going)
            group = self._take(waiting)
            if group:
                try:
                    self._apply(group)
                except Exception as fault:  # noqa: BLE001  set on every job of the group
                    for job in group:
                        job.error = fault
                except BaseException:
                    waiting.extendleft(reversed(group))
                    raise
                self._note(group)
                self._tell_loop(self._settle, group)
            if self._tidy is not None:
                self._tidy_up(self._tidy, idle=not waiting and self._queue.empty())

    def _note(self, group: list[J]) -> None:
        """Have what went wrong with the file known."""
        errors = [job.error for job in group if job.error is not None]
        if not errors:
            self.trouble.written()
        for error in errors:
            self.trouble.hear(error)

    def _tidy_up(self, tidy: Tidy, *, idle: bool) -> None:
        try:
            tidy(idle)
        except Exception as error:
            self.trouble.hear(error)
            logging.getLogger(__name__).exception("%s: tidying up failed", self._thread.name)

    def _gather(self, waiting: deque[J], *, going: bool) -> bool:
        """Move submitted jobs into `waiting`; return whether more may come."""
        try:
            if going and not waiting:
                jobs = self._queue.get(timeout=IDLE_S if self._tidy is not None else None)
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

    def _take(self, waiting: deque[J]) -> list[J]:
        group: list[J] = []
        rows = 0
        while waiting and rows < self._rows_max:
            job = waiting.popleft()
            rows += job.weight
            group.append(job)
        return group

    def _settle(self, group: list[J]) -> None:
        self.waiting -= len(group)
        self._room.set()
        for job in group:
            future = job.future
            if future is None or future.done():
                continue
            if job.error is not None:
                future.set_exception(job.error)
            else:
                future.set_result(job.result)

    def _fail_all(self, fault: BaseException) -> None:
        """Give everybody who waits the fault that ended the thread."""
        left: list[J] = []
        while not self._queue.empty():
            left.extend(self._queue.get_nowait() or ())
        for job in left:
            job.error = ClosedError(f"the thread that writes has ended: {brief(fault)}")
        self._settle(left)

    def _end(self, error: BaseException | None) -> None:
        if self.fault is not None:
            self._fail_all(self.fault)
        if self._ended is None:
            return  # it ended by a fault, and nobody has closed it yet
        if error is not None:
            self._ended.set_exception(error)
        else:
            self._ended.set_result(None)


class CallWriter(GroupWriter[Call]):
    """The thread of a store whose jobs are functions of its connection."""

    def __init__(
        self, connection: apsw.Connection, *, name: str, tidy: Tidy | None = None, nice: int = 0
    ) -> None:
        """Take over `connection`: only the thread uses it from now on, and closes it."""
        super().__init__(
            name=name,
            apply=partial(write_calls, connection),
            finish=connection.close,
            tidy=tidy,
            rows_max=CALLS_MAX,
            nice=nice,
        )

    async def call(self, work: Callable[[apsw.Connection], T]) -> T:
        """Return the result of `work` once durable; raise its error or the commit's."""
        result: T = await self.write(Call(work))
        return result


def write_calls(connection: apsw.Connection, jobs: list[Call]) -> None:
    """Run calls in one transaction, each in a savepoint, so that a failed one rolls back alone.

    Another process may write the same file: the transaction takes the write lock first and waits
    for it. A call whose caller was cancelled is not begun.
    """
    asked = [job for job in jobs if job.future is None or not job.future.cancelled()]
    if not asked:
        return
    try:
        connection.execute("BEGIN IMMEDIATE")
        for job in asked:
            _call(connection, job)
        connection.execute("COMMIT")
    except Exception as error:
        roll_back(connection, error)
        raise


def _call(connection: apsw.Connection, job: Call) -> None:
    """Run one call; raise an error that ended the whole transaction, as a full disk does."""
    failed: Exception | None = None
    try:
        with connection:
            try:
                job.result = job.call(connection)
            except Exception as error:
                failed = error
                raise
    except Exception as error:  # noqa: BLE001  set on the caller, or raised for the whole group
        first = failed or error  # the second error is only that the savepoint is gone
        if not connection.in_transaction:
            raise first from None
        job.error = first


def roll_back(connection: apsw.Connection, error: Exception) -> None:
    """Roll back, unless SQLite has done so already; note a failure of that on the first error."""
    try:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    except apsw.Error as second:
        error.add_note(f"rolling back failed too: {brief(second)}")

"""Threads that write at the same time share one transaction, and so one sync to the disk.

Whoever finds nobody writing leads: it takes the folder's lock, does what others have queued
meanwhile together with its own, commits once, and lets them go. A caller returns only when its own
work is committed. Where anything in a group fails, the group is undone and each is done by itself,
so that an error reaches exactly the caller whose it is. Work that is written so runs on whichever
thread leads: it must touch nothing but the transaction.

It must never wait for a thread that waits for it: whoever writes from within a transaction, or from
a signal's handler that interrupted one that leads, writes by itself.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Generic, TypeVar

from holdfast.outbox import limits
from holdfast.outbox.database import RenewedError, UnavailableError
from holdfast.outbox.queue import Queue
from holdfast.outbox.transaction import Transaction

T = TypeVar("T")

_LEAD: Final = "lead"


class _Place(Generic[T]):
    """One caller's work, and what became of it."""

    __slots__ = ("_bell", "done", "error", "stored", "value", "work")

    def __init__(self, work: Callable[[Transaction], T]) -> None:
        self.work = work
        self.value: T | None = None
        self.stored = 0
        self.error: BaseException | None = None
        self.done = False
        self._bell = threading.Lock()
        self._bell.acquire()

    def wait(self, timeout_s: float) -> bool:
        """Wait until woken: done, or to lead. Return whether that was in time."""
        return self._bell.acquire(timeout=timeout_s)

    def wake(self) -> None:
        """Wake whoever waits; twice is no error."""
        with suppress(RuntimeError):
            self._bell.release()

    def succeed(self, value: T, stored: int) -> None:
        """Let its caller go."""
        self.value, self.stored, self.done = value, stored, True
        self.wake()

    def fail(self, error: BaseException) -> None:
        """Let its caller go with an error of its own."""
        self.error, self.done = error, True
        self.wake()


class GroupCommit:
    """Writes to one queue."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._places: deque[_Place[Any]] = deque()
        # Who leads, taken in one step, so that a signal's handler finds either both or nothing.
        self._lead: dict[str, int] = {}

    def alone(self, work: Callable[[Transaction], T]) -> tuple[T, int]:
        """Do `work` in a transaction of its own, once more where the database was renewed.

        Return its answer and how many rows it queued; raise UnavailableError.
        """
        try:
            return self._once(work)
        except RenewedError:
            return self._once(work)

    def _once(self, work: Callable[[Transaction], T]) -> tuple[T, int]:
        with self._queue.transaction() as current:
            return work(current), current.stored

    def write(self, work: Callable[[Transaction], T]) -> tuple[T, int, bool]:
        """Do `work`, with what others queue meanwhile; as `alone`, and whether this thread led."""
        me = threading.get_ident()
        if self._lead.get(_LEAD) == me or self._queue.lock.mine:
            return *self.alone(work), True
        place = _Place(work)
        self._places.append(place)
        try:
            led = self._see_to(place, me)
        except BaseException:
            # Interrupted: nobody waits for it any more.
            with suppress(ValueError):
                self._places.remove(place)
            self._wake_next()
            raise
        if place.error is not None:
            raise place.error
        return place.value, place.stored, led  # type: ignore[return-value]  # it is done

    def _see_to(self, place: _Place[Any], me: int) -> bool:
        """Lead, or wait for who leads, until a place is done; return whether this thread led."""
        led = False
        while not place.done:
            if self._lead.setdefault(_LEAD, me) == me:
                led = True
                try:
                    self._serve()
                finally:
                    self._lead.pop(_LEAD, None)
                    # Who queued after the last look found the lead taken: one of them is next.
                    self._wake_next()
            elif not place.wait(limits.THREADS_QUEUE_S):
                self._give_up(place)
        return led

    def _wake_next(self) -> None:
        with suppress(IndexError):
            self._places[0].wake()

    def _give_up(self, place: _Place[Any]) -> None:
        """Take a place back that nobody served in time; one that is being served is waited for."""
        with suppress(ValueError):
            self._places.remove(place)
            place.fail(UnavailableError("another thread holds the outbox"))

    def _serve(self) -> None:
        """Do what is queued; nobody else does."""
        group: list[_Place[Any]] = []
        try:
            with self._queue.exclusive():
                # Now, not before: whoever came while the lock was waited for goes along.
                while self._places and len(group) < limits.GROUP_MAX:
                    group.append(self._places.popleft())
                self._do(group)
        except UnavailableError as error:
            while self._places:
                self._places.popleft().fail(error)
        finally:
            # Interrupted: what is not done is the next leader's.
            self._places.extendleft(place for place in reversed(group) if not place.done)

    def _do(self, group: list[_Place[Any]]) -> None:
        if len(group) > 1 and self._in_one(group):
            return
        for place in group:
            try:
                value, stored = self.alone(place.work)
            except Exception as error:  # noqa: BLE001  # its own caller's
                place.fail(error)
            else:
                place.succeed(value, stored)

    def _in_one(self, group: list[_Place[Any]]) -> bool:
        """Do a group in one transaction; return whether it was committed."""
        done: list[tuple[Any, int]] = []
        try:
            with self._queue.transaction() as current:
                for place in group:
                    before = current.stored
                    done.append((place.work(current), current.stored - before))
        except Exception:  # noqa: BLE001  # each is done by itself, and whose it is hears of it
            return False
        for place, (value, stored) in zip(group, done, strict=True):
            place.succeed(value, stored)
        return True

    def forked(self) -> None:
        """Forget, in a child, the parent's callers."""
        self._places = deque()
        self._lead = {}

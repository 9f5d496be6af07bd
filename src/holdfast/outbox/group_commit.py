"""Threads that write at the same time share one transaction, and so one sync to the disk.

A thread that finds no writer leads: it takes the folder's lock, runs what others have queued
meanwhile together with its own, commits once, and releases them. A caller returns only when its own
work is committed. If anything in a group fails, the group is rolled back and each is run by itself,
so that an error reaches exactly the caller it belongs to. Work runs on whichever thread leads: it
must touch nothing but the transaction.

It must never wait for a thread that waits for it: a write from within a transaction, or from a
signal handler that interrupted a leader, runs by itself.
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
    """One caller's work, and its result."""

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
        """Wake the waiter; twice is no error."""
        with suppress(RuntimeError):
            self._bell.release()

    def succeed(self, value: T, stored: int) -> None:
        """Release its caller."""
        self.value, self.stored, self.done = value, stored, True
        self.wake()

    def fail(self, error: BaseException) -> None:
        """Release its caller with an error of its own."""
        self.error, self.done = error, True
        self.wake()


class GroupCommit:
    """Writes to one queue."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._places: deque[_Place[Any]] = deque()
        # The leader, taken in one step, so that a signal handler finds either both or nothing.
        self._lead: dict[str, int] = {}

    def alone(self, work: Callable[[Transaction], T]) -> tuple[T, int]:
        """Run `work` in a transaction of its own, once more if the database was renewed.

        Return its result and how many rows it queued; raise UnavailableError.
        """
        try:
            return self._once(work)
        except RenewedError:
            return self._once(work)

    def _once(self, work: Callable[[Transaction], T]) -> tuple[T, int]:
        with self._queue.transaction() as current:
            return work(current), current.stored

    def write(self, work: Callable[[Transaction], T]) -> tuple[T, int, bool]:
        """Run `work`, with what others queue meanwhile; as `alone`, and whether this thread led."""
        me = threading.get_ident()
        if self._lead.get(_LEAD) == me or self._queue.lock.mine:
            return *self.alone(work), True
        place = _Place(work)
        self._places.append(place)
        try:
            led = self._see_to(place, me)
        except BaseException:
            # Interrupted: its result has no reader any more.
            with suppress(ValueError):
                self._places.remove(place)
            self._wake_next()
            raise
        if place.error is not None:
            raise place.error
        return place.value, place.stored, led  # type: ignore[return-value]  # it is done

    def _see_to(self, place: _Place[Any], me: int) -> bool:
        """Lead, or wait for the leader, until a place is done; return whether this thread led."""
        led = False
        while not place.done:
            if self._lead.setdefault(_LEAD, me) == me:
                led = True
                try:
                    self._serve()
                finally:
                    self._lead.pop(_LEAD, None)
                    # Threads that queued after the last look found the lead taken: one of them is
                    # next.
                    self._wake_next()
            elif not place.wait(limits.THREADS_QUEUE_S):
                self._give_up(place)
        return led

    def _wake_next(self) -> None:
        with suppress(IndexError):
            self._places[0].wake()

    def _give_up(self, place: _Place[Any]) -> None:
        """Withdraw a place that was not served in time; one that is being served is waited for."""
        with suppress(ValueError):
            self._places.remove(place)
            place.fail(UnavailableError("another thread holds the outbox"))

    def _serve(self) -> None:
        """Run what is queued, as the only leader."""
        group: list[_Place[Any]] = []
        try:
            with self._queue.exclusive():
                # Now, not before: threads that came while the lock was waited for are included.
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
        """Run a group in one transaction; return whether it was committed."""
        done: list[tuple[Any, int]] = []
        try:
            with self._queue.transaction() as current:
                for place in group:
                    before = current.stored
                    done.append((place.work(current), current.stored - before))
        except Exception:  # noqa: BLE001  # each is run by itself, and its own caller gets the error
            return False
        for place, (value, stored) in zip(group, done, strict=True):
            place.succeed(value, stored)
        return True

    def forked(self) -> None:
        """Drop, in a child, the parent's callers."""
        self._places = deque()
        self._lead = {}

"""The outbox's interface: opened on a folder, enqueued into, flushed, closed.

No method raises for what the disk, the network or another process does: receipts and reports
contain the result, and every loss is counted. Wrong arguments raise ValueError. Nothing here sends
on the caller's thread, and every wait is bounded.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from holdfast.kernel.clock import Clock, SystemClock
from holdfast.outbox import limits, process_hooks, statements
from holdfast.outbox.database import (
    DURABILITIES,
    MEMORY,
    POWER,
    Prepare,
    UnavailableError,
    nothing_to_prepare,
)
from holdfast.outbox.defaults import always_open, folder_path, log_notice
from holdfast.outbox.group_commit import GroupCommit
from holdfast.outbox.queue import Queue
from holdfast.outbox.receipts import Flushed, Receipt
from holdfast.outbox.signal import Signal
from holdfast.outbox.transaction import DROPPED, Transaction, check, encode

if TYPE_CHECKING:
    # Loaded when the first thread starts: a program that only enqueues never pays for them.
    import _sqlite3 as sqlite3

    from holdfast.outbox.doctor import Stats
    from holdfast.outbox.drain import Drainer
    from holdfast.outbox.drain_worker import DrainWorker
    from holdfast.outbox.ports import DeadLetter, Fetch, Gate, Notice, Sender

T = TypeVar("T")

_FINAL_BLOCKS: Final = ("auth", "unready", "told", "deferred", "gate")
_FAILURES_ENOUGH: Final = 3
_LOOK_S: Final = 0.02
_CLOSE_S: Final = 0.5


def open_outbox(
    folder: str | bytes | os.PathLike[str] | os.PathLike[bytes],
    *,
    sender: Sender | None = None,
    durability: str = POWER,
    gate: Gate = always_open,
    notice: Notice = log_notice,
    clock: Clock | None = None,
    prepare: Prepare = nothing_to_prepare,
    fetch: Callable[[], Fetch] | None = None,
    begin: bool = True,
) -> Outbox:
    """Open the outbox of `folder` and, if rows are pending already, begin to send them.

    `durability` is "memory", "process" (survives a crash) or "power" (survives loss of power, too);
    ValueError for any other. A folder that cannot be used now is no error: it is tried again, and
    until then what is enqueued is dropped and counted.

    `prepare` makes the caller's own tables. It gets each opened connection, first of all, with the
    folder's lock held; it may run again on a database that was renewed. UnavailableError from it
    leaves the database as it is; any other SQLite error marks it as damaged.

    `fetch` makes the fetch that runs beside the rows; with one, a sender and a key, the drain
    thread runs from the beginning. With `begin` false nothing is sent before `resume` is called.
    """
    if durability not in DURABILITIES:
        raise ValueError(f"durability {durability!r}: want one of {', '.join(DURABILITIES)}")
    box = Outbox(
        folder_path(folder),
        sender=sender,
        durability=durability,
        gate=gate,
        notice=notice,
        clock=clock or SystemClock(),
        prepare=prepare,
        fetch=fetch,
    )
    if begin:
        box.resume()
    return box


def _guarded_gate(gate: Gate) -> Gate:
    """Return a gate that is closed if the real one raises."""

    def guarded() -> str:
        try:
            return gate()
        except Exception as error:  # noqa: BLE001  # foreign code on the caller's thread
            return f"the gate failed: {type(error).__name__}: {error}"

    return guarded


def _guarded_notice(notice: Notice) -> Notice:
    """Return a notice that cannot fail: its errors have no recipient."""

    def guarded(text: str) -> None:
        with suppress(Exception):
            notice(text)

    return guarded


class Outbox:
    """Safe to use from any thread, and in a child after fork. A context manager."""

    def __init__(
        self,
        folder: str,
        *,
        sender: Sender | None,
        durability: str,
        gate: Gate,
        notice: Notice,
        clock: Clock,
        prepare: Prepare,
        fetch: Callable[[], Fetch] | None = None,
    ) -> None:
        self._fetch = fetch
        self.folder = folder
        self.durability = durability
        self._sender = sender
        self._gate = _guarded_gate(gate)
        self._notice = _guarded_notice(notice)
        self._clock = clock
        self._queue = Queue(
            folder, durability=durability, clock=clock, chance=os.urandom, prepare=prepare
        )
        self._group = GroupCommit(self._queue)
        self._bell = Signal(None if durability == MEMORY else folder)
        self._drain_worker: DrainWorker | None = None
        self._pause = threading.Event()
        self._closed = False
        process_hooks.enter(self)

    # ------------------------------------------------------------------ enqueueing

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Hold one transaction for the caller's own statements and for what it enqueues.

        Raise UnavailableError, with everything rolled back and what was enqueued counted as
        dropped, if the folder cannot be written. Exceptions of the block roll back and propagate.
        """
        current = None
        try:
            with self._queue.transaction() as current:
                yield current
        except UnavailableError:
            self._queue.count_dropped(0 if current is None else current.stored)
            raise
        self._stored()

    def enqueue(
        self,
        kind: str,
        event_id: str,
        payload: Mapping[str, Any] | str,
        *,
        within: Callable[[Transaction], object] | None = None,
    ) -> Receipt:
        """Queue one item; durable, as chosen, when this returns "stored".

        `payload` is a mapping, or JSON text that is sent as it is. `within` runs the caller's own
        statements in the same transaction. Raise ValueError for wrong arguments only.
        """
        text = payload if isinstance(payload, str) else encode(payload)
        check(kind, event_id, text)

        def work(current: Transaction) -> Receipt:
            if within is not None:
                within(current)
            return current.enqueue(kind, event_id, text)

        try:
            return self.write(work, grouped=within is None)
        except UnavailableError as error:
            return Receipt(DROPPED, 0, str(error))

    def write(self, work: Callable[[Transaction], T], *, rows: int = 1, grouped: bool = False) -> T:
        """Run `work` in one transaction, once more if the database had to be renewed.

        With `grouped` threads that write at the same time share a transaction: `work` may then run
        on another thread, more than once, and must touch nothing but its transaction.

        Raise UnavailableError, with `rows` counted as dropped, if the folder cannot be written.
        """
        led = True
        try:
            if grouped:
                done, stored, led = self._group.write(work)
            else:
                done, stored = self._group.alone(work)
        except UnavailableError:
            self._queue.count_dropped(rows)
            raise
        if stored or rows:
            self._stored(notify=led)
        return done

    def read(self, look: Callable[[sqlite3.Connection], T]) -> T:
        """Return the result of `look` on the folder's database; raise UnavailableError."""
        return self._queue.read(look)

    def count_dropped(self, rows: int) -> None:
        """Count what the caller could not even begin to enqueue."""
        self._queue.count_dropped(rows)

    def _stored(self, *, notify: bool = True) -> None:
        if self._sender is not None:
            self._tend()
        if not notify:
            # The thread that committed for this one, too, rings for both.
            return
        self._bell.ring()
        if self._queue.wal_bytes() > limits.WAL_CALLER_BYTES:
            try:
                self._queue.checkpoint()
            except UnavailableError:
                # Only the log's size is at stake; the next call tries again.
                return

    # ------------------------------------------------------------------ sending

    def attach(self, sender: Sender) -> None:
        """Send with `sender` from now on, if there was none; raise ValueError if there is one."""
        if self._sender is not None:
            raise ValueError("sender: this outbox has one already")
        self._sender = sender
        self.resume()

    def resume(self) -> None:
        """Begin to send pending rows, if there is a sender and the gate is open."""
        try:
            waiting = self._queue.counters().pending
        except UnavailableError as error:
            self._notice(f"the outbox in {self.folder} cannot be used now: {error}")
            return
        if waiting:
            self._stored()
        else:
            self.tend()

    def tend(self) -> None:
        """Keep a thread listening to the other side, if there is anything to fetch."""
        if self._fetch is None or self._sender is None:
            return
        mark = getattr(self._sender, "mark", None)
        if mark is None or mark():
            self._tend()

    def _tend(self) -> bool:
        """Keep a drain alive; with the gate closed none is started."""
        drain_worker = self._drain_worker
        if drain_worker is not None and drain_worker.healthy():
            return True
        if self._closed or self._gate():
            return False
        if drain_worker is None:
            from holdfast.outbox.drain_worker import DrainWorker  # noqa: PLC0415  # see above

            drain_worker = DrainWorker(
                self._drainer, bell=self._bell, clock=self._clock, notice=self._notice
            )
            self._drain_worker = drain_worker
        return drain_worker.ensure()

    def _drainer(self) -> Drainer:
        from holdfast.outbox.drain import Drainer  # noqa: PLC0415
        from holdfast.outbox.fetch import Fetcher  # noqa: PLC0415
        from holdfast.outbox.lease import Lease  # noqa: PLC0415
        from holdfast.outbox.send_thread import SendThread  # noqa: PLC0415  # see above

        assert self._sender is not None
        token = os.urandom(8).hex()
        folder = None if self.durability == MEMORY else self.folder
        lease = Lease(folder, token=token, clock=self._clock)
        send_thread = SendThread(self._clock)
        drainer = Drainer(
            self._queue,
            self._sender,
            gate=self._gate,
            lease=lease,
            bell=self._bell,
            clock=self._clock,
            notice=self._notice,
            carry=send_thread,
            give_up=send_thread.give_up,
            seed=token,
            fetcher=Fetcher(self._fetch(), ring=self._bell.ring_here) if self._fetch else None,
        )
        send_thread.tick = drainer.tick
        return drainer

    def hurry(self) -> float:
        """Request that everything is sent now; return a mark for `quiet`. Takes no lock."""
        now_ms = self._clock.steady_ms()
        drainer = self._drain_worker.drainer if self._drain_worker else None
        if drainer is not None:
            drainer.hurry_since_ms = now_ms
            self._bell.ring_here()
        return now_ms

    def quiet(self, since_ms: float) -> bool:
        """Return whether the drain has looked since, and will send nothing more for now."""
        drainer = self._drain_worker.drainer if self._drain_worker else None
        if drainer is None:
            return True
        return drainer.looked_ms > since_ms and (not drainer.pending or self._stuck(since_ms))

    def _stuck(self, since_ms: float) -> bool:
        drainer = self._drain_worker.drainer if self._drain_worker else None
        if drainer is None or drainer.looked_ms <= since_ms:
            return False
        if drainer.blocked == "backoff":
            return drainer.state.failures >= _FAILURES_ENOUGH
        return drainer.blocked.startswith(_FINAL_BLOCKS)

    def flush(self, deadline_s: float = limits.FLUSH_DEADLINE_S) -> Flushed:
        """Wait until what is pending now is delivered or refused, for at most `deadline_s` seconds.

        Returns earlier if waiting is useless: no sender, a closed gate, a refused key, a
        Retry-After, three failures in a row. What is not sent stays queued.
        """
        end_ms = self._clock.steady_ms() + deadline_s * 1_000
        try:
            newest: int = self._queue.read(
                lambda connection: connection.execute(statements.NEWEST_ROW).fetchone()[0] or 0,
                max(deadline_s, 0),
            )
        except UnavailableError as error:
            return Flushed(self._queue.last_account()[0], str(error))
        since_ms = None
        while True:
            left_s = (end_ms - self._clock.steady_ms()) / 1_000
            try:
                pending = self._pending(newest, left_s)
            except UnavailableError as error:
                return Flushed(self._queue.last_account()[0], str(error))
            reason = "" if not pending else self._vain(since_ms, left_s)
            if not pending or reason:
                return Flushed(pending, reason)
            if since_ms is None:
                since_ms = self.hurry()
                self._bell.ring()
            self._pause.wait(min(_LOOK_S, max(left_s, 0)))

    def _pending(self, newest: int, left_s: float) -> int:
        count: int = self._queue.read(
            lambda connection: connection.execute(statements.PENDING_UP_TO, (newest,)).fetchone()[
                0
            ],
            max(left_s, 0.001),
        )
        return count

    def _vain(self, since_ms: float | None, left_s: float) -> str:
        """Return why waiting is useless, empty if it is not."""
        if left_s <= 0:
            return "deadline"
        if self._sender is None:
            return "no sender"
        gate = self._gate()
        if gate:
            return f"gate: {gate}"
        if not self._tend():
            return "no thread to send with"
        if since_ms is None or self._drain_worker is None or self._drain_worker.drainer is None:
            return ""
        return self._drain_worker.drainer.blocked if self._stuck(since_ms) else ""

    def close(self, deadline_s: float = limits.FLUSH_DEADLINE_S) -> Flushed:
        """Flush, end the thread, release the lease and close, all within about `deadline_s`.

        What is not sent stays queued for the next process that opens the folder. Closing twice is
        no error. A sender that has a method `close` is closed, too.
        """
        if self._closed:
            return Flushed(self._queue.last_account()[0], "closed")
        end_ms = self._clock.steady_ms() + deadline_s * 1_000
        flushed = self.flush(deadline_s)
        self._await_fetch(end_ms)
        self._closed = True
        process_hooks.leave(self)
        if self._drain_worker is not None:
            left_s = (end_ms - self._clock.steady_ms()) / 1_000
            self._drain_worker.stop(max(left_s, 0.5))
            # A thread that does not end in time still uses these: it closes them itself.
            self._drain_worker.afterwards(self._let_go)
        else:
            self._let_go()
        return flushed

    def _await_fetch(self, end_ms: float) -> None:
        """Wait briefly for a running fetch: a program may not live longer than that."""
        end_ms = min(end_ms, self._clock.steady_ms() + limits.FETCH_CLOSE_S * 1_000)
        drainer = self._drain_worker.drainer if self._drain_worker else None
        while drainer is not None and drainer.fetch_busy and not drainer.stopping:
            left_s = (end_ms - self._clock.steady_ms()) / 1_000
            if left_s <= 0 or self._gate():
                return
            self._pause.wait(min(_LOOK_S, left_s))

    def _let_go(self) -> None:
        close_sender = getattr(self._sender, "close", None)
        if close_sender is not None:
            close_sender()
        self._bell.close()
        self._queue.close(_CLOSE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def before_fork(self, budget_s: float) -> float:
        """Close the connection for a fork; return what is left of the wait budget in seconds."""
        began_ms = self._clock.steady_ms()
        self._queue.before_fork(budget_s)
        return max(budget_s - (self._clock.steady_ms() - began_ms) / 1_000, 0.0)

    def after_fork(self) -> None:
        """Continue in the parent; the connection is opened again when needed."""
        self._queue.after_fork()

    def forked(self) -> None:
        """Start afresh in a child: its own connection, lock, lease, sockets and thread."""
        self._queue.forked()
        self._group.forked()
        self._bell.forked()
        self._pause = threading.Event()
        self._drain_worker = None

    # ------------------------------------------------------------------ checks and repair

    def stats(self) -> Stats:
        """Return the state of the queue; see `doctor.inspect` for a folder that is not open."""
        from pathlib import Path  # noqa: PLC0415  # see above

        from holdfast.outbox import doctor  # noqa: PLC0415  # see above

        if self.durability != MEMORY:
            stats = doctor.inspect(Path(self.folder), clock=self._clock)
        else:
            stats = self._queue.read(
                lambda connection: doctor.read_stats(
                    connection, doctor.Stats(), now_ms=self._clock.now_ms()
                )
            )
        _, dropped, lost = self._queue.last_account()
        return stats._replace(dropped=max(stats.dropped, dropped), lost=max(stats.lost, lost))

    def repair(self) -> str:
        """Check every page of the database; set it aside if damaged. Return what was done.

        Raise UnavailableError if it cannot even be opened.
        """
        return self._queue.repair()

    @property
    def draining(self) -> bool:
        """Return whether this process has a living thread that drains or stands by."""
        return self._drain_worker is not None and self._drain_worker.healthy()

    @property
    def blocked(self) -> str:
        """Return why nothing is being sent now, empty if there is no reason."""
        drainer = self._drain_worker.drainer if self._drain_worker else None
        if drainer is None:
            return self._gate() or ("no sender" if self._sender is None else "")
        return drainer.blocked

    def dead_letters(self, *, after_row: int = 0, limit: int = 100) -> list[DeadLetter]:
        """Return what was refused permanently, by row number; raise UnavailableError."""
        from holdfast.outbox import delivery  # noqa: PLC0415  # see above

        return delivery.dead_letters(self._queue, after_row=after_row, limit=limit)

    def redrive(self, rows: Iterable[int] | None = None) -> int:
        """Make dead letters pending again, all by default; return how many."""
        from holdfast.outbox import delivery  # noqa: PLC0415  # see above

        count = delivery.redrive(self._queue, rows)
        self._stored()
        return count

    def discard(self, rows: Iterable[int] | None = None) -> int:
        """Delete dead letters, all by default; return how many. They stay counted."""
        from holdfast.outbox import delivery  # noqa: PLC0415  # see above

        return delivery.discard(self._queue, rows)

    def withdraw(self, prefix: str, within: Callable[[Transaction, Sequence[str]], object]) -> int:
        """Delete the rows whose event ids begin with `prefix`; see `delivery.withdraw`."""
        from holdfast.outbox import delivery  # noqa: PLC0415  # see above

        return delivery.withdraw(self._queue, prefix, within)

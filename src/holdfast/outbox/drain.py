"""One cycle of the drain: look, decide, send, store the verdict.

The thread that calls it is elsewhere (`drain_worker`), and so is the thread that sends
(`send_thread`): a cycle can be run by hand, with a manual clock. It must never leave a row in
doubt: until a verdict is stored the row is pending, and is sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from holdfast.kernel.backoff import fraction
from holdfast.kernel.clock import Clock
from holdfast.outbox import delivery, limits, retry_policy, statements
from holdfast.outbox.database import UnavailableError
from holdfast.outbox.delivery import Verdict
from holdfast.outbox.fetch import Fetcher
from holdfast.outbox.lease import Lease
from holdfast.outbox.ports import (
    Answer,
    Answered,
    Batch,
    Failed,
    Gate,
    Item,
    Notice,
    Refusal,
    Rejected,
    Sender,
    Throttled,
    TooLarge,
    Unauthorized,
    Unready,
)
from holdfast.outbox.queue import Queue
from holdfast.outbox.signal import Signal

Carry = Callable[[Sender, Batch], Answer]
_TOO_LARGE: Final = 413
_RATE_S: Final = limits.RATE_WINDOW_MS / 1_000


class Drainer:
    """Drains one queue to one sender, as long as the lease is ours and the gate is open.

    `blocked` is why nothing is being sent now, empty if there is no reason.
    """

    def __init__(
        self,
        queue: Queue,
        sender: Sender,
        *,
        gate: Gate,
        lease: Lease,
        bell: Signal,
        clock: Clock,
        notice: Notice,
        carry: Carry,
        give_up: Callable[[], None],
        seed: str,
        fetcher: Fetcher | None = None,
    ) -> None:
        """`seed` spreads the waits of many senders."""
        self._fetcher = fetcher
        self._queue = queue
        self._sender = sender
        self._gate = gate
        self.lease = lease
        self._bell = bell
        self._clock = clock
        self._notice = notice
        self._carry = carry
        self._give_up = give_up
        self.state = retry_policy.SendState(seed=seed)
        self.blocked = ""
        self.stopping = False
        self.hurry_since_ms = retry_policy.NEVER
        self.turned_ms = clock.steady_ms()
        self.looked_ms = retry_policy.NEVER
        self.pending = 0
        self._deferred: dict[int, tuple[float, int]] = {}
        self._unwritten: list[Verdict] = []
        self._noticed: dict[str, float] = {}
        self._noted = ""
        self._busy_ms = clock.steady_ms()

    # ------------------------------------------------------------------ a turn

    def cycle(self) -> float:
        """Do what is due now; return the time until the next cycle in milliseconds."""
        wait_ms = self._cycle()
        if self._fetcher is not None and not self.stopping:
            self._fetcher.step(self._may_fetch)
        self.looked_ms = self._clock.steady_ms()
        return wait_ms

    def _may_fetch(self) -> bool:
        return not self._gate() and self._mark() != ""

    @property
    def fetch_busy(self) -> bool:
        """Return whether a fetch is running, or is due for certain."""
        return self._fetcher is not None and self._fetcher.busy

    def stop(self) -> None:
        """End after what is under way, and keep that short."""
        self.stopping = True
        self._give_up()

    def _cycle(self) -> float:
        now_ms = self.turned_ms = self._clock.steady_ms()
        if not self._write_unwritten():
            self.blocked = "answers cannot be written down: the folder is not writable"
            return limits.STANDBY_MS
        backlog = delivery.backlog(self._queue)
        self.pending = backlog.pending
        if backlog.pending <= len(self._unwritten_rows()):
            self.blocked = ""
            self._rest(now_ms)
            return limits.POLL_MS
        self._busy_ms = now_ms
        reason = self._gate()
        mark = self._mark()
        if reason or mark == "":
            # No beat either: a process that may send must take over.
            self.blocked = f"gate: {reason}" if reason else retry_policy.UNREADY
            return limits.HOLD_LOOK_MS
        if not self._leading():
            self.blocked = "another process drains"
            return limits.STANDBY_MS
        decision = retry_policy.decide(
            self.state,
            pending=backlog.pending,
            now_ms=now_ms,
            mark=mark or "",
            hurry_since_ms=self.hurry_since_ms,
        )
        if isinstance(decision, retry_policy.Wait):
            self.blocked = decision.because
            return min(decision.for_ms, limits.POLL_MS)
        return self._send_some(decision)

    def _send_some(self, decision: retry_policy.Send) -> float:
        skip = self._skipped()
        picked = delivery.pick(self._queue, rows=decision.rows, max_bytes=decision.bytes, skip=skip)
        if picked.broken:
            lost = delivery.remove_broken(self._queue, picked.broken)
            self._warn("broken", f"{lost} queued rows were damaged on disk and are lost")
        if not picked.items:
            self.blocked = "deferred" if self._deferred else ""
            return limits.POLL_MS
        self.blocked = ""
        self._deliver(picked.items)
        self._checkpoint(limits.WAL_CHECKPOINT_BYTES)
        return 0.0

    def _rest(self, now_ms: float) -> None:
        """Handle an empty queue: let the lease rest, and checkpoint after a busy time."""
        self.hurry_since_ms = retry_policy.NEVER
        self._deferred.clear()
        self.lease.forget()
        if self.lease.held:
            idle = now_ms - self._busy_ms >= limits.WAL_IDLE_MS
            self._checkpoint(1 if idle else limits.WAL_CHECKPOINT_BYTES)

    def _checkpoint(self, from_bytes: int) -> None:
        if self._queue.wal_bytes() < from_bytes:
            return
        try:
            self._queue.checkpoint()
        except UnavailableError as error:
            self._warn("checkpoint", f"the log could not be emptied: {error}")

    def _leading(self) -> bool:
        if self.lease.held and self.lease.beat():
            return True
        self._bell.deafen()
        if not self.lease.take(abandoned=self._bell.is_abandoned):
            return False
        self._bell.listen()
        self._remember()
        return True

    def _remember(self) -> None:
        """Continue where the last holder stopped: its rate, and the batch size it learned."""
        now_s = self._clock.now_ms() / 1_000
        recent: int = self._queue.read(
            lambda connection: connection.execute(
                statements.DELIVERED_SINCE, (now_s - _RATE_S, now_s)
            ).fetchone()[0]
        )
        now_ms = self._clock.steady_ms()
        learned = delivery.notes(self._queue).get("bytes_max", "")
        self.state = self.state._replace(sent=((now_ms, recent),) if recent else ())
        if learned.isdigit() and int(learned) < limits.BATCH_BYTES_MAX:
            bytes_max = max(int(learned), limits.BATCH_BYTES_MIN)
            self.state = self.state._replace(bytes_max=bytes_max, bytes_learned_ms=now_ms)

    def _mark(self) -> str | None:
        mark = getattr(self._sender, "mark", None)
        return None if mark is None else str(mark())

    def tick(self) -> None:
        """Beat while a send is under way."""
        self.turned_ms = self._clock.steady_ms()
        self.lease.beat()

    # ------------------------------------------------------------------ sending

    def _send(self, items: Sequence[Item]) -> Answer:
        counters = self._queue.counters()
        oldest_ms = max(self._clock.now_ms() - items[0].enqueued_ms, 0)
        batch = Batch(tuple(items), counters.pending, oldest_ms, counters.dropped, counters.lost)
        self.turned_ms = self._clock.steady_ms()
        self.state = retry_policy.begun(self.state, self.turned_ms)
        return self._carry(self._sender, batch)

    def _may_go_on(self) -> bool:
        return not self.stopping and not self._gate() and self.lease.beat()

    def _deliver(self, items: Sequence[Item]) -> None:
        """Send the items; isolate poison among them in this same cycle, and go on with the rest."""
        stack: list[Sequence[Item]] = [items]
        searching = False
        vain = 0
        while stack and self._may_go_on():
            part = stack.pop()
            answer = self._send(part)
            match answer:
                case Answered():
                    self._answered(part, answer)
                    vain = 0
                case TooLarge(detail) if len(part) > 1:
                    self._narrow(part, detail)
                    return
                case TooLarge() | Rejected():
                    stack += self._refused(part, answer)
                case Failed(status=500, detail=detail) if searching and vain < limits.VAIN_MAX:
                    vain += 1
                    stack += self._suspected(part, detail)
                case Failed(status=500) if len(part) > 1 and self.state.failures:
                    rest = self._others_pass(part)
                    if rest is None:
                        self._failed(answer)
                        return
                    searching = True
                    stack += _halves(rest)
                case _:
                    self._failed(answer)
                    return

    def _refused(
        self, part: Sequence[Item], answer: TooLarge | Rejected
    ) -> Sequence[Sequence[Item]]:
        if len(part) > 1:
            return _halves(part)
        status = answer.status if isinstance(answer, Rejected) else _TOO_LARGE
        self._bury(part[0], Refusal(status, answer.detail))
        return ()

    def _suspected(self, part: Sequence[Item], detail: str) -> Sequence[Sequence[Item]]:
        if len(part) > 1:
            return _halves(part)
        self._defer(part[0], detail)
        return ()

    def _others_pass(self, part: Sequence[Item]) -> Sequence[Item] | None:
        """Try one other row alone: if it passes, the batch holds poison, and is returned.

        If it fails as well the other side is down, and the result is None.
        """
        alone = delivery.pick_newest(self._queue) if self.state.failures % 2 else None
        if alone is None or alone.row in self._deferred:
            alone = part[int(fraction(self.state.seed, self.state.failures) * len(part))]
        match self._send((alone,)):
            case Answered() as answer:
                self._answered((alone,), answer)
            case Rejected() as answer:
                self._refused((alone,), answer)
            case _:
                return None
        return [item for item in part if item.row != alone.row] or None

    def _answered(self, part: Sequence[Item], answer: Answered) -> None:
        now_ms = self._clock.steady_ms()
        taken = answer.taken
        delivered = tuple(item for item in part if item.event_id in taken)
        dead = tuple(
            (item, _clean(answer.refused[item.event_id]))
            for item in part
            if item.event_id in answer.refused and item.event_id not in taken
        )
        named = {item.row for item in delivered} | {item.row for item, _ in dead}
        silent = tuple(item for item in part if item.row not in named)
        self.state = retry_policy.succeeded(self.state, rows=len(part), now_ms=now_ms)
        notes = [("last_success_ms", str(self._clock.now_ms()))]
        if self._noted:
            notes += [("failing_since_ms", ""), ("auth_since_ms", "")]
            self._noted = ""
        tried = tuple((item, "the answer did not name this row") for item in silent)
        self._write(Verdict(delivered, answer.deduplicated, dead, tried, tuple(notes)))
        # Others passed: a row that was not named may pass with the next request.
        for item in () if named else silent:
            self._put_off(item)
        for item in delivered:
            self._deferred.pop(item.row, None)
        if self._fetcher is not None and answer.verdicts is not None:
            self._fetcher.note_newest(answer.verdicts)

    def _bury(self, item: Item, refusal: Refusal) -> None:
        self.state = retry_policy.succeeded(self.state, rows=0, now_ms=self._clock.steady_ms())
        self._write(Verdict(dead=((item, _clean(refusal)),)))

    def _narrow(self, part: Sequence[Item], detail: str) -> None:
        now_ms = self._clock.steady_ms()
        sent = sum(len(item.payload.encode()) for item in part)
        state = retry_policy.succeeded(self.state, rows=0, now_ms=now_ms)
        self.state = retry_policy.narrowed(state, sent_bytes=sent, now_ms=now_ms)
        self._note(
            f"413 at {sent} bytes: {_redacted(detail)}", ("bytes_max", str(self.state.bytes_max))
        )

    def _defer(self, item: Item, detail: str) -> None:
        self._write(Verdict(tried=((item, _redacted(detail)),)))
        self._put_off(item)

    def _put_off(self, item: Item) -> None:
        times = self._deferred.get(item.row, (0.0, 0))[1] + 1
        wait_ms = retry_policy.defer_ms(times, self.state.seed, item.row)
        self._deferred[item.row] = (self._clock.steady_ms() + wait_ms, times)

    def _failed(self, answer: Answer) -> None:
        now_ms = self._clock.steady_ms()
        match answer:
            case Unauthorized(status, detail, mark):
                self.state = retry_policy.unauthorized(self.state, mark=mark, now_ms=now_ms)
                since = ("auth_since_ms", str(self._clock.now_ms()))
                self._note(f"{status}: {_redacted(detail)}", since, kind=retry_policy.AUTH)
                self._warn(
                    retry_policy.AUTH,
                    f"the key was refused ({status}); everything is kept, and goes on when"
                    " the key changes",
                )
            case Unready(reason):
                self.state = retry_policy.unready(self.state, now_ms=now_ms)
                self.blocked = f"{retry_policy.UNREADY}: {reason}"
            case Throttled(detail, retry_after_ms):
                self.state = retry_policy.failed(
                    self.state, now_ms=now_ms, retry_after_ms=retry_after_ms or 0
                )
                self._note(f"429: {_redacted(detail)}", kind="429")
            case Failed(status, detail, retry_after_ms):
                self.state = retry_policy.failed(
                    self.state, now_ms=now_ms, retry_after_ms=retry_after_ms
                )
                self._note(f"{status or 'network'}: {_redacted(detail)}", kind=str(status))
            case _:
                raise TypeError(f"sender answered {type(answer).__name__}")

    # ------------------------------------------------------------------ writing down

    def _write(self, verdict: Verdict) -> None:
        try:
            unburied = delivery.record_verdict(self._queue, verdict)
        except UnavailableError as error:
            self._unwritten.append(verdict)
            self._warn("unwritten", f"an answer could not be written down yet: {error}")
            return
        for item in unburied:
            self._put_off(item)
        if verdict.dead:
            item, refusal = verdict.dead[0]
            self._warn(
                "dead",
                f"{len(verdict.dead)} rows were refused for good, the first with"
                f" {refusal.status} (event {item.event_id}); they are kept as dead letters",
            )

    def _write_unwritten(self) -> bool:
        """Store what a full disk prevented before; return whether there is room for more."""
        while self._unwritten:
            try:
                delivery.record_verdict(self._queue, self._unwritten[0])
            except UnavailableError:
                break
            self._unwritten.pop(0)
        return len(self._unwritten_rows()) <= limits.UNWRITTEN_ROWS_MAX

    def _unwritten_rows(self) -> set[int]:
        rows = {item.row for verdict in self._unwritten for item in verdict.delivered}
        return rows | {item.row for verdict in self._unwritten for item, _ in verdict.dead}

    def _skipped(self) -> set[int]:
        now_ms = self._clock.steady_ms()
        waiting = {row for row, (until_ms, _) in self._deferred.items() if until_ms > now_ms}
        return waiting | self._unwritten_rows()

    def _note(self, error: str, *more: tuple[str, str], kind: str = "") -> None:
        """Store the failure, once per kind: an outage must not wear out the disk."""
        if kind and kind == self._noted:
            return
        now = str(self._clock.now_ms())
        since = () if self._noted or not kind else (("failing_since_ms", now),)
        error_notes = (("last_error", delivery.short(error)), ("last_error_ms", now))
        try:
            delivery.note(self._queue, *error_notes, *since, *more)
        except UnavailableError:
            # A doctor in this process still sees it in `blocked`; the next change tries again.
            return
        self._noted = kind or self._noted

    def _warn(self, kind: str, text: str) -> None:
        now_ms = self._clock.steady_ms()
        if now_ms - self._noticed.get(kind, retry_policy.NEVER) >= limits.NOTICE_EVERY_MS:
            self._noticed[kind] = now_ms
            self._notice(text)


def _halves(part: Sequence[Item]) -> list[Sequence[Item]]:
    """Split so that a stack returns the older half first."""
    if len(part) == 1:
        return [part]
    middle = len(part) // 2
    return [part[middle:], part[:middle]]


def _redacted(text: str) -> str:
    """Return the text without what looks like a key; loaded on the first failure."""
    from holdfast.kernel.secret import redact  # noqa: PLC0415

    return redact(text)


def _clean(refusal: Refusal) -> Refusal:
    return refusal._replace(detail=_redacted(refusal.detail))

"""Sends everything in the foreground, with an exit code for cron.

The folder is authoritative and the plane a replica: `full` queues the whole record again under the
ids it had, which the plane accepts without doubling anything. Works while a kill switch is set,
because a person asked for it.
"""

from __future__ import annotations

import _sqlite3 as sqlite3
from collections.abc import Callable, Iterator
from typing import Final

from holdfast.kernel.clock import Clock
from holdfast.outbox.box import Outbox
from holdfast.outbox.database import UnavailableError
from holdfast.outbox.transaction import STORED, Transaction
from holdfast.sdk import backfill, identity, limits, record, schema
from holdfast.sdk.event_log import events_after
from holdfast.sdk.record import Event
from holdfast.sdk.results import Synced

DELIVERED: Final = 0
WAITING: Final = 1
DEAD: Final = 2
UNREADY: Final = 3
UNUSABLE: Final = 4

_NOT_YET: Final = ("", "deadline")


def run(
    outbox: Outbox,
    *,
    begin: Callable[[], None],
    clock: Clock,
    problem: Callable[[], str],
    full: bool,
    old: bool,
    deadline_s: float | None,
) -> Synced:
    """Queue what is requested, page by page, and send until the queue is empty or stuck.

    `begin` opens the gate and wakes the drain thread: only once the delivered count was read
    before, or rows sent quickly would be missing from the result. `problem` is why there is no
    destination; `old` imports what another program recorded.
    """
    try:
        before = outbox.stats()
        if before.problem and not before.source:
            raise UnavailableError(before.problem)  # noqa: TRY301  # reported below, as all others
        begin()
        again, reason = _drive(outbox, clock, _pages(outbox, full=full, old=old), deadline_s)
        after = outbox.stats()
    except UnavailableError as error:
        return Synced(0, 0, 0, 0, str(error), UNUSABLE)
    reason = reason if after.pending else ""
    if after.pending:
        reason = problem() or reason
        code = UNREADY if problem() else WAITING
    else:
        code = DEAD if after.dead else DELIVERED
    delivered = after.delivered - before.delivered
    return Synced(delivered, again, after.pending, after.dead, reason, code)


def _drive(
    outbox: Outbox, clock: Clock, pages: Iterator[int], deadline_s: float | None
) -> tuple[int, str]:
    """Return how many rows were queued again, and why it ended."""
    end_ms = float("inf") if deadline_s is None else clock.steady_ms() + deadline_s * 1_000
    again, more = 0, True
    while True:
        # A page at a time, so that a large record neither fills the queue nor is held in memory.
        while more and outbox.stats().pending < limits.RESEND_ROWS:
            page = next(pages, None)
            more = page is not None
            again += page or 0
        left_s = (end_ms - clock.steady_ms()) / 1_000
        flushed = outbox.flush(max(min(left_s, limits.SYNC_LOOK_S), 0))
        if not flushed.pending and not more:
            return again, ""
        if flushed.pending and flushed.reason not in _NOT_YET:
            return again, flushed.reason
        if clock.steady_ms() >= end_ms:
            return again, "deadline"


def _pages(outbox: Outbox, *, full: bool, old: bool) -> Iterator[int]:
    if old:
        yield from backfill.pages(outbox)
    if full:
        yield from _whole_record(outbox)


def _whole_record(outbox: Outbox) -> Iterator[int]:
    """Queue every event again, and of repeats the last count that was sent."""
    newest: int = outbox.read(lambda look: look.execute(schema.EVENTS_NEWEST).fetchone()[0])
    last = 0
    while last < newest:
        page = outbox.read(_page_after(last))
        if not page:
            return
        counts = outbox.read(_counts_between(last, page[-1].id))
        yield outbox.write(_queue_again(page, counts), rows=0)
        last = page[-1].id


def _page_after(last: int) -> Callable[[sqlite3.Connection], list[Event]]:
    return lambda connection: events_after(connection, last)


def _counts_between(first: int, last: int) -> Callable[[sqlite3.Connection], dict[int, int]]:
    return lambda connection: dict(
        connection.execute(schema.COUNTS_BETWEEN, (first, last)).fetchall()
    )


def _queue_again(page: list[Event], counts: dict[int, int]) -> Callable[[Transaction], int]:
    def work(tx: Transaction) -> int:
        stored = 0
        for event in page:
            stored += record.queue_event(tx, event, again=True).state == STORED
            sent = record.last_sent(counts.get(event.id, 1))
            if sent > 1:
                repeat = identity.repeat_id(event.event_id, sent)
                text = record.recounted(event.data, sent)
                stored += tx.enqueue("correction", repeat, text, again=True).state == STORED
        return stored

    return work

"""Operations on rows: pick, mark delivered, bury, redrive, purge.

Each is one transaction, so that after a kill at any point a row is either pending (it is sent
again, and the other side recognises its event id) or final. It must never remove a pending row
unread.
"""

from __future__ import annotations

import _sqlite3 as sqlite3
from collections.abc import Callable, Container, Iterable, Sequence
from typing import NamedTuple

from holdfast.outbox import limits, statements
from holdfast.outbox.database import DamagedError
from holdfast.outbox.ports import DeadLetter, Item, Refusal
from holdfast.outbox.queue import Queue
from holdfast.outbox.rows import believed
from holdfast.outbox.transaction import Transaction

_PAGE = 256
_PENDING = 0
_DELIVERED = 1


class Verdict(NamedTuple):
    """The other side's verdict on rows."""

    delivered: tuple[Item, ...] = ()
    deduplicated: int = 0
    dead: tuple[tuple[Item, Refusal], ...] = ()
    tried: tuple[tuple[Item, str], ...] = ()
    notes: tuple[tuple[str, str], ...] = ()


class Picked(NamedTuple):
    """Rows to send, oldest first, and row numbers whose content fails its checksum."""

    items: tuple[Item, ...]
    broken: tuple[int, ...]


class Backlog(NamedTuple):
    """How many rows are pending, and since when (milliseconds since the epoch, 0 for none)."""

    pending: int
    oldest_row: int
    oldest_ms: int


def backlog(queue: Queue) -> Backlog:
    """Return the pending rows' number and age."""
    pending = queue.counters().pending
    if not pending:
        return Backlog(0, 0, 0)
    oldest = queue.read(lambda connection: connection.execute(statements.OLDEST).fetchone())
    return Backlog(pending, *((0, 0) if oldest is None else (oldest[0], int(oldest[1] * 1_000))))


def pick(queue: Queue, *, rows: int, max_bytes: int, skip: Container[int]) -> Picked:
    """Return the oldest rows within the bounds, at least one if any is pending."""
    return queue.read(lambda connection: _pick(connection, rows, max_bytes, skip))


def _pick(
    connection: sqlite3.Connection, rows: int, max_bytes: int, skip: Container[int]
) -> Picked:
    items: list[Item] = []
    broken: list[int] = []
    size = after = 0
    while len(items) < rows:
        page = connection.execute(statements.PICK, (after, min(_PAGE, rows))).fetchall()
        for raw in page:
            after = raw[0]
            if after in skip:
                continue
            item = _item(raw)
            if item is None:
                broken.append(after)
                continue
            size += len(item.payload.encode())
            # A request is of one source; a copied folder may still hold rows of the one before.
            other = bool(items) and item.source != items[0].source
            if items and (other or size > max_bytes or len(items) >= rows):
                return Picked(tuple(items), tuple(broken))
            items.append(item)
        if len(page) < min(_PAGE, rows):
            break
    return Picked(tuple(items), tuple(broken))


def pick_newest(queue: Queue) -> Item | None:
    """Return the row enqueued last, if any is pending."""
    row = queue.read(lambda connection: connection.execute(statements.PICK_NEWEST).fetchone())
    return None if row is None else _item(row)


def _item(raw: tuple[object, ...]) -> Item | None:
    found = believed((*raw, None, None, None))
    if found is None:
        return None
    if found.state != 0:
        raise DamagedError(f"row {found.row} is pending by the index, not by the table")
    return Item(
        row=found.row,
        event_id=found.event_id,
        kind=found.kind,
        source=found.source,
        seq=found.seq,
        payload=found.payload,
        attempts=found.attempts,
        enqueued_ms=int(found.enqueued_at * 1_000),
    )


def record_verdict(queue: Queue, verdict: Verdict) -> tuple[Item, ...]:
    """Store a verdict; return refused rows for which there was no room among dead letters."""
    unburied: list[Item] = []
    with queue.transaction() as tx:
        tx.resolved = True
        now_s = tx.now_ms / 1_000
        counters = tx.counters
        before = counters.delivered // limits.DELIVERED_PURGE_EVERY
        for item in verdict.delivered:
            counters.delivered += _mark(tx, statements.DELIVERED, (now_s, item.row), item)
        counters.deduplicated += verdict.deduplicated
        for item, refusal in verdict.dead:
            if counters.dead >= limits.DEAD_ROWS_MAX:
                unburied.append(item)
                continue
            values = (now_s, refusal.status, short(refusal.detail), now_s, item.row)
            counters.dead += _mark(tx, statements.DEAD, values, item)
        for item, detail in verdict.tried:
            tx.execute(statements.TRIED, (short(detail), item.row))
        for note in verdict.notes:
            tx.execute(statements.NOTE_WRITE, note)
        if counters.delivered // limits.DELIVERED_PURGE_EVERY != before:
            oldest_s = now_s - limits.DELIVERED_AGE_KEPT_S
            tx.execute(statements.PURGE, (oldest_s, limits.DELIVERED_ROWS_KEPT))
    return tuple(unburied)


def _mark(
    tx: Transaction, statement: str, values: tuple[float | int | str, ...], item: Item
) -> int:
    changed = max(tx.execute(statement, values).rowcount, 0)
    tx.counters.pending -= changed
    tx.counters.pending_bytes -= changed * len(item.payload.encode())
    return changed


def remove_broken(queue: Queue, rows: Iterable[int]) -> int:
    """Remove rows whose content fails its checksum; return how many, counted as lost."""
    removed = 0
    with queue.transaction() as tx:
        tx.resolved = True
        for row in rows:
            if tx.execute(statements.GONE, (row,)).rowcount < 1:
                raise DamagedError(f"row {row} is pending by the index, not by the table")
            removed += 1
        tx.counters.pending -= removed
        tx.counters.lost += removed
        # Their sizes are not reliable either: measure what is left.
        tx.counters.pending_bytes = tx.execute(statements.PENDING_SCAN, (0,)).fetchone()[1]
    return removed


def note(queue: Queue, *notes: tuple[str, str]) -> None:
    """Store notes that a doctor in another process can read."""
    with queue.transaction() as tx:
        for pair in notes:
            tx.execute(statements.NOTE_WRITE, pair)


def notes(queue: Queue) -> dict[str, str]:
    """Return every note."""
    return queue.read(lambda connection: dict(connection.execute(statements.NOTE_READ).fetchall()))


def dead_letters(queue: Queue, *, after_row: int = 0, limit: int = 100) -> list[DeadLetter]:
    """Return dead letters by row number, those after `after_row`."""
    rows = queue.read(
        lambda connection: connection.execute(statements.DEAD_LIST, (after_row, limit)).fetchall()
    )
    return [
        DeadLetter(
            row=row[0],
            event_id=row[1],
            kind=row[2],
            seq=row[3],
            status=row[4] or 0,
            detail=row[5] or "",
            attempts=row[6] or 0,
            enqueued_ms=int(row[7] * 1_000),
            dead_ms=int((row[8] or 0) * 1_000),
            payload=row[9],
        )
        for row in rows
    ]


def redrive(queue: Queue, rows: Iterable[int] | None) -> int:
    """Make dead letters pending again, all if `rows` is None; return how many."""
    with queue.transaction() as tx:
        tx.resolved = True
        count = 0
        for row, size in _dead(tx, rows):
            count += 1
            tx.execute(statements.REDRIVE, (row,))
            tx.counters.pending_bytes += size
        tx.counters.dead -= count
        tx.counters.pending += count
    return count


def discard(queue: Queue, rows: Iterable[int] | None) -> int:
    """Delete dead letters, all if `rows` is None; return how many. They are counted."""
    with queue.transaction() as tx:
        tx.resolved = True
        count = 0
        for row, _ in _dead(tx, rows):
            count += max(tx.execute(statements.DEAD_DROP, (row,)).rowcount, 0)
        tx.counters.dead -= count
        tx.counters.discarded += count
    return count


def withdraw(
    queue: Queue, prefix: str, within: Callable[[Transaction, Sequence[str]], object]
) -> int:
    """Delete every row whose event id begins with `prefix`, remembered deliveries too.

    `within` runs in the same transaction, before the first is deleted, with the event ids of those
    that were not delivered; return how many those were. They count as discarded.
    """
    if not prefix or not prefix.isascii():
        raise ValueError(f"prefix {prefix[:40]!r}: want at least one character, all ASCII")
    with queue.transaction() as tx:
        tx.resolved = True
        bounds = (prefix, prefix[:-1] + chr(ord(prefix[-1]) + 1))
        found = tx.execute(statements.WITHDRAW_FIND, bounds).fetchall()
        undelivered = [event_id for _, state, event_id, _ in found if state != _DELIVERED]
        within(tx, undelivered)
        for row, state, _, size in found:
            tx.execute(statements.WITHDRAW, (row,))
            if state == _PENDING:
                tx.counters.pending -= 1
                tx.counters.pending_bytes -= size
            elif state != _DELIVERED:
                tx.counters.dead -= 1
        tx.counters.discarded += len(undelivered)
    return len(undelivered)


def _dead(tx: Transaction, rows: Iterable[int] | None) -> list[tuple[int, int]]:
    wanted = None if rows is None else set(rows)
    there = tx.execute(statements.DEAD_IDS).fetchall()
    return [(row, size) for row, size in there if wanted is None or row in wanted]


def short(text: str) -> str:
    """Return the text cut for an error column."""
    return text[: limits.ERROR_CHARS_MAX]

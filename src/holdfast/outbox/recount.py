"""Corrects the counts: after a roll-back, a copy of the folder, or a damaged database.

The ledger has what there was, the database what there is; the difference is lost, is counted, and
is shown to the other side by the gap it leaves in the sequence. It must never guess silently.
"""

from __future__ import annotations

import _sqlite3 as sqlite3
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from holdfast.outbox import limits, statements
from holdfast.outbox.counters import Counters, parse
from holdfast.outbox.database import DamagedError
from holdfast.outbox.ledger import Account

if TYPE_CHECKING:
    from holdfast.outbox.rows import Found

_DEAD = 2


def stored_counters(connection: sqlite3.Connection) -> Counters | None:
    """Return the counters of a database, None if it has none; raise DamagedError."""
    row = connection.execute(statements.META_READ).fetchone()
    if row is None:
        return None
    counters = parse(row)
    if counters is None:
        raise DamagedError("the counts do not fit their checksum")
    return counters


def reconcile(
    connection: sqlite3.Connection,
    account: Account | None,
    *,
    inode: int,
    new_source: Callable[[], str],
) -> Counters:
    """Return the correct counters of a database just opened; the caller is in a transaction.

    `account` is the ledger's, None if it was not readable.
    """
    counters = stored_counters(connection)
    if counters is None:
        counters = _anew(connection, account, inode=inode, new_source=new_source)
    counted = _pending(connection)
    if account is not None and account.source == counters.source:
        if account.seq > counters.seq:
            # The database went back: what was stored since is gone.
            kept = connection.execute(statements.PENDING_SCAN, (account.low,)).fetchone()[2]
            counters.lost += max(0, account.pending + account.dead - kept - counters.dead)
            counters.pending = counted
            _raise_row_number(connection, account.last_row)
        _carry(counters, account)
    if counted != counters.pending:
        counters.lost += max(0, counters.pending - counted)
        counters.pending = counted
        counters.pending_bytes = connection.execute(statements.PENDING_SCAN, (0,)).fetchone()[1]
    if counters.inode != inode:
        # A copied or restored folder would give numbers twice: it continues as another source.
        counters.source, counters.seq, counters.inode = new_source(), 0, inode
    return counters


def _anew(
    connection: sqlite3.Connection,
    account: Account | None,
    *,
    inode: int,
    new_source: Callable[[], str],
) -> Counters:
    """Return counters for a database without any: a new one, or one that lost just these."""
    counters = Counters(account.source if account and account.source else new_source())
    counters.inode = inode
    low = account.low if account else 0
    pending, size, kept = connection.execute(statements.PENDING_SCAN, (low,)).fetchone()
    if pending != connection.execute(statements.PENDING_COUNT).fetchone()[0]:
        raise DamagedError("the index and the table differ")
    counters.pending, counters.pending_bytes = pending, size
    counters.dead = connection.execute(statements.DEAD_COUNT).fetchone()[0]
    if account is not None:
        _carry(counters, account)
        counters.lost += max(0, account.pending + account.dead - kept - counters.dead)
        _raise_row_number(connection, account.last_row)
    return counters


def _carry(counters: Counters, account: Account) -> None:
    counters.seq = max(counters.seq, account.seq)
    counters.dropped = max(counters.dropped, account.dropped)
    counters.lost = max(counters.lost, account.lost)


def _pending(connection: sqlite3.Connection) -> int:
    """Count by the index; if the table differs, the index is damaged."""
    by_index: int = connection.execute(statements.PENDING_COUNT).fetchone()[0]
    counters = stored_counters(connection)
    if counters is not None and counters.pending != by_index:
        by_table: int = connection.execute(statements.PENDING_SCAN, (0,)).fetchone()[0]
        verdict = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if by_table != by_index or verdict != "ok":
            raise DamagedError(f"{by_index} rows by the index, {by_table} by the table: {verdict}")
    return by_index


def refill(
    connection: sqlite3.Connection,
    found: Sequence[Found],
    *,
    before: Counters | None,
    account: Account | None,
    inode: int,
    new_source: Callable[[], str],
) -> Counters:
    """Insert salvaged rows into a new database; return its counters, with losses counted.

    `before` are the damaged database's counters if they could be read. The caller is in a
    transaction.
    """
    counters = before or Counters(account.source if account and account.source else new_source())
    counters.inode = inode
    expected = counters.pending + counters.dead
    low = 0
    if account is not None and account.source == counters.source:
        _carry(counters, account)
        expected, low = account.pending + account.dead, account.low
    counters.pending = counters.pending_bytes = counters.dead = 0
    believed = 0
    for row in found:
        dead = row.state == _DEAD
        done = connection.execute(statements.SALVAGED, (*row, row.dead_at if dead else None))
        if done.rowcount < 1:
            continue
        counters.dead += dead
        counters.pending += not dead
        counters.pending_bytes += 0 if dead else len(row.payload.encode())
        believed += dead or row.row >= low
        if row.source == counters.source:
            counters.seq = max(counters.seq, row.seq)
    counters.lost += max(0, expected - believed)
    _raise_row_number(connection, account.last_row if account else 0)
    return counters


def _raise_row_number(connection: sqlite3.Connection, last_row: int) -> None:
    row = connection.execute(statements.ROW_NUMBER_READ).fetchone()
    if row is None:
        connection.execute(statements.ROW_NUMBER_ADD, (last_row,))
    elif row[0] < last_row:
        connection.execute(statements.ROW_NUMBER_SET, (last_row,))


def full(counters: Counters, payload_bytes: int) -> str:
    """Return why nothing more can be enqueued, empty if it can."""
    if counters.pending >= limits.PENDING_ROWS_MAX:
        return f"full: {limits.PENDING_ROWS_MAX} rows wait already"
    if counters.pending_bytes + payload_bytes > limits.PENDING_BYTES_MAX:
        return f"full: {limits.PENDING_BYTES_MAX} bytes wait already"
    return ""

"""The state of a folder's queue, for a person or a check: works with everything else broken.

It only reads; it opens no drain, takes no lease and holds no lock, so it works on a folder that
another process uses, or none.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import NamedTuple

from holdfast.kernel.clock import Clock
from holdfast.outbox import lease, read_only, salvage, statements
from holdfast.outbox.counters import Counters, parse
from holdfast.outbox.database import DATABASE, UnavailableError
from holdfast.outbox.ledger import Ledger
from holdfast.outbox.queue import LEDGER


class Stats(NamedTuple):
    """Everything a doctor reports. Times are milliseconds since the epoch, 0 for never.

    `foreign` are unsent rows of another program in the same table; `problem` is why the database
    could not be read (then the counts are the ledger's).
    """

    pending: int = 0
    pending_bytes: int = 0
    oldest_age_ms: int = 0
    dead: int = 0
    delivered: int = 0
    deduplicated: int = 0
    discarded: int = 0
    dropped: int = 0
    lost: int = 0
    foreign: int = 0
    source: str = ""
    seq: int = 0
    last_success_ms: int = 0
    last_error: str = ""
    last_error_ms: int = 0
    failing_since_ms: int = 0
    auth_since_ms: int = 0
    lease_pid: int = 0
    lease_beat: int = 0
    database_bytes: int = 0
    wal_bytes: int = 0
    free_bytes: int = 0
    quarantined: int = 0
    problem: str = ""


def inspect(folder: Path, *, clock: Clock) -> Stats:
    """Return the state of the queue of `folder`; never raises for what it finds there."""
    path = folder / DATABASE
    account = Ledger(folder / LEDGER).account
    holder = lease.read(os.path.join(folder, lease.LEASE))
    stats = Stats(
        pending=account.pending,
        dead=account.dead,
        dropped=account.dropped,
        lost=account.lost,
        source=account.source,
        seq=account.seq,
        lease_pid=holder.pid,
        lease_beat=holder.beat,
        database_bytes=_size(path),
        wal_bytes=_size(path.with_name(path.name + "-wal")),
    )
    try:
        disk = os.statvfs(folder)
        stats = stats._replace(
            free_bytes=disk.f_bavail * disk.f_frsize, quarantined=salvage.quarantined(path)
        )
    except OSError as error:
        return stats._replace(problem=str(error))
    try:
        return read_only.look(
            path, lambda connection: read_stats(connection, stats, now_ms=clock.now_ms())
        )
    except (UnavailableError, ValueError) as error:
        return stats._replace(problem=str(error))


def read_stats(connection: sqlite3.Connection, stats: Stats, *, now_ms: int) -> Stats:
    """Fill in the database's own figures; raise sqlite3.Error."""
    row = connection.execute(statements.META_READ).fetchone()
    counters = None if row is None else parse(row)
    if counters is None:
        return stats._replace(problem="the counts cannot be believed")
    notes = dict(connection.execute(statements.NOTE_READ).fetchall())
    oldest = connection.execute(statements.OLDEST).fetchone()
    foreign = connection.execute(statements.FOREIGN_COUNT).fetchone()[0]
    return _counted(stats, counters)._replace(
        oldest_age_ms=0 if oldest is None else max(now_ms - int(oldest[1] * 1_000), 0),
        foreign=foreign,
        last_success_ms=int(notes.get("last_success_ms") or 0),
        last_error=notes.get("last_error", ""),
        last_error_ms=int(notes.get("last_error_ms") or 0),
        failing_since_ms=int(notes.get("failing_since_ms") or 0),
        auth_since_ms=int(notes.get("auth_since_ms") or 0),
    )


def _counted(stats: Stats, counters: Counters) -> Stats:
    return stats._replace(
        pending=counters.pending,
        pending_bytes=counters.pending_bytes,
        dead=counters.dead,
        delivered=counters.delivered,
        deduplicated=counters.deduplicated,
        discarded=counters.discarded,
        dropped=max(counters.dropped, stats.dropped),
        lost=max(counters.lost, stats.lost),
        source=counters.source,
        seq=counters.seq,
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0

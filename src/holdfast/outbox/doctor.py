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
from holdfast.outbox import lease, limits, read_only, salvage, statements
from holdfast.outbox.counters import Counters, parse
from holdfast.outbox.database import DATABASE, UnavailableError
from holdfast.outbox.ledger import Ledger
from holdfast.outbox.queue import LEDGER


class Stats(NamedTuple):
    """Everything a doctor reports. Times are milliseconds since the epoch, 0 for never.

    `foreign` are unsent rows of another program in the same table; `problem` is why the database
    could not be read (then the counts are the ledger's). `lease_age_ms` is how long ago the holder
    of the lease beat; it does so every second while rows are pending. `warning` is what is wrong
    with rows that wait for too long, and what to do, empty if nothing is.
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
    lease_age_ms: int = 0
    database_bytes: int = 0
    wal_bytes: int = 0
    free_bytes: int = 0
    quarantined: int = 0
    problem: str = ""
    warning: str = ""


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
        lease_age_ms=_age_ms(folder / lease.LEASE, clock.now_ms()) if holder.pid else 0,
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
    age_ms = 0 if oldest is None else now_ms - int(oldest[1] * 1_000)
    found = _counted(stats, counters)._replace(
        oldest_age_ms=max(age_ms, 0),
        foreign=foreign,
        last_success_ms=int(notes.get("last_success_ms") or 0),
        last_error=notes.get("last_error", ""),
        last_error_ms=int(notes.get("last_error_ms") or 0),
        failing_since_ms=int(notes.get("failing_since_ms") or 0),
        auth_since_ms=int(notes.get("auth_since_ms") or 0),
    )
    return found._replace(warning=_warning(found, age_ms))


def stalled(stats: Stats) -> str:
    """Return what hangs and what to do if the holder of the lease does not beat, else nothing."""
    # One that had nothing to send does not beat: only with a row that waits does it mean anything.
    unmoved_ms = min(stats.lease_age_ms, stats.oldest_age_ms)
    if not stats.pending or unmoved_ms < limits.STALL_MS or not alive(stats.lease_pid):
        return ""
    return (
        f"process {stats.lease_pid} is to send and has not moved for {span(stats.lease_age_ms)}:"
        f" it is stopped or hangs. Let it go on (kill -CONT {stats.lease_pid}) or end it; the next"
        " program that opens the folder sends, or holdfast brain sync"
    )


def _warning(stats: Stats, age_ms: int) -> str:
    if -age_ms > limits.STALL_MS:
        return (
            f"the oldest row was queued {span(-age_ms)} ahead of the clock, which was set back:"
            " how long it waits is not known"
        )
    if age_ms < limits.OLD_ROW_MS:
        return stalled(stats)
    return f"the oldest row waits for {span(age_ms)}: {_why(stats)}"


def _why(stats: Stats) -> str:
    if hangs := stalled(stats):
        return hangs
    if stats.auth_since_ms:
        return "the key is refused; set another"
    if stats.failing_since_ms:
        return f"sending fails: {stats.last_error}"
    if not alive(stats.lease_pid):
        return (
            "no process sends; the next program that opens the folder does, with an address and a"
            " key, or holdfast brain sync"
        )
    return (
        f"process {stats.lease_pid} sends, and this row is behind many or was refused for now;"
        " holdfast brain sync tells why"
    )


def alive(pid: int) -> bool:
    """Return whether there is a process of this number."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        # Another user's process, and so alive.
        return True
    return True


def span(span_ms: int) -> str:
    """Return a span of time in words, as "3 h"."""
    for name, size_ms in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000)):
        if span_ms >= 2 * size_ms:
            return f"{span_ms // size_ms} {name}"
    return f"{span_ms // 1_000} s"


def _age_ms(path: Path, now_ms: int) -> int:
    try:
        return max(now_ms - path.stat().st_mtime_ns // 1_000_000, 0)
    except OSError:
        return 0


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

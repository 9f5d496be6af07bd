"""The state of a brain: for a person, for cron, and with everything else broken.

It only reads: it works with the plane down, with no drain thread, and beside any number of
processes that use the folder. `repair` is the one function that writes.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from holdfast.kernel.clock import Clock, SystemClock
from holdfast.outbox import read_only
from holdfast.outbox.database import DATABASE, UnavailableError
from holdfast.outbox.defaults import folder_path
from holdfast.outbox.doctor import Stats, alive, inspect, span, stalled
from holdfast.sdk import backfill, event_log, hook_tally, limits, schema
from holdfast.sdk.destination import Destination, switched_off
from holdfast.sdk.identity import time_of

OK: Final = "ok"
WARN: Final = "warn"
FAIL: Final = "fail"
HEALTHY: Final = "healthy"
DEGRADED: Final = "degraded"
BROKEN: Final = "broken"


class Check(NamedTuple):
    """One check: `status` is "ok", "warn" or "fail"."""

    name: str
    status: str
    detail: str


class Report(NamedTuple):
    """All checks. `stats` are the queue's; `facts` is plain data for a program."""

    status: str
    checks: tuple[Check, ...]
    stats: Stats
    facts: dict[str, Any]

    @property
    def exit_code(self) -> int:
        """Return 0 healthy, 1 degraded, 2 broken."""
        return (HEALTHY, DEGRADED, BROKEN).index(self.status)

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON data."""
        return {
            "status": self.status,
            "checks": [check._asdict() for check in self.checks],
            "facts": self.facts,
        }

    def lines(self) -> list[str]:
        """Return the report for a person."""
        width = max(len(check.name) for check in self.checks)
        return [f"{check.status:4}  {check.name:{width}}  {check.detail}" for check in self.checks]


def examine(
    folder: str | bytes | os.PathLike[str] | os.PathLike[bytes],
    *,
    url: str | None = None,
    api_key: str | None = None,
    clock: Clock | None = None,
    more: Sequence[Check] = (),
) -> Report:
    """Return the state of the brain in `folder`, judged with `more` checks of the caller's.

    It never raises for what it finds.
    """
    path = Path(os.path.abspath(os.path.expanduser(folder_path(folder))))
    clock = clock or SystemClock()
    now_ms = clock.now_ms()
    stats = inspect(path, clock=clock)
    kept = _kept(path)
    checks = (
        _folder(path),
        _database(stats, kept),
        _queue(stats),
        _dead_letters(stats),
        _losses(stats),
        _delivery(stats, now_ms),
        _key(stats, now_ms),
        _holder(stats),
        Check("durability", OK, str(kept.get("durability", "not known yet"))),
        _disk(stats),
        _destination(Destination(url, api_key)),
        _switch(),
        _log(path, kept),
        *_hooks(path, now_ms),
        *more,
    )
    worst = {check.status for check in checks}
    status = BROKEN if FAIL in worst else DEGRADED if WARN in worst else HEALTHY
    return Report(status, checks, stats, {**stats._asdict(), **kept})


def _kept(path: Path) -> dict[str, Any]:
    """Return the content of the record; on its own read-only connection, closed at once."""

    def look(connection: sqlite3.Connection) -> dict[str, Any]:
        found: dict[str, Any] = {"schema": schema.version(connection)}
        if found["schema"]:
            found |= dict(connection.execute(schema.BRAIN_ALL).fetchall())
            found |= dict(connection.execute(schema.COUNTS).fetchall())
            found["old_corrections"] = backfill.waiting(connection)
        return found

    try:
        return read_only.look(path / DATABASE, look)
    except (UnavailableError, ValueError) as error:
        return {"unreadable": str(error)}


def _folder(path: Path) -> Check:
    if not path.is_dir():
        return Check("folder", FAIL, f"{path} is not there; it is made when a brain is opened")
    if not os.access(path, os.W_OK | os.X_OK):
        return Check("folder", FAIL, f"{path} is not writable for user {os.geteuid()}")
    return Check("folder", OK, str(path))


def _database(stats: Stats, kept: dict[str, Any]) -> Check:
    problem = stats.problem or kept.get("unreadable", "")
    if problem:
        return Check("database", FAIL, f"{problem}; repair sets it aside and saves what it can")
    detail = f"{kept.get('corrections', 0)} corrections, {kept.get('lessons', 0)} lessons"
    old = kept.get("old_corrections", 0)
    if old:
        detail += f"; {old} of another program, sent only with backfill"
    if stats.quarantined:
        return Check("database", WARN, f"{detail}; {stats.quarantined} damaged set aside")
    return Check("database", OK, detail)


def _queue(stats: Stats) -> Check:
    detail = f"sync_queue: {stats.pending} pending"
    if stats.pending:
        detail += f", the oldest for {span(stats.oldest_age_ms)}"
    if stats.foreign:
        detail += f"; {stats.foreign} rows of another program"
    if stats.warning:
        detail += f"; {stats.warning}"
    warns = stats.warning or stats.pending > limits.PENDING_WARN
    return Check("queue", WARN if warns else OK, detail)


def _dead_letters(stats: Stats) -> Check:
    if not stats.dead:
        return Check("dead letters", OK, "none")
    return Check("dead letters", WARN, f"{stats.dead} refused for good: redrive or discard them")


def _losses(stats: Stats) -> Check:
    if not stats.dropped and not stats.lost:
        return Check("losses", OK, "none")
    return Check("losses", WARN, f"{stats.dropped} dropped, {stats.lost} lost")


def _delivery(stats: Stats, now_ms: int) -> Check:
    since = "never" if not stats.last_success_ms else _ago(now_ms, stats.last_success_ms)
    detail = f"last success {since}"
    if stats.last_error:
        detail += f"; last error {_ago(now_ms, stats.last_error_ms)}: {stats.last_error}"
    if stats.failing_since_ms:
        detail += f"; failing since {time_of(stats.failing_since_ms)}"
    failing = bool(stats.failing_since_ms) and stats.pending > 0
    return Check("delivery", WARN if failing else OK, detail)


def _key(stats: Stats, now_ms: int) -> Check:
    if not stats.auth_since_ms:
        return Check("key", OK, "not refused")
    since = f"{time_of(stats.auth_since_ms)}, {_ago(now_ms, stats.auth_since_ms)}"
    return Check("key", FAIL, f"refused since {since}; {stats.pending} rows wait for another")


def _holder(stats: Stats) -> Check:
    if hangs := stalled(stats):
        return Check("worker", WARN, hangs)
    if alive(stats.lease_pid):
        return Check("worker", OK, f"process {stats.lease_pid} drains")
    gone = f"process {stats.lease_pid} is gone" if stats.lease_pid else "nobody drains now"
    if not stats.pending:
        return Check("worker", OK, f"{gone}; nothing waits")
    return Check("worker", WARN, f"{gone}; the next program that opens the brain does, or sync")


def _disk(stats: Stats) -> Check:
    free_mb = stats.free_bytes // 1_000_000
    used_mb = (stats.database_bytes + stats.wal_bytes) / 1_000_000
    detail = f"{free_mb} MB free, {used_mb:.1f} MB used"
    return Check("disk", WARN if free_mb < limits.DISK_WARN_MB else OK, detail)


def _destination(destination: Destination) -> Check:
    found = destination.find()
    if found.problem:
        return Check("destination", WARN, f"{found.problem}; until then everything is kept")
    return Check("destination", OK, f"{found.url} ({found.url_from}), key from {found.key_from}")


def _switch() -> Check:
    name = switched_off()
    return Check("kill switch", WARN if name else OK, f"{name} is set" if name else "not set")


def _log(path: Path, kept: dict[str, Any]) -> Check:
    behind = int(kept.get("newest", 0)) - event_log.last_number(path / event_log.LOG)
    if behind > limits.LOG_PAGE_ROWS:
        return Check("events.jsonl", WARN, f"{behind} events behind; the next close writes them")
    return Check("events.jsonl", OK, "derived from the database")


def _hooks(path: Path, now_ms: int) -> list[Check]:
    """Return a check for each agent whose hook has called."""
    checks = []
    for agent, tally in sorted(hook_tally.read(path).items()):
        detail = (
            f"{agent}: {tally.calls} calls, {tally.recorded} recorded, {tally.dropped} dropped,"
            f" {tally.not_understood} not understood; last call {_ago(now_ms, tally.last_ms)}"
        )
        if tally.troubled:
            detail += f"; nothing is recorded since {_ago(now_ms, tally.problem_ms)}:"
            detail += f" {tally.problem}"
            if tally.not_understood:
                detail += "; a newer holdfast may know this form"
        checks.append(Check("hook", WARN if tally.troubled else OK, detail))
    return checks


def _ago(now_ms: int, at_ms: int) -> str:
    return f"{span(max(now_ms - at_ms, 0))} ago"


def repair(folder: str | os.PathLike[str], *, clock: Clock | None = None) -> list[str]:
    """Repair what can be; return what was done, in sentences. Sends nothing.

    A damaged database is set aside and its readable rows are imported; the counts are corrected;
    events.jsonl is rewritten. Nothing is deleted.
    """
    from holdfast.sdk.brain import Brain  # noqa: PLC0415  # looking needs none

    brain = Brain(folder, clock=clock, gate=lambda: "repairing", notice=lambda _text: None)
    try:
        return brain.repair()
    finally:
        brain.close(0)

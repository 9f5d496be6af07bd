"""When to read: a value that receives events and says when the next read is due.

A read is due at the start, then periodically; after failed reads, at growing intervals. A hint of a
change makes one due after a short wait that further hints do not prolong. A hint during a read or
during the wait after a failure is kept until reads are allowed again. Times are milliseconds of a
monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from holdfast.kernel.backoff import Backoff
from holdfast.machine.controller.pairing import limits
from holdfast.machine.controller.pairing.apply import Outcome

_RETRY: Final = Backoff(first_ms=limits.BACKOFF_FIRST_MS, cap_ms=limits.BACKOFF_MAX_MS, jitter=0)
"""Without jitter: reads stay on this machine, so machines need not be spread out."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """`regular_ms` is the periodic read, `hinted_ms` the one due after a hint, if any.

    `barred_ms` is when reads on a hint are allowed again; `failures` counts those in a row.
    `afresh` means that the cause of failures has changed during this read.
    """

    regular_ms: float
    hinted_ms: float | None = None
    barred_ms: float = 0
    failures: int = 0
    looking: bool = False
    afresh: bool = False

    @property
    def next_ms(self) -> float | None:
        """Return when to read next; None during a read."""
        if self.looking:
            return None
        return self.regular_ms if self.hinted_ms is None else min(self.regular_ms, self.hinted_ms)


def begin(now_ms: float) -> Schedule:
    """Return the schedule of a start: read at once."""
    return Schedule(regular_ms=now_ms)


def hint(schedule: Schedule, now_ms: float, debounce_ms: int) -> Schedule:
    """Return the schedule after a hint of a change."""
    hinted_ms = max(now_ms + debounce_ms, schedule.barred_ms)
    if schedule.hinted_ms is not None and schedule.hinted_ms <= hinted_ms:
        return schedule
    return replace(schedule, hinted_ms=hinted_ms)


def allow(schedule: Schedule, now_ms: float) -> Schedule:
    """Return the schedule after the cause of failures has changed: read again without a wait.

    A read under way may have seen the earlier state; so another one follows.
    """
    return replace(
        schedule, hinted_ms=now_ms, barred_ms=0, failures=0, afresh=schedule.looking
    )  # fmt: skip


def start(schedule: Schedule) -> Schedule:
    """Return the schedule once a read has begun: it answers earlier hints."""
    return replace(schedule, looking=True, hinted_ms=None)


def finish(
    schedule: Schedule,
    now_ms: float,
    outcome: Outcome,
    *,
    forced: bool,
    period_ms: int = limits.PERIOD_MS,
) -> Schedule:
    """Return the schedule after the read; a requested one is no evidence of health.

    `period_ms` is the time to the next one without a change.
    """
    done = replace(schedule, looking=False, afresh=False)
    if schedule.afresh and outcome == "failed":
        return done
    if outcome == "again":
        return replace(done, regular_ms=now_ms + limits.GRACE_MS)
    if forced:
        return done
    if outcome == "read":
        return replace(done, regular_ms=now_ms + period_ms, barred_ms=0, failures=0)
    failures = schedule.failures + 1
    barred_ms = now_ms + _RETRY.delay_ms(failures)
    hinted_ms = None if done.hinted_ms is None else max(done.hinted_ms, barred_ms)
    return replace(
        done, regular_ms=barred_ms, barred_ms=barred_ms, failures=failures, hinted_ms=hinted_ms
    )

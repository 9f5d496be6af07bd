"""When to look: a value that is told what happened and says when to look next.

A look is due at once at the start, then periodically; after looks that failed, later and later.
What hints at a change makes one due after a short wait that further hints do not prolong. A hint
during a look or during the wait after a failure is not lost: it counts when looking is allowed
again. Times are milliseconds of a clock that never goes back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from holdfast.kernel.backoff import Backoff
from holdfast.machine.controller.pairing import limits
from holdfast.machine.controller.pairing.apply import Outcome

_RETRY: Final = Backoff(first_ms=limits.BACKOFF_FIRST_MS, cap_ms=limits.BACKOFF_MAX_MS, jitter=0)
"""Without jitter: what is asked is this machine's own, so that machines need no spreading out."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """`regular_ms` is the periodic look, `hinted_ms` the one that a hint made due, if any.

    `barred_ms` is when looking on a hint is allowed again; `failures` counts those in a row.
    `afresh` says that what made looks fail has changed during this one.
    """

    regular_ms: float
    hinted_ms: float | None = None
    barred_ms: float = 0
    failures: int = 0
    looking: bool = False
    afresh: bool = False

    @property
    def next_ms(self) -> float | None:
        """Return when to look next; None during a look."""
        if self.looking:
            return None
        return self.regular_ms if self.hinted_ms is None else min(self.regular_ms, self.hinted_ms)


def begin(now_ms: float) -> Schedule:
    """Return the schedule of a start: look at once."""
    return Schedule(regular_ms=now_ms)


def hint(schedule: Schedule, now_ms: float, debounce_ms: int) -> Schedule:
    """Return the schedule after something hinted at a change."""
    hinted_ms = max(now_ms + debounce_ms, schedule.barred_ms)
    if schedule.hinted_ms is not None and schedule.hinted_ms <= hinted_ms:
        return schedule
    return replace(schedule, hinted_ms=hinted_ms)


def allow(schedule: Schedule, now_ms: float) -> Schedule:
    """Return the schedule after what made looks fail has changed: look again without waiting.

    A look that has begun already may have seen what was before; so there is another after it.
    """
    return replace(
        schedule, hinted_ms=now_ms, barred_ms=0, failures=0, afresh=schedule.looking
    )  # fmt: skip


def start(schedule: Schedule) -> Schedule:
    """Return the schedule once a look has begun: what hinted before is answered by it."""
    return replace(schedule, looking=True, hinted_ms=None)


def finish(
    schedule: Schedule,
    now_ms: float,
    outcome: Outcome,
    *,
    forced: bool,
    period_ms: int = limits.PERIOD_MS,
) -> Schedule:
    """Return the schedule after the look; one that was asked for is no evidence of health.

    `period_ms` is how long to wait for the next one when nothing happens.
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

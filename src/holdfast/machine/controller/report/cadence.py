"""When to check in: a value that follows from what happened and says when to send next.

A regular report follows the interval with jitter. A change is reported at once, but not within
`CHANGE_GAP_MS` of the send before; one more is free now and then, since what a person waits for
(a pairing request) often comes right behind something else. A change that could not be delivered
stays owed and is tried again after a growing wait, never longer than the interval; a plain report
that failed waits for the next one. Times are milliseconds of a clock that never goes back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from holdfast.kernel.backoff import Backoff, fraction
from holdfast.machine.controller import limits

_RETRY: Final = Backoff(first_ms=limits.CHANGE_GAP_MS, cap_ms=limits.CHECKIN_INTERVAL_MAX_MS)


@dataclass(frozen=True, slots=True)
class Cadence:
    """`owed` says that a change has not been delivered; `failures` counts those in a row.

    `spent_ms` is when the free report, which may come early, was last used.
    """

    interval_ms: int
    regular_ms: int
    seed: str
    sent_ms: int | None = None
    owed: bool = False
    failures: int = 0
    sends: int = 0
    eager: bool = False
    spent_ms: int | None = None

    @property
    def next_ms(self) -> int:
        """Return when to send next."""
        if not self.owed or self.sent_ms is None:
            return self.regular_ms if not self.owed else 0
        wait_ms = limits.CHANGE_GAP_MS
        if self.failures and not self.eager:
            drawn_ms = _RETRY.delay_ms(self.failures, self.seed, self.sends)
            wait_ms = max(wait_ms, min(drawn_ms, self.interval_ms))
        elif not self.failures and self._has_spare(self.sent_ms):
            wait_ms = limits.CHANGE_SOON_MS
        return min(self.regular_ms, self.sent_ms + wait_ms)

    def _has_spare(self, now_ms: int) -> bool:
        return self.spent_ms is None or now_ms - self.spent_ms >= limits.CHANGE_SPARE_MS


def begin(now_ms: int, *, first_ms: int, interval_ms: int, seed: str) -> Cadence:
    """Return the cadence of a controller that has just started."""
    return Cadence(interval_ms, now_ms + _jittered(first_ms, seed, 0), seed)


def change(cadence: Cadence) -> Cadence:
    """Return the cadence after something changed that the plane wants to know."""
    return replace(cadence, owed=True, eager=True)


def send(cadence: Cadence, now_ms: int) -> Cadence:
    """Return the cadence once a report has begun; changes from here on are owed anew."""
    sends = cadence.sends + 1
    regular_ms = cadence.regular_ms
    if now_ms >= regular_ms:
        regular_ms = now_ms + _jittered(cadence.interval_ms, cadence.seed, sends)
    early = cadence.sent_ms is not None and now_ms - cadence.sent_ms < limits.CHANGE_GAP_MS
    return replace(
        cadence,
        sent_ms=now_ms,
        owed=False,
        eager=False,
        sends=sends,
        regular_ms=regular_ms,
        spent_ms=now_ms if early else cadence.spent_ms,
    )


def succeed(cadence: Cadence) -> Cadence:
    """Return the cadence after the report was delivered."""
    return replace(cadence, failures=0)


def fail(cadence: Cadence, *, owed: bool) -> Cadence:
    """Return the cadence after it was not; `owed` says that it carried a change."""
    return replace(cadence, failures=cadence.failures + 1, owed=cadence.owed or owed)


def set_interval(cadence: Cadence, interval_ms: int, now_ms: int) -> Cadence:
    """Return the cadence with another interval; one outside the limits, or the same, is ignored."""
    allowed = limits.CHECKIN_INTERVAL_MIN_MS <= interval_ms <= limits.CHECKIN_INTERVAL_MAX_MS
    if not allowed or interval_ms == cadence.interval_ms:
        return cadence
    regular_ms = now_ms + _jittered(interval_ms, cadence.seed, cadence.sends)
    return replace(cadence, interval_ms=interval_ms, regular_ms=regular_ms)


def _jittered(interval_ms: int, seed: str, number: int) -> int:
    """Return the interval less a share that belongs to the seed and the number."""
    return round(interval_ms * (1 - limits.CHECKIN_JITTER * fraction("cadence", seed, number)))

"""The port of time: code that needs the time is given a `Clock`.

Times are whole milliseconds since the epoch everywhere in Holdfast, because integers are the same
on every machine and in every replay. Durations are measured on the steady clock, which neither an
administrator nor a leap second moves.
"""

from __future__ import annotations

import time
from typing import Final, Protocol

SECOND_MS: Final = 1_000
MINUTE_MS: Final = 60 * SECOND_MS
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS


class Clock(Protocol):
    """`now_ms` is for timestamps, `steady_ms` for durations."""

    def now_ms(self) -> int:
        """Return the time of day in milliseconds since the epoch; it may step either way."""
        ...

    def steady_ms(self) -> float:
        """Return milliseconds since an arbitrary start; never decreases."""
        ...


class StepWatch:
    """Measures steps of the time of day against the steady clock."""

    __slots__ = ("_clock", "_now_ms", "_steady_ms")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._now_ms = clock.now_ms()
        self._steady_ms = clock.steady_ms()

    def stepped_ms(self) -> float:
        """Return by how much the time of day moved beyond what passed since the last call."""
        now_ms, steady_ms = self._clock.now_ms(), self._clock.steady_ms()
        step_ms = (now_ms - self._now_ms) - (steady_ms - self._steady_ms)
        self._now_ms, self._steady_ms = now_ms, steady_ms
        return step_ms


class SystemClock:
    """The clock of this machine."""

    __slots__ = ()

    def now_ms(self) -> int:
        """Return the time of day in milliseconds since the epoch."""
        return time.time_ns() // 1_000_000

    def steady_ms(self) -> float:
        """Return milliseconds of the monotonic clock."""
        return time.monotonic_ns() / 1_000_000


class ManualClock:
    """A clock that a test or the simulator moves by hand."""

    __slots__ = ("_now_ms", "_steady_ms")

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        """Start at `now_ms`, milliseconds since the epoch."""
        self._now_ms = now_ms
        self._steady_ms = 0.0

    def now_ms(self) -> int:
        """Return the time set last."""
        return self._now_ms

    def steady_ms(self) -> float:
        """Return how far it was advanced, in milliseconds; jumps do not count."""
        return self._steady_ms

    def advance(self, by_ms: int) -> None:
        """Advance both clocks by `by_ms` milliseconds; raise ValueError when negative."""
        if by_ms < 0:
            message = f"by_ms {by_ms}: time passes forward; use jump for a step of the clock"
            raise ValueError(message)
        self._now_ms += by_ms
        self._steady_ms += by_ms

    def jump(self, by_ms: int) -> None:
        """Step the time of day by `by_ms` milliseconds, as an administrator would."""
        self._now_ms += by_ms

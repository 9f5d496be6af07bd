"""Rate limit of calls: a token bucket for each caller.

Buckets are in memory; the least recently used are dropped, so memory is bounded. Durable limits of
failed sign-ins are in `accounts`.
"""

from __future__ import annotations

from collections import OrderedDict
from math import ceil
from typing import Final, NamedTuple

from holdfast.kernel.clock import SECOND_MS, Clock

CALLERS_MAX: Final = 10_000
"""Callers with a bucket in memory."""


class Rate(NamedTuple):
    """`burst` calls at once, `per_s` a second after that."""

    burst: float
    per_s: float


CALLS: Final = Rate(burst=500, per_s=200)
"""For authenticated callers: a dashboard with many panels stays below it."""

SIGN_INS: Final = Rate(burst=10, per_s=0.5)
"""For mutating calls without authentication."""


class Rates:
    """The buckets."""

    def __init__(self, clock: Clock, *, calls: Rate = CALLS, sign_ins: Rate = SIGN_INS) -> None:
        self._clock = clock
        self._calls = calls
        self._sign_ins = sign_ins
        self._buckets: OrderedDict[tuple[str, bool], tuple[float, float]] = OrderedDict()

    def wait_s(self, key: str, *, strict: bool) -> int:
        """Take a token from the bucket; return 0, or the seconds until there is one."""
        rate = self._sign_ins if strict else self._calls
        now_s = self._clock.steady_ms() / SECOND_MS
        left, at_s = self._buckets.get((key, strict), (rate.burst, now_s))
        left = min(rate.burst, left + (now_s - at_s) * rate.per_s)
        allowed = left >= 1
        self._buckets[key, strict] = (left - 1 if allowed else left, now_s)
        self._buckets.move_to_end((key, strict))
        if len(self._buckets) > CALLERS_MAX:
            self._buckets.popitem(last=False)
        return 0 if allowed else max(1, ceil((1 - left) / rate.per_s))

    def give_back(self, key: str) -> None:
        """Put a call back into the bucket of calls."""
        found = self._buckets.get((key, False))
        if found is not None:
            self._buckets[key, False] = (min(self._calls.burst, found[0] + 1), found[1])

"""Bounds of the calls to one provider: concurrency, calls per second, and pauses.

A limiter is shared by everything that calls the same provider, effects and probes alike, because
the provider counts them together. A waiting call is a function, without a coroutine until it
starts; calls start in the order of `submit`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from holdfast.kernel.clock import SECOND_MS, Clock

_FAULT_RETRY_MS = 1_000.0
"""When turns are given out again after a fault, in milliseconds."""


class Limiter:
    """Admits calls to one provider.

    At most `concurrency` calls run at once and `rate_per_s` begin in a second, after a first
    `burst`. No call begins during a pause.
    """

    def __init__(
        self, clock: Clock, *, concurrency: int = 8, rate_per_s: float = 50.0, burst: int = 0
    ) -> None:
        """Raise ValueError for bounds that admit no call."""
        if concurrency < 1 or rate_per_s <= 0:
            message = f"concurrency {concurrency}, rate_per_s {rate_per_s}: both must be above 0"
            raise ValueError(message)
        self._clock = clock
        self._free = concurrency
        self._rate_per_ms = rate_per_s / SECOND_MS
        self._burst = float(burst or max(concurrency, 1))
        self._tokens = self._burst
        self._counted_ms = clock.steady_ms()
        self._paused_until_ms = 0.0
        self._waiting: deque[Callable[[], None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._pumping = False

    def __len__(self) -> int:
        return len(self._waiting)

    def submit(self, start: Callable[[], None]) -> None:
        """Have `start` called when it is admitted; it must call `leave` once, when it is done."""
        self._waiting.append(start)
        self._pump()

    def leave(self) -> None:
        """Release a slot after its call."""
        self._free += 1
        self._pump()

    def refund(self) -> None:
        """Release a slot that was not used: no call was made."""
        self._tokens = min(self._burst, self._tokens + 1)
        self.leave()

    def pause(self, for_ms: float) -> None:
        """Begin no call for `for_ms`, as the provider requested."""
        until_ms = self._clock.steady_ms() + for_ms
        self._paused_until_ms = max(self._paused_until_ms, until_ms)

    def close(self) -> None:
        """Drop waiting calls."""
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait_ms(self) -> float:
        """Return the ms until the rate and the pause admit a call, whatever the concurrency."""
        now_ms = self._clock.steady_ms()
        earned = (now_ms - self._counted_ms) * self._rate_per_ms
        self._tokens = min(self._burst, self._tokens + earned)
        self._counted_ms = now_ms
        lacking = 0.0 if self._tokens >= 1 else (1 - self._tokens) / self._rate_per_ms
        return max(self._paused_until_ms - now_ms, lacking)

    def _pump(self) -> None:
        """Start the calls that are admitted.

        Who gives a turn back at once calls this from within; the loop that is at it goes on, since
        a queue of such calls, each inside the one before, would be deeper than the stack. What is
        raised goes to the loop's exception handler: no caller could do anything about it.
        """
        if self._pumping:
            return
        self._pumping = True
        try:
            self._give_out()
        except Exception as error:  # noqa: BLE001  waiting tasks still get a turn later
            self._sleep(_FAULT_RETRY_MS)
            text = "giving out turns failed; it is tried again"
            asyncio.get_running_loop().call_exception_handler({"message": text, "exception": error})
        finally:
            self._pumping = False

    def _give_out(self) -> None:
        while self._waiting and self._free > 0:
            wait_ms = self._wait_ms()
            if wait_ms > 0:
                self._sleep(wait_ms)
                return
            self._free -= 1
            self._tokens -= 1
            self._waiting.popleft()()

    def _sleep(self, wait_ms: float) -> None:
        """Try again after `wait_ms`."""
        if self._timer is not None:
            self._timer.cancel()

        def again() -> None:
            self._timer = None
            self._pump()

        # The extra fraction keeps rounding from waking it too early, again and again.
        self._timer = asyncio.get_running_loop().call_later((wait_ms + 0.5) / SECOND_MS, again)

"""How much may be asked of one provider: calls side by side, calls per second, and its pauses.

A gate is shared by everything that asks the same provider, effects and probes alike, because the
provider counts them together. Whoever wants to call leaves a function here and costs no coroutine
until its turn has come; turns are given in the order of asking.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from holdfast.kernel.clock import SECOND_MS, Clock

_FAULT_RETRY_MS = 1_000.0
"""When turns are given out again after a fault, in milliseconds."""


class Limiter:
    """Turns to call one provider.

    At most `concurrency` calls run at once and `rate_per_s` begin in a second, after a first
    `burst`. A pause holds every new call back until it is over.
    """

    def __init__(
        self, clock: Clock, *, concurrency: int = 8, rate_per_s: float = 50.0, burst: int = 0
    ) -> None:
        """Raise ValueError when nothing could ever pass."""
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
        self._turns: deque[Callable[[], None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._pumping = False

    def __len__(self) -> int:
        return len(self._turns)

    def submit(self, start: Callable[[], None]) -> None:
        """Have `start` called when its turn has come; it must `leave` once, when it is done."""
        self._turns.append(start)
        self._pump()

    def leave(self) -> None:
        """Give a turn back after its call."""
        self._free += 1
        self._pump()

    def refund(self) -> None:
        """Give a turn back that was not used: nothing was asked of the provider."""
        self._tokens = min(self._burst, self._tokens + 1)
        self.leave()

    def pause(self, for_ms: float) -> None:
        """Hold every new call back for `for_ms`, as the provider asked."""
        until_ms = self._clock.steady_ms() + for_ms
        self._paused_until_ms = max(self._paused_until_ms, until_ms)

    def close(self) -> None:
        """Forget who waits."""
        self._turns.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait_ms(self) -> float:
        """Return how long until the next call may begin, free turns aside."""
        now_ms = self._clock.steady_ms()
        earned = (now_ms - self._counted_ms) * self._rate_per_ms
        self._tokens = min(self._burst, self._tokens + earned)
        self._counted_ms = now_ms
        lacking = 0.0 if self._tokens >= 1 else (1 - self._tokens) / self._rate_per_ms
        return max(self._paused_until_ms - now_ms, lacking)

    def _pump(self) -> None:
        """Give out the turns that there are.

        Who gives a turn back at once calls this from within; the loop that is at it goes on, since
        a queue of such calls, each inside the one before, would be deeper than the stack. What is
        raised goes to the loop's exception handler: no caller could do anything about it.
        """
        if self._pumping:
            return
        self._pumping = True
        try:
            self._give_out()
        except Exception as error:  # noqa: BLE001  whoever waits gets a turn all the same
            self._sleep(_FAULT_RETRY_MS)
            text = "giving out turns failed; it is tried again"
            asyncio.get_running_loop().call_exception_handler({"message": text, "exception": error})
        finally:
            self._pumping = False

    def _give_out(self) -> None:
        while self._turns and self._free > 0:
            wait_ms = self._wait_ms()
            if wait_ms > 0:
                self._sleep(wait_ms)
                return
            self._free -= 1
            self._tokens -= 1
            self._turns.popleft()()

    def _sleep(self, wait_ms: float) -> None:
        """Look again when a turn may have come."""
        if self._timer is not None:
            self._timer.cancel()

        def again() -> None:
            self._timer = None
            self._pump()

        # The extra fraction keeps rounding from waking it a moment too early, again and again.
        self._timer = asyncio.get_running_loop().call_later((wait_ms + 0.5) / SECOND_MS, again)

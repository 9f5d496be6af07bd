"""An event loop in virtual time: hours pass at once, and one seed decides every order.

The plane's real coroutines run on it unchanged. When nothing is ready, time jumps to the next
timer; what is ready at the same moment runs in an order drawn from the seed, so that a race shows
up under some seed and then under that seed each time. It has no sockets, and opening one is an
error. It uses a few private attributes of asyncio (its queues, and a handle's); a test checks them
for each version of Python.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

EPOCH_MS: Final = 1_760_000_000_000
"""The time of day at which every simulation begins, in milliseconds since the epoch."""

STILL_MAX: Final = 100_000
"""Iterations of the loop without time passing after which it counts as spinning."""

_CANCEL_ROUNDS: Final = 8
_CANCEL_S: Final = 60.0
"""How often, and for how many virtual seconds, remaining tasks are cancelled."""


class DeadlockError(Exception):
    """Nothing is ready and no timer is set, yet the simulation has not ended."""


class SpinError(Exception):
    """The loop iterates without time passing: a hot loop."""


class _NoSelector:
    """What asyncio closes at the end; a simulation has nothing to select from."""

    def close(self) -> None:
        """Do nothing: nothing is held."""


class SimLoop(asyncio.BaseEventLoop):
    """The loop; `chance` is its generator, which the fakes of the world share."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.chance = random.Random(seed)  # noqa: S311  repeatable on purpose
        self.virtual_s = 0.0
        self.still = 0
        self._selector = _NoSelector()
        self._clock_resolution = 1e-9

    def time(self) -> float:
        """Return virtual seconds since the simulation began."""
        return self.virtual_s

    def _run_once(self) -> None:
        """Advance time if nothing is ready, then run what is, in an order drawn from the seed.

        This replaces asyncio's own iteration, most of whose work is for sockets and threads.
        """
        ready, timers = self._ready, self._scheduled  # type: ignore[attr-defined]
        while timers and timers[0]._cancelled:  # noqa: SLF001
            heapq.heappop(timers)._scheduled = False  # noqa: SLF001
        if not ready and not self._stopping:  # type: ignore[attr-defined]
            if not timers:
                raise DeadlockError("every task waits for another, and no timer is set")
            if timers[0]._when > self.virtual_s:  # noqa: SLF001
                self.virtual_s = timers[0]._when  # noqa: SLF001
                self.still = 0
        self.still += 1
        if self.still > STILL_MAX:
            raise SpinError(f"{STILL_MAX} turns at virtual second {self.virtual_s:.3f}")
        now = self.virtual_s + self._clock_resolution
        while timers and timers[0]._when < now:  # noqa: SLF001
            timer = heapq.heappop(timers)
            timer._scheduled = False  # noqa: SLF001
            ready.append(timer)
        handles = list(ready)
        ready.clear()
        if len(handles) > 1:
            self.chance.shuffle(handles)
        for handle in handles:
            if not handle._cancelled:  # noqa: SLF001
                handle._run()  # noqa: SLF001

    def _process_events(self, event_list: list[Any]) -> None:
        """Do nothing: there are no sockets."""

    def _write_to_self(self) -> None:
        """Do nothing: there is no other thread to wake the loop."""

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Run `func` in a later iteration of this loop: a simulation has one thread."""
        del executor
        future: asyncio.Future[T] = self.create_future()

        def run() -> None:
            if future.cancelled():
                return
            try:
                future.set_result(func(*args))
            except Exception as error:  # noqa: BLE001  passed to the awaiting task
                future.set_exception(error)

        self.call_soon(run)
        return future


class SimClock:
    """The plane's clock within a simulation; `jump` steps the time of day only."""

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop
        self._offset_ms = EPOCH_MS

    def now_ms(self) -> int:
        """Return the simulated time of day in milliseconds since the epoch."""
        return self._offset_ms + round(self._loop.virtual_s * 1_000)

    def steady_ms(self) -> float:
        """Return virtual milliseconds since the simulation began."""
        return self._loop.virtual_s * 1_000

    def jump(self, by_ms: int) -> None:
        """Step the time of day, as an administrator or a bad time server would."""
        self._offset_ms += by_ms


def run(seed: int, main: Callable[[SimLoop, SimClock], Coroutine[Any, Any, T]]) -> T:
    """Run a simulation to its end and return its result.

    Tasks that it leaves behind are cancelled; an exception of one is raised here, never lost.
    """
    loop = SimLoop(seed)
    lost: list[BaseException] = []

    def on_error(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        lost.append(context.get("exception") or RuntimeError(str(context.get("message"))))

    loop.set_exception_handler(on_error)
    try:
        result = loop.run_until_complete(main(loop, SimClock(loop)))
    finally:
        _end(loop)
    if lost:
        raise lost[0]
    return result


def _end(loop: SimLoop) -> None:
    """Cancel the remaining tasks, and those they leave, then close the loop."""
    try:
        for _ in range(_CANCEL_ROUNDS):
            left = asyncio.all_tasks(loop)
            if not left:
                break
            loop.still = 0
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.wait(left, timeout=_CANCEL_S))
    finally:
        loop.close()

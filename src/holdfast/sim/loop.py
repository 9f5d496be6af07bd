"""An event loop in virtual time: hours pass at once, and one seed decides every order.

The plane's real coroutines run on it unchanged. When nothing is ready, time jumps to the next
timer; what is ready at the same moment runs in an order drawn from the seed, so that a race shows
up under some seed and then under that seed each time. It has no sockets: whoever opens one in a
simulation has left the simulation. It reaches into two private attributes of asyncio
(`_ready`, `_selector`); a test holds them for each version of Python.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

EPOCH_MS: Final = 1_760_000_000_000
"""The time of day at which every simulation begins, in milliseconds since the epoch."""

STILL_MAX: Final = 100_000
"""Turns of the loop without time passing after which a simulation is taken to spin."""

_ENDINGS: Final = 8
_ENDING_S: Final = 60.0
"""How often, and for how many virtual seconds, tasks that are left are asked to end."""


class DeadlockError(Exception):
    """Nothing is ready and no timer is set, yet the simulation has not ended."""


class SpinError(Exception):
    """The loop turns and turns at one moment: something runs hot."""


class _VirtualSelector:
    """What asyncio asks to wait: it lets virtual time pass instead."""

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        """Let `timeout` seconds pass; None would be for ever, which is a deadlock."""
        if timeout is None:
            raise DeadlockError("every task waits for another, and no timer is set")
        if timeout > 0:
            self._loop.virtual_s += timeout
            self._loop.still = 0
        return []

    def close(self) -> None:
        """Nothing is held."""


class SimLoop(asyncio.BaseEventLoop):
    """The loop; `chance` is its generator, which the fakes of the world share."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.chance = random.Random(seed)  # noqa: S311  repeatable on purpose
        self.virtual_s = 0.0
        self.still = 0
        self._selector = _VirtualSelector(self)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        """Return virtual seconds since the simulation began."""
        return self.virtual_s

    def _run_once(self) -> None:
        """Run what is ready in an order of the seed's choosing."""
        self.still += 1
        if self.still > STILL_MAX:
            raise SpinError(f"{STILL_MAX} turns at virtual second {self.virtual_s:.3f}")
        ready = self._ready  # type: ignore[attr-defined]
        if len(ready) > 1:
            handles = list(ready)
            ready.clear()
            self.chance.shuffle(handles)
            ready.extend(handles)
        super()._run_once()  # type: ignore[misc]

    def _process_events(self, event_list: list[Any]) -> None:
        """There are no sockets, so there are no events of them."""

    def _write_to_self(self) -> None:
        """There is no other thread to wake the loop."""

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Run `func` in a later turn of this loop: a simulation has one thread."""
        del executor
        future: asyncio.Future[T] = self.create_future()

        def run() -> None:
            if future.cancelled():
                return
            try:
                future.set_result(func(*args))
            except Exception as error:  # noqa: BLE001  handed to whoever awaits it
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
    """Run a simulation to its end and return what it returns.

    Tasks that it leaves behind are cancelled; one that raised is raised here, never lost.
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
    """Cancel what is left, and what that leaves, then close the loop."""
    try:
        for _ in range(_ENDINGS):
            left = asyncio.all_tasks(loop)
            if not left:
                break
            loop.still = 0
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.wait(left, timeout=_ENDING_S))
    finally:
        loop.close()

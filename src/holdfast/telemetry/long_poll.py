"""The long polls that wait for a change of the directive of one machine.

A waiter is one future in a list per machine, so a change costs only the waiters it wakes. Nothing
is queued: a directive is state, and a poll that wakes reads it anew. A poll must never be held
longer than requested, and a change of one machine must not wake polls of others.
"""

from __future__ import annotations

import asyncio

from holdfast.telemetry.limits import WAITERS_MAX, WAITERS_PER_MACHINE


class FullError(Exception):
    """More long polls are held than the plane allows."""


class WakeHub:
    """All long polls now held, by sandbox id."""

    def __init__(self, *, waiters_max: int = WAITERS_MAX) -> None:
        """Begin with no waiters; hold at most `waiters_max` polls."""
        self._waiters: dict[str, list[asyncio.Future[None]]] = {}
        self._count = 0
        self._max = waiters_max

    def __len__(self) -> int:
        """Return how many polls are held."""
        return self._count

    def wake(self, sandbox: str) -> None:
        """Send home every poll of this machine."""
        for waiter in self._waiters.get(sandbox, ()):
            if not waiter.done():
                waiter.set_result(None)

    def wake_all(self) -> None:
        """Send everybody home, because the plane stops."""
        for sandbox in tuple(self._waiters):
            self.wake(sandbox)

    async def wait(self, sandbox: str, timeout_s: float) -> None:
        """Return when the machine is woken or the time is up; raise FullError when too many wait.

        The caller looks at the state before and after: being woken promises nothing.
        """
        if self._count >= self._max:
            raise FullError(f"{self._count} long polls are held")
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        mine = self._waiters.setdefault(sandbox, [])
        held = [other for other in mine if not other.done()]
        for other in held[: len(held) + 1 - WAITERS_PER_MACHINE]:
            other.set_result(None)
        mine.append(waiter)
        self._count += 1
        timer = loop.call_later(timeout_s, _end, waiter)
        try:
            await waiter
        finally:
            timer.cancel()
            self._count -= 1
            mine.remove(waiter)
            if not mine:
                self._waiters.pop(sandbox, None)


def _end(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)

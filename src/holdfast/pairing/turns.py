"""Serialises commands in each machine: one at a time, waiting decisions before waiting lists."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from holdfast.pairing.ports import Place

_DECISIONS: Final = 0
_LISTS: Final = 1


class Turns:
    """Locks with two priorities, one per machine.

    A released lock passes directly to a waiting task, so a task that arrives in between cannot take
    it as well.
    """

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, str], tuple[deque[asyncio.Future[None]], ...]] = {}

    @asynccontextmanager
    async def turn(self, place: Place, *, decides: bool) -> AsyncIterator[None]:
        """Hold a machine's lock; a decision waits only for the running command and decisions."""
        machine = (place.provider, place.machine_id)
        await self._wait(machine, _DECISIONS if decides else _LISTS)
        try:
            yield
        finally:
            self._hand_on(machine)

    async def _wait(self, machine: tuple[str, str], rank: int) -> None:
        waiting = self._waiting.get(machine)
        if waiting is None:
            self._waiting[machine] = (deque(), deque())
            return
        mine = asyncio.get_running_loop().create_future()
        waiting[rank].append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if not mine.cancelled():  # it got the lock and was cancelled at the same time
                self._hand_on(machine)
            raise

    def _hand_on(self, machine: tuple[str, str]) -> None:
        """Pass the lock to the first task still waiting; delete its entry if there is none."""
        for queue in self._waiting[machine]:
            while queue:
                next_one = queue.popleft()
                if not next_one.done():
                    next_one.set_result(None)
                    return
        del self._waiting[machine]

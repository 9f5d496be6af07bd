"""Turns at machines: one at a time in each, and decisions before lists that wait."""

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
    """Who runs a command in which machine, and who waits for it.

    A turn that ends is handed to one who waits, so that nobody who comes in between takes it too.
    """

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, str], tuple[deque[asyncio.Future[None]], ...]] = {}

    @asynccontextmanager
    async def turn(self, place: Place, *, decides: bool) -> AsyncIterator[None]:
        """Hold a machine's only turn; a decision waits for one command at most."""
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
            if not mine.cancelled():  # it was handed the turn and cancelled in the same moment
                self._hand_on(machine)
            raise

    def _hand_on(self, machine: tuple[str, str]) -> None:
        """Give the turn to the first who still waits; forget the machine where nobody does."""
        for queue in self._waiting[machine]:
            while queue:
                next_one = queue.popleft()
                if not next_one.done():
                    next_one.set_result(None)
                    return
        del self._waiting[machine]

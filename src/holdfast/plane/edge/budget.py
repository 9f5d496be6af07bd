"""How many bytes of large bodies are in memory at once, over all callers and of each.

What a body may take is held from before it is read until its call is answered. Whoever finds no
room waits, in order, and the socket fills meanwhile: nothing is refused.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary


class _Room:
    """A number of bytes, given out in the order of asking."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._free = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def hold(self, size: int) -> AsyncIterator[None]:
        """Hold bytes, as soon as they are free; all of them for more than there are."""
        size = min(size, self._size)
        given: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, given))
        self._give()
        try:
            await given
            yield
        finally:
            given.cancel()  # whoever gives up before its turn is passed over
            if not given.cancelled():
                self._free += size
            self._give()

    def _give(self) -> None:
        while self._waiting:
            size, given = self._waiting[0]
            if not given.cancelled():
                if size > self._free:
                    return
                self._free -= size
                given.set_result(None)
            self._waiting.popleft()


class BodyBudget:
    """Room for large bodies: `total` bytes, of which each caller may hold `each`."""

    def __init__(self, *, total: int, each: int) -> None:
        self._all = _Room(total)
        self._each = each
        self._callers: WeakValueDictionary[str, _Room] = WeakValueDictionary()

    @asynccontextmanager
    async def hold(self, caller: str, size: int) -> AsyncIterator[None]:
        """Hold bytes for a body of a caller; wait for its own room first."""
        own = self._callers.setdefault(caller, _Room(self._each))
        async with own.hold(size), self._all.hold(size):
            yield

"""Whose turn it is to run a command line of the agent's: one at a time, first come first served.

Unlike a lock of the standard library it can be taken at once, without waiting, by who must not wait
to say whether a program could be started.
"""

from __future__ import annotations

import asyncio
from collections import deque


class Turn:
    """Taken by one at a time; who takes it gives it back, and must not take it twice."""

    def __init__(self) -> None:
        """Begin with nobody having it."""
        self._taken = False
        self._waiting: deque[asyncio.Future[None]] = deque()

    def take_now(self) -> bool:
        """Take it if nobody has it; return whether that was so."""
        if self._taken:
            return False
        self._taken = True
        return True

    async def take(self) -> None:
        """Wait for it and take it."""
        if self.take_now():
            return
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine in self._waiting:
                self._waiting.remove(mine)
            elif not mine.cancelled():
                self.give_back()  # it was handed to us in the same moment
            raise

    def give_back(self) -> None:
        """Hand it to the next who waits, if there is one."""
        while self._waiting:
            following = self._waiting.popleft()
            if not following.done():
                following.set_result(None)
                return
        self._taken = False

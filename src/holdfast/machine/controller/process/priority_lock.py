"""The lock for the agent's command lines: one at a time, urgent ones first.

Each command line loads the agent's whole program, so two at once would exhaust the machine. What
the agent's start waits for precedes a person's order, and that precedes a mere read; within a rank
it is first come, first served. A running read makes way for both, and is repeated.

Unlike a lock of the standard library it can be tried without waiting, by callers that must report
at once whether a program could be started.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import IntEnum
from typing import TypeAlias

GiveWay: TypeAlias = Callable[[], None]
"""Called when an urgent caller waits; the holder must release the lock soon."""


class Rank(IntEnum):
    """Priority. The version query is brief, and not worth interrupting any work."""

    START = 0
    ORDER = 1
    BRIEF = 2
    LOOK = 3


class PriorityLock:
    """Held by one at a time; the holder releases it and must not acquire it twice."""

    def __init__(self) -> None:
        self._taken = False
        self._give_way: GiveWay | None = None
        self._waiting: list[tuple[Rank, asyncio.Future[None]]] = []

    def take_now(self) -> bool:
        """Acquire it if it is free; return whether it was."""
        if self._taken:
            return False
        self._taken = True
        return True

    async def take(self, rank: Rank, give_way: GiveWay | None = None) -> None:
        """Wait for it and acquire it; `give_way` is called at most once while it is held."""
        if not self.take_now():
            await self._wait(rank)
        self._give_way = give_way
        if any(_is_urgent(other) for other, _ in self._waiting):
            self._preempt()  # a caller that came after the hand-over

    async def _wait(self, rank: Rank) -> None:
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (rank, mine)
        later = (index for index, (other, _) in enumerate(self._waiting) if other > rank)
        self._waiting.insert(next(later, len(self._waiting)), entry)
        if _is_urgent(rank):
            self._preempt()
        try:
            await mine
        except asyncio.CancelledError:
            if entry in self._waiting:
                self._waiting.remove(entry)
            elif not mine.cancelled():
                self.give_back()  # it was handed to us in the same moment
            raise

    def _preempt(self) -> None:
        give_way, self._give_way = self._give_way, None
        if give_way is not None:
            give_way()

    def give_back(self) -> None:
        """Hand it to the next waiter, if there is one."""
        self._give_way = None
        while self._waiting:
            _, following = self._waiting.pop(0)
            if not following.done():
                following.set_result(None)
                return
        self._taken = False

    def give_back_after(self, ended: asyncio.Future[int], *, within_s: float) -> None:
        """Release it once a killed program has `ended`, and at the latest after `within_s`.

        A process that the kernel does not end must not block repairs for ever.
        """
        if ended.done():
            self.give_back()
            return
        loop, handed = asyncio.get_running_loop(), False

        def hand_on(_ended: object = None) -> None:
            nonlocal handed
            timer.cancel()
            if not handed:
                handed = True
                self.give_back()

        timer = loop.call_later(within_s, hand_on)
        ended.add_done_callback(hand_on)


def _is_urgent(rank: Rank) -> bool:
    return rank <= Rank.ORDER

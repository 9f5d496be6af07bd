"""What is open to agents now, so that it ends when whoever opened it may no longer be there."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple

from holdfast.kernel.log import Log
from holdfast.plane.agent_proxy.access import AgentAccess, Passage
from holdfast.plane.agent_proxy.sessions import Signed

LOOK_S: Final = 1.0
"""Between two looks at who may stay, in seconds."""

STAY_S: Final = 5.0
"""How long one look may take; after that nobody knows, so nobody stays."""


class Shares(NamedTuple):
    """How much may be open at once: to one agent, to all of an account, and in all."""

    each: int
    account: int
    total: int


class Tally:
    """How much of one kind is open, however many browsers ask.

    No account can take it all: where many share a plane, the others keep half.
    """

    def __init__(self, shares: Shares) -> None:
        """Begin with nothing."""
        self._shares = shares
        self._each: Counter[str] = Counter()
        self._accounts: Counter[str] = Counter()

    def full(self, passage: Passage) -> str:
        """Return of what there would be one too many, or nothing."""
        if self._each[passage.signed.instance] >= self._shares.each:
            return "to this agent"
        if self._accounts[passage.account] >= self._shares.account:
            return "to the agents of this account"
        return "to agents" if self._accounts.total() >= self._shares.total else ""

    def of(self, instance_id: str) -> int:
        """Return how many are open to one instance."""
        return self._each[instance_id]

    @property
    def total(self) -> int:
        """Return how many are open."""
        return self._accounts.total()

    def enter(self, passage: Passage) -> None:
        """Count one more."""
        self._each[passage.signed.instance] += 1
        self._accounts[passage.account] += 1

    def leave(self, passage: Passage) -> None:
        """Count one less."""
        for counter, key in (
            (self._each, passage.signed.instance), (self._accounts, passage.account),
        ):  # fmt: skip
            counter[key] -= 1
            if not counter[key]:
                del counter[key]


class Live:
    """Everything open, by whose it is."""

    def __init__(self, access: AgentAccess, *, log: Log) -> None:
        """Begin with nothing."""
        self._access = access
        self._log = log
        self._open: dict[Signed, set[Callable[[], None]]] = {}

    def add(self, signed: Signed, end: Callable[[], None]) -> Callable[[], None]:
        """Remember how to end something; return what forgets it, which may be called twice."""
        self._open.setdefault(signed, set()).add(end)

        def forget() -> None:
            ends = self._open.get(signed)
            if ends is not None:
                ends.discard(end)
                if not ends:
                    del self._open[signed]

        return forget

    def end_all(self) -> None:
        """End everything."""
        for ends in list(self._open.values()):
            for end in list(ends):
                self._end(end)

    async def watch(self) -> None:
        """End what may not stay, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            # Side by side: one that cannot be told must not keep the others' ends waiting.
            await asyncio.gather(*(self._look(signed) for signed in list(self._open)))

    async def _look(self, signed: Signed) -> None:
        if not await self._stays(signed):
            for end in list(self._open.get(signed, ())):
                self._end(end)

    async def _stays(self, signed: Signed) -> bool:
        """Return whether somebody may stay; where that cannot be told, or not in time, not."""
        try:
            async with asyncio.timeout(STAY_S):
                return await self._access.still(signed)
        except Exception as error:  # noqa: BLE001  whatever it is, nobody stays for it
            self._log.error("agent_door.watch_failed", exc_info=error)
            return False

    def _end(self, end: Callable[[], None]) -> None:
        """End one thing; what goes wrong there keeps no other open."""
        try:
            end()
        except Exception as error:  # noqa: BLE001  whatever it is, nobody stays for it
            self._log.error("agent_door.end_failed", exc_info=error)

"""Open requests and sockets to agents, ended when their session is no longer authorised."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple

from holdfast.kernel.log import Log
from holdfast.plane.agent_proxy.access import AgentAccess, Passage
from holdfast.plane.agent_proxy.sessions import Signed

LOOK_S: Final = 1.0
"""Between two checks of open connections, in seconds."""

STAY_S: Final = 5.0
"""Timeout of one check; then the connection is ended."""


class Shares(NamedTuple):
    """How much may be open at once: to one agent, to all of an account, and in all."""

    each: int
    account: int
    total: int


class Tally:
    """Counts of one kind of open connections, bounded.

    One account can take half of the total at most.
    """

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        self._each: Counter[str] = Counter()
        self._accounts: Counter[str] = Counter()

    def full(self, passage: Passage) -> str:
        """Return which bound one more would exceed, or an empty text."""
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
    """All open connections, by session."""

    def __init__(self, access: AgentAccess, *, log: Log) -> None:
        self._access = access
        self._log = log
        self._open: dict[Signed, set[Callable[[], None]]] = {}

    def add(self, signed: Signed, end: Callable[[], None]) -> Callable[[], None]:
        """Register how to end a connection; return an idempotent function that removes it."""
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
        """End connections that are no longer authorised, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            # Concurrently: one slow check must not delay the others.
            await asyncio.gather(*(self._look(signed) for signed in list(self._open)))

    async def _look(self, signed: Signed) -> None:
        if not await self._stays(signed):
            for end in list(self._open.get(signed, ())):
                self._end(end)

    async def _stays(self, signed: Signed) -> bool:
        """Return whether a session is still authorised; False on an error or a timeout."""
        try:
            async with asyncio.timeout(STAY_S):
                return await self._access.still(signed)
        except Exception as error:  # noqa: BLE001  no error may keep a connection open
            self._log.error("agent_door.watch_failed", exc_info=error)
            return False

    def _end(self, end: Callable[[], None]) -> None:
        """End one connection; an error is logged."""
        try:
            end()
        except Exception as error:  # noqa: BLE001  no error may keep a connection open
            self._log.error("agent_door.end_failed", exc_info=error)

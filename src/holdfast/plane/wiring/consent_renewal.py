"""Has what is granted signed anew once the plane signs with another key.

What is left to do is read from the committed rows, so a plane that stops in the middle goes on
after its start, and one that is asked twice does nothing twice. Few nodes at a time: an owner's
decision waits for their signatures, not for those of the fleet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import islice

from holdfast.actors.ports import Mailboxes, MailboxFullError
from holdfast.consent import events
from holdfast.consent.definition import KIND, arrival
from holdfast.consent.index import NodeIndex
from holdfast.consent.limits import RENEW_AT_ONCE, RENEW_LOOK_S, RENEW_WAIT_S
from holdfast.kernel.chance import Chance
from holdfast.kernel.clock import Clock
from holdfast.kernel.ids import address
from holdfast.kernel.log import Log


class Renewal:
    """Compares the key of each grant in force with the one that signs now."""

    def __init__(
        self,
        index: NodeIndex,
        mailboxes: Mailboxes,
        *,
        key: Callable[[], str],
        chance: Chance,
        clock: Clock,
        log: Log,
    ) -> None:
        """Use the committed nodes; `key` returns the id of the key that signs."""
        self._index = index
        self._mailboxes = mailboxes
        self._key = key
        self._chance = chance
        self._clock = clock
        self._log = log
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        """Renew what another key signed; what could not be is left for the next call.

        A key that is replaced meanwhile is followed: the nodes are looked through once more.
        """
        async with self._turn:
            key, renewed = "", 0
            while key != self._key():
                key = self._key()
                renewed += await self._renew(key)
            if renewed:
                left = self._index.signed_with_others(key)
                self._log.info("consent.renewed", nodes=renewed, left=left, key=key)

    async def _renew(self, key: str) -> int:
        """Have each node that needs it renewed once; return how many were."""
        renewed, outdated = 0, self._index.outdated(key)
        while key == self._key() and (batch := [*islice(outdated, RENEW_AT_ONCE)]):
            taken = await asyncio.gather(*(self._tell(node, key) for node in batch))
            told = [node for node, is_told in zip(batch, taken, strict=True) if is_told]
            renewed += await self._signed(told, key)
        return renewed

    async def _tell(self, node: str, key: str) -> bool:
        """Tell one node, by itself, unless too much waits for it; return whether it was told."""
        row = arrival(events.KeyReplaced(key), dedupe=f"key:{self._chance.uuid()}", source="engine")
        try:
            await self._mailboxes.tell([(address(KIND, node), row)])
        except MailboxFullError:
            return False
        return True

    async def _signed(self, batch: list[str], key: str) -> int:
        """Wait until no grant of these nodes is by another key; return how many are by this one.

        One that was revoked meanwhile is not waited for. It ends when the time is up, or the key is
        replaced again.
        """
        ends_ms = self._clock.steady_ms() + RENEW_WAIT_S * 1_000
        while True:
            is_over = key != self._key() or self._clock.steady_ms() >= ends_ms
            if is_over or not any(self._index.is_signed_with_another(node, key) for node in batch):
                return sum(self._index.is_signed_with(node, key) for node in batch)
            await asyncio.sleep(RENEW_LOOK_S)

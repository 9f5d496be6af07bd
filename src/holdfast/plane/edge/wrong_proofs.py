"""Limits how many wrong proofs of one peer are checked; further ones are refused unread.

Checking a wrong token costs a hash and a read of the store, and for a machine the decoding of a
whole body. Callers may share an address: a proof that was right before is still checked while its
address is refused, so that an attacker cannot lock out the machines behind the same address.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from holdfast.kernel.clock import Clock
from holdfast.plane.edge.limits import (
    HELD_BACK_MAX,
    HELD_BACK_S,
    PROVEN_MAX,
    SAME_PROOF_AT_ONCE,
    WRONG_PROOFS_BURST,
    WRONG_PROOFS_PER_S,
)
from holdfast.plane.edge.rate import Rate, Rates

WRONG_PROOFS = Rate(burst=WRONG_PROOFS_BURST, per_s=WRONG_PROOFS_PER_S)


class WrongProofs:
    """The rate of wrong proofs of each peer, and the proofs that were right before."""

    def __init__(
        self, clock: Clock, rate: Rate = WRONG_PROOFS, *, held_back_s: float = HELD_BACK_S
    ) -> None:
        """Begin with no proofs; `held_back_s` is the delay of a refusal in seconds."""
        self._rates = Rates(clock, calls=rate)
        self._held_back_s = held_back_s
        self._held = 0
        self._proven: OrderedDict[int, None] = OrderedDict()
        self._unsettled: OrderedDict[tuple[str, int], int] = OrderedDict()

    def wait_s(self, peer: str, proof: str) -> int:
        """Return 0 if a proof may be checked, else the seconds to wait.

        A proof counts as wrong until `right` is called, so that concurrent ones are limited too.
        Calls with one proof before its first result count as one, up to SAME_PROOF_AT_ONCE: a
        client may begin with many calls at once. Proofs that were right are recognised by the
        interpreter's keyed hash. A collision only lets a proof be checked; it does not make it
        right.
        """
        if hash(proof) in self._proven:
            return 0
        key = peer, hash(proof)
        uses = self._unsettled.get(key, 0)
        if 0 < uses < SAME_PROOF_AT_ONCE:
            self._unsettled[key] = uses + 1
            return 0
        wait_s = self._rates.wait_s(peer, strict=False)
        if not wait_s:
            self._unsettled[key] = 1
            if len(self._unsettled) > PROVEN_MAX:
                self._unsettled.popitem(last=False)
        return wait_s

    async def hold_back(self) -> None:
        """Delay a refusal, unless HELD_BACK_MAX are delayed already."""
        if self._held >= HELD_BACK_MAX:
            return
        self._held += 1
        try:
            await asyncio.sleep(self._held_back_s)
        finally:
            self._held -= 1

    def wrong(self, peer: str, proof: str) -> None:
        """Record that a proof was wrong: the next one like it counts again."""
        self._proven.pop(hash(proof), None)
        self._unsettled.pop((peer, hash(proof)), None)

    def right(self, peer: str, proof: str) -> None:
        """Record that a proof was right."""
        self._unsettled.pop((peer, hash(proof)), None)
        if hash(proof) not in self._proven:
            self._rates.give_back(peer)
            self._proven[hash(proof)] = None
        self._proven.move_to_end(hash(proof))
        if len(self._proven) > PROVEN_MAX:
            self._proven.popitem(last=False)

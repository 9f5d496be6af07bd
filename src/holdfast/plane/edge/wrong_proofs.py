"""How many wrong proofs of a peer are looked at: beyond that they are refused unread.

A look-up of a wrong token costs a hash and a read of the store, and a machine's a whole decoded
body. Peers share addresses: whoever proved something of late is let through although the address
is refused, so that a stranger cannot keep out the machines behind the same one.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from holdfast.kernel.clock import Clock
from holdfast.plane.edge.limits import (
    HELD_BACK_MAX,
    HELD_BACK_S,
    PROVEN_MAX,
    WRONG_PROOFS_BURST,
    WRONG_PROOFS_PER_S,
)
from holdfast.plane.edge.rate import Rate, Rates

WRONG_PROOFS = Rate(burst=WRONG_PROOFS_BURST, per_s=WRONG_PROOFS_PER_S)


class WrongProofs:
    """What each peer got wrong, and which proofs were right."""

    def __init__(
        self, clock: Clock, rate: Rate = WRONG_PROOFS, *, held_back_s: float = HELD_BACK_S
    ) -> None:
        """Begin with nothing."""
        self._rates = Rates(clock, calls=rate)
        self._held_back_s = held_back_s
        self._held = 0
        self._proven: OrderedDict[int, None] = OrderedDict()

    def wait_s(self, peer: str, proof: str) -> int:
        """Return 0 where a proof may be looked at, or how many seconds to wait.

        It counts as wrong until `right` says otherwise, so that many at once are not all looked at.
        The keyed hash of the interpreter tells what was proven: it lets a proof be looked at, and
        proves nothing.
        """
        return 0 if hash(proof) in self._proven else self._rates.wait_s(peer, strict=False)

    async def hold_back(self) -> None:
        """Wait before a refusal, where not too many wait already."""
        if self._held >= HELD_BACK_MAX:
            return
        self._held += 1
        try:
            await asyncio.sleep(self._held_back_s)
        finally:
            self._held -= 1

    def wrong(self, proof: str) -> None:
        """Note that a proof was wrong."""
        self._proven.pop(hash(proof), None)

    def right(self, peer: str, proof: str) -> None:
        """Note that a proof was right."""
        if hash(proof) not in self._proven:
            self._rates.give_back(peer)
            self._proven[hash(proof)] = None
        self._proven.move_to_end(hash(proof))
        if len(self._proven) > PROVEN_MAX:
            self._proven.popitem(last=False)

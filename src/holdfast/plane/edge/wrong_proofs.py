"""How many wrong proofs of a peer are looked at: beyond that they are refused unread.

A look-up of a wrong token costs a hash and a read of the store, and a machine's a whole decoded
body. Peers share addresses: whoever proved something of late is let through although the address
is refused, so that a stranger cannot keep out the machines behind the same one.
"""

from __future__ import annotations

from collections import OrderedDict

from holdfast.kernel.clock import Clock
from holdfast.plane.edge.limits import PROVEN_MAX, WRONG_PROOFS_BURST, WRONG_PROOFS_PER_S
from holdfast.plane.edge.rate import Rate, Rates

WRONG_PROOFS = Rate(burst=WRONG_PROOFS_BURST, per_s=WRONG_PROOFS_PER_S)


class WrongProofs:
    """What each peer got wrong, and which proofs were right."""

    def __init__(self, clock: Clock, rate: Rate = WRONG_PROOFS) -> None:
        """Begin with nothing."""
        self._rates = Rates(clock, calls=rate)
        self._proven: OrderedDict[int, None] = OrderedDict()

    def wait_s(self, peer: str, proof: str) -> int:
        """Return 0 where a proof may be looked at, or how many seconds to wait.

        The keyed hash of the interpreter tells what was proven: it lets a proof be looked at, and
        proves nothing.
        """
        return 0 if hash(proof) in self._proven else self._rates.full_s(peer)

    def wrong(self, peer: str, proof: str) -> None:
        """Note that a proof was wrong."""
        self._proven.pop(hash(proof), None)
        self._rates.wait_s(peer, strict=False)

    def right(self, proof: str) -> None:
        """Note that a proof was right."""
        self._proven[hash(proof)] = None
        self._proven.move_to_end(hash(proof))
        if len(self._proven) > PROVEN_MAX:
            self._proven.popitem(last=False)

"""Limits how many wrong proofs of one peer are checked; further ones are refused unread.

Checking a wrong token costs a hash and a read of the store, and for a machine the decoding of a
whole body. Callers may share an address: a proof that was right before is still checked while its
address is refused, so that an attacker cannot lock out the machines behind the same address.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final

from holdfast.kernel.clock import Clock
from holdfast.relay.rate import Rate, Rates

WRONG_PROOFS_BURST: Final = 50
"""Burst of wrong tokens, keys or cookies of one peer that are checked; more are refused unread."""

WRONG_PROOFS_PER_S: Final = 1.0
"""Further wrong proofs of one peer that are checked per second."""

HELD_BACK_S: Final = 1.0
"""Delay of the refusal of a further one, in seconds. A connection has one request at a time and is
closed after the refusal, so a flood needs a new connection for each wrong proof."""

HELD_BACK_MAX: Final = 256
"""Refusals that are delayed at the same time; more are sent without delay, so that the memory they
hold is bounded."""

SAME_PROOF_AT_ONCE: Final = 100
"""Calls with one proof, not yet known as right or wrong, that count as one."""

PROVEN_MAX: Final = 20_000
"""Right proofs remembered, so that callers who share a refused address are still let through."""

WRONG_PROOFS: Final = Rate(burst=WRONG_PROOFS_BURST, per_s=WRONG_PROOFS_PER_S)


class WrongProofs:
    """The rate of wrong proofs of each peer, and the proofs that were right before."""

    def __init__(
        self,
        clock: Clock,
        rate: Rate = WRONG_PROOFS,
        *,
        held_back_s: float = HELD_BACK_S,
        held_back_max: int = HELD_BACK_MAX,
    ) -> None:
        """Begin with no proofs; `held_back_s` is the delay of a refusal in seconds."""
        self._rates = Rates(clock, calls=rate)
        self._held_back_s = held_back_s
        self._held_back_max = held_back_max
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
        """Delay a refusal, unless `held_back_max` are delayed already."""
        if self._held >= self._held_back_max:
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

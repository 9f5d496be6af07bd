"""How many connections there are, in all and of each peer, and whose is closed for a new one.

A peer that has all it may gets a new connection for its own longest-resting one. When all places
are taken, the peer that rests with most of them gives one up. So connections that say nothing can
be held by the thousand and keep nobody out; only those with a request under way are never closed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from holdfast.wire.parsers import network


class Slot:
    """The place of one connection."""

    __slots__ = ("close", "peer")

    def __init__(self, peer: str, close: Callable[[], None]) -> None:
        """Belong to `peer`; `close` ends the connection while it rests."""
        self.peer = peer
        self.close = close


class Peers:
    """The connections that are open; of a `free` peer only the number in all is bounded."""

    def __init__(
        self, most: int, most_each: int, *, free: Callable[[str], bool] = lambda _: False
    ) -> None:
        """Begin with none."""
        self._most = most
        self._most_each = most_each
        self._free = free
        self._open: Counter[str] = Counter()
        self._resting: dict[str, dict[Slot, None]] = {}
        self._count = 0
        self.closed = 0
        self.refused = 0

    def __len__(self) -> int:
        return self._count

    def enter(self, address: str, close: Callable[[], None]) -> Slot | None:
        """Return the place of a new connection, which rests; None where there is no room for it."""
        peer = network(address)
        if self._open[peer] >= self._most_each and not self._free(address):
            has_room = self._make_room(peer)
        elif self._count >= self._most:
            has_room = self._make_room(self._greediest())
        else:
            has_room = True
        if not has_room:
            self.refused += 1
            return None
        slot = Slot(peer, close)
        self._open[peer] += 1
        self._count += 1
        self.rest(slot)
        return slot

    def rest(self, slot: Slot) -> None:
        """Note that nothing is under way on a connection."""
        self._resting.setdefault(slot.peer, {})[slot] = None

    def work(self, slot: Slot) -> None:
        """Note that a request is under way."""
        resting = self._resting.get(slot.peer)
        if resting is not None:
            resting.pop(slot, None)
            if not resting:
                del self._resting[slot.peer]

    def leave(self, slot: Slot) -> None:
        """Give a place back."""
        self.work(slot)
        self._count -= 1
        self._open[slot.peer] -= 1
        if not self._open[slot.peer]:
            del self._open[slot.peer]

    def _greediest(self) -> str:
        """Return the peer with most resting connections."""
        return max(self._resting, key=lambda peer: len(self._resting[peer]), default="")

    def _make_room(self, peer: str) -> bool:
        """Close the connection of a peer that has rested longest; its owner then leaves."""
        resting = self._resting.get(peer)
        if not resting:
            return False
        slot = next(iter(resting))
        self.work(slot)
        self.closed += 1
        slot.close()
        return True

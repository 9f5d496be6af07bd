"""Bounds the open connections, in all and per peer, and picks the one to close for a new one.

For a peer at its limit, a new connection closes the peer's own connection that is idle longest. At
the limit of all, it closes one of the peer that has the most idle connections. So thousands of idle
connections do not block other callers; a connection with a request under way is never closed, and
neither is a tunnel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from holdfast.wire.parsers import network


class Slot:
    """The slot of one connection."""

    __slots__ = ("close", "peer")

    def __init__(self, peer: str, close: Callable[[], None]) -> None:
        """Belong to `peer`; `close` ends the connection while it is idle."""
        self.peer = peer
        self.close = close


class Peers:
    """The open connections; those of a `free` peer have no limit per peer, only the one of all."""

    def __init__(
        self, most: int, most_each: int, *, free: Callable[[str], bool] = lambda _: False
    ) -> None:
        """Begin with no connections; at most `most` in all and `most_each` per peer."""
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
        """Return the slot of a new connection, which is idle; None if none can be closed for it."""
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
        """Record that a connection is idle."""
        self._resting.setdefault(slot.peer, {})[slot] = None

    def work(self, slot: Slot) -> None:
        """Record that a request is under way on a connection."""
        resting = self._resting.get(slot.peer)
        if resting is not None:
            resting.pop(slot, None)
            if not resting:
                del self._resting[slot.peer]

    def leave(self, slot: Slot) -> None:
        """Release the slot of a closed connection."""
        self.work(slot)
        self._count -= 1
        self._open[slot.peer] -= 1
        if not self._open[slot.peer]:
            del self._open[slot.peer]

    def _greediest(self) -> str:
        """Return the peer with the most idle connections."""
        return max(self._resting, key=lambda peer: len(self._resting[peer]), default="")

    def _make_room(self, peer: str) -> bool:
        """Close the connection of a peer that is idle longest; its owner then calls `leave`."""
        resting = self._resting.get(peer)
        if not resting:
            return False
        slot = next(iter(resting))
        self.work(slot)
        self.closed += 1
        slot.close()
        return True

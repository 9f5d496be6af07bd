"""The actors in memory, in the order of their last use.

An actor costs a small object here: no coroutine, no queue of its own. Evicting one loses nothing,
because everything here is in the journal, committed or accepted.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from itertools import islice
from typing import Any

from holdfast.actors.limits import DOUBTED_KEPT, RESIDENT_MAX, STAMPED_KEPT, TICK_EVENTS_MAX
from holdfast.actors.ports import Pending, Stamp
from holdfast.actors.record import Note
from holdfast.actors.tick import Folded
from holdfast.kernel.ids import Address, EventId

_EVICTIONS_LOOKED_AT = 64


class LoadedActor:
    """One actor in memory.

    `inbox` holds accepted events that no tick took, in order; `complete` says that it holds all
    that the store does, so that nothing needs to be read. `front` holds what must be folded
    before the inbox, `notes` what the next tick, which writes the state again, says of one that was
    made from the log. `doubted` holds what is remembered of commits that were not answered and may
    have been written all the same. `flying` is true while a read or a commit is under way,
    `resting` while it waits after a failure, `again` when it was woken meanwhile.
    """

    __slots__ = (
        "address",
        "again",
        "claims_lost",
        "complete",
        "doubted",
        "failures",
        "flying",
        "folded",
        "front",
        "given_up",
        "inbox",
        "notes",
        "ready",
        "recent",
        "resting",
        "since",
        "size",
    )

    def __init__(self, address: Address) -> None:
        self.address = address
        self.folded: Folded[Any] | None = None
        self.inbox: dict[EventId, Pending] = {}
        self.front: list[Pending] = []
        self.notes: tuple[Note, ...] = ()
        # A list: an empty deque takes 760 bytes, and nearly every actor's is empty for ever.
        self.doubted: list[Any] = []
        self.recent: deque[EventId] = deque(maxlen=STAMPED_KEPT)
        self.complete = False
        self.ready = False
        self.flying = False
        self.resting = False
        self.again = False
        self.given_up = False
        self.failures = 0
        self.claims_lost = 0
        self.size = 0
        self.since = 0

    def doubt(self, flight: Any) -> None:
        """Record a commit whose result is unknown; only the newest are kept."""
        self.doubted.append(flight)
        del self.doubted[:-DOUBTED_KEPT]

    def keep(self, row: Pending) -> None:
        """Add an accepted event, unless a tick took it already."""
        if row.id not in self.recent and not self.given_up:
            self.inbox.setdefault(row.id, row)

    def read(self, rows: Sequence[Pending], limit: int) -> None:
        """Take over the store's pending events, before those accepted since.

        `complete` was set when the read began; it is cleared by whatever adds events elsewhere
        meanwhile.
        """
        accepted = self.inbox
        self.inbox = {row.id: row for row in rows}
        for row in accepted.values():
            self.inbox.setdefault(row.id, row)
        self.complete = self.complete and len(rows) < limit

    def next_events(self) -> list[Pending]:
        """Return the events of the next tick: `front`, then the oldest of `inbox`."""
        if not self.front:
            return list(islice(self.inbox.values(), TICK_EVENTS_MAX))
        first = {row.id for row in self.front}
        rest = (row for row in self.inbox.values() if row.id not in first)
        return [*self.front, *islice(rest, TICK_EVENTS_MAX - len(self.front))]

    def took(self, stamps: Sequence[Stamp]) -> None:
        """Remove events that a committed tick stamped."""
        for stamp in stamps:
            self.inbox.pop(stamp.id, None)
            self.recent.append(stamp.id)
        self.front.clear()
        self.notes = ()
        self.failures = self.claims_lost = 0

    def forget(self) -> None:
        """Drop everything, so that it is read from the store again."""
        self.folded = None
        self.inbox.clear()
        self.front.clear()
        self.recent.clear()
        self.notes = ()
        self.complete = False
        self.size = self.since = 0

    @property
    def backlog(self) -> tuple[int, int]:
        """Return how many events are in `inbox`, and when the oldest was accepted, or 0."""
        oldest = next(iter(self.inbox.values()), None)
        return len(self.inbox), 0 if oldest is None else oldest.accepted_ms

    @property
    def idle(self) -> bool:
        """Return whether it may be evicted."""
        busy = self.flying or self.ready or self.resting or self.given_up
        return not (busy or self.inbox or self.front)


class ActorCache:
    """Loaded actors, the least recently used first."""

    def __init__(self, most: int = RESIDENT_MAX) -> None:
        self._most = most
        self._all: OrderedDict[Address, LoadedActor] = OrderedDict()

    def __len__(self) -> int:
        return len(self._all)

    def find(self, address: Address) -> LoadedActor | None:
        """Return an actor that is in memory, or None."""
        return self._all.get(address)

    def fetch(self, address: Address) -> LoadedActor:
        """Return an actor, adding an empty one where it is not in memory."""
        loaded = self._all.get(address)
        if loaded is None:
            loaded = self._all[address] = LoadedActor(address)
            self.passivate()
        else:
            self._all.move_to_end(address)
        return loaded

    def passivate(self) -> int:
        """Evict the least recently used that are idle; return how many.

        A bounded number is examined: when many actors wake at once all are busy, and examining all
        of them at each wake would cost the square of their number.
        """
        over = len(self._all) - self._most
        if over <= 0:
            return 0
        looked = islice(self._all.items(), _EVICTIONS_LOOKED_AT)
        gone = [address for address, loaded in looked if loaded.idle][:over]
        for address in gone:
            del self._all[address]
        return len(gone)

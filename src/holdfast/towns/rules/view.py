"""What a rule is given: the state, the policy, the time, and what is due, sorted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple, TypeAlias

from holdfast.actors.definition import Suppressed
from holdfast.towns.actions import Action
from holdfast.towns.draft import sort_number
from holdfast.towns.limits import AGENTS_MAX
from holdfast.towns.ordered import Ordered
from holdfast.towns.policy import Policy
from holdfast.towns.state import State, counted, entity_of, found, is_closed

BUSY_ELSEWHERE: Final = "another rule acts on it in this tick"


class Waiting(NamedTuple):
    """All entities at a place of the index wait, `but` for some; naming each would cost too much.

    `entities` is how many that are.
    """

    rule: str
    because: str
    place: tuple[str, ...]
    entities: int
    but: frozenset[str] = frozenset()


Found: TypeAlias = Action | Suppressed | Waiting
Findings: TypeAlias = Iterator[Found]


class View:
    """One look of the rules at a town."""

    __slots__ = ("_due", "counts", "now_ms", "number", "policy", "room", "state")

    def __init__(
        self, state: State, policy: Policy, now_ms: int, number: int, *, counts: bool = True
    ) -> None:
        """Look at a state; without `counts`, what only waits is not counted."""
        self.counts = counts
        self.state = state
        self.policy = policy
        self.now_ms = now_ms
        self.number = number
        self.room = AGENTS_MAX - len(state.agents)
        """How many agents may still be made in this tick, by all rules together."""
        self._due: dict[str, list[Any]] | None = None

    @property
    def town(self) -> Any:
        """Return the town itself."""
        return self.state.town

    @property
    def draining(self) -> bool:
        """Return whether the agents' host is going away."""
        return bool(self.state.town.drain_nonce)

    @property
    def closed(self) -> bool:
        """Return whether the town was closed."""
        return is_closed(self.state)

    def at(self, *place: str) -> Ordered:
        """Return the ids at a place of the index."""
        return found(self.state, *place)

    def waiting(
        self, rule: str, because: str, place: tuple[str, ...], but: Iterable[str] = ()
    ) -> Iterator[Waiting]:
        """Yield that those at a place wait, where there are any."""
        if not self.counts:
            return
        at = self.at(*place)
        apart = frozenset(one for one in but if self.stands(one, at))
        if len(at) > len(apart):
            yield Waiting(rule, because, place, len(at) - len(apart), apart)

    def count(self, *place: str) -> int:
        """Return how many entities there are at a place of which only that is known."""
        return counted(self.state, *place)

    def stands(self, bead: str, at: Ordered) -> bool:
        """Return whether a bead is among these."""
        known = self.state.beads.get(bead)
        return known is not None and at.has((sort_number(known), bead))

    def due(self, letter: str) -> list[Any]:
        """Return the entities of a kind whose time has come, sorted by key; look them up once."""
        if self._due is None:
            self._due = {}
            for key in due_keys(self.state, self.now_ms):
                self._due.setdefault(key[0], []).append(entity_of(self.state, key))
        return self._due.get(letter, [])


def due_keys(state: State, now_ms: int) -> list[str]:
    """Return the keys of all entities whose time has come, sorted."""
    return sorted(state.due.up_to(now_ms))

"""What a rule is given: the state, the policy, the time, and what is due, sorted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple, TypeAlias

from immutables import Map

from holdfast.actors.definition import Suppressed
from holdfast.towns.actions import Action
from holdfast.towns.limits import DUE_BUCKET_MS
from holdfast.towns.policy import Policy
from holdfast.towns.state import State, entity_of, found, is_closed

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

    __slots__ = ("_due", "counts", "now_ms", "number", "policy", "state")

    def __init__(
        self, state: State, policy: Policy, now_ms: int, number: int, *, counts: bool = True
    ) -> None:
        """Look at a state; without `counts`, what only waits is not counted."""
        self.counts = counts
        self.state = state
        self.policy = policy
        self.now_ms = now_ms
        self.number = number
        self._due: list[str] | None = None

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

    def at(self, *place: str) -> Map[str, int]:
        """Return the ids at a place of the index."""
        return found(self.state, *place)

    def waiting(
        self, rule: str, because: str, place: tuple[str, ...], but: Iterable[str] = ()
    ) -> Iterator[Waiting]:
        """Yield that those at a place wait, where there are any."""
        if not self.counts:
            return
        at = self.at(*place)
        apart = frozenset(one for one in but if one in at)
        if len(at) > len(apart):
            yield Waiting(rule, because, place, len(at) - len(apart), apart)

    def due(self, letter: str) -> Iterator[Any]:
        """Yield the entities of a kind whose time has come, sorted by key."""
        if self._due is None:
            self._due = due_keys(self.state, self.now_ms)
        for key in self._due:
            if key[0] == letter:
                yield entity_of(self.state, key)


def due_keys(state: State, now_ms: int) -> list[str]:
    """Return the keys of all entities whose time has come, sorted."""
    last = now_ms // DUE_BUCKET_MS
    keys = [
        key
        for bucket in [bucket for bucket in state.due if bucket <= last]
        for key, due_ms in state.due[bucket].items()
        if due_ms <= now_ms
    ]
    return sorted(keys)


def next_due(state: State, now_ms: int) -> int | None:
    """Return the first time after now at which an entity is due, or None."""
    last = now_ms // DUE_BUCKET_MS
    for bucket in sorted(bucket for bucket in state.due if bucket >= last):
        times: list[int] = list(state.due[bucket].values())
        later = [due_ms for due_ms in times if due_ms > now_ms]
        if later:
            return min(later)
    return None

"""One mutable look at a state, for the length of one event: writes entities and their indexes.

Every change of an entity passes `put`, which moves it in the indexes and remembers that it was
touched; every change of a bead's status passes `move`, which holds the table of transitions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeVar

from immutables import Map
from msgspec.structs import replace

from holdfast.actors.definition import SELF, Applied
from holdfast.towns.limits import BEAD_KEPT_MS, DUE_BUCKET_MS, KEPT_ROUND_MS
from holdfast.towns.state import (
    PREFIXES,
    TERMINAL,
    Agent,
    Bead,
    BeadType,
    Entity,
    Nudge,
    Rig,
    State,
    Status,
    Town,
    Violation,
    decode_entities,
    found,
)

T = TypeVar("T", Agent, Bead, Nudge, Rig, Violation)
Place = tuple[str, ...]

TRANSITIONS: Final[Mapping[BeadType, Mapping[Status, frozenset[Status]]]] = {
    "issue": {
        "open": frozenset({"in_progress", "closed", "failed"}),
        "in_progress": frozenset({"open", "in_review", "closed", "failed"}),
        "in_review": frozenset({"open", "closed", "failed"}),
    },
    "merge_request": {
        "open": frozenset({"in_progress", "closed", "failed"}),
        "in_progress": frozenset({"open", "closed", "failed"}),
    },
    "convoy": {"open": frozenset({"closed", "failed"})},
    "escalation": {"open": frozenset({"closed"})},
    "message": {"open": frozenset({"closed", "failed"})},
}
"""Which status follows which, by type of bead; what is not here never happens."""

_PRIORITY_STEP: Final = 1 << 48
"""Between two priorities, in the number that issues are sorted by: more than any time in ms."""

_EMPTY: Final[Map[str, int]] = Map()
_LETTERS: Final[Mapping[Any, str]] = {Agent: "a", Bead: "b", Nudge: "n", Rig: "r", Violation: "v"}


def statuses(of: BeadType) -> frozenset[Status]:
    """Return the statuses that a bead of a type can have."""
    table = TRANSITIONS[of]
    return frozenset(table).union(*table.values())


def places(one: Entity) -> tuple[Place, ...]:
    """Return where an entity stands in the index."""
    match one:
        case Bead():
            return _places_of_bead(one)
        case Agent():
            return _places_of_agent(one)
        case Nudge(agent=agent):
            return (("nudges", agent),)
        case Violation(status="open", number=number, alerted=alerted):
            where = ("violations",), ("broken", str(number))
            return where if alerted else (*where, ("unalerted",))
        case _:
            return ()


def _places_of_agent(one: Agent) -> tuple[Place, ...]:
    where: list[Place] = [("role", one.role, one.rig)]
    if one.hook:
        where.append(("hook", one.hook))
    if one.status in {"working", "stalled"}:
        where += (("busy",), ("busy", one.rig), ("busy-role", one.role))
        if one.contact == "silent":
            where.append(("silent",))
        if one.inactive > one.handled:
            where.append(("inactive",))
        if one.status == "working" and not one.hook and one.role != "mayor":
            where.append(("hookless",))
        if one.release:
            where.append(("release",))
    elif one.status == "idle" and not one.hook:
        where.append(("idle", one.role, one.rig))
    return tuple(where)


def _places_of_bead(one: Bead) -> tuple[Place, ...]:
    if one.status in TERMINAL:
        return (("members", one.convoy),) if one.convoy else ()
    where: list[Place] = [("live", one.type), *(("waits", other) for other in one.blocked_by)]
    if one.convoy:
        where.append(("members", one.convoy))
    if one.failed_blockers:
        where.append(("blocked-by-failed",))
    if one.type == "issue":
        where += _places_of_issue(one)
    elif one.review is not None:
        where += _places_of_review(one)
    elif one.convoy_of is not None:
        work = one.convoy_of
        if not work.staged and work.total and work.closed + work.failed >= work.total:
            where.append(("complete",))
    elif one.escalation is not None:
        where.append(("escalations", one.escalation.about, one.escalation.category))
    elif one.type == "message":
        where.append(("mail",))
    return tuple(where)


def _places_of_issue(one: Bead) -> list[Place]:
    if one.attempt:
        return [("attempt", one.attempt)]
    if one.status != "open":
        return []
    if one.held:
        return [("held",)]
    if one.staged:
        return [("staged",)]
    if one.blockers:
        return [("blocked",)]
    if one.due_ms:
        return [("cooling",), ("refusing",)] if one.refused else [("cooling",)]
    return [("ready", one.rig)]


def _places_of_review(one: Bead) -> list[Place]:
    review = one.review
    assert review is not None
    where: list[Place] = [("requests", one.rig)]
    if one.source:
        where.append(("reviews", one.source))
    if one.convoy and not review.landing:
        where.append(("flight", one.convoy))
    if one.attempt:
        where.append(("attempt", one.attempt))
    if review.stage == "queued" and (one.blockers or one.due_ms):
        return [*where, ("waiting-reviews", one.rig)]
    return [*where, (review.stage, one.rig)]


def sort_number(one: Entity) -> int:
    """Return what entities of one place are sorted by: issues by priority, then by age."""
    match one:
        case Bead(type="issue"):
            return one.priority * _PRIORITY_STEP + one.created_ms
        case Bead() | Nudge():
            return one.created_ms
        case Agent():
            return one.epoch
        case Violation():
            return one.since_ms
        case _:
            return 0


class Draft:
    """A state being changed by one event at `now_ms`."""

    __slots__ = ("_due", "_index", "_tables", "_town", "base", "now_ms", "touched")

    def __init__(self, state: State, now_ms: int) -> None:
        self.base = state
        self.now_ms = now_ms
        self.touched: dict[str, None] = {}
        self._town = state.town
        self._tables: dict[str, Any] = {}
        self._index: Any = None
        self._due: Any = None

    # -- reading

    @property
    def town(self) -> Town:
        """Return the town as it now is."""
        return self._town

    def _table(self, letter: str) -> Any:
        table = self._tables.get(letter)
        return getattr(self.base, PREFIXES[letter]) if table is None else table

    def bead(self, one: str) -> Bead | None:
        """Return a bead, or None."""
        bead: Bead | None = self._table("b").get(one)
        return bead

    def agent(self, one: str) -> Agent | None:
        """Return an agent, or None."""
        agent: Agent | None = self._table("a").get(one)
        return agent

    def rig(self, one: str) -> Rig | None:
        """Return a rig, or None."""
        rig: Rig | None = self._table("r").get(one)
        return rig

    def nudge(self, one: str) -> Nudge | None:
        """Return a nudge, or None."""
        nudge: Nudge | None = self._table("n").get(one)
        return nudge

    def violation(self, one: str) -> Violation | None:
        """Return a violation, or None."""
        violation: Violation | None = self._table("v").get(one)
        return violation

    def at(self, *place: str) -> list[str]:
        """Return the ids at a place, sorted."""
        at = found(self.base, *place) if self._index is None else self._index.get(place, _EMPTY)
        return sorted(at)

    def count(self, letter: str) -> int:
        """Return how many entities there are of a kind."""
        return len(self._table(letter))

    # -- writing

    def set_town(self, **changes: Any) -> None:
        """Change the town itself."""
        self._town = replace(self._town, **changes)
        self.touched[SELF] = None

    def put(self, new: T) -> T:
        """Add an entity, or replace the one of its id."""
        letter = _LETTERS[type(new)]
        table = self._writable(letter)
        old = table.get(new.id)
        table[new.id] = new
        self._file(old, new)
        self.touched[f"{letter}/{new.id}"] = None
        return new

    def drop(self, old: T) -> None:
        """Remove an entity."""
        letter = _LETTERS[type(old)]
        del self._writable(letter)[old.id]
        self._file(old, None)
        self.touched[f"{letter}/{old.id}"] = None

    def edit(self, old: Bead, **changes: Any) -> Bead:
        """Change a bead, except for its status; raise ValueError if it was changed since."""
        if self.bead(old.id) is not old:
            message = f"{old.type} {old.id} was changed since it was read"
            raise ValueError(message)
        return self.put(replace(old, version=old.version + 1, updated_ms=self.now_ms, **changes))

    def move(self, old: Bead, status: Status, **changes: Any) -> Bead:
        """Change the status of a bead; raise ValueError for a step that is not in the table.

        One that ends frees what waited for it, releases who worked on it, and is counted by its
        convoy.
        """
        if status not in TRANSITIONS[old.type].get(old.status, frozenset()):
            message = f"{old.type} {old.id} cannot go from {old.status} to {status}"
            raise ValueError(message)
        if status not in TERMINAL:
            return self.edit(old, status=status, **changes)
        ended = {"attempt": "", "assignee": "", **changes, "ended_ms": self.now_ms}
        over_ms = -(-(self.now_ms + BEAD_KEPT_MS) // KEPT_ROUND_MS) * KEPT_ROUND_MS
        new = self.edit(old, status=status, due_ms=over_ms, span_ms=0, **ended)
        self._free(new)
        for agent in self.at("hook", new.id):
            self._let_go(agent)
        if new.convoy and new.type == "issue":
            self._count(new)
        return new

    def _free(self, ended: Bead) -> None:
        """Take an ended bead from those that its waiters wait for, unless it failed."""
        failed = ended.status == "failed" and self.town.config.failures_hold
        for waiter in self.at("waits", ended.id):
            bead = self.bead(waiter)
            if bead is None:
                continue
            if failed:
                self.edit(bead, failed_blockers=bead.failed_blockers + 1)
            else:
                self.edit(bead, blockers=bead.blockers - 1)

    def _let_go(self, one: str) -> None:
        agent = self.agent(one)
        if agent is None:
            return
        if agent.status in {"working", "stalled"}:
            self.put(replace(agent, release=True))
        else:
            self.put(replace(agent, hook="", attempt=""))

    def _count(self, ended: Bead) -> None:
        convoy = self.bead(ended.convoy)
        if convoy is None or convoy.convoy_of is None or convoy.status in TERMINAL:
            return
        work = convoy.convoy_of
        if ended.status == "closed":
            work = replace(work, closed=work.closed + 1)
        else:
            work = replace(work, failed=work.failed + 1)
        self.edit(convoy, convoy_of=work)

    def close(self) -> Applied[State]:
        """Return the new state, and what was touched."""
        tables = {PREFIXES[letter]: table.finish() for letter, table in self._tables.items()}
        if self._index is not None:
            tables["index"] = self._index.finish()
        if self._due is not None:
            tables["due"] = self._due.finish()
        return Applied(replace(self.base, town=self._town, **tables), tuple(self.touched))

    # -- indexes

    def _writable(self, letter: str) -> Any:
        table = self._tables.get(letter)
        if table is None:
            table = getattr(self.base, PREFIXES[letter]).mutate()
            self._tables[letter] = table
        return table

    def _file(self, old: Any, new: Any) -> None:
        before = () if old is None else places(old)
        after = () if new is None else places(new)
        is_resorted = old is not None and new is not None and sort_number(old) != sort_number(new)
        known: Any = old if new is None else new
        one = known.id
        if before != after or is_resorted:
            if self._index is None:
                self._index = self.base.index.mutate()
            for place in before:
                if place not in after:
                    _remove(self._index, place, one)
            number = 0 if new is None else sort_number(new)
            for place in after:
                if is_resorted or place not in before:
                    self._index[place] = self._index.get(place, _EMPTY).set(one, number)
        self._file_due(old, new)

    def _file_due(self, old: Any, new: Any) -> None:
        was, will = getattr(old, "due_ms", 0), getattr(new, "due_ms", 0)
        if was == will:
            return
        if self._due is None:
            self._due = self.base.due.mutate()
        known: Any = old if new is None else new
        key = f"{_LETTERS[type(known)]}/{known.id}"
        if was:
            _remove(self._due, was // DUE_BUCKET_MS, key)
        if will:
            bucket = will // DUE_BUCKET_MS
            self._due[bucket] = self._due.get(bucket, _EMPTY).set(key, will)


def _remove(index: Any, place: Any, one: str) -> None:
    rest = index[place].delete(one)
    if rest:
        index[place] = rest
    else:
        del index[place]


def decode_state(body: bytes, version: int) -> State:
    """Return a stored state with its indexes; raise ValueError for one that is newer."""
    entities = iter(decode_entities(body, version))
    town = next(entities)
    assert isinstance(town, Town)
    return build(town, entities)


def build(town: Town, entities: Iterable[Any]) -> State:
    """Return a state of these entities, with its indexes."""
    draft = Draft(State(town), 0)
    for one in entities:
        draft.put(one)
    return draft.close().state

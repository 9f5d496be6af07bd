"""One mutable look at a state, for the length of a tick: writes entities and their indexes.

Every change of an entity passes `put`, which moves it in the indexes and remembers that it was
touched; every change of a bead's status passes `move`, which holds the table of transitions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

from immutables import Map
from msgspec.structs import replace

from holdfast.actors.definition import SELF
from holdfast.towns.limits import BEAD_KEPT_MS, kept_until
from holdfast.towns.ordered import NOTHING, Ordered
from holdfast.towns.state import (
    FIXES,
    TERMINAL,
    Agent,
    Bead,
    BeadType,
    Nudge,
    Rig,
    State,
    Status,
    Town,
    Violation,
    decode_entities,
)

T = TypeVar("T", Agent, Bead, Nudge, Rig, Violation)
Place = tuple[str, ...]
_DUE: Final[Place] = ("due",)
_ENDED: Final[Place] = ("ended",)

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

_STATUSES: Final[Mapping[BeadType, frozenset[Status]]] = {
    kind: frozenset(table).union(*table.values()) for kind, table in TRANSITIONS.items()
}

_PRIORITY_STEP: Final = 1 << 48
"""Between two priorities, in the number that issues are sorted by: more than any time in ms."""

_LETTERS: Final[Mapping[Any, str]] = {Agent: "a", Bead: "b", Nudge: "n", Rig: "r", Violation: "v"}


def statuses(of: BeadType) -> frozenset[Status]:
    """Return the statuses that a bead of a type can have."""
    return _STATUSES[of]


def _places_of_agent(one: Agent) -> list[Place]:
    status = one.status
    where = _places_of_any(one)
    if one.role == "mayor":
        return [*where, ("silent",)] if one.contact == "silent" else where
    if status in {"working", "stalled"}:
        where += (("busy", one.rig), ("busy-role", one.role))
    elif status == "idle" and not (one.hook or one.away):
        where.append(("idle", one.role, one.rig))
    if status == "working":
        if one.contact == "silent":
            where.append(("silent",))
        if one.inactive > one.handled:
            where.append(("inactive",))
        if not one.hook:
            where.append(("hookless",))
    return where


def _places_of_any(one: Agent) -> list[Place]:
    """Return where an agent stands whatever its role and status."""
    where: list[Place] = [] if one.role == "polecat" else [("role", one.role, one.rig)]
    if one.hook:
        where.append(("hook", one.hook))
    if one.release:
        where.append(("release",))
    if one.host:
        where += (("host",), ("host", one.host))
        if one.away and one.attempt:
            where.append(("away",))
    return where


LIVE: Final[Mapping[BeadType, Place]] = {
    kind: ("live", kind) for kind in ("issue", "merge_request", "convoy", "escalation", "message")
}
"""Where beads stand until they end, by type, in the order in which a closed town ends them.

Issues go before their convoys, which count them.
"""


def _places_of_bead(one: Bead) -> list[Place]:
    convoy = one.convoy
    where: list[Place] = [("members", convoy)] if convoy else []
    if one.status in TERMINAL:
        return where
    where.append(LIVE[one.type])
    if one.blocked_by:
        where += [("waits", other) for other in one.blocked_by]
        if one.failed_blockers:
            where += (("blocked-by-failed",), ("blocked-by-failed", one.type))
    if one.type == "issue":
        _add_places_of_issue(one, where)
    elif one.review is not None:
        where += _places_of_review(one)
    elif one.convoy_of is not None:
        work = one.convoy_of
        if not work.staged and work.total and work.closed + work.failed >= work.total:
            where.append(("complete",))
    elif one.escalation is not None:
        where += (
            ("escalations",),
            ("escalations", one.escalation.about, one.escalation.category),
        )
    elif one.type == "message":
        where += (("mail",), ("mail", one.to))
    return where


def _add_places_of_issue(one: Bead, where: list[Place]) -> None:
    if one.purpose in FIXES:
        where.append(("fixes", one.source))
    if one.attempt:
        where.append(("attempt", one.attempt))
    elif one.status != "open":
        pass
    elif one.held:
        where.append(("held",))
    elif one.staged:
        where.append(("staged",))
    elif one.blocked_by:
        where.append(("blocked",))
    elif not one.due_ms:
        where.append(("ready", one.rig))
    else:
        where.append(("cooling",))
        if one.refused:
            where.append(("refusing",))


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
        if one.due_ms and one.refused:
            where.append(("refusing",))
        return [*where, ("waiting-reviews", one.rig)]
    return [*where, (review.stage, one.rig)]


def _places_of_violation(one: Violation) -> list[Place]:
    if one.status != "open":
        return []
    where: list[Place] = [("violations",), ("broken", str(one.number))]
    return where if one.alerted else [*where, ("unalerted",)]


def sort_number(one: Bead) -> int:
    """Return what beads of one place are sorted by: issues by priority, then by age."""
    if one.type == "issue":
        return one.priority * _PRIORITY_STEP + one.created_ms
    return one.created_ms


_PLACES: Final[Mapping[str, Callable[[Any], list[Place]]]] = {
    "b": _places_of_bead,
    "a": _places_of_agent,
    "n": lambda one: [("nudges", one.agent)],
    "v": _places_of_violation,
    "r": lambda _one: [],
}
"""Where an entity stands in the index, by the letter of its key."""

_NUMBERS: Final[Mapping[str, Callable[[Any], int]]] = {
    "b": sort_number,
    "a": lambda one: one.epoch,
    "n": lambda one: one.created_ms,
    "v": lambda one: one.since_ms,
    "r": lambda _one: 0,
}
"""What the ids of one place are sorted by."""


_READ_BY_FOLDS: Final = frozenset(
    {"attempt", "blocked-by-failed", "escalations", "fixes", "hook", "host", "mail", "members",
     "nudges", "refusing", "reviews", "role", "waits"}
)  # fmt: skip
"""Places that are written at once; what moves in others is written when it is read, at the end."""

_COUNTED: Final = frozenset({"busy", "busy-role", "flight", "requests"})
"""Places of which it is only known how many entities there are."""


class Draft:
    """A state being changed by the events of one time, `now_ms`.

    A table is the state's own until it is first written to, then a mutation of it. What reads a
    state may read a draft: it has the same tables. `touched` names what was written, in order, and
    `writes` counts. What an entity left and entered again meanwhile is not moved at all.
    """

    __slots__ = (
        "_due",
        "_ended",
        "_index",
        "_late",
        "_tables",
        "now_ms",
        "touched",
        "town",
        "writes",
    )

    def __init__(self, state: State, now_ms: int = 0) -> None:
        self.now_ms = now_ms
        self.touched: dict[str, None] = {}
        self.writes = 0
        self.town = state.town
        self._tables: dict[str, Any] = {
            "b": state.beads,
            "a": state.agents,
            "r": state.rigs,
            "n": state.nudges,
            "v": state.violations,
        }
        self._index: Any = state.index
        self._due = state.due
        self._ended = state.ended
        self._late: dict[Place, dict[str, tuple[int | None, int | None]]] = {}

    # -- reading

    @property
    def beads(self) -> Any:
        """Return the beads by their ids."""
        return self._tables["b"]

    @property
    def agents(self) -> Any:
        """Return the agents by their ids."""
        return self._tables["a"]

    @property
    def rigs(self) -> Any:
        """Return the rigs by their ids."""
        return self._tables["r"]

    @property
    def nudges(self) -> Any:
        """Return the nudges by their ids."""
        return self._tables["n"]

    @property
    def violations(self) -> Any:
        """Return the violations by their ids."""
        return self._tables["v"]

    @property
    def index(self) -> Any:
        """Return the index by places."""
        self._write_late()
        return self._index

    @property
    def due(self) -> Ordered:
        """Return what is due, by time."""
        self._write_late()
        return self._due

    @property
    def ended(self) -> Ordered:
        """Return the beads that ended, by when they leave the state."""
        self._write_late()
        return self._ended

    def bead(self, one: str) -> Bead | None:
        """Return a bead, or None."""
        bead: Bead | None = self._tables["b"].get(one)
        return bead

    def agent(self, one: str) -> Agent | None:
        """Return an agent, or None."""
        agent: Agent | None = self._tables["a"].get(one)
        return agent

    def rig(self, one: str) -> Rig | None:
        """Return a rig, or None."""
        rig: Rig | None = self._tables["r"].get(one)
        return rig

    def nudge(self, one: str) -> Nudge | None:
        """Return a nudge, or None."""
        nudge: Nudge | None = self._tables["n"].get(one)
        return nudge

    def violation(self, one: str) -> Violation | None:
        """Return a violation, or None."""
        violation: Violation | None = self._tables["v"].get(one)
        return violation

    def at(self, *place: str) -> list[str]:
        """Return the ids at a place, sorted."""
        at = (self._index if place[0] in _READ_BY_FOLDS else self.index).get(place)
        return [] if at is None else sorted(at.ids())

    def many(self, *place: str) -> int:
        """Return how many ids there are at a place."""
        at = (self._index if place[0] in _READ_BY_FOLDS else self.index).get(place)
        return 0 if at is None else len(at)

    def first(self, *place: str) -> str:
        """Return the first id at a place, or an empty string."""
        at = (self._index if place[0] in _READ_BY_FOLDS else self.index).get(place)
        return "" if at is None else at.first()

    def every(self, letter: str) -> Map[str, Any]:
        """Return all entities of a kind, as they now are."""
        table: Map[str, Any] = _finished(self._tables[letter])
        self._tables[letter] = table
        return table

    def count(self, letter: str) -> int:
        """Return how many entities there are of a kind."""
        return len(self._tables[letter])

    # -- writing

    def set_town(self, **changes: Any) -> None:
        """Change the town itself."""
        self.town = replace(self.town, **changes)
        self.touched[SELF] = None
        self.writes += 1

    def put(self, new: T) -> T:
        """Add an entity, or replace the one of its id."""
        letter, one = _LETTERS[type(new)], new.id
        table = self._writable(letter)
        old = table.get(one)
        self.writes += 1
        table[one] = new
        self._file(letter, one, old, new)
        return new

    def drop(self, old: T) -> None:
        """Remove an entity."""
        letter = _LETTERS[type(old)]
        self.writes += 1
        del self._writable(letter)[old.id]
        self._file(letter, old.id, old, None)

    def drop_agent(self, old: Agent) -> None:
        """Remove an agent, with the nudges and the mail that can reach it no more."""
        for one in self.at("nudges", old.id):
            nudge = self.nudge(one)
            if nudge is not None:
                self.drop(nudge)
        for one in self.at("mail", old.id):
            message = self.bead(one)
            if message is not None:
                self.move(message, "failed", failure="agent_gone")
        self.drop(old)

    def edit(self, old: Bead, **changes: Any) -> Bead:
        """Change a bead, except for its status; raise ValueError if it was changed since."""
        if self.bead(old.id) is not old:
            message = f"{old.type} {old.id} was changed since it was read"
            raise ValueError(message)
        return self.put(replace(old, version=old.version + 1, updated_ms=self.now_ms, **changes))

    def move(self, old: Bead, status: Status, **changes: Any) -> Bead:
        """Change the status of a bead; raise ValueError for a step that is not in the table.

        One that ends frees what waited for it, releases who worked on it, ends the work that was
        made for it, and is counted by its convoy.
        """
        if status not in TRANSITIONS[old.type].get(old.status, frozenset()):
            message = f"{old.type} {old.id} cannot go from {old.status} to {status}"
            raise ValueError(message)
        if status not in TERMINAL:
            return self.edit(old, status=status, **changes)
        ended = {"attempt": "", "assignee": "", **changes, "ended_ms": self.now_ms}
        over_ms = kept_until(self.now_ms, BEAD_KEPT_MS)
        new = self.edit(old, status=status, due_ms=over_ms, span_ms=0, **ended)
        if not self.town.ending_ms:  # what waits for it ends too, and need not be told
            self._free(new)
        for agent in self.at("hook", new.id):
            self._let_go(agent)
        if new.convoy and new.type == "issue":
            self._count(new)
        for one in self.at("fixes", new.id):
            fix = self.bead(one)
            if fix is not None and fix.status not in TERMINAL:
                self.move(fix, status, failure="request_ended")
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
                left = tuple(one for one in bead.blocked_by if one != ended.id)
                self.edit(bead, blocked_by=left)

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

    def close(self) -> State:
        """Return the new state; the draft is not used after that."""
        self._write_late()
        beads, agents, rigs, nudges, violations = map(_finished, self._tables.values())
        return State(
            town=self.town,
            rigs=rigs,
            agents=agents,
            beads=beads,
            nudges=nudges,
            violations=violations,
            index=_finished(self._index),
            due=self._due,
            ended=self._ended,
        )

    # -- indexes

    def _writable(self, letter: str) -> Any:
        table = self._tables[letter]
        if type(table) is Map:
            table = self._tables[letter] = table.mutate()
        return table

    def _file(self, letter: str, one: str, old: Any, new: Any) -> None:
        """Note a change of an entity, and move it in the indexes; None is for one not there."""
        key = f"{letter}/{one}"
        self.touched[key] = None
        places, number = _PLACES[letter], _NUMBERS[letter]
        before = () if old is None else places(old)
        after = () if new is None else places(new)
        was = 0 if old is None else number(old)
        will = 0 if new is None else number(new)
        if before != after or was != will:
            leaving, entering = before, after
            if was == will:
                leaving = [place for place in before if place not in after]
                entering = [place for place in after if place not in before]
            self._move(one, was, leaving, will, entering)
        if letter != "r":
            due, over = 0 if old is None else old.due_ms, 0 if new is None else new.due_ms
            if letter == "b":
                self._file_bead(key, old, due, new, over)
            elif due != over:
                self._move_late(_DUE, key, due or None, over or None)

    def _file_bead(self, key: str, old: Bead | None, due: int, new: Bead | None, over: int) -> None:
        """Move a bead among those that are due, or those that ended, or from one to the other."""
        was = _ENDED if old is not None and old.status in TERMINAL else _DUE
        will = _ENDED if new is not None and new.status in TERMINAL else _DUE
        if was is will:
            if due != over:
                self._move_late(was, key, due or None, over or None)
            return
        if due:
            self._move_late(was, key, due, None)
        if over:
            self._move_late(will, key, None, over)

    def _move(
        self, one: str, was: int, leaving: Iterable[Place], will: int, entering: Iterable[Place]
    ) -> None:
        index = self._index
        if type(index) is Map:
            index = self._index = index.mutate()
        for place in leaving:
            if place[0] in _READ_BY_FOLDS:
                _store(index, place, index[place].removing((was, one)))
            elif place[0] in _COUNTED:
                _store(index, place, index[place] - 1)
            else:
                self._move_late(place, one, was, None)
        for place in entering:
            if place[0] in _READ_BY_FOLDS:
                index[place] = index.get(place, NOTHING).adding((will, one))
            elif place[0] in _COUNTED:
                index[place] = index.get(place, 0) + 1
            else:
                self._move_late(place, one, None, will)

    def _move_late(self, place: Place, one: str, was: int | None, will: int | None) -> None:
        """Note what an id is sorted by at a place, before and now; None where it is not there."""
        moves = self._late.get(place)
        if moves is None:
            self._late[place] = {one: (was, will)}
        else:
            known = moves.get(one)
            moves[one] = (was if known is None else known[0], will)

    def _write_late(self) -> None:
        """Write what moved."""
        if not self._late:
            return
        index = self._index
        if type(index) is Map:
            index = self._index = index.mutate()
        late, self._late = self._late, {}
        for place, moves in late.items():
            moved = [(one, was, will) for one, (was, will) in moves.items() if was != will]
            if not moved:
                continue
            gone = [(was, one) for one, was, _ in moved if was is not None]
            new = [(will, one) for one, _, will in moved if will is not None]
            if place is _DUE:
                self._due = self._due.changing(gone, new)
                continue
            if place is _ENDED:
                self._ended = self._ended.changing(gone, new)
                continue
            _store(index, place, index.get(place, NOTHING).changing(gone, new))


def _store(index: Any, place: Place, what: Ordered | int) -> None:
    """Write what is at a place; where nothing is left there is no entry."""
    if what:
        index[place] = what
    else:
        del index[place]


def _finished(table: Any) -> Any:
    return table if type(table) is Map else table.finish()


def decode_state(body: bytes, version: int) -> State:
    """Return a stored state with its indexes; raise ValueError for one that is newer."""
    entities = iter(decode_entities(body, version))
    town = next(entities)
    assert isinstance(town, Town)
    return build(town, entities)


def build(town: Town, entities: Iterable[Any]) -> State:
    """Return a state of these entities, with its indexes."""
    draft = Draft(State(town))
    for one in entities:
        draft.put(one)
    return draft.close()

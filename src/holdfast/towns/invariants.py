"""Invariants of a town, and their lifecycle: opened, updated, resolved.

They run over what a tick touched, at its end; what they find are events of the same tick, and rules
announce each opening once. Number 12 (no event waits for long) is about what no state knows, and
nothing checks it yet. A repair is an action like all others (`rules/agents.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from holdfast.actors.definition import Invariant
from holdfast.actors.record import Note
from holdfast.towns import events, intents
from holdfast.towns.draft import statuses
from holdfast.towns.limits import ATTEMPTS_MAX
from holdfast.towns.state import (
    TERMINAL,
    Agent,
    Bead,
    State,
    entity_of,
    found,
    live_reviews,
    violation_id,
)

_WALK_MAX: Final = 256
"""Beads that one search for a circle looks at."""

OfBead: TypeAlias = Callable[[State, Bead], str | None]
OfAgent: TypeAlias = Callable[[State, Agent], str | None]


def _ended(_state: State, bead: Bead) -> str | None:
    is_over = bead.status in TERMINAL
    if is_over != bool(bead.ended_ms):
        return f"it is {bead.status}, and its end is {bead.ended_ms}"
    if is_over and (bead.attempt or bead.assignee):
        return f"it is {bead.status}, and {bead.assignee or bead.attempt} is on it"
    return None


def _assigned(state: State, bead: Bead) -> str | None:
    if not bead.attempt or bead.due_ms:
        return None
    agent = state.agents.get(bead.assignee)
    if agent is None or agent.hook != bead.id:
        return f"it is {bead.assignee}'s, who works on {agent.hook if agent else 'nothing'!r}"
    return None


def _hooked(state: State, agent: Agent) -> str | None:
    bead = state.beads.get(agent.hook)
    if not agent.hook or agent.release:
        return None
    if bead is None or bead.assignee != agent.id:
        return f"it works on {agent.hook}, which is {bead.assignee if bead else 'gone'!r}"
    return None


def _one_review(state: State, bead: Bead) -> str | None:
    if bead.review is None or bead.review.stage != "reviewing":
        return None
    held = found(state, "reviewing", bead.rig)
    return f"{len(held)} requests of rig {bead.rig} are being reviewed" if len(held) > 1 else None


def _reviewed(state: State, bead: Bead) -> str | None:
    """Look at an issue, also where a merge request of it changed."""
    issue = state.beads.get(bead.source) if bead.review is not None else bead
    if issue is not None and issue.status == "in_review" and not live_reviews(state, issue.id):
        return f"{issue.id} is in review, and has no merge request"
    return None


def _legal(_state: State, bead: Bead) -> str | None:
    if bead.status not in statuses(bead.type):
        return f"a {bead.type} cannot be {bead.status}"
    return None


def _alone(state: State, agent: Agent) -> str | None:
    others = found(state, "hook", agent.hook).ids() if agent.hook else ()
    return f"{len(others)} agents work on {agent.hook}" if len(others) > 1 else None


def _working(_state: State, agent: Agent) -> str | None:
    if agent.status == "working" and agent.role != "mayor" and not agent.hook:
        return "it works, and on nothing"
    return None


def _attempted(_state: State, bead: Bead) -> str | None:
    if bead.type == "issue" and bead.status == "in_progress" and not bead.attempt:
        return "it is in progress, and nobody works on it"
    return None


def _acyclic(state: State, bead: Bead) -> str | None:
    if not bead.blocked_by:
        return None
    seen, left = set[str](), list(bead.blocked_by)
    while left and len(seen) < _WALK_MAX:
        one = left.pop()
        if one == bead.id:
            return "it waits for itself"
        known = state.beads.get(one)
        if one not in seen and known is not None:
            seen.add(one)
            left += known.blocked_by
    return None


def _counted(state: State, bead: Bead) -> str | None:
    work = bead.convoy_of
    if work is None:
        return None
    members = [state.beads[one] for one in found(state, "members", bead.id).ids()]
    members = [one for one in members if one.type == "issue"]
    if len(members) != work.total:  # some have left the state
        return None
    ends = [sum(one.status == status for one in members) for status in ("closed", "failed")]
    if ends != [work.closed, work.failed]:
        return f"it counts {work.closed} closed and {work.failed} failed, of its beads are {ends}"
    return None


def _bounded(_state: State, bead: Bead) -> str | None:
    if bead.attempts > ATTEMPTS_MAX:
        return f"it was tried {bead.attempts} times of {ATTEMPTS_MAX}"
    return None


def _call_ends(_state: State, bead: Bead) -> str | None:
    review = bead.review
    if review is None or bead.status in TERMINAL or bead.due_ms:
        return None
    if review.stage in {"gating", "landing"} or review.merging:
        return f"it is {review.stage}, and nothing ends that"
    return None


def _start_ends(_state: State, agent: Agent) -> str | None:
    is_on = agent.status in {"working", "waiting"} and agent.attempt
    if is_on and agent.contact == "unheard":
        return None if agent.due_ms else "it was never heard, and nothing ends that"
    if agent.status == "stalled":
        return None if agent.due_ms else "it is stalled, and nothing ends that"
    return None


def _not_while_draining(_state: State, agent: Agent) -> str | None:
    return "it was started while its host was going away" if agent.hook and agent.drain else None


def _not_while_held(_state: State, bead: Bead) -> str | None:
    if bead.attempt and (bead.staged or (bead.type == "issue" and bead.blockers)):
        return "somebody works on it, and it waits for others"
    return None


def _of_bead(number: int, statement: str, check: OfBead) -> Invariant[State]:
    return Invariant(number, statement, check, "b/")


def _of_agent(number: int, statement: str, check: OfAgent) -> Invariant[State]:
    return Invariant(number, statement, check, "a/")


INVARIANTS: Final[tuple[Invariant[State], ...]] = (
    _of_bead(1, "What ended has ended: its time is known, and nobody is on it.", _ended),
    _of_bead(2, "A bead and its agent agree on who works on what.", _assigned),
    _of_agent(2, "An agent and its bead agree on who works on what.", _hooked),
    _of_bead(3, "A rig reviews one merge request at a time.", _one_review),
    _of_bead(4, "An issue in review has a live merge request.", _reviewed),
    _of_bead(5, "A status is one that its type of bead can have.", _legal),
    _of_agent(6, "At most one agent works on a bead.", _alone),
    _of_agent(7, "An agent that works has a bead.", _working),
    _of_bead(8, "An issue in progress has an attempt.", _attempted),
    _of_bead(9, "No bead waits for itself.", _acyclic),
    _of_bead(10, "A convoy's counts are those of its beads.", _counted),
    _of_bead(11, "No bead is tried more often than may be.", _bounded),
    _of_bead(13, "Every call has an end.", _call_ends),
    _of_agent(13, "Every start has an end.", _start_ends),
    _of_bead(14, "Nobody works on what waits for others.", _not_while_held),
    _of_agent(14, "Nothing is handed out while the town drains.", _not_while_draining),
)


def is_broken(state: State, number: int, entity: str) -> bool:
    """Return whether an invariant is broken for an entity now."""
    known = entity_of(state, entity)
    return known is not None and any(
        one.number == number and entity.startswith(one.of) and one.check(state, known) is not None
        for one in INVARIANTS
    )


def noticed(state: State, notes: Sequence[Note]) -> tuple[events.Event, ...]:
    """Return the events of what was found: openings, other texts, and what holds again.

    All open violations are looked at again: that of an agent may be over by a change of its bead.
    """
    made: list[events.Event] = []
    for note in notes:
        known: Any = state.violations.get(violation_id(note.number, note.entity))
        if note.number and (known is None or known.status != "open" or known.text != note.text):
            made.append(
                intents.ViolationOpened(number=note.number, entity=note.entity, text=note.text)
            )
    for one in sorted(found(state, "violations").ids()):
        known = state.violations[one]
        if not is_broken(state, known.number, known.entity):
            made.append(intents.ViolationResolved(known.number, known.entity))
    return tuple(made)

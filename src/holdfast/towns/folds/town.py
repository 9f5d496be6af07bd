"""The fold of the town itself: rigs, agents, drain, breaker, budget, retention, violations."""

from __future__ import annotations

from typing import Any, Final

from msgspec.structs import replace

from holdfast.actors.definition import Applied, At, Ignored, Refused, Verdict
from holdfast.towns import events, intents
from holdfast.towns.draft import Draft, statuses
from holdfast.towns.folds.attempts import idle
from holdfast.towns.limits import AGENTS_MAX, BEAD_KEPT_MS, GATES_MAX, KEPT_ROUND_MS, RIGS_MAX
from holdfast.towns.state import (
    TERMINAL,
    Agent,
    Bead,
    Breaker,
    Rig,
    State,
    Violation,
    is_closed,
    is_created,
)

DAY_MS: Final = 86_400_000


def created(state: State, e: events.TownCreated, at: At) -> Verdict[State]:
    """Make the town."""
    if is_created(state):
        return Refused("town_exists", "the town exists; take another name")
    d = Draft(state, at.now_ms)
    d.set_town(
        account=e.account,
        name=e.name,
        created_ms=at.now_ms,
        resumed_ms=at.now_ms,
        config=e.config,
    )
    return d.close()


def configured(state: State, e: events.TownConfigured, at: At) -> Verdict[State]:
    """Take what its owner set."""
    if e.config == state.town.config:
        return Ignored("it is set so already")
    d = Draft(state, at.now_ms)
    d.set_town(config=e.config)
    return d.close()


def closed(state: State, _e: events.TownClosed, at: At) -> Verdict[State]:
    """Close the town: who works is let go of, and what waits ends."""
    if is_closed(state):
        return Ignored("it is closed")
    d = Draft(state, at.now_ms)
    d.set_town(closed_ms=at.now_ms)
    for kind in ("convoy", "issue", "merge_request", "escalation", "message"):
        for one in d.at("live", kind):
            bead = d.bead(one)
            if bead is not None and bead.status not in TERMINAL:
                fails = "failed" in statuses(bead.type)
                d.move(bead, "failed" if fails else "closed", failure="town_closed")
    return d.close()


def rig_added(state: State, e: events.RigAdded, at: At) -> Verdict[State]:
    """Add a rig, or change it."""
    d = Draft(state, at.now_ms)
    if len(e.gates) > GATES_MAX:
        return Refused("too_many_gates", f"gates: at most {GATES_MAX}")
    if d.rig(e.rig) is None and d.count("r") >= RIGS_MAX:
        return Refused("town_full", f"the town has {RIGS_MAX} rigs")
    new = Rig(
        id=e.rig,
        name=e.name,
        branch=e.branch,
        repository=e.repository,
        gates=e.gates,
        agents_max=e.agents_max,
    )
    if d.rig(e.rig) == new:
        return Ignored("it is there already")
    d.put(new)
    return d.close()


def rig_removed(state: State, e: events.RigRemoved, at: At) -> Verdict[State]:
    """Mark a rig as gone."""
    d = Draft(state, at.now_ms)
    rig = d.rig(e.rig)
    if rig is None or rig.gone:
        return Ignored("there is no such rig any more")
    d.put(replace(rig, gone=True))
    return d.close()


def agent_added(state: State, e: events.AgentAdded, at: At) -> Verdict[State]:
    """Add an agent; a town has one mayor, a rig one refinery."""
    d = Draft(state, at.now_ms)
    if d.agent(e.agent) is not None:
        return Ignored("it is there already")
    if d.count("a") >= AGENTS_MAX:
        return Refused("town_full", f"the town has {AGENTS_MAX} agents")
    rig = "" if e.role == "mayor" else e.rig
    known = d.rig(rig) if rig else None
    if e.role != "mayor" and (known is None or known.gone):
        return Refused("no_such_rig", f"rig {e.rig}: add it first")
    if e.role != "polecat" and d.at("role", e.role, rig):
        return Refused("role_taken", f"there is a {e.role} already")
    idle(d, Agent(id=e.agent, role=e.role, rig=rig, name=e.name or e.agent, host=e.host))
    return d.close()


def agent_removed(state: State, e: events.AgentRemoved, at: At) -> Verdict[State]:
    """Remove an agent that does nothing; one that works must be stopped first."""
    d = Draft(state, at.now_ms)
    agent = d.agent(e.agent)
    if agent is None:
        return Ignored("there is no such agent any more")
    if agent.hook or agent.status in {"working", "stalled"}:
        return Refused("agent_works", f"agent {e.agent} works on {agent.hook}; cancel that first")
    d.drop(agent)
    return d.close()


def resumed(state: State, _e: events.LoopResumed, at: At) -> Verdict[State]:
    """Count all waits anew: what is late because nobody looked is not late.

    A wait of what is handed out again becomes no longer by that, which also undoes a clock that
    was set back.
    """
    d = Draft(state, at.now_ms)
    d.set_town(resumed_ms=at.now_ms)
    for bucket in sorted(state.due):
        for key in sorted(state.due[bucket]):
            known: Any = d.bead(key[2:]) if key[0] == "b" else d.agent(key[2:])
            if known is None or not known.span_ms:
                continue
            due_ms = at.now_ms + known.span_ms
            if isinstance(known, Bead):
                if known.status == "open":
                    due_ms = min(known.due_ms, due_ms)
                if due_ms != known.due_ms:
                    d.edit(known, due_ms=due_ms)
            elif due_ms != known.due_ms:
                d.put(replace(known, due_ms=due_ms))
    breaker = d.town.breaker
    if breaker.until_ms > at.now_ms + DAY_MS:
        d.set_town(breaker=replace(breaker, until_ms=at.now_ms))
    return d.close()


def drain_started(state: State, e: events.DrainStarted, at: At) -> Verdict[State]:
    """Start nothing until the host is back."""
    d = Draft(state, at.now_ms)
    if d.town.drain_nonce == e.nonce:
        return Ignored("it drains already")
    d.set_town(drain_nonce=e.nonce, drain_since_ms=at.now_ms, drain_until_ms=e.until_ms)
    return d.close()


def drain_ended(state: State, e: events.DrainEnded, at: At) -> Verdict[State]:
    """Go on, if it is this drain that ended."""
    d = Draft(state, at.now_ms)
    if not d.town.drain_nonce:
        return Ignored("it does not drain")
    if e.nonce and e.nonce != d.town.drain_nonce:
        return Ignored("it is of another drain")
    d.set_town(drain_nonce="", drain_since_ms=0, drain_until_ms=0)
    return d.close()


# --------------------------------------------------------------------- the breaker, and the budget


def breaker_opened(state: State, e: intents.BreakerOpened, at: At) -> Applied[State]:
    """Cut dispatching off."""
    d = Draft(state, at.now_ms)
    trips = d.town.breaker.trips + 1
    d.set_town(breaker=Breaker(state="open", until_ms=e.until_ms, trips=trips))
    return d.close()


def breaker_half_opened(state: State, _e: intents.BreakerHalfOpened, at: At) -> Applied[State]:
    """Let one attempt through."""
    d = Draft(state, at.now_ms)
    trips = d.town.breaker.trips
    d.set_town(breaker=Breaker(state="half_open", trips=trips))
    return d.close()


def breaker_closed(state: State, _e: intents.BreakerClosed, at: At) -> Applied[State]:
    """Go on; what waited because the host refused need not wait any longer."""
    d = Draft(state, at.now_ms)
    d.set_town(breaker=Breaker(trips=d.town.breaker.trips))
    for one in d.at("refusing"):
        bead = d.bead(one)
        if bead is not None:
            d.edit(bead, due_ms=0, span_ms=0, refused=0)
    return d.close()


def budget_changed(state: State, e: intents.BudgetChanged, at: At) -> Applied[State]:
    """Note that the day's money is used up, or that there is some."""
    d = Draft(state, at.now_ms)
    d.set_town(exhausted=e.exhausted)
    return d.close()


# --------------------------------------------------------------------- retention and violations


def retired(state: State, e: intents.Retired, at: At) -> Verdict[State]:
    """Drop what ended long ago."""
    d = Draft(state, at.now_ms)
    for key in e.keys:
        tables = {"b": d.bead, "a": d.agent, "n": d.nudge, "v": d.violation}
        known: Any = tables[key[0]](key[2:])
        if known is not None:
            d.drop(known)
    return d.close() if d.touched else Ignored("nothing of it is there any more")


def violation_id(number: int, entity: str) -> str:
    """Return the id of a violation: what it is about, and not how it is worded."""
    return f"{number}:{entity}"


def violation_opened(state: State, e: intents.ViolationOpened, at: At) -> Verdict[State]:
    """Open a violation, open it again, or update why."""
    d = Draft(state, at.now_ms)
    known = d.violation(violation_id(e.number, e.entity))
    if known is None:
        new = Violation(
            id=violation_id(e.number, e.entity),
            number=e.number,
            entity=e.entity,
            text=e.text,
            since_ms=at.now_ms,
        )
    elif known.status == "open":
        new = replace(known, text=e.text)
    else:
        new = replace(
            known,
            status="open",
            text=e.text,
            opened=known.opened + 1,
            alerted=False,
            since_ms=at.now_ms,
            due_ms=0,
            span_ms=0,
        )
    d.put(new)
    return d.close()


def violation_changed(
    state: State,
    e: intents.ViolationResolved | intents.ViolationAlerted | intents.ViolationWaits,
    at: At,
) -> Verdict[State]:
    """Resolve a violation, announce it, or wait whether it passes."""
    d = Draft(state, at.now_ms)
    known = d.violation(violation_id(e.number, e.entity))
    if known is None or known.status != "open":
        return Ignored("it is resolved")
    match e:
        case intents.ViolationResolved():
            kept_ms = -(-(at.now_ms + BEAD_KEPT_MS) // KEPT_ROUND_MS) * KEPT_ROUND_MS
            d.put(replace(known, status="resolved", due_ms=kept_ms, span_ms=0))
        case intents.ViolationAlerted():
            d.put(replace(known, alerted=True, due_ms=0, span_ms=0))
        case intents.ViolationWaits(after_ms=after_ms):
            d.put(replace(known, due_ms=at.now_ms + after_ms, span_ms=after_ms))
    return d.close()

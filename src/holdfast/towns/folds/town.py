"""The fold of the town itself: rigs, agents, drain, breaker, budget, retention, violations."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from holdfast.actors.definition import At, Declined, Ignored, Refused
from holdfast.kernel.clock import DAY_MS
from holdfast.towns import events, intents
from holdfast.towns.draft import LIVE, Draft, statuses
from holdfast.towns.folds.attempts import idle
from holdfast.towns.folds.reviews import watch
from holdfast.towns.limits import AGENTS_MAX, BEAD_KEPT_MS, GATES_MAX, RIGS_MAX, kept_until
from holdfast.towns.state import (
    CONFIG_FIELDS,
    TERMINAL,
    Agent,
    Bead,
    Breaker,
    Rig,
    Violation,
    entity_of,
    is_closed,
    is_created,
    violation_id,
)


def created(d: Draft, e: events.TownCreated, at: At) -> Declined:
    """Make the town."""
    if is_created(d):
        return Refused("town_exists", "the town exists; take another name")
    if is_closed(d):
        return Refused("name_taken", f"the name {e.name!r} is taken; choose another")
    d.set_town(
        account=e.account,
        name=e.name,
        created_ms=at.now_ms,
        resumed_ms=at.now_ms,
        config=e.config,
    )
    return None


def configured(d: Draft, e: events.TownConfigured, _at: At) -> Declined:
    """Take what its owner set."""
    before = d.town.config
    new = replace(before, **{name: getattr(e.config, name) for name in e.only or CONFIG_FIELDS})
    if new == before:
        return Ignored("it is set so already")
    d.set_town(config=new)
    if before.failures_hold and not new.failures_hold and not e.steps:
        for one in d.at("blocked-by-failed"):
            _free_of_failed(d, one)
    if before.auto_merge_delay_ms != new.auto_merge_delay_ms:
        for rig in sorted(d.every("r")):
            for one in d.at("polling", rig):
                bead = d.bead(one)
                if bead is not None and bead.review is not None:
                    watch(d, bead, bead.review)
    return None


def beads_freed(d: Draft, e: intents.BeadsFreed, _at: At) -> Declined:
    """Let some beads wait no longer for what failed."""
    before = d.writes
    for one in e.beads:
        _free_of_failed(d, one)
    return None if d.writes > before else Ignored("they are not there any more")


def _free_of_failed(d: Draft, one: str) -> None:
    """Let a bead wait no longer for what failed: the town is set so that it counts as done."""
    bead = d.bead(one)
    if bead is not None:
        others = [(other, d.bead(other)) for other in bead.blocked_by]
        left = tuple(
            other for other, known in others if known is not None and known.status != "failed"
        )
        d.edit(bead, blocked_by=left, failed_blockers=0)


def closed(d: Draft, e: events.TownClosed, at: At) -> Declined:
    """Close the town: who works is let go of, and what waits ends, now or in steps."""
    if is_closed(d):
        return Ignored("it is closed")
    d.set_town(closed_ms=at.now_ms, ending_ms=at.now_ms if e.steps else 0)
    if not e.steps:
        for kind in ("convoy", "issue", "merge_request", "escalation", "message"):
            for one in sorted(one for one, bead in d.every("b").items() if bead.type == kind):
                _end(d, one)
    _end_mayor(d)
    for one in sorted(d.every("n")):
        nudge = d.nudge(one)
        if nudge is not None:
            d.drop(nudge)
    return None


def _end(d: Draft, one: str) -> None:
    """End a bead because its town was closed."""
    bead = d.bead(one)
    if bead is not None and bead.status not in TERMINAL:
        fails = "failed" in statuses(bead.type)
        d.move(bead, "failed" if fails else "closed", failure="town_closed")


def beads_ended(d: Draft, e: intents.BeadsEnded, at: At) -> Declined:
    """End some of what is left; the next after a while, so long as there is any."""
    for one in e.beads:
        _end(d, one)
    is_over = not any(d.first(*place) for place in LIVE.values())
    d.set_town(ending_ms=0 if is_over else at.now_ms + e.again_ms)
    return None


def _end_mayor(d: Draft) -> None:
    for one in d.at("role", "mayor", ""):
        mayor = d.agent(one)
        if mayor is not None and mayor.status in {"working", "waiting"}:
            d.put(replace(mayor, release=True))
        elif mayor is not None and mayor.due_ms:
            d.put(replace(mayor, due_ms=0, span_ms=0))


def name_lost(d: Draft, _e: events.NameLost, at: At) -> Declined:
    """Close the town, so that its creation is refused where it was not made yet."""
    return closed(d, events.TownClosed("name_taken"), at)


def rig_added(d: Draft, e: events.RigAdded, _at: At) -> Declined:
    """Add a rig, or change it."""
    if len(e.gates) > GATES_MAX:
        return Refused("too_many_gates", f"gates: at most {GATES_MAX}")
    known = d.rig(e.rig)
    if known is None and d.count("r") >= RIGS_MAX:
        _drop_unused_rigs(d)
    if known is None and d.count("r") >= RIGS_MAX:
        return Refused("town_full", f"the town has {RIGS_MAX} rigs")
    new = replace(known or Rig(id=e.rig), name=e.name, branch=e.branch, gates=e.gates, gone=False)
    if e.repository is not None:
        new = replace(new, repository=e.repository)
    if e.agents_max is not None:
        new = replace(new, agents_max=e.agents_max)
    if known == new:
        return Ignored("it is there already")
    d.put(new)
    return None


def _drop_unused_rigs(d: Draft) -> None:
    """Drop rigs that are gone and in which nothing is left to do, to make room for others."""
    used = {bead.rig for bead in d.every("b").values() if bead.status not in TERMINAL}
    for one in sorted(d.every("r")):
        rig = d.rig(one)
        if rig is not None and rig.gone and one not in used:
            d.drop(rig)


def rig_removed(d: Draft, e: events.RigRemoved, _at: At) -> Declined:
    """Mark a rig as gone."""
    rig = d.rig(e.rig)
    if rig is None or rig.gone:
        return Ignored("there is no such rig any more")
    d.put(replace(rig, gone=True))
    return None


def agent_added(d: Draft, e: events.AgentAdded, _at: At) -> Declined:
    """Add an agent; a town has one mayor, a rig one refinery."""
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
    if e.host in d.town.hosts:  # it is asked again, and answers of the new agent too
        d.set_town(hosts=tuple(one for one in d.town.hosts if one != e.host))
    idle(d, Agent(id=e.agent, role=e.role, rig=rig, name=e.name or e.agent, host=e.host))
    return None


def host_seen(d: Draft, e: events.HostSeen, _at: At) -> Declined:
    """Note of the agents of an instance whether they can work."""
    if e.account != d.town.account:
        return Ignored("it is of another account")
    known = (d.agent(one) for one in d.at("host", e.host))
    changed = [one for one in known if one is not None and one.away != e.absence]
    for one in changed:
        d.put(replace(one, away=e.absence, told=False))
    return None if changed else Ignored("it is known")


def hosts_asked(d: Draft, e: intents.HostsAsked, _at: At) -> Declined:
    """Note which instances were asked."""
    d.set_town(hosts=e.hosts)
    return None


def absence_told(d: Draft, e: intents.AbsenceTold, _at: At) -> Declined:
    """Note that somebody was asked about an agent's absence."""
    agent = d.agent(e.agent)
    if agent is None:
        return Ignored("there is no such agent any more")
    d.put(replace(agent, told=True))
    return None


def agent_removed(d: Draft, e: events.AgentRemoved, _at: At) -> Declined:
    """Remove an agent without a bead; a mayor that runs leaves when it was stopped."""
    agent = d.agent(e.agent)
    if agent is None:
        return Ignored("there is no such agent any more")
    if agent.hook or (agent.role != "mayor" and agent.status in {"working", "stalled"}):
        return Refused("agent_works", f"agent {e.agent} works on {agent.hook}; cancel that first")
    if agent.attempt:
        if agent.leaves:
            return Ignored("it is being stopped")
        d.put(replace(agent, release=True, leaves=True))
        return None
    d.drop_agent(agent)
    return None


def resumed(d: Draft, _e: events.LoopResumed, at: At) -> Declined:
    """Count all waits anew: what is late because nobody looked is not late.

    A wait of what is handed out again becomes no longer by that, which also undoes a clock that
    was set back.
    """
    d.set_town(resumed_ms=at.now_ms)
    for key in d.due.ids():
        known = entity_of(d, key)
        if not known.span_ms:
            continue
        due_ms = at.now_ms + known.span_ms
        if (isinstance(known, Bead) and known.status == "open") or (
            isinstance(known, Agent) and known.status == "idle"
        ):
            due_ms = min(known.due_ms, due_ms)
        if due_ms == known.due_ms:
            continue
        if isinstance(known, Bead):
            d.edit(known, due_ms=due_ms)
        else:
            d.put(replace(known, due_ms=due_ms))
    _set_back(d, at.now_ms)
    return None


def _set_back(d: Draft, now_ms: int) -> None:
    """Bring times that lie ahead, or far ahead, back to now: the clock was set back."""
    for one in d.at("role", "mayor", ""):
        mayor = d.agent(one)
        if mayor is not None and mayor.looked_ms > now_ms:
            d.put(replace(mayor, looked_ms=now_ms))
    for name in ("ending_ms", "retiring_ms"):
        if getattr(d.town, name) > now_ms:
            d.set_town(**{name: now_ms})
    breaker = d.town.breaker
    if breaker.until_ms > now_ms + DAY_MS:
        d.set_town(breaker=replace(breaker, until_ms=now_ms))


def drain_started(d: Draft, e: events.DrainStarted, _at: At) -> Declined:
    """Start nothing until the host is back."""
    if d.town.drain_nonce == e.nonce:
        return Ignored("it drains already")
    d.set_town(drain_nonce=e.nonce, drain_until_ms=e.until_ms)
    return None


def drain_ended(d: Draft, e: events.DrainEnded, _at: At) -> Declined:
    """Go on, if it is this drain that ended."""
    if not d.town.drain_nonce:
        return Ignored("it does not drain")
    if e.nonce and e.nonce != d.town.drain_nonce:
        return Ignored("it is of another drain")
    d.set_town(drain_nonce="", drain_until_ms=0)
    return None


# --------------------------------------------------------------------- the breaker, and the budget


def breaker_opened(d: Draft, e: intents.BreakerOpened, _at: At) -> Declined:
    """Cut dispatching off."""
    known = d.town.breaker
    new = Breaker(
        state="open", until_ms=e.until_ms, trips=known.trips + 1, closing_told=known.closing_told
    )
    d.set_town(breaker=new)
    return None


def breaker_half_opened(d: Draft, _e: intents.BreakerHalfOpened, _at: At) -> Declined:
    """Let one attempt through."""
    known = d.town.breaker
    new = Breaker(state="half_open", trips=known.trips, closing_told=known.closing_told)
    d.set_town(breaker=new)
    return None


def breaker_closed(d: Draft, _e: intents.BreakerClosed, _at: At) -> Declined:
    """Go on; what waited because the host refused need not wait any longer."""
    d.set_town(breaker=Breaker(trips=d.town.breaker.trips, closing_told=True))
    for one in d.at("refusing"):
        bead = d.bead(one)
        if bead is not None:
            d.edit(bead, due_ms=0, span_ms=0, refused=0)
    return None


def budget_changed(d: Draft, e: intents.BudgetChanged, _at: At) -> Declined:
    """Note that the day's money is used up, or that there is some."""
    d.set_town(exhausted=e.exhausted)
    return None


# --------------------------------------------------------------------- retention and violations


def retired(d: Draft, e: intents.Retired, _at: At) -> Declined:
    """Drop what ended long ago."""
    before = d.writes
    for key in e.keys:
        tables = {"b": d.bead, "a": d.agent, "n": d.nudge, "v": d.violation}
        known: Any = tables[key[0]](key[2:])
        if isinstance(known, Agent):
            d.drop_agent(known)
        elif known is not None:
            d.drop(known)
    if d.writes > before and e.again_ms:
        d.set_town(retiring_ms=d.now_ms + e.again_ms)
    return None if d.writes > before else Ignored("nothing of it is there any more")


def violation_opened(d: Draft, e: intents.ViolationOpened, at: At) -> Declined:
    """Open a violation, open it again, or update why."""
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
    return None


def violation_changed(
    d: Draft,
    e: intents.ViolationResolved | intents.ViolationAlerted | intents.ViolationWaits,
    at: At,
) -> Declined:
    """Resolve a violation, announce it, or wait whether it passes."""
    known = d.violation(violation_id(e.number, e.entity))
    if known is None or known.status != "open":
        return Ignored("it is resolved")
    match e:
        case intents.ViolationResolved():
            kept_ms = kept_until(at.now_ms, BEAD_KEPT_MS)
            d.put(replace(known, status="resolved", due_ms=kept_ms, span_ms=0))
        case intents.ViolationAlerted():
            d.put(replace(known, alerted=True, due_ms=0, span_ms=0))
        case intents.ViolationWaits(after_ms=after_ms):
            d.put(replace(known, due_ms=at.now_ms + after_ms, span_ms=after_ms))
    return None

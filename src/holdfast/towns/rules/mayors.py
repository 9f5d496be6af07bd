"""Rules about the mayor: what starts it, when it is started again, and when it is stopped.

It works on no bead and takes no slot of the caps. The breaker does not hold it back, because its
opening is what somebody is asked about; a host that starts nothing is waited for longer each time.
"""

from __future__ import annotations

from typing import Final

from holdfast.actors.definition import Suppressed
from holdfast.towns import actions as act
from holdfast.towns.rules.agents import recover
from holdfast.towns.rules.beads import BUDGET, DRAINING
from holdfast.towns.rules.hosts import away_words
from holdfast.towns.rules.view import Findings, View
from holdfast.towns.state import Agent, found, is_awaited, is_awaited_since

START: Final = "mayor.start"
HUNG: Final = "mayor.hung"
NOTHING: Final = "nothing waits for it"
AGAIN: Final = "its last attempt ended a moment ago, and what it was for still waits"
LOOKED: Final = "it has looked at what waits, which is for a person to decide now"
POKED: Final = "it was asked for a sign of work, and is started again if there is none"
NO_RIG: Final = "the town has no rig whose clone and command it could have"


def mayors(view: View) -> Findings:
    """Return what to do about the mayor."""
    if not view.policy.mayor_first_ms:
        return
    for one in sorted(view.at("role", "mayor", "").ids()):
        agent = view.state.agents[one]
        if agent.status == "idle":
            yield from _start(view, agent)
        elif agent.attempt and agent.contact == "heard" and not agent.release:
            yield from _hangs(view, agent) if _is_hung(view, agent) else _rest(view, agent)


def _start(view: View, agent: Agent) -> Findings:
    entity = f"a/{agent.id}"
    rigs = sorted((rig.name, rig.id) for rig in view.state.rigs.values() if not rig.gone)
    because = DRAINING if view.draining else BUDGET if view.town.exhausted else ""
    if not is_awaited(view.state, agent.id):
        because = LOOKED if found(view.state, "escalations") else NOTHING
    elif not because and not rigs:
        because = NO_RIG
    elif not because and agent.away:
        because = away_words(agent)
    elif not because and agent.due_ms > view.now_ms and not _is_new(view, agent):
        because = AGAIN
    if because:
        yield Suppressed(START, because, entity)
        return
    yield act.StartMayor(
        rule=START,
        reason="something waits for it",
        expect=act.saw(view.state, agent=agent.id),
        entity=entity,
        agent=agent.id,
        rig=rigs[0][1],
    )


def _is_new(view: View, agent: Agent) -> bool:
    """Return whether something waits that was not there when it was started last."""
    looks = view.policy.mayor_looks_once
    return looks and is_awaited_since(view.state, agent.id, agent.dispatched_ms)


def _is_hung(view: View, agent: Agent) -> bool:
    """Return whether a mayor reports no work, and runs no tool, while something waits for it."""
    is_quiet = agent.inactive > 1 or (agent.inactive == 1 and not agent.tools)
    return bool(view.policy.mayor_hung_ms) and is_quiet and is_awaited(view.state, agent.id)


def _hangs(view: View, agent: Agent) -> Findings:
    """Poke a mayor that hangs, and have it started again where that does not help."""
    entity = f"a/{agent.id}"
    if view.draining:
        yield Suppressed(HUNG, DRAINING, entity)
    elif not agent.handled:
        yield act.Poke(
            rule=HUNG,
            reason="it reports no work while something waits for it",
            expect=act.saw(view.state, agent=agent.id),
            entity=entity,
            agent=agent.id,
            level=1,
            again_ms=view.policy.mayor_hung_ms,
        )
    elif agent.due_ms <= view.now_ms:
        why = ("it reported no work after it was asked to", "inactive")
        yield recover(view, agent, HUNG, why, charged=False)
    else:
        yield Suppressed(HUNG, POKED, entity)


def _rest(view: View, agent: Agent) -> Findings:
    entity, seen = f"a/{agent.id}", act.saw(view.state, agent=agent.id)
    if is_awaited(view.state, agent.id):
        if agent.due_ms:
            yield act.IdleMayor(
                rule="mayor.idle",
                reason="something waits for it again",
                expect=seen,
                entity=entity,
                agent=agent.id,
                after_ms=0,
            )
    elif not agent.due_ms or agent.handled:
        yield act.IdleMayor(
            rule="mayor.idle",
            reason=NOTHING,
            expect=seen,
            entity=entity,
            agent=agent.id,
            after_ms=view.policy.mayor_idle_ms,
        )
    elif agent.due_ms <= view.now_ms:
        yield act.Release(
            rule="mayor.rest",
            reason="nothing has waited for it for long",
            expect=seen,
            entity=entity,
            agent=agent.id,
        )
    else:
        yield Suppressed("mayor.rest", "something waited for it lately", entity)

"""Rules about agents: who is silent, inactive, stalled, or has nothing to work on any more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from holdfast.actors.definition import Suppressed
from holdfast.towns import actions as act
from holdfast.towns.limits import NUDGE_KEPT_MS
from holdfast.towns.rules.view import Findings, Found, View
from holdfast.towns.state import Agent, Bead

DRAINING: Final = "its host is going away"


def agents(view: View) -> Findings:
    """Return what to do about agents."""
    yield from _released(view)
    yield from _hookless(view)
    if view.draining:
        yield from _drained(view)
        return
    yield from _silent(view)
    yield from _late(view)
    yield from _inactive(view)


def _released(view: View) -> Findings:
    for one in sorted(view.at("release").ids()):
        yield act.Release(
            rule="agents.release",
            reason="its bead ended without it",
            expect=act.saw(view.state, agent=one),
            entity=f"a/{one}",
            agent=one,
        )


def _hookless(view: View) -> Findings:
    """Repair what must never be: an agent that works without a bead."""
    since_ms = view.now_ms - view.policy.repairs_window_ms
    left = view.policy.repairs_max - sum(at > since_ms for at in view.town.repairs)
    for one in sorted(view.at("hookless").ids()):
        entity = f"a/{one}"
        if not view.town.config.repair:
            yield Suppressed("agents.repair", "repairs are switched off", entity)
        elif left <= 0:
            yield Suppressed("agents.repair", "too many repairs within the hour", entity)
        else:
            left -= 1
            yield act.Release(
                rule="agents.repair",
                reason="it works without a bead",
                expect=act.saw(view.state, agent=one),
                entity=entity,
                agent=one,
                repair=True,
            )


def _drained(view: View) -> Findings:
    for place in ("silent", "inactive"):
        for one in sorted(view.at(place).ids()):
            yield Suppressed(f"agents.{place}", DRAINING, f"a/{one}")


def recover(view: View, agent: Agent, rule: str, why: tuple[str, str], *, charged: bool) -> Found:
    """Return the step that stops an agent and hands its bead out again."""
    reason, code = why
    return act.Recover(
        rule=rule,
        reason=reason,
        expect=act.saw(view.state, agent.hook, agent.id),
        entity=f"a/{agent.id}",
        bead=agent.hook,
        agent=agent.id,
        attempt=agent.attempt,
        code=code,
        charged=charged,
    )


def _silent(view: View) -> Findings:
    for one in sorted(view.at("silent").ids()):
        agent = view.state.agents[one]
        if not agent.release:
            why = ("it sends no heartbeat any more", "silent")
            yield recover(view, agent, "agents.silent", why, charged=False)


def _late(view: View) -> Findings:
    """Recover agents that were never heard, and those set aside for too long."""
    starting = {"working", "waiting"} if view.policy.mayor_hung_ms else {"working"}
    for agent in view.due("a"):
        if agent.release:
            continue
        if agent.status in starting and agent.contact == "unheard" and agent.attempt:
            why = ("it was started and never heard", "not_heard")
            yield recover(view, agent, "agents.unheard", why, charged=False)
        elif agent.status == "stalled":
            why = ("nobody looked at it since it was stopped", "stalled")
            yield recover(view, agent, "agents.stalled", why, charged=True)


def _inactive(view: View) -> Findings:
    for one in sorted(view.at("inactive").ids()):
        agent = view.state.agents[one]
        if agent.release or agent.contact == "silent":
            continue
        entity, again_ms = f"a/{one}", view.now_ms - view.policy.nudge_again_ms
        seen = act.saw(view.state, agent=one)
        if agent.inactive >= len(view.policy.inactive_ms):
            yield act.Stall(
                rule="agents.stall",
                reason="it has reported no work for too long",
                expect=seen,
                entity=entity,
                agent=one,
            )
        elif agent.inactive == 1 and agent.tools:
            yield Suppressed("agents.inactive", "its tools are running", entity)
        elif (agent.nudged_ms if agent.inactive == 1 else agent.escalated_ms) > again_ms:
            yield Suppressed("agents.inactive", "it was nudged within the hour", entity)
        else:
            yield act.Poke(
                rule="agents.inactive",
                reason="it reports no work",
                expect=seen,
                entity=entity,
                agent=one,
                level=agent.inactive,
            )


# ------------------------------------------------------------------------------ mail and nudges


def messages(view: View) -> Findings:
    """Return what to send to agents that work."""
    for nudge in view.due("n"):
        agent = view.state.agents.get(nudge.agent)
        is_over = nudge.created_ms + NUDGE_KEPT_MS <= view.now_ms
        if agent is None or is_over or nudge.attempt not in {"", agent.attempt}:
            yield act.Retire(
                rule="nudges.expire",
                reason="it could not be delivered in time, or to the attempt that it is for",
                expect=act.saw(view.state),
                entity=f"n/{nudge.id}",
                keys=(f"n/{nudge.id}",),
            )
        elif not _listens(agent):
            yield Suppressed("nudges.push", "its agent does not work now", f"n/{nudge.id}")
        else:
            yield act.PushNudge(
                rule="nudges.push",
                reason="it has not arrived",
                expect=act.saw(view.state, agent=agent.id),
                entity=f"n/{nudge.id}",
                agent=agent.id,
                nudge=nudge.id,
            )
    yield from _mail(view)


def _mail(view: View) -> Findings:
    for message in _waiting_mail(view):
        agent = view.state.agents.get(message.to)
        if agent is None or not _listens(agent):
            because = "its agent does not work now"
        elif message.due_ms > view.now_ms:
            because = "it was sent a moment ago"
        else:
            yield act.DeliverMail(
                rule="mail.deliver",
                reason="its agent works",
                expect=act.saw(view.state, message.id, agent.id),
                entity=f"b/{message.id}",
                bead=message.id,
                agent=agent.id,
            )
            continue
        yield Suppressed("mail.deliver", because, f"b/{message.id}")


def _waiting_mail(view: View) -> Iterator[Bead]:
    yield from (view.state.beads[one] for one in view.at("mail").ids())


def _listens(agent: Agent) -> bool:
    return agent.status in {"working", "waiting"} and agent.contact == "heard"

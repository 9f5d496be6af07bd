"""What actions of a town ask of the outside: effects with their lanes and times, and escalations.

Pure, as actions are.
"""

from __future__ import annotations

from typing import Final

from holdfast.actors.definition import At, Effect, Work
from holdfast.kernel.ids import derive
from holdfast.towns import events, intents, ports
from holdfast.towns.limits import BEADS_MAX, SEND_VALID_MS, STOP_VALID_MS
from holdfast.towns.policy import Policy
from holdfast.towns.state import Agent, Bead, Nudge, Severity, Tables

HOSTS: Final = "town-hosts"
FORGES: Final = "town-forges"
GATES: Final = "town-gates"
"""Apart from the forges: what runs for minutes is not waited for by landings of others."""
NOTICES: Final = "town-notices"
NOTICE_LANE: Final = "notices"


def branches(state: Tables, bead: Bead) -> tuple[str, str]:
    """Return the branch that an attempt at a bead works on, and the one that it is meant for."""
    review = bead.review
    if review is None and bead.source and (request := state.beads.get(bead.source)) is not None:
        review = request.review
    if review is not None:
        return review.branch, review.target
    rig = state.rigs.get(bead.rig)
    convoy = state.beads.get(bead.convoy)
    if convoy is not None and convoy.convoy_of is not None and convoy.convoy_of.branch:
        return f"bead/{bead.id}/{bead.attempts + 1}", convoy.convoy_of.branch
    return f"bead/{bead.id}/{bead.attempts + 1}", "main" if rig is None else rig.branch


def agent_lane(agent: str) -> str:
    """Return the lane of what is asked of an agent's host, one after the other."""
    return f"agent/{agent}"


def effect(
    provider: str, lane: str, body: ports.Body, valid_until_ms: int, epoch: int = 0
) -> Effect:
    """Return an effect that does not supersede what waits in its lane."""
    return Effect(
        lane=lane, provider=provider, body=body, epoch=epoch, valid_until_ms=valid_until_ms
    )


def stop(agent: Agent, at: At) -> Effect:
    """Return the stop of an agent, which what waits in its lane gives way to."""
    return Effect(
        lane=agent_lane(agent.id),
        provider=HOSTS,
        body=ports.StopCall(agent=agent.id, epoch=agent.epoch, host=agent.host),
        epoch=agent.epoch,
        valid_until_ms=at.now_ms + STOP_VALID_MS,
        supersedes=True,
    )


def notice(code: str, about: str, at: At, severity: Severity = "medium") -> Effect:
    """Return the notice of a code about an entity."""
    body = ports.NoticeCall(code=code, about=about, severity=severity)
    return effect(NOTICES, NOTICE_LANE, body, at.now_ms + SEND_VALID_MS)


def escalation(category: str, about: str, at: At, severity: Severity) -> events.Escalated:
    """Return the escalation of a category about an entity."""
    return events.Escalated(
        escalation=f"esc-{derive(at.event, category)[:16]}",
        severity=severity,
        category=category,
        about=about,
    )


def asked(state: Tables, category: str, about: str, at: At, severity: Severity) -> Work:
    """Return the escalation of something, unless somebody is asked about it already.

    A town that is full of beads only sends the notice.
    """
    if state.index.get(("escalations", about, category)):
        return Work()
    is_full = len(state.beads) >= BEADS_MAX
    made = () if is_full else (escalation(category, about, at, severity),)
    return Work(intents=made, effects=(notice(category, about, at, severity),))


def both(one: Work, other: Work) -> Work:
    """Return the work of two decisions as one."""
    return Work(intents=one.intents + other.intents, effects=one.effects + other.effects)


def nudge(agent: Agent, known: Nudge, policy: Policy, at: At) -> Work:
    """Return the work of sending a nudge to an agent, which is kept until it arrived."""
    one, level, content = known.id, known.level, known.content
    kept = events.NudgeSent(
        nudge=one,
        agent=agent.id,
        level=level,
        content=content,
        attempt=known.attempt,
        again_ms=policy.mail_again_ms,
    )
    body = ports.NudgeCall(
        nudge=one,
        agent=agent.id,
        attempt=agent.attempt,
        level=level,
        content=content,
        host=agent.host,
    )
    sent = effect(HOSTS, agent_lane(agent.id), body, at.now_ms + SEND_VALID_MS, agent.epoch)
    return Work(intents=(kept,), effects=(sent,))


def mail(message: Bead, agent: Agent, policy: Policy, at: At) -> Work:
    """Return the work of sending a message to an agent."""
    body = ports.MailCall(
        message=message.id,
        agent=agent.id,
        attempt=agent.attempt,
        content=message.content,
        host=agent.host,
    )
    sent = effect(HOSTS, agent_lane(agent.id), body, at.now_ms + SEND_VALID_MS, agent.epoch)
    tried = intents.MailTried(message.id, policy.mail_again_ms)
    return Work(intents=(tried,), effects=(sent,))

"""The fold of work: issues, convoys, escalations, mail and nudges."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec.structs import replace

from holdfast.actors.definition import At, Ignored, Refused, Verdict
from holdfast.towns import events, intents
from holdfast.towns.draft import Draft
from holdfast.towns.limits import (
    BEADS_MAX,
    BLOCKERS_MAX,
    CONVOY_BEADS_MAX,
    MAIL_MAX,
    NUDGES_MAX,
)
from holdfast.towns.state import TERMINAL, Bead, Convoy, Escalation, NewBead, Nudge, State

PRIORITIES: Final = 4
_UNKNOWN: Final = Ignored("there is no such bead any more")


def issue_of(
    d: Draft, new: NewBead, *, source: str = "", convoy: str = "", staged: bool = False
) -> Bead:
    """Return the issue of a request, which waits for those of its blockers that did not close."""
    known = [d.bead(one) for one in new.blocked_by]
    waits = [bead for bead in known if bead is not None and bead.status != "closed"]
    lost = [bead for bead in waits if bead.status == "failed"]
    if not d.town.config.failures_hold:
        waits, lost = [bead for bead in waits if bead.status != "failed"], []
    return Bead(
        id=new.id,
        type="issue",
        purpose=new.purpose,
        rig=new.rig,
        priority=min(max(new.priority, 0), PRIORITIES - 1),
        content=new.content,
        held=new.held,
        staged=staged,
        convoy=convoy,
        source=source,
        blocked_by=tuple(bead.id for bead in waits),
        blockers=len(waits),
        failed_blockers=len(lost),
        created_ms=d.now_ms,
        updated_ms=d.now_ms,
    )


def _unfit(d: Draft, new: NewBead, also: Iterable[str] = ()) -> Refused | None:
    """Return why an issue cannot be made, or None."""
    rig = d.rig(new.rig)
    if rig is None or rig.gone:
        return Refused("no_such_rig", f"rig {new.rig}: add it first")
    if d.bead(new.id) is not None:
        return Refused("bead_exists", f"bead {new.id} exists; take another id")
    if len(new.blocked_by) > BLOCKERS_MAX:
        return Refused("too_many_blockers", f"blocked_by: at most {BLOCKERS_MAX}")
    missing = [one for one in new.blocked_by if one not in also and d.bead(one) is None]
    if missing:
        return Refused("no_such_blocker", f"blocked_by: there is no bead {missing[0]}")
    if new.id in new.blocked_by:
        return Refused("cycle", f"blocked_by: bead {new.id} cannot wait for itself")
    return None


def _full(d: Draft, more: int) -> Refused | None:
    if d.count("b") + more > BEADS_MAX:
        return Refused("town_full", f"the town has {d.count('b')} beads of {BEADS_MAX}")
    return None


def bead_created(state: State, e: events.BeadCreated, at: At) -> Verdict[State]:
    """Add an issue."""
    d = Draft(state, at.now_ms)
    if (why := _full(d, 1) or _unfit(d, e.bead)) is not None:
        return why
    d.put(issue_of(d, e.bead, source=e.source))
    return d.close()


def convoy_created(state: State, e: events.ConvoyCreated, at: At) -> Verdict[State]:
    """Add a convoy with its issues, blockers first; refuse a circle among them."""
    d = Draft(state, at.now_ms)
    if not 0 < len(e.beads) <= CONVOY_BEADS_MAX:
        return Refused("convoy_size", f"beads: 1 to {CONVOY_BEADS_MAX}")
    ids = {new.id for new in e.beads}
    if len(ids) != len(e.beads) or e.convoy in ids or d.bead(e.convoy) is not None:
        return Refused("bead_exists", "beads: ids must be new, and each its own")
    why = _full(d, len(ids) + 1)
    for new in e.beads:
        why = why or _unfit(d, new, ids)
    if why is not None:
        return why
    ordered = in_order_of_blockers(e.beads)
    if ordered is None:
        return Refused("cycle", "blocked_by: beads of the convoy wait for each other in a circle")
    work = Convoy(branch=e.branch, mode=e.mode, staged=e.staged, total=len(ids))
    d.put(
        Bead(
            id=e.convoy,
            type="convoy",
            content=e.content,
            created_ms=d.now_ms,
            updated_ms=d.now_ms,
            convoy_of=work,
        )
    )
    for new in ordered:
        d.put(issue_of(d, new, convoy=e.convoy, staged=e.staged))
    return d.close()


def in_order_of_blockers(beads: tuple[NewBead, ...]) -> list[NewBead] | None:
    """Return beads with blockers before those that wait for them; None where they form a circle."""
    ids = {new.id for new in beads}
    done, ordered, left = set[str](), list[NewBead](), list(beads)
    while left:
        ready = [new for new in left if done.issuperset(ids.intersection(new.blocked_by))]
        if not ready:
            return None
        ordered += ready
        done.update(new.id for new in ready)
        left = [new for new in left if new.id not in done]
    return ordered


def convoy_started(state: State, e: events.ConvoyStarted, at: At) -> Verdict[State]:
    """Let a staged convoy begin."""
    d = Draft(state, at.now_ms)
    convoy = d.bead(e.convoy)
    if convoy is None or convoy.convoy_of is None or convoy.status in TERMINAL:
        return Refused("no_such_convoy", f"convoy {e.convoy} is not there or has ended")
    if not convoy.convoy_of.staged:
        return Ignored("it has begun")
    d.edit(convoy, convoy_of=replace(convoy.convoy_of, staged=False))
    for one in d.at("members", convoy.id):
        bead = d.bead(one)
        if bead is not None and bead.staged:
            d.edit(bead, staged=False)
    return d.close()


def bead_failed(state: State, e: intents.BeadFailed, at: At) -> Verdict[State]:
    """Give a bead up."""
    d = Draft(state, at.now_ms)
    bead = d.bead(e.bead)
    if bead is None or bead.status in TERMINAL:
        return _UNKNOWN
    d.move(bead, "failed", failure=e.code)
    return d.close()


def held(state: State, e: events.BeadHeld, at: At) -> Verdict[State]:
    """Keep a bead from being handed out, or let it go."""
    d = Draft(state, at.now_ms)
    bead = d.bead(e.bead)
    if bead is None or bead.type != "issue" or bead.status in TERMINAL:
        return Refused("no_such_issue", f"issue {e.bead} is not there or has ended")
    if bead.held == e.held:
        return Ignored("it is so already")
    d.edit(bead, held=e.held)
    return d.close()


def waived(state: State, e: events.BlockerWaived, at: At) -> Verdict[State]:
    """Let a bead go on without one of its blockers."""
    d = Draft(state, at.now_ms)
    bead, blocker = d.bead(e.bead), d.bead(e.blocker)
    if bead is None or bead.status in TERMINAL or e.blocker not in bead.blocked_by:
        return Refused("no_such_blocker", f"bead {e.bead} does not wait for {e.blocker}")
    waits = blocker is None or blocker.status != "closed"
    lost = blocker is not None and blocker.status == "failed"
    d.edit(
        bead,
        blocked_by=tuple(one for one in bead.blocked_by if one != e.blocker),
        blockers=bead.blockers - waits,
        failed_blockers=bead.failed_blockers - (lost and d.town.config.failures_hold),
    )
    return d.close()


# ------------------------------------------------------------------- escalations, mail and nudges


def escalated(state: State, e: events.Escalated, at: At) -> Verdict[State]:
    """Ask for a person or the mayor, once about one thing."""
    d = Draft(state, at.now_ms)
    if d.at("escalations", e.about, e.category) and e.about:
        return Ignored("somebody is asked about this already")
    if d.bead(e.escalation) is not None:
        return Refused("bead_exists", f"bead {e.escalation} exists; take another id")
    d.put(
        Bead(
            id=e.escalation,
            type="escalation",
            content=e.content,
            created_ms=d.now_ms,
            updated_ms=d.now_ms,
            escalation=Escalation(severity=e.severity, category=e.category, about=e.about),
        )
    )
    return d.close()


def acknowledged(state: State, e: events.EscalationAcknowledged, at: At) -> Verdict[State]:
    """Close an escalation that somebody took on."""
    d = Draft(state, at.now_ms)
    bead = d.bead(e.escalation)
    if bead is None or bead.escalation is None:
        return Refused("no_such_escalation", f"there is no escalation {e.escalation}")
    if bead.status in TERMINAL:
        return Ignored("it was taken on")
    d.move(bead, "closed")
    return d.close()


def bumped(state: State, e: intents.EscalationBumped, at: At) -> Verdict[State]:
    """Make an escalation more severe."""
    d = Draft(state, at.now_ms)
    bead = d.bead(e.escalation)
    if bead is None or bead.escalation is None or bead.status in TERMINAL:
        return _UNKNOWN
    known = bead.escalation
    bumps = known.bumps + (e.severity != known.severity)
    due_ms = d.now_ms + e.next_ms if e.next_ms else 0
    more = replace(known, severity=e.severity, bumps=bumps)
    d.edit(bead, escalation=more, due_ms=due_ms, span_ms=e.next_ms)
    return d.close()


def mail_sent(state: State, e: events.MailSent, at: At) -> Verdict[State]:
    """Keep a message until its agent can take it."""
    d = Draft(state, at.now_ms)
    if d.agent(e.to) is None:
        return Refused("no_such_agent", f"agent {e.to} is not of this town")
    if len(d.at("mail")) >= MAIL_MAX:
        return Refused("mail_full", f"{MAIL_MAX} messages wait")
    if d.bead(e.message) is not None:
        return Refused("bead_exists", f"bead {e.message} exists; take another id")
    message = Bead(
        id=e.message,
        type="message",
        to=e.to,
        source=e.sender,
        content=e.content,
        created_ms=d.now_ms,
        updated_ms=d.now_ms,
    )
    d.put(message)
    return d.close()


def mail_tried(state: State, e: intents.MailTried, at: At) -> Verdict[State]:
    """Wait before a message is sent again."""
    d = Draft(state, at.now_ms)
    bead = d.bead(e.message)
    if bead is None or bead.status in TERMINAL:
        return _UNKNOWN
    d.edit(bead, due_ms=d.now_ms + e.again_ms, span_ms=e.again_ms)
    return d.close()


def mail_delivered(state: State, e: events.MailDelivered, at: At) -> Verdict[State]:
    """Close a message that arrived."""
    d = Draft(state, at.now_ms)
    bead = d.bead(e.message)
    if bead is None or bead.type != "message" or bead.status in TERMINAL:
        return _UNKNOWN
    d.move(bead, "closed")
    return d.close()


def nudge_sent(state: State, e: events.NudgeSent, at: At) -> Verdict[State]:
    """Keep a nudge until it arrives."""
    d = Draft(state, at.now_ms)
    if d.agent(e.agent) is None:
        return Refused("no_such_agent", f"agent {e.agent} is not of this town")
    if d.count("n") >= NUDGES_MAX:
        return Refused("nudges_full", f"{NUDGES_MAX} nudges wait")
    again_ms = e.again_ms
    known = d.nudge(e.nudge)
    made_ms = d.now_ms if known is None else known.created_ms
    d.put(
        Nudge(
            id=e.nudge,
            agent=e.agent,
            level=e.level,
            content=e.content,
            created_ms=made_ms,
            due_ms=d.now_ms + again_ms,
            span_ms=again_ms,
        )
    )
    return d.close()


def nudge_delivered(state: State, e: events.NudgeDelivered, at: At) -> Verdict[State]:
    """Drop a nudge that arrived."""
    d = Draft(state, at.now_ms)
    known = d.nudge(e.nudge)
    if known is None:
        return Ignored("it is not waited for")
    d.drop(known)
    return d.close()


def only_logged(_state: State, _event: object, _at: At) -> Ignored:
    """Change nothing: it is in the log for people."""
    return Ignored("it is only logged")

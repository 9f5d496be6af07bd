"""The fold of work: issues, convoys, escalations, mail and nudges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import chain
from typing import Final

from msgspec.structs import replace

from holdfast.actors.definition import At, Declined, Ignored, Refused
from holdfast.towns import events, intents
from holdfast.towns.draft import Draft
from holdfast.towns.limits import (
    BEADS_MAX,
    BLOCKERS_MAX,
    CONVOY_BEADS_MAX,
    MAIL_MAX,
    NUDGES_MAX,
    WAITERS_MAX,
)
from holdfast.towns.state import (
    TERMINAL,
    Bead,
    Convoy,
    Escalation,
    NewBead,
    Nudge,
    is_closed,
)

PRIORITIES: Final = 4
_UNKNOWN: Final = Ignored("there is no such bead any more")


def issue_of(
    d: Draft, new: NewBead, *, source: str = "", convoy: str = "", staged: bool = False
) -> Bead:
    """Return the issue of a request, which waits for those of its blockers that did not close."""
    known = [d.bead(one) for one in dict.fromkeys(new.blocked_by)]
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
        failed_blockers=len(lost),
        created_ms=d.now_ms,
        updated_ms=d.now_ms,
    )


def _crowded(d: Draft, beads: Iterable[NewBead]) -> Refused | None:
    """Return why issues may not wait for what they name, or None: too many would wait for one."""
    more = Counter(chain.from_iterable(new.blocked_by for new in beads))
    for one in sorted(more):
        if d.many("waits", one) + more[one] > WAITERS_MAX:
            why = f"blocked_by: {WAITERS_MAX} beads may wait for {one}; put one between that waits"
            return Refused("too_many_waiters", why)
    return None


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


def full(d: Draft, more: int) -> Refused | None:
    """Return why there is no room for more beads, or None."""
    if d.count("b") + more > BEADS_MAX:
        return Refused("town_full", f"the town has {d.count('b')} beads of {BEADS_MAX}")
    return None


def bead_created(d: Draft, e: events.BeadCreated, _at: At) -> Declined:
    """Add an issue."""
    why = full(d, 1) or _unfit(d, e.bead)
    if e.bounded:
        why = why or _crowded(d, (e.bead,))
    if why is not None:
        return why
    d.put(issue_of(d, e.bead, source=e.source))
    return None


def convoy_created(d: Draft, e: events.ConvoyCreated, _at: At) -> Declined:
    """Add a convoy with its issues, blockers first; refuse a circle among them."""
    if not 0 < len(e.beads) <= CONVOY_BEADS_MAX:
        return Refused("convoy_size", f"beads: 1 to {CONVOY_BEADS_MAX}")
    ids = {new.id for new in e.beads}
    if len(ids) != len(e.beads) or e.convoy in ids or d.bead(e.convoy) is not None:
        return Refused("bead_exists", "beads: ids must be new, and each its own")
    why = full(d, len(ids) + 1)
    for new in e.beads:
        why = why or _unfit(d, new, ids)
    if e.bounded:
        why = why or _crowded(d, e.beads)
    if why is not None:
        return why
    if len({new.rig for new in e.beads}) > 1:
        return Refused("one_rig", "beads: take one rig for all of a convoy")
    ordered = in_order_of_blockers(e.beads)
    if ordered is None:
        return Refused("cycle", "blocked_by: beads of the convoy wait for each other in a circle")
    work = Convoy(branch=e.branch, mode=e.mode, staged=e.staged, total=len(ids))
    d.put(
        Bead(
            id=e.convoy,
            type="convoy",
            rig=e.beads[0].rig,
            content=e.content,
            created_ms=d.now_ms,
            updated_ms=d.now_ms,
            convoy_of=work,
        )
    )
    for new in ordered:
        d.put(issue_of(d, new, convoy=e.convoy, staged=e.staged))
    return None


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


def convoy_started(d: Draft, e: events.ConvoyStarted, _at: At) -> Declined:
    """Let a staged convoy begin."""
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
    return None


def bead_failed(d: Draft, e: intents.BeadFailed, _at: At) -> Declined:
    """Give a bead up."""
    bead = d.bead(e.bead)
    if bead is None or bead.status in TERMINAL:
        return _UNKNOWN
    d.move(bead, "failed", failure=e.code)
    return None


def held(d: Draft, e: events.BeadHeld, _at: At) -> Declined:
    """Keep a bead from being handed out, or let it go."""
    bead = d.bead(e.bead)
    if bead is None or bead.type != "issue" or bead.status in TERMINAL:
        return Refused("no_such_issue", f"issue {e.bead} is not there or has ended")
    if bead.held == e.held:
        return Ignored("it is so already")
    d.edit(bead, held=e.held)
    return None


def waived(d: Draft, e: events.BlockerWaived, _at: At) -> Declined:
    """Let a bead go on without one of its blockers."""
    bead, blocker = d.bead(e.bead), d.bead(e.blocker)
    if bead is None or bead.status in TERMINAL or e.blocker not in bead.blocked_by:
        return Refused("no_such_blocker", f"bead {e.bead} does not wait for {e.blocker}")
    lost = blocker is None or blocker.status == "failed"
    d.edit(
        bead,
        blocked_by=tuple(one for one in bead.blocked_by if one != e.blocker),
        failed_blockers=bead.failed_blockers - lost,
    )
    return None


# ------------------------------------------------------------------- escalations, mail and nudges


def escalated(d: Draft, e: events.Escalated, _at: At) -> Declined:
    """Ask for a person or the mayor, once about one thing."""
    if d.at("escalations", e.about, e.category) and e.about:
        return Ignored("somebody is asked about this already")
    if (why := full(d, 1)) is not None:
        return why
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
    return None


def acknowledged(d: Draft, e: events.EscalationAcknowledged, _at: At) -> Declined:
    """Close an escalation that somebody took on."""
    bead = d.bead(e.escalation)
    if bead is None or bead.escalation is None:
        return Refused("no_such_escalation", f"there is no escalation {e.escalation}")
    if bead.status in TERMINAL:
        return Ignored("it was taken on")
    d.move(bead, "closed")
    return None


def bumped(d: Draft, e: intents.EscalationBumped, _at: At) -> Declined:
    """Make an escalation more severe."""
    bead = d.bead(e.escalation)
    if bead is None or bead.escalation is None or bead.status in TERMINAL:
        return _UNKNOWN
    known = bead.escalation
    bumps = known.bumps + (e.severity != known.severity)
    due_ms = d.now_ms + e.next_ms if e.next_ms else 0
    more = replace(known, severity=e.severity, bumps=bumps)
    d.edit(bead, escalation=more, due_ms=due_ms, span_ms=e.next_ms)
    return None


def mail_sent(d: Draft, e: events.MailSent, _at: At) -> Declined:
    """Keep a message until its agent can take it."""
    if d.agent(e.to) is None:
        return Refused("no_such_agent", f"agent {e.to} is not of this town")
    if (why := full(d, 1)) is not None:
        return why
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
    return None


def mail_tried(d: Draft, e: intents.MailTried, _at: At) -> Declined:
    """Wait before a message is sent again."""
    bead = d.bead(e.message)
    if bead is None or bead.status in TERMINAL:
        return _UNKNOWN
    d.edit(bead, due_ms=d.now_ms + e.again_ms, span_ms=e.again_ms)
    return None


def mail_delivered(d: Draft, e: events.MailDelivered, _at: At) -> Declined:
    """Close a message that arrived."""
    bead = d.bead(e.message)
    if bead is None or bead.type != "message" or bead.status in TERMINAL:
        return _UNKNOWN
    d.move(bead, "closed")
    return None


def nudge_sent(d: Draft, e: events.NudgeSent, _at: At) -> Declined:
    """Keep a nudge until it arrives."""
    if d.agent(e.agent) is None:
        return Refused("no_such_agent", f"agent {e.agent} is not of this town")
    if is_closed(d):
        return Ignored("the town is closed")
    again_ms = e.again_ms
    known = d.nudge(e.nudge)
    if known is None and d.count("n") >= NUDGES_MAX:
        return Refused("nudges_full", f"{NUDGES_MAX} nudges wait")
    made_ms = d.now_ms if known is None else known.created_ms
    d.put(
        Nudge(
            id=e.nudge,
            agent=e.agent,
            level=e.level,
            content=e.content,
            attempt=e.attempt,
            created_ms=made_ms,
            due_ms=d.now_ms + again_ms,
            span_ms=again_ms,
        )
    )
    return None


def nudge_delivered(d: Draft, e: events.NudgeDelivered, _at: At) -> Declined:
    """Drop a nudge that arrived."""
    known = d.nudge(e.nudge)
    if known is None:
        return Ignored("it is not waited for")
    d.drop(known)
    return None


def only_logged(_d: Draft, _event: object, _at: At) -> Ignored:
    """Change nothing: it is in the log for people."""
    return Ignored("it is only logged")

"""The fold of a town: which function takes which event.

What is not allowed is refused here, and not by a handler. A step of a bead that the table of
transitions does not have raises, in the one place that writes a status (`draft.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from holdfast.actors.definition import Applied, At, Declined, Ignored, Refused, Verdict
from holdfast.towns import events, intents
from holdfast.towns.draft import Draft
from holdfast.towns.folds import attempts, ends, reviews, town, work
from holdfast.towns.state import State, is_closed, is_created

_FOLDS: Final[dict[type, Callable[[Draft, Any, At], Declined]]] = {
    events.TownCreated: town.created,
    events.TownConfigured: town.configured,
    events.TownClosed: town.closed,
    events.NameLost: town.name_lost,
    events.RigAdded: town.rig_added,
    events.RigRemoved: town.rig_removed,
    events.AgentAdded: town.agent_added,
    events.AgentRemoved: town.agent_removed,
    events.LoopResumed: town.resumed,
    events.DrainStarted: town.drain_started,
    events.DrainEnded: town.drain_ended,
    intents.BreakerOpened: town.breaker_opened,
    intents.BreakerHalfOpened: town.breaker_half_opened,
    intents.BreakerClosed: town.breaker_closed,
    intents.BudgetChanged: town.budget_changed,
    intents.Retired: town.retired,
    intents.BeadsEnded: town.beads_ended,
    intents.BeadsFreed: town.beads_freed,
    intents.ViolationOpened: town.violation_opened,
    intents.ViolationResolved: town.violation_changed,
    intents.ViolationAlerted: town.violation_changed,
    intents.ViolationWaits: town.violation_changed,
    events.BeadCreated: work.bead_created,
    events.ConvoyCreated: work.convoy_created,
    events.ConvoyStarted: work.convoy_started,
    events.BeadCancelled: ends.cancelled,
    intents.BeadFailed: work.bead_failed,
    events.BeadHeld: work.held,
    events.BlockerWaived: work.waived,
    events.Escalated: work.escalated,
    events.EscalationAcknowledged: work.acknowledged,
    intents.EscalationBumped: work.bumped,
    events.MailSent: work.mail_sent,
    intents.MailTried: work.mail_tried,
    events.MailDelivered: work.mail_delivered,
    events.NudgeSent: work.nudge_sent,
    events.NudgeDelivered: work.nudge_delivered,
    events.SendFailed: work.only_logged,
    events.Notified: work.only_logged,
    events.AgentStopped: work.only_logged,
    events.StopFailed: work.only_logged,
    intents.Dispatched: attempts.dispatched,
    intents.MayorStarted: attempts.mayor_started,
    intents.MayorIdles: attempts.mayor_idles,
    events.AgentStarted: attempts.started,
    events.StartRefused: attempts.start_refused,
    events.StartDoubted: attempts.start_doubted,
    events.AgentHeard: attempts.heard,
    events.AgentSilent: attempts.silent,
    events.AgentInactive: attempts.inactive,
    events.AgentDone: attempts.done,
    events.ChangesRequested: attempts.changes_requested,
    events.AgentExited: attempts.exited,
    events.HostSeen: town.host_seen,
    intents.HostsAsked: town.hosts_asked,
    intents.AbsenceTold: town.absence_told,
    events.MayorWaits: attempts.mayor_waits,
    events.CostReported: attempts.cost_reported,
    intents.AttemptFailed: attempts.attempt_failed,
    intents.AgentReleased: attempts.released,
    intents.AgentStalled: attempts.stalled,
    intents.InactivityHandled: attempts.inactivity_handled,
    intents.ReviewSkipped: reviews.skipped,
    intents.ReviewFailed: reviews.failed,
    intents.GatesAsked: reviews.asked,
    intents.LandAsked: reviews.asked,
    intents.CallRepeated: reviews.repeated,
    events.CallFailed: reviews.call_failed,
    intents.SentBack: reviews.sent_back,
    events.GatesFinished: reviews.gates_finished,
    events.Landed: reviews.landed,
    events.LandRefused: reviews.land_refused,
    events.PullRequestSeen: reviews.pr_seen,
    events.PullRequestUnreadable: reviews.pr_unreadable,
    events.PullRequestAdopted: reviews.adopted,
    intents.LandingCreated: reviews.landing_created,
    intents.ConvoyEnded: reviews.convoy_ended,
    intents.ConvoyWaits: reviews.convoy_waits,
}

_BEFORE: Final = (events.TownCreated, events.NameLost)
"""What a town takes before it exists."""

_WORK: Final = (
    events.RigAdded,
    events.AgentAdded,
    events.BeadCreated,
    events.ConvoyCreated,
    events.ConvoyStarted,
    events.PullRequestAdopted,
    events.MailSent,
)
"""What begins something, which a closed town does not."""


def fold(d: Draft, event: events.Event, at: At) -> Declined:
    """Apply an event to a draft; return why not, or None."""
    d.now_ms = at.now_ms
    if not is_created(d) and not isinstance(event, _BEFORE):
        return Refused("no_such_town", "there is no such town")
    if is_closed(d):
        if isinstance(event, _WORK):
            return Refused("town_closed", "the town is closed")
        if isinstance(event, events.AgentDone | events.ChangesRequested):
            return Ignored("the town is closed")
    return _FOLDS[type(event)](d, event, at)


def apply(state: State, event: events.Event, at: At) -> Verdict[State]:
    """Apply one event to a state."""
    d = Draft(state)
    declined = fold(d, event, at)
    return Applied(d.close(), tuple(d.touched)) if declined is None else declined

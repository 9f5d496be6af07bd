"""Intents of a town: what its rules decided, as events of the same tick."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from holdfast.towns.state import NewBead, Severity


class Dispatched(Struct, frozen=True, kw_only=True, tag="BeadDispatched", gc=False):
    """Intent: an agent is started on a bead. Waits in ms: without contact, stale, after failure."""

    bead: str
    agent: str
    attempt: str
    unheard_ms: int
    stale_ms: int
    cooldown_ms: int
    refused_ms: int
    probe: bool = False


class MayorStarted(
    Struct, frozen=True, kw_only=True, tag="TownMayorStarted", omit_defaults=True, gc=False
):
    """Intent: a mayor is started. Waits in ms: without contact, and before the next start.

    `looks`: what waits for it now starts no other if this one ends well.
    """

    agent: str
    attempt: str
    unheard_ms: int
    again_ms: int
    looks: bool = False


class MayorIdles(Struct, frozen=True, tag="TownMayorIdles", gc=False):
    """Intent: nothing waits for a mayor; it is stopped in `after_ms`; 0: it goes on."""

    agent: str
    after_ms: int


class HostsAsked(Struct, frozen=True, tag="TownHostsAsked", gc=False):
    """Intent: these are the instances of its agents, which are asked by letter how they are."""

    hosts: tuple[str, ...]


class AbsenceTold(Struct, frozen=True, tag="TownAbsenceTold", gc=False):
    """Intent: somebody is asked about an agent whose instance was destroyed."""

    agent: str


class AttemptFailed(Struct, frozen=True, kw_only=True, tag="BeadAttemptFailed", gc=False):
    """Intent: an attempt is given up; its agent is stopped and its bead goes back."""

    agent: str
    attempt: str
    bead: str
    code: str
    charged: bool = True


class AgentReleased(Struct, frozen=True, tag="TownAgentReleased", gc=False):
    """Intent: an agent is stopped whose bead ended, or that works without one."""

    agent: str
    repair: bool = False


class AgentStalled(Struct, frozen=True, kw_only=True, tag="TownAgentStalled", gc=False):
    """Intent: an agent without work for too long is stopped, and waits for somebody to look."""

    agent: str
    release_ms: int


class InactivityHandled(
    Struct, frozen=True, tag="TownInactivityHandled", omit_defaults=True, gc=False
):
    """Intent: the rules answered an agent's inactivity of a level.

    A mayor is started again after `again_ms`, unless it works or nothing waits for it.
    """

    agent: str
    level: int
    again_ms: int = 0


class BeadFailed(Struct, frozen=True, tag="BeadFailed", gc=False):
    """Intent: a bead is given up, by a code."""

    bead: str
    code: str


class ReviewSkipped(Struct, frozen=True, tag="TownReviewSkipped", gc=False):
    """Intent: a merge request goes on without a review, as the town is set."""

    mr: str


class ReviewFailed(Struct, frozen=True, tag="TownReviewFailed", gc=False):
    """Intent: a merge request is given up, and its source goes back."""

    mr: str
    code: str


class GatesAsked(Struct, frozen=True, tag="TownGatesAsked", gc=False):
    """Intent: the gates of a rig are run; waits for an answer, and before asking again, in ms."""

    mr: str
    call: int
    answer_ms: int
    again_ms: int


class LandAsked(Struct, frozen=True, tag="TownLandAsked", gc=False):
    """Intent: a merge request is landed, at the commit whose gates were green, or merged."""

    mr: str
    call: int
    answer_ms: int
    again_ms: int


class CallRepeated(Struct, frozen=True, tag="TownCallRepeated", gc=False):
    """Intent: gates or landing without an answer are to be asked again."""

    mr: str


class SentBack(Struct, frozen=True, kw_only=True, tag="TownSentBack", gc=False):
    """Intent: a merge request waits for work that its gates, conflicts or readers ask for."""

    mr: str
    bead: NewBead


class LandingCreated(Struct, frozen=True, kw_only=True, tag="ConvoyLandingCreated", gc=False):
    """Intent: the branch of a convoy is to be merged; if it fails, again after `again_ms`."""

    convoy: str
    mr: str
    again_ms: int


class ConvoyEnded(Struct, frozen=True, tag="ConvoyEnded", gc=False):
    """Intent: a convoy is done, or given up by a code."""

    convoy: str
    code: str = ""


class ConvoyWaits(Struct, frozen=True, tag="ConvoyWaits", gc=False):
    """Intent: a convoy cannot land because a bead of it failed; somebody is asked."""

    convoy: str


class BreakerOpened(Struct, frozen=True, tag="TownBreakerOpened", gc=False):
    """Intent: dispatching is cut off until a time."""

    until_ms: int


class BreakerHalfOpened(Struct, frozen=True, tag="TownBreakerHalfOpened", gc=False):
    """Intent: one attempt may be made, to see whether starting works again."""


class BreakerClosed(Struct, frozen=True, tag="TownBreakerClosed", gc=False):
    """Intent: dispatching goes on as before."""


class BudgetChanged(Struct, frozen=True, tag="TownBudgetChanged", gc=False):
    """Intent: the money of the day is used up, or there is some again."""

    exhausted: bool


class EscalationBumped(Struct, frozen=True, tag="EscalationBumped", gc=False):
    """Intent: an escalation that nobody took on is made more severe."""

    escalation: str
    severity: Severity
    next_ms: int


class MailTried(Struct, frozen=True, tag="TownMailTried", gc=False):
    """Intent: a message is sent to its agent."""

    message: str
    again_ms: int


class Retired(Struct, frozen=True, tag="TownRetired", omit_defaults=True, gc=False):
    """Intent: what ended long ago leaves the state; its row stays for reading.

    More goes after `again_ms`, where that is given.
    """

    keys: tuple[str, ...]
    again_ms: int = 0


class BeadsEnded(Struct, frozen=True, tag="TownBeadsEnded", gc=False):
    """Intent: some of what was left in a town that was closed ends; more after `again_ms`."""

    beads: tuple[str, ...]
    again_ms: int


class BeadsFreed(Struct, frozen=True, tag="TownBeadsFreed", gc=False):
    """Intent: some of what waits for failed beads does so no longer, as the town is set."""

    beads: tuple[str, ...]


class ViolationOpened(Struct, frozen=True, kw_only=True, tag="TownViolationOpened", gc=False):
    """Intent: an invariant does not hold for an entity, or for another reason than before."""

    number: int
    entity: str
    text: str


class ViolationResolved(Struct, frozen=True, tag="TownViolationResolved", gc=False):
    """Intent: an invariant holds again for an entity."""

    number: int
    entity: str


class ViolationAlerted(Struct, frozen=True, tag="TownViolationAlerted", gc=False):
    """Intent: a violation that lasted is announced, once for each opening."""

    number: int
    entity: str


class ViolationWaits(Struct, frozen=True, tag="TownViolationWaits", gc=False):
    """Intent: a violation that may pass by itself is looked at again later."""

    number: int
    entity: str
    after_ms: int


Intent: TypeAlias = (
    Dispatched | MayorStarted | MayorIdles | HostsAsked | AbsenceTold | AttemptFailed
    | AgentReleased | AgentStalled | InactivityHandled | BeadFailed
    | ReviewSkipped | ReviewFailed | GatesAsked | LandAsked | CallRepeated
    | SentBack | LandingCreated | ConvoyEnded | ConvoyWaits | BreakerOpened | BreakerHalfOpened
    | BreakerClosed | BudgetChanged | EscalationBumped | MailTried | Retired | BeadsEnded
    | BeadsFreed
    | ViolationOpened | ViolationResolved | ViolationAlerted | ViolationWaits
)  # fmt: skip

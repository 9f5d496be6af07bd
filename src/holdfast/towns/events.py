"""What can happen to a town: requests, reports of agents, answers of hosts and forges, intents.

Beads name what somebody wrote by a content id; no event holds text of people or agents. A report
of an agent names its attempt: one of an earlier attempt changes nothing. Steady states are not
events: an agent that goes on working sends nothing that is recorded.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct

from holdfast.letters.towns import Absence
from holdfast.towns.intents import Intent
from holdfast.towns.state import (
    Config,
    ConvoyMode,
    NewBead,
    PullRequest,
    Role,
    Severity,
)

EVENT_VERSION = 1


class GateResult(Struct, frozen=True, gc=False):
    """How one gate of a rig ended; `content` is the id of its output."""

    name: str
    passed: bool
    content: str = ""


# ------------------------------------------------------------------------------ the town itself


class TownCreated(Struct, frozen=True, kw_only=True, tag="TownCreated", gc=False):
    """A town was made for an account."""

    account: str
    name: str
    by: str
    config: Config = Config()


class TownConfigured(Struct, frozen=True, kw_only=True, tag="TownConfigured", gc=False):
    """Its owner changed what is set for it: the fields that `only` names, or all.

    What waits for failed beads is freed in `steps` of its rules; logs from before have all of it
    freed by this event.
    """

    config: Config
    by: str
    only: tuple[str, ...] = ()
    steps: bool = False


class TownClosed(Struct, frozen=True, tag="TownClosed", gc=False):
    """It is closed for good: its agents and its mayor are stopped, nothing starts any more.

    What is left ends in `steps` of its rules; logs from before have it end with this event.
    """

    by: str
    steps: bool = False


class NameLost(Struct, frozen=True, tag="TownNameLost", gc=False):
    """Another town of the account has its name: it is not made, or ends."""


class RigAdded(Struct, frozen=True, kw_only=True, tag="TownRigAdded", gc=False):
    """A repository was added, or what is set for it changed; `gates` are names of its checks.

    None leaves what is set: an empty repository and no cap for a new rig.
    """

    rig: str
    name: str
    branch: str = "main"
    repository: str | None = None
    gates: tuple[str, ...] = ()
    agents_max: int | None = None


class RigRemoved(Struct, frozen=True, tag="TownRigRemoved", gc=False):
    """A repository is gone: nothing more is started in it, and what is under way there ends."""

    rig: str


class AgentAdded(Struct, frozen=True, kw_only=True, tag="TownAgentAdded", gc=False):
    """An agent was added, by a person or because work needs one."""

    agent: str
    role: Role
    rig: str = ""
    name: str = ""
    host: str = ""


class AgentRemoved(Struct, frozen=True, tag="TownAgentRemoved", gc=False):
    """An agent is removed, unless it works on a bead."""

    agent: str


class LoopResumed(Struct, frozen=True, tag="TownLoopResumed", gc=False):
    """The loop runs again after a pause or a step of the clock: ages count from now."""


class DrainStarted(Struct, frozen=True, tag="TownDrainStarted", gc=False):
    """The agents' host is going away; `until_ms` is when the drain is given up."""

    nonce: str
    until_ms: int


class DrainEnded(Struct, frozen=True, tag="TownDrainEnded", gc=False):
    """The host is back, by its nonce, or the drain took too long (empty nonce)."""

    nonce: str = ""


# ----------------------------------------------------------------------------------------- work


class BeadCreated(Struct, frozen=True, kw_only=True, tag="BeadCreated", gc=False):
    """An issue was slung, or made because a merge request needs work (`source`).

    `bounded`: so many may wait for one bead; logs from before have no such limit.
    """

    bead: NewBead
    by: str = ""
    source: str = ""
    bounded: bool = False


class ConvoyCreated(Struct, frozen=True, kw_only=True, tag="ConvoyCreated", gc=False):
    """Issues of one rig that land together; `blocked_by` of each may name others of them.

    `bounded` is as for a BeadCreated.
    """

    convoy: str
    beads: tuple[NewBead, ...]
    branch: str
    mode: ConvoyMode = "review-then-land"
    staged: bool = False
    content: str = ""
    by: str = ""
    bounded: bool = False


class ConvoyStarted(Struct, frozen=True, tag="ConvoyStarted", gc=False):
    """A staged convoy may begin."""

    convoy: str


class BeadCancelled(Struct, frozen=True, tag="BeadCancelled", gc=False):
    """A bead was ended by a person or an agent; a convoy with all its beads."""

    bead: str
    status: Literal["closed", "failed"] = "failed"
    by: str = ""


class BeadHeld(Struct, frozen=True, tag="BeadHeld", gc=False):
    """A bead is kept from being handed out, or let go again."""

    bead: str
    held: bool = True


class BlockerWaived(Struct, frozen=True, tag="BlockerWaived", gc=False):
    """A bead need not wait for another any more."""

    bead: str
    blocker: str


class PullRequestAdopted(Struct, frozen=True, kw_only=True, tag="PullRequestAdopted", gc=False):
    """A pull request that others made is watched and merged here."""

    bead: str
    rig: str
    branch: str
    pr_url: str
    content: str = ""


class Escalated(Struct, frozen=True, kw_only=True, tag="TownEscalated", gc=False):
    """A person or the mayor is needed about a bead or an agent; one per subject and category."""

    escalation: str
    severity: Severity
    category: str
    about: str = ""
    content: str = ""


class EscalationAcknowledged(Struct, frozen=True, tag="EscalationAcknowledged", gc=False):
    """Somebody took an escalation on."""

    escalation: str
    by: str


class MailSent(Struct, frozen=True, kw_only=True, tag="TownMailSent", gc=False):
    """A message to an agent, which is delivered while it works."""

    message: str
    to: str
    sender: str = ""
    content: str = ""


class NudgeSent(Struct, frozen=True, kw_only=True, tag="TownNudgeSent", gc=False):
    """An agent is poked: by a person (level 0), or because an attempt of it is inactive."""

    nudge: str
    agent: str
    level: int = 0
    content: str = ""
    attempt: str = ""
    again_ms: int = 0


# ------------------------------------------------------------------------- what agents report


class AgentHeard(Struct, frozen=True, tag="TownAgentHeard", gc=False):
    """An attempt's first sign of life, or the first after it was silent or inactive."""

    agent: str
    attempt: str


class AgentSilent(Struct, frozen=True, tag="TownAgentSilent", gc=False):
    """An attempt has sent no heartbeat for as long as the policy waits."""

    agent: str
    attempt: str


class AgentInactive(Struct, frozen=True, kw_only=True, tag="TownAgentInactive", gc=False):
    """An attempt lives but reports no work; `level` is 1 to warn, 2 to escalate, 3 to stop."""

    agent: str
    attempt: str
    level: Literal[1, 2, 3]
    tools: bool = False


class AgentDone(Struct, frozen=True, kw_only=True, tag="TownAgentDone", gc=False):
    """An attempt finished: work on a branch, or a review that approves."""

    agent: str
    attempt: str
    branch: str = ""
    commit: str = ""
    pr_url: str = ""


class ChangesRequested(Struct, frozen=True, kw_only=True, tag="TownChangesRequested", gc=False):
    """A review sends a merge request back."""

    agent: str
    attempt: str
    content: str = ""


class AgentExited(Struct, frozen=True, kw_only=True, tag="TownAgentExited", gc=False):
    """An attempt's process ended, or its host does not know it any more."""

    agent: str
    attempt: str
    status: Literal["completed", "failed", "gone", "evicted"]
    code: str = ""


class HostSeen(Struct, frozen=True, kw_only=True, tag="TownHostSeen", gc=False):
    """An instance says whether its agents can work; `account` owns it."""

    host: str
    account: str
    absence: Absence


class MayorWaits(Struct, frozen=True, tag="TownMayorWaits", omit_defaults=True, gc=False):
    """The mayor waits for its person, or goes on; logs from before do not name its `attempt`."""

    agent: str
    waits: bool
    attempt: str = ""


class CostReported(Struct, frozen=True, kw_only=True, tag="TownCostReported", gc=False):
    """What an attempt has cost so far, in millionths of a dollar; the greatest number holds.

    With the `id` of a piece of its work it is what that piece cost: one id is one event. With
    `late` its host says it, of an attempt at `bead` that may be over, since it was done before.
    """

    agent: str
    attempt: str
    microdollars: int
    id: str = ""
    late: bool = False
    bead: str = ""


# ------------------------------------------------------------------------- answers of the world


class AgentStarted(Struct, frozen=True, tag="TownAgentStarted", gc=False):
    """A host started an attempt."""

    agent: str
    attempt: str


class StartRefused(Struct, frozen=True, kw_only=True, tag="TownStartRefused", gc=False):
    """An attempt did not start. `charged`: by the bead's or rig's fault, not the host's."""

    agent: str
    attempt: str
    code: str
    charged: bool = False


class StartDoubted(Struct, frozen=True, tag="TownStartDoubted", gc=False):
    """It is not known whether an attempt started; if it did, it will be heard."""

    agent: str
    attempt: str
    code: str


class AgentStopped(Struct, frozen=True, tag="TownAgentStopped", gc=False):
    """A host stopped an agent, or never ran it."""

    agent: str
    epoch: int


class StopFailed(Struct, frozen=True, tag="TownStopFailed", gc=False):
    """A host did not stop an agent; its attempt counts for nothing all the same."""

    agent: str
    epoch: int
    code: str


class GatesFinished(Struct, frozen=True, kw_only=True, tag="TownGatesFinished", gc=False):
    """The gates of a rig ran on a merge request; `commit` is what they ran on."""

    mr: str
    call: int
    commit: str
    results: tuple[GateResult, ...] = ()


class Landed(Struct, frozen=True, kw_only=True, tag="TownLanded", gc=False):
    """A merge request is in its target branch."""

    mr: str
    call: int
    commit: str = ""


class LandRefused(Struct, frozen=True, kw_only=True, tag="TownLandRefused", gc=False):
    """It was not landed: `moved` (its target went on), `conflict`, or for good, by a code."""

    mr: str
    call: int
    code: str


class CallFailed(Struct, frozen=True, kw_only=True, tag="TownCallFailed", gc=False):
    """Gates or landing gave no answer; they are asked again."""

    mr: str
    call: int
    code: str


class PullRequestSeen(Struct, frozen=True, tag="PullRequestSeen", gc=False):
    """What a forge says about a pull request changed."""

    mr: str
    pr: PullRequest


class PullRequestUnreadable(Struct, frozen=True, kw_only=True, tag="PullRequestUnreadable",
                            gc=False):  # fmt: skip
    """A pull request cannot be read; `lasting` says that waiting does not help."""

    mr: str
    code: str
    lasting: bool


class NudgeDelivered(Struct, frozen=True, tag="TownNudgeDelivered", gc=False):
    """A nudge arrived, or its agent is not there to take it."""

    nudge: str


class MailDelivered(Struct, frozen=True, tag="TownMailDelivered", gc=False):
    """A message arrived."""

    message: str


class SendFailed(Struct, frozen=True, kw_only=True, tag="TownSendFailed", gc=False):
    """A nudge, message or notice did not arrive."""

    what: str
    code: str


class Notified(Struct, frozen=True, tag="TownNotified", gc=False):
    """A notice to the owner arrived."""

    what: str


Request: TypeAlias = (
    TownCreated | TownConfigured | TownClosed | NameLost | RigAdded | RigRemoved | AgentAdded
    | AgentRemoved | LoopResumed | DrainStarted | DrainEnded | BeadCreated | ConvoyCreated
    | ConvoyStarted | BeadCancelled | BeadHeld | BlockerWaived | PullRequestAdopted | Escalated
    | EscalationAcknowledged | MailSent | NudgeSent
)  # fmt: skip
Report: TypeAlias = (
    AgentHeard | AgentSilent | AgentInactive | AgentDone | ChangesRequested | AgentExited
    | MayorWaits | CostReported
)  # fmt: skip
CallOutcome: TypeAlias = (
    AgentStarted | StartRefused | StartDoubted | AgentStopped | StopFailed | GatesFinished | Landed
    | LandRefused | CallFailed | PullRequestSeen | PullRequestUnreadable | NudgeDelivered
    | MailDelivered | SendFailed | Notified | HostSeen
)  # fmt: skip
Event: TypeAlias = Request | Report | CallOutcome | Intent

_decoder = msgspec.json.Decoder(Event)
encode_event = msgspec.json.Encoder().encode


def decode_event(body: bytes, _version: int) -> Event:
    """Return a stored event; there is one version so far, without upcasts."""
    event: Event = _decoder.decode(body)
    return event

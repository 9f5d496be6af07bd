"""Endpoints that agents of towns call: what am I to do, done, send back, escalate, mail, nudge.

The bearer token is that of one attempt (`hfa_…`) and counts for its agent, in its town, while that
attempt is the present one. Texts are kept beside the town and are content: they are written by
models, and whoever shows them escapes them.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from holdfast.wire.api.endpoint import Counter, Id, Label, Time, look, order
from holdfast.wire.api.operations import Pending

TITLE_MAX: Final = 256
BODY_MAX: Final = 32_768
MESSAGES_MAX: Final = 100
AGENTS_MAX: Final = 100
TOOLS_MAX: Final = 64
COMMAND_MAX: Final = 64
WORD_MAX: Final = 4_096
COST_MAX: Final = 1_000_000_000
"""Millionths of a dollar in one report: by far more than any turn of a model costs."""
AGE_MAX_S: Final = 31 * 86_400

_END: Final = r"$(?!\n)"

Title = Annotated[str, Meta(max_length=TITLE_MAX)]
Body = Annotated[str, Meta(max_length=BODY_MAX)]
Said = Annotated[str, Meta(min_length=1, max_length=BODY_MAX)]
Branch = Annotated[str, Meta(max_length=200, pattern=rf"^([A-Za-z0-9][A-Za-z0-9._/-]*)?{_END}")]
"""A branch as an agent names it; a forge checks it by git's own rules."""
Commit = Annotated[str, Meta(max_length=64, pattern=rf"^([0-9a-f]{{7,64}})?{_END}")]
Url = Annotated[str, Meta(max_length=2_048)]
"""The address of a pull request; the town refuses one that is not https."""
Category = Annotated[str, Meta(min_length=1, max_length=63, pattern=rf"^[a-z0-9][a-z0-9_-]*{_END}")]
Nonce = Annotated[str, Meta(max_length=256)]
Severity = Literal["low", "medium", "high", "critical"]


class ToolGate(Struct, frozen=True, kw_only=True):
    """A check of the rig, green before anything lands; an empty command is not known here."""

    name: Label
    command: Annotated[
        tuple[Annotated[str, Meta(max_length=WORD_MAX)], ...], Meta(max_length=COMMAND_MAX)
    ] = ()


class ToolMessage(Struct, frozen=True, kw_only=True):
    """What waits for the agent until it acknowledges it.

    `sender` is an agent or a person. The mayor is shown open escalations as well; `about` is then
    what they are about.
    """

    id: Id
    kind: Literal["mail", "nudge", "escalation"]
    sender: Label = ""
    about: Label = ""
    title: Title = ""
    body: Body = ""
    sent_at: Time | None = None


class ToolConvoy(Struct, frozen=True, kw_only=True):
    """The convoy that the bead lands with."""

    id: Id
    title: Title = ""
    branch: Label = ""
    total: Counter = 0
    closed: Counter = 0
    failed: Counter = 0


class ToolAgent(Struct, frozen=True, kw_only=True):
    """Another agent of the town, to write to."""

    id: Id
    role: Literal["mayor", "polecat", "refinery"]
    name: Label = ""
    rig: Label = ""
    status: Label = ""


class ToolPrime(Struct, frozen=True, kw_only=True):
    """What an agent is to do now. A mayor, and an agent without a bead, have an empty `bead`.

    `text` is the issue; for a mayor, what to do with the messages. `branch` is where the work
    belongs, `target` where it lands. `changes` is what a review, a gate or a forge asked to change,
    `why` the word for it. `agents` are some of
    the others, the mayor first.
    """

    town: Id
    agent: Id
    role: Literal["mayor", "polecat", "refinery"]
    attempt: Label
    rig: Label = ""
    bead: Label = ""
    type: Label = ""
    purpose: Label = ""
    title: Title = ""
    text: Body = ""
    branch: Label = ""
    target: Label = ""
    commit: Label = ""
    pr_url: Url = ""
    why: Label = ""
    changes: Body = ""
    gates: Annotated[tuple[ToolGate, ...], Meta(max_length=16)] = ()
    convoy: ToolConvoy | None = None
    messages: Annotated[tuple[ToolMessage, ...], Meta(max_length=MESSAGES_MAX)] = ()
    agents: Annotated[tuple[ToolAgent, ...], Meta(max_length=AGENTS_MAX)] = ()
    drain: Nonce = ""


class ToolDone(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The work is on a branch, or the review approves; `pr_url` of a pull request that was made."""

    branch: Branch = ""
    commit: Commit = ""
    pr_url: Url = ""


class ToolChanges(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A review sends a merge request back; `body` says what has to change."""

    body: Said
    title: Title = ""


class ToolEscalate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ask for a person or the mayor, once for each subject and category.

    `about` is a bead of the town; empty for the agent's own.
    """

    category: Category
    body: Said
    title: Title = ""
    severity: Severity = "medium"
    about: Label = ""


class ToolMail(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A message to another agent of the town, delivered while it works."""

    to: Id
    body: Said
    title: Title = ""


class ToolNudge(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Poke another agent of the town; it is dropped when it cannot be delivered within an hour."""

    to: Id
    body: Said


class ToolAcknowledge(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the agent has read: messages and nudges to it; or an escalation that it takes on."""

    ids: Annotated[tuple[Id, ...], Meta(min_length=1, max_length=MESSAGES_MAX)]


class ToolCost(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a piece of the attempt's work cost, in millionths of a dollar.

    `id` names the piece, such as a request to a model: one that is reported again counts once.
    """

    id: Id
    microdollars: Annotated[int, Meta(ge=0, le=COST_MAX)]


class ToolBeat(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A sign of life. `tools` are those that run now, `worked_s_ago` the age of the last work.

    An attempt that never says when it worked is taken to work while it beats. `attempt` is checked
    where it is given. `waits` is for the mayor, who waits for its person.
    """

    attempt: Label = ""
    tools: Annotated[tuple[Label, ...], Meta(max_length=TOOLS_MAX)] = ()
    worked_s_ago: Annotated[int, Meta(ge=0, le=AGE_MAX_S)] | None = None
    waits: bool | None = None


class ToolBeatAnswer(Struct, frozen=True, kw_only=True):
    """How many messages wait, and while the town drains, by which nonce: finish, save, and end."""

    messages: Counter = 0
    drain: Nonce = ""


class ToolTaken(Struct, frozen=True, kw_only=True):
    """It was taken. `changed` is false where it changed nothing; `reason` then says why."""

    changed: bool
    id: Label = ""
    reason: Body = ""


_ROOT: Final = "/api/towns/{id}/tools"
_ordered: Final = partial(order, scope="attempt", pending=Pending, statuses=(200, 202, 409))

TOWN_TOOLS: Final = (
    look("tools.prime", f"{_ROOT}/prime", ToolPrime, "What an agent is to do.", scope="attempt"),
    _ordered("tools.done", f"{_ROOT}/done", ToolDone, ToolTaken, "Say that an attempt is done."),
    _ordered(
        "tools.request-changes", f"{_ROOT}/request-changes", ToolChanges, ToolTaken,
        "Send a merge request back.",
    ),
    _ordered("tools.escalate", f"{_ROOT}/escalate", ToolEscalate, ToolTaken, "Ask for a person."),
    _ordered("tools.mail", f"{_ROOT}/mail", ToolMail, ToolTaken, "Write to another agent."),
    _ordered("tools.nudge", f"{_ROOT}/nudge", ToolNudge, ToolTaken, "Poke another agent."),
    _ordered(
        "tools.acknowledge", f"{_ROOT}/acknowledge", ToolAcknowledge, ToolTaken,
        "Say which messages were read, or take an escalation on.",
    ),
    _ordered("tools.cost", f"{_ROOT}/cost", ToolCost, ToolTaken, "Report what work cost."),
    order(
        "tools.heartbeat", f"{_ROOT}/heartbeat", ToolBeat, ToolBeatAnswer,
        "Say that an attempt lives.", scope="attempt", mutates=False,
    ),
)  # fmt: skip

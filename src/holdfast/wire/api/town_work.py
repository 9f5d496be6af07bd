"""Endpoints about the work of a town: beads, convoys, escalations, mail, nudges.

A bead in a path is its id, or the beginning of one as long as it is the only one. Titles and texts
are kept beside the town and can be erased; ids, states and decisions are its history.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from holdfast.wire.api.endpoint import (
    ID_PATTERN,
    NAME_PATTERN,
    PAGING,
    Counter,
    Cursor,
    Empty,
    Given,
    Id,
    Label,
    Param,
    Reason,
    Time,
    look,
)
from holdfast.wire.api.operations import followed
from holdfast.wire.api.towns import AGENT, Branch, Severity
from holdfast.wire.limits import INSTANCE_BODY_BYTES_MAX, PAGE_ITEMS_MAX

BLOCKERS_MAX: Final = 32
TASKS_MAX: Final = 100
TITLE_MAX: Final = 200
BODY_MAX: Final = 65_536
"""Characters of the text of a bead or message, and of a gate's output."""
WORK_BODY_BYTES_MAX: Final = 524_288

Title = Annotated[str, Meta(min_length=1, max_length=TITLE_MAX)]
Body = Annotated[str, Meta(max_length=BODY_MAX)]
Priority = Annotated[int, Meta(ge=0, le=3)]
"""0 is the most urgent."""
BeadType = Literal["issue", "merge_request", "convoy", "escalation", "message"]
BeadStatus = Literal["open", "in_progress", "in_review", "closed", "failed"]
Stage = Literal["queued", "reviewing", "approved", "gating", "green", "landing", "red", "polling"]
Url = Annotated[str, Meta(max_length=1_024)]


class BeadSling(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An issue to be done. It waits for those in `blocked_by`; a held one waits to be released."""

    rig: Given
    title: Title
    body: Body = ""
    priority: Priority = 2
    blocked_by: Annotated[tuple[Id, ...], Meta(max_length=BLOCKERS_MAX)] = ()
    held: bool = False


class BeadView(Struct, frozen=True, kw_only=True):
    """A bead as it was committed last.

    `content` is the id of its text. `blocked_by` are those that it still waits for, `blockers` how
    many. `attempts` may have started, `charged` of them failed by the bead's or its agent's fault.
    `failure` is the code of why it failed.
    """

    id: Id
    type: BeadType
    status: BeadStatus
    title: Annotated[str, Meta(max_length=TITLE_MAX)]
    purpose: Literal["work", "rework", "pr_feedback", "pr_conflict"]
    rig: Label
    priority: Counter
    content: Label
    assignee: Label
    attempts: Counter
    charged: Counter
    blockers: Counter
    blocked_by: Annotated[tuple[Label, ...], Meta(max_length=BLOCKERS_MAX)]
    held: bool
    staged: bool
    convoy: Label
    source: Label
    failure: Label
    cost: Counter
    created_at: Time
    updated_at: Time


class BeadList(Struct, frozen=True, kw_only=True):
    """Beads of a town by id, with those that ended."""

    items: Annotated[tuple[BeadView, ...], Meta(max_length=PAGE_ITEMS_MAX)]
    next: Cursor = ""


class PullRequestView(Struct, frozen=True, kw_only=True):
    """What a forge said last about a pull request."""

    state: Literal["open", "merged", "closed"]
    conflicts: bool
    unresolved: bool
    failing: bool
    pending: bool
    awaiting_approval: bool
    changes_requested: bool
    commit: Label


class ReviewView(Struct, frozen=True, kw_only=True):
    """What is to land where, and how far that is.

    `why` is the code of what sent it back, `said` the text of that: of a reviewer, or what a red
    gate wrote. `reworks` counts how often that was. `landing` is one of a convoy's branch.
    """

    branch: Annotated[str, Meta(max_length=200)]
    target: Annotated[str, Meta(max_length=200)]
    stage: Literal[
        "queued", "reviewing", "approved", "gating", "green", "landing", "red", "polling"
    ]
    commit: Label
    merge_commit: Label
    reworks: Counter
    why: Label
    said: Body
    landing: bool
    pr_url: Url
    pr: PullRequestView | None


class ConvoyFacts(Struct, frozen=True, kw_only=True):
    """The part of a bead that is a convoy."""

    branch: Annotated[str, Meta(max_length=200)]
    mode: Literal["review-then-land", "review-and-merge"]
    staged: bool
    total: Counter
    closed: Counter
    failed: Counter
    landings: Counter
    landed_at: Time | None


class EscalationFacts(Struct, frozen=True, kw_only=True):
    """The part of a bead that is an escalation: `about` is the key of what it is about."""

    severity: Severity
    category: Label
    about: Label
    bumps: Counter


class Dependency(Struct, frozen=True, kw_only=True):
    """A bead that another waits for (`blocks`) or belongs to (`tracks`)."""

    id: Label
    type: Literal["blocks", "tracks"]
    status: BeadStatus | None
    title: Annotated[str, Meta(max_length=TITLE_MAX)]


class BeadDetail(BeadView, frozen=True, kw_only=True):
    """One bead with its text, what it depends on, and the part that its type adds."""

    body: Body
    dependencies: Annotated[tuple[Dependency, ...], Meta(max_length=PAGE_ITEMS_MAX)]
    review: ReviewView | None
    convoy_facts: ConvoyFacts | None
    escalation: EscalationFacts | None


class Held(Struct, frozen=True, kw_only=True):
    """What a rule says of a bead: why it waits, or what is done with it."""

    rule: Label
    reason: Reason


class BeadWhy(Struct, frozen=True, kw_only=True):
    """Why a bead waits: the rules that hold it back, and what the next tick does with it."""

    id: Id
    status: BeadStatus
    waits: Annotated[tuple[Held, ...], Meta(max_length=PAGE_ITEMS_MAX)]
    next: Annotated[tuple[Held, ...], Meta(max_length=PAGE_ITEMS_MAX)]
    violations: Annotated[tuple[Reason, ...], Meta(max_length=PAGE_ITEMS_MAX)]
    next_tick_at: Time | None


class BeadCancel(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """End a bead and what hangs on it; `closed` is as if it were done."""

    status: Literal["closed", "failed"] = "failed"


class BeadWaive(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Let a bead go on without one of those that it waits for."""

    blocker: Id


class TaskAdd(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A task of a convoy; `depends_on` are places of others in the list, from 0."""

    title: Title
    body: Body = ""
    priority: Priority = 2
    depends_on: Annotated[
        tuple[Annotated[int, Meta(ge=0, le=TASKS_MAX - 1)], ...], Meta(max_length=BLOCKERS_MAX)
    ] = ()


class ConvoyCreate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tasks of one rig that land together, on a branch of their own. A staged one waits."""

    rig: Given
    title: Title
    tasks: Annotated[tuple[TaskAdd, ...], Meta(min_length=1, max_length=TASKS_MAX)]
    body: Body = ""
    mode: Literal["review-then-land", "review-and-merge"] = "review-then-land"
    staged: bool = False


class ConvoyView(Struct, frozen=True, kw_only=True):
    """A convoy: the bead, and its tasks by id where it is asked for alone."""

    bead: BeadView
    facts: ConvoyFacts
    tasks: Annotated[tuple[BeadView, ...], Meta(max_length=PAGE_ITEMS_MAX)] = ()


class ConvoyList(Struct, frozen=True, kw_only=True):
    """Convoys of a town by id, with those that ended."""

    items: Annotated[tuple[ConvoyView, ...], Meta(max_length=PAGE_ITEMS_MAX)]
    next: Cursor = ""


class EscalationView(Struct, frozen=True, kw_only=True):
    """An escalation; a closed one was taken on."""

    bead: BeadView
    facts: EscalationFacts
    body: Body


class EscalationList(Struct, frozen=True, kw_only=True):
    """Escalations of a town by id."""

    items: Annotated[tuple[EscalationView, ...], Meta(max_length=PAGE_ITEMS_MAX)]
    next: Cursor = ""


class MailSend(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A message to an agent, by id or name; it is delivered while the agent works."""

    to: Id
    title: Title
    body: Body = ""


class NudgeSend(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A word to an agent that works."""

    message: Body


class PullRequestAdopt(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pull request that others made, to be watched and merged here."""

    rig: Given
    branch: Branch
    pr_url: Annotated[str, Meta(min_length=1, max_length=1_024)]
    title: Title
    body: Body = ""


class Sent(Struct, frozen=True, kw_only=True):
    """What was sent, by its id."""

    id: Id


class TextView(Struct, frozen=True, kw_only=True):
    """A text by its id: of a bead, a message, a review, or what a gate wrote."""

    id: Label
    kind: Label
    title: Annotated[str, Meta(max_length=TITLE_MAX)]
    body: Body
    made_at: Time


_ONE: Final = "/api/towns/{id}"
_BEADS: Final = f"{_ONE}/beads/{{bead}}"
BEAD: Final = Param("bead", ID_PATTERN, "The id of the bead, or how it begins.", required=True)
_TEXT: Final = Param("text", ID_PATTERN, "The id of the text.", required=True)
_FILTERS: Final = (
    Param("status", "open|in_progress|in_review|closed|failed|live", "Only of this status."),
    Param("type", "issue|merge_request|convoy|escalation|message", "Only of this type."),
    Param("rig", NAME_PATTERN, "Only of this rig."),
)

TOWN_WORK: Final = (
    followed(
        "towns.sling", f"{_ONE}/beads", BeadSling, BeadView, "Give a town an issue to do.",
        body_bytes_max=WORK_BODY_BYTES_MAX,
    ),
    look("towns.beads", f"{_ONE}/beads", BeadList, "Beads of a town.", *PAGING, *_FILTERS),
    look("towns.bead", _BEADS, BeadDetail, "One bead of a town.", BEAD),
    look(
        "towns.why", f"{_BEADS}/why", BeadWhy, "Why a bead waits.", BEAD, statuses=(200, 503)
    ),
    followed(
        "towns.cancel", f"{_BEADS}/cancel", BeadCancel, BeadView,
        "End a bead, and what hangs on it.", params=(BEAD,),
    ),
    followed(
        "towns.hold", f"{_BEADS}/hold", Empty, BeadView, "Keep an issue from being handed out.",
        params=(BEAD,),
    ),
    followed(
        "towns.release", f"{_BEADS}/release", Empty, BeadView, "Let a held issue go.",
        params=(BEAD,),
    ),
    followed(
        "towns.waive", f"{_BEADS}/waive", BeadWaive, BeadView,
        "Let a bead go on without one that it waits for.", params=(BEAD,),
    ),
    look("towns.text", f"{_ONE}/texts/{{text}}", TextView, "A text by its id.", _TEXT),
    look("towns.convoys", f"{_ONE}/convoys", ConvoyList, "Convoys of a town.", *PAGING),
    followed(
        "towns.convoy", f"{_ONE}/convoys", ConvoyCreate, ConvoyView,
        "Give a town tasks that land together.", body_bytes_max=INSTANCE_BODY_BYTES_MAX,
    ),
    look("towns.get-convoy", f"{_ONE}/convoys/{{bead}}", ConvoyView, "A convoy.", BEAD),
    followed(
        "towns.start-convoy", f"{_ONE}/convoys/{{bead}}/start", Empty, ConvoyView,
        "Let a staged convoy begin.", params=(BEAD,),
    ),
    followed(
        "towns.cancel-convoy", f"{_ONE}/convoys/{{bead}}/cancel", BeadCancel, ConvoyView,
        "End a convoy with all its tasks.", params=(BEAD,),
    ),
    look(
        "towns.escalations", f"{_ONE}/escalations", EscalationList,
        "What somebody is needed for.", *PAGING,
    ),
    followed(
        "towns.acknowledge", f"{_ONE}/escalations/{{bead}}/acknowledge", Empty, BeadView,
        "Take an escalation on.", params=(BEAD,),
    ),
    followed(
        "towns.mail", f"{_ONE}/mail", MailSend, BeadView, "Send an agent a message.",
        body_bytes_max=WORK_BODY_BYTES_MAX,
    ),
    followed(
        "towns.nudge", f"{_ONE}/agents/{{agent}}/nudge", NudgeSend, Sent,
        "Poke an agent that works.", params=(AGENT,), body_bytes_max=WORK_BODY_BYTES_MAX,
    ),
    followed(
        "towns.adopt", f"{_ONE}/pull-requests", PullRequestAdopt, BeadView,
        "Watch and merge a pull request of others.", body_bytes_max=WORK_BODY_BYTES_MAX,
    ),
)  # fmt: skip

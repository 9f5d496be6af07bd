"""Endpoints that show a town to people: the whole of it now or at an earlier tick, and one bead.

Everything here is read from the state that the rules decide by, so what is said of a bead is what
the rules say. Titles and texts are looked up by their ids and are empty where they were erased.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from holdfast.wire.api.endpoint import (
    ACCOUNT,
    ID_PATTERN,
    PAGING,
    Counter,
    Cursor,
    Id,
    Label,
    Param,
    Reason,
    Time,
    look,
)
from holdfast.wire.limits import LOG_LINE_MAX, PAGE_ITEMS_MAX

BoardStatus = Literal["open", "in_progress", "in_review", "closed", "failed"]
Trouble = Literal["bad", "warn", "info"]
"""How much something hurts: look now, look when you can, good to know."""

MEMBERS_MAX: Final = 100
TITLES_MAX: Final = 2_000
OUTPUT_MAX: Final = 65_536

Title = Annotated[str, Meta(max_length=LOG_LINE_MAX)]
Ids = Annotated[tuple[Label, ...], Meta(max_length=PAGE_ITEMS_MAX)]


class BoardNote(Struct, frozen=True, kw_only=True):
    """One thing about a town in words; `about` is the key of what it is about, as `b/` and an id.

    `until` is when the rules look at it again by themselves.
    """

    code: Label
    text: Reason
    trouble: Trouble = "info"
    about: Label = ""
    since: Time | None = None
    until: Time | None = None


class BoardCard(Struct, frozen=True, kw_only=True):
    """A bead. `why` says what it waits for or who is on it, and `rule` which rule holds it.

    `since` is when it last changed. `request` is its live merge request. `cost` is of its attempts,
    in millionths of a dollar.
    """

    id: Label
    type: Label
    status: BoardStatus
    purpose: Label = ""
    rig: Label = ""
    priority: Counter = 2
    content: Label = ""
    agent: Label = ""
    agent_name: Label = ""
    why: Reason = ""
    rule: Label = ""
    since: Time | None = None
    attempts: Counter = 0
    failed_attempts: Counter = 0
    cost: Counter = 0
    held: bool = False
    staged: bool = False
    convoy: Label = ""
    source: Label = ""
    request: Label = ""
    failure: Label = ""
    blocked_by: Ids = ()
    waited_for: Ids = ()


class BoardColumn(Struct, frozen=True, kw_only=True):
    """The issues of one status: the first of them, and how many there are."""

    status: BoardStatus
    total: Counter
    cards: Annotated[tuple[BoardCard, ...], Meta(max_length=PAGE_ITEMS_MAX)]


class BoardAgent(Struct, frozen=True, kw_only=True):
    """An agent: the bead on its hook, and what it does in words, since when.

    `until` is when the rules look at the mayor again: it is started, stopped, or started anew.
    """

    id: Label
    name: Label
    role: Label
    rig: Label
    host: Label
    status: Label
    hook: Label
    content: Label = ""
    does: Reason
    trouble: Trouble = "info"
    since: Time | None = None
    until: Time | None = None


class BoardRequest(Struct, frozen=True, kw_only=True):
    """A merge request in the queue of its rig. `stage_words` says how far it is."""

    card: BoardCard
    branch: Reason
    target: Reason
    stage: Label
    stage_words: Reason
    commit: Label = ""
    pr_url: Annotated[str, Meta(max_length=LOG_LINE_MAX)] = ""
    reworks: Counter = 0
    landing: bool = False


class BoardConvoy(Struct, frozen=True, kw_only=True):
    """A convoy with its beads; each bead names which others of it are before it."""

    card: BoardCard
    branch: Reason
    staged: bool
    total: Counter
    closed: Counter
    failed: Counter
    landed: Time | None = None
    beads: Annotated[tuple[BoardCard, ...], Meta(max_length=MEMBERS_MAX)]


class BoardEscalation(Struct, frozen=True, kw_only=True):
    """Somebody is needed about a bead or an agent."""

    id: Label
    severity: Label
    category: Label
    text: Reason
    about: Label
    content: Label = ""
    since: Time | None = None


class BoardRig(Struct, frozen=True, kw_only=True):
    """A repository of the town."""

    id: Label
    name: Label
    branch: Reason
    repository: Reason
    gates: Annotated[tuple[Label, ...], Meta(max_length=PAGE_ITEMS_MAX)]
    gone: bool
    busy: Counter
    waiting: Counter


class TownBoard(Struct, frozen=True, kw_only=True):
    """A whole town as it was committed by tick `tick` at `at`.

    `doing` is what it does in one sentence; `notes` are what keeps it from working, the worst
    first. `limits` are its breaker, budget and caps in words. `titles` has those of all contents
    that are named, as far as they are known. `past` says that it is not the present.
    """

    id: Id
    name: Label
    account: Label
    at: Time
    tick: Counter
    past: bool = False
    closed: bool = False
    draining: bool = False
    doing: Reason
    notes: Annotated[tuple[BoardNote, ...], Meta(max_length=PAGE_ITEMS_MAX)] = ()
    limits: Annotated[tuple[BoardNote, ...], Meta(max_length=PAGE_ITEMS_MAX)] = ()
    columns: Annotated[tuple[BoardColumn, ...], Meta(max_length=8)] = ()
    agents: Annotated[tuple[BoardAgent, ...], Meta(max_length=PAGE_ITEMS_MAX)] = ()
    agents_total: Counter = 0
    requests: Annotated[tuple[BoardRequest, ...], Meta(max_length=PAGE_ITEMS_MAX)] = ()
    requests_total: Counter = 0
    convoys: Annotated[tuple[BoardConvoy, ...], Meta(max_length=PAGE_ITEMS_MAX)] = ()
    escalations: Annotated[tuple[BoardEscalation, ...], Meta(max_length=PAGE_ITEMS_MAX)] = ()
    violations: Annotated[tuple[BoardNote, ...], Meta(max_length=PAGE_ITEMS_MAX)] = ()
    rigs: Annotated[tuple[BoardRig, ...], Meta(max_length=PAGE_ITEMS_MAX)] = ()
    titles: Annotated[dict[Label, Title], Meta(max_length=TITLES_MAX)] = {}


class TownSummary(Struct, frozen=True, kw_only=True):
    """A town in a list: what it does in a sentence, what hurts, and counts of its issues."""

    id: Id
    name: Label
    account: Label
    doing: Reason
    trouble: Trouble
    hurts: Annotated[tuple[Reason, ...], Meta(max_length=PAGE_ITEMS_MAX)] = ()
    counts: Annotated[dict[Label, Counter], Meta(max_length=8)] = {}
    busy: Counter = 0
    agents: Counter = 0
    closed: bool = False
    created_at: Time


class TownSummaries(Struct, frozen=True, kw_only=True):
    """Towns, those that hurt first; a page of them by id."""

    items: Annotated[tuple[TownSummary, ...], Meta(max_length=PAGE_ITEMS_MAX)]
    next: Cursor = ""


class TownLine(Struct, frozen=True, kw_only=True):
    """One thing that happened in a town, as a sentence that follows the title of its bead.

    `rule` and `reason` are there where a rule did it.
    """

    id: Label
    at: Time
    seq: Counter
    tick: Counter
    kind: Literal["event", "decision", "outcome", "refusal"]
    name: Label
    text: Reason
    outcome: Label = ""
    bead: Label = ""
    title: Title = ""
    rule: Label = ""
    reason: Reason = ""
    by: Label = ""


class TownTimeline(Struct, frozen=True, kw_only=True):
    """What happened, newest first."""

    lines: Annotated[tuple[TownLine, ...], Meta(max_length=PAGE_ITEMS_MAX)]
    next: Cursor = ""


class TownTick(Struct, frozen=True, kw_only=True):
    """One tick: how many events it took, actions it decided on, and notes it made."""

    number: Counter
    at: Time
    seq: Counter
    events: Counter
    actions: Counter
    notes: Counter


class TownTicks(Struct, frozen=True, kw_only=True):
    """The latest ticks in order; those of which the log is no longer kept are not there."""

    ticks: Annotated[tuple[TownTick, ...], Meta(max_length=PAGE_ITEMS_MAX)]


class BeadAttempt(Struct, frozen=True, kw_only=True):
    """One run of an agent on a bead; `ended` says how it ended."""

    attempt: Label
    agent: Label
    started_at: Time
    ended_at: Time | None = None
    ended: Reason = ""
    ok: bool | None = None


class GateOutput(Struct, frozen=True, kw_only=True):
    """How a gate ended, with the end of what it printed."""

    name: Label
    passed: bool
    output: Annotated[str, Meta(max_length=OUTPUT_MAX)] = ""


class GateRun(Struct, frozen=True, kw_only=True):
    """One run of a rig's gates at a commit."""

    at: Time
    request: Label
    commit: Label
    results: Annotated[tuple[GateOutput, ...], Meta(max_length=PAGE_ITEMS_MAX)]


class BeadStory(Struct, frozen=True, kw_only=True):
    """Everything about one bead. `why` always says how it stands and what comes next.

    `fix` is what a person can do about it. `beads` are those of a convoy, `about` is the key of
    what an escalation is about. The history is what the log still has, `truncated` says that there
    was more.
    """

    card: BoardCard
    town: Label
    town_name: Label
    text: Annotated[str, Meta(max_length=OUTPUT_MAX)] = ""
    why: BoardNote
    fix: Reason = ""
    request: BoardRequest | None = None
    blockers: Annotated[tuple[BoardCard, ...], Meta(max_length=PAGE_ITEMS_MAX)] = ()
    waiting: Annotated[tuple[BoardCard, ...], Meta(max_length=PAGE_ITEMS_MAX)] = ()
    beads: Annotated[tuple[BoardCard, ...], Meta(max_length=MEMBERS_MAX)] = ()
    about: Label = ""
    attempts: Annotated[tuple[BeadAttempt, ...], Meta(max_length=PAGE_ITEMS_MAX)] = ()
    gates: Annotated[tuple[GateRun, ...], Meta(max_length=PAGE_ITEMS_MAX)] = ()
    lines: Annotated[tuple[TownLine, ...], Meta(max_length=PAGE_ITEMS_MAX)] = ()
    titles: Annotated[dict[Label, Title], Meta(max_length=TITLES_MAX)] = {}
    truncated: bool = False


_ONE: Final = "/api/towns/{id}"
_BEAD: Final = Param("bead", ID_PATTERN, "The id of the bead.", required=True)
_TICK: Final = Param("tick", r"[1-9][0-9]{0,17}", "As it was after this tick; without it, now.")

TOWN_BOARD: Final = (
    look(
        "towns.summaries", "/api/town-summaries", TownSummaries,
        "Towns with what each does and what hurts.", *PAGING, ACCOUNT,
    ),
    look("towns.board", f"{_ONE}/board", TownBoard, "A whole town, now or earlier.", _TICK),
    look("towns.ticks", f"{_ONE}/ticks", TownTicks, "Its latest ticks."),
    look(
        "towns.timeline", f"{_ONE}/timeline", TownTimeline,
        "What happened in it, newest first.", *PAGING,
    ),
    look(
        "towns.story", f"{_ONE}/beads/{{bead}}/story", BeadStory,
        "One bead: why it waits, who worked on it, and what came of that.", _BEAD,
    ),
)  # fmt: skip

"""Endpoints about towns: their settings, rigs, agents, drain and notices.

A town in a path is its id or its name. 404 is one that does not exist or is not visible. What a
town works on is in `town_work.py`, what an operator looks at in `town_debug.py`.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from holdfast.wire.api.endpoint import (
    ACCOUNT,
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
from holdfast.wire.api.instances import WINDOW, ChartSet
from holdfast.wire.api.operations import followed
from holdfast.wire.limits import (
    ENV_VALUE_MAX,
    INSTANCE_BODY_BYTES_MAX,
    PAGE_ITEMS_MAX,
    TEXT_MAX,
)

GATES_MAX: Final = 16
ROLES_MAX: Final = 3
WORDS_MAX: Final = 64
"""Words of a command line."""
RIGS_MAX: Final = 100
AGENTS_MAX: Final = 1_000
NOTICES_MAX: Final = 200
MINUTES_MAX: Final = 60
GATE_S_MAX: Final = 3_600

Role = Literal["mayor", "polecat", "refinery"]
Severity = Literal["low", "medium", "high", "critical"]
Words = Annotated[
    tuple[Annotated[str, Meta(max_length=ENV_VALUE_MAX)], ...],
    Meta(min_length=1, max_length=WORDS_MAX),
]
"""A command line, word by word; no shell reads it."""
Branch = Annotated[str, Meta(min_length=1, max_length=200)]
Cap = Annotated[int, Meta(ge=0, le=1_000)]
"""How many at most; 0 is no limit of its own."""
Money = Counter
"""Millionths of a dollar; 0 is no limit."""


class TownCreate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A town to make; `account` is for operators. It reviews what its agents make by default."""

    name: Given
    account: Label = ""
    code_review: bool = True
    agents_max: Annotated[int, Meta(ge=1, le=1_000)] = 50


class TownSettings(Struct, frozen=True, kw_only=True):
    """What is set for a town; `docs/towns.md` says what each decides.

    `auto_merge_delay_ms` is null where pull requests are never merged by themselves.
    """

    code_review: bool
    merge_strategy: Literal["direct", "pr"]
    attempts_max: Counter
    resolve_conflicts: bool
    resolve_feedback: bool
    auto_merge_delay_ms: Counter | None
    failures_hold: bool
    town_agents_max: Counter
    rig_agents_max: Counter
    polecats_max: Counter
    budget_day: Money
    budget_bead: Money
    repair: bool


class TownPatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings to change; what is not given stays as it is."""

    code_review: bool | UnsetType = UNSET
    merge_strategy: Literal["direct", "pr"] | UnsetType = UNSET
    attempts_max: Annotated[int, Meta(ge=1, le=50)] | UnsetType = UNSET
    resolve_conflicts: bool | UnsetType = UNSET
    resolve_feedback: bool | UnsetType = UNSET
    auto_merge_delay_ms: Annotated[int, Meta(ge=0, le=604_800_000)] | UnsetType | None = UNSET
    failures_hold: bool | UnsetType = UNSET
    town_agents_max: Annotated[int, Meta(ge=1, le=1_000)] | UnsetType = UNSET
    rig_agents_max: Cap | UnsetType = UNSET
    polecats_max: Cap | UnsetType = UNSET
    budget_day: Money | UnsetType = UNSET
    budget_bead: Money | UnsetType = UNSET
    repair: bool | UnsetType = UNSET


class TownView(Struct, frozen=True, kw_only=True):
    """A town. `breaker` says whether dispatching is cut off, `draining` whether its host goes."""

    id: Id
    account: Label
    name: Label
    created_at: Time
    closed: bool
    draining: bool
    breaker: Literal["closed", "open", "half_open"]
    exhausted: bool
    code_review: bool
    agents_max: Counter
    settings: TownSettings


class TownList(Struct, frozen=True, kw_only=True):
    """Towns by id."""

    items: Annotated[tuple[TownView, ...], Meta(max_length=PAGE_ITEMS_MAX)]
    next: Cursor = ""


class Gate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A check of a rig: the command that is run in a clone and exits with 0 when all is well."""

    command: Words
    timeout_s: Annotated[int, Meta(ge=1, le=GATE_S_MAX)] = 600


class RigAdd(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A repository to work on, or what is to change for one that is there.

    What is not given stays as it is. `repository` is an https address, or for operators a folder of
    the plane's host. `gates` run in their order before anything lands. `commands` are command
    templates by role, with `{prompt}` for the path of the prompt and `{folder}` for the clone.
    `token` is the credential for the repository, which is stored sealed and never shown; null
    removes it.
    """

    name: Given
    repository: Annotated[str, Meta(max_length=1_024)] | UnsetType = UNSET
    branch: Branch | UnsetType = UNSET
    forge: Literal["git", "github"] | UnsetType = UNSET
    token: Annotated[str, Meta(min_length=1, max_length=ENV_VALUE_MAX)] | UnsetType | None = UNSET
    gates: Annotated[dict[Given, Gate], Meta(max_length=GATES_MAX)] | UnsetType = UNSET
    commands: Annotated[dict[Role, Words], Meta(max_length=ROLES_MAX)] | UnsetType = UNSET
    agents_max: Cap | UnsetType = UNSET

    def __repr__(self) -> str:
        """Return a form without the credential."""
        return f"RigAdd(name={self.name!r})"


class RigView(Struct, frozen=True, kw_only=True):
    """A rig. `gone` is one that was removed: what is under way there ends, nothing starts."""

    name: Label
    repository: Annotated[str, Meta(max_length=1_024)]
    branch: Annotated[str, Meta(max_length=200)]
    forge: Literal["git", "github"]
    has_token: bool
    gates: Annotated[dict[Label, Gate], Meta(max_length=GATES_MAX)]
    commands: Annotated[dict[Label, Words], Meta(max_length=ROLES_MAX)]
    agents_max: Counter
    gone: bool


class RigList(Struct, frozen=True, kw_only=True):
    """The rigs of a town by name, with those that are gone."""

    items: Annotated[tuple[RigView, ...], Meta(max_length=PAGE_ITEMS_MAX)]
    next: Cursor = ""


class TownAgentAdd(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An agent to add: a mayor is the town's, the others have a rig.

    `host` is the id or name of an instance of the town's account, whose agent is handed the work;
    empty for a process of the plane's computer.
    """

    role: Role
    rig: Annotated[str, Meta(max_length=63)] = ""
    name: Given | UnsetType = UNSET
    host: Label = ""


class TownAgentView(Struct, frozen=True, kw_only=True):
    """An agent. `hook` is the bead that it works on, `attempt` its run on that bead.

    `contact` says whether the present attempt was heard. `inactive` is the level (0 to 3) of its
    silence about work. `cost` is of its attempts, in millionths of a dollar. `away` says why
    nothing can be started on its instance: stopped, lost or destroyed.
    """

    id: Id
    name: Label
    role: Role
    rig: Label
    host: Label
    status: Literal["idle", "working", "stalled", "waiting"]
    hook: Label
    attempt: Label
    attempts: Counter
    contact: Literal["unheard", "heard", "silent"]
    inactive: Counter
    dispatched_at: Time | None
    cost: Counter
    away: Label = ""


class TownAgentList(Struct, frozen=True, kw_only=True):
    """Agents of a town by id."""

    items: Annotated[tuple[TownAgentView, ...], Meta(max_length=PAGE_ITEMS_MAX)]
    next: Cursor = ""


class DrainStart(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Start nothing more until the drain ends: by its nonce, or when its time is over.

    Without a `nonce` one is made; the answer has it.
    """

    nonce: Annotated[str, Meta(max_length=TEXT_MAX)] = ""
    minutes: Annotated[int, Meta(ge=1, le=MINUTES_MAX)] = 7


class DrainEnd(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """End a drain: the one of this nonce, or whichever there is."""

    nonce: Annotated[str, Meta(max_length=TEXT_MAX)] = ""


class DrainView(Struct, frozen=True, kw_only=True):
    """Whether a town drains: nothing is handed out meanwhile."""

    draining: bool
    nonce: Label
    until: Time | None


class NoticeView(Struct, frozen=True, kw_only=True):
    """What the owner of a town was told last about an entity: a code, and the entity's key."""

    code: Label
    about: Label
    severity: Severity
    at: Time


class NoticeList(Struct, frozen=True, kw_only=True):
    """The newest notices of a town, one for each code and entity."""

    items: Annotated[tuple[NoticeView, ...], Meta(max_length=NOTICES_MAX)]
    next: Cursor = ""


class AgentCounts(Struct, frozen=True, kw_only=True):
    """How many agents there are, by what they do; a stalled one is being stopped."""

    working: Counter
    waiting: Counter
    idle: Counter
    stalled: Counter
    total: Counter


class BeadCounts(Struct, frozen=True, kw_only=True):
    """How many issues, requests, convoys and escalations there are, by status.

    What ended is counted for as long as it is in the town's state, 7 days.
    """

    open: Counter
    in_progress: Counter
    in_review: Counter
    failed: Counter
    closed: Counter
    held: Counter
    escalations: Counter


class WaitingFor(Struct, frozen=True, kw_only=True):
    """A reason for which beads wait, by rule, and how many wait for it."""

    rule: Label
    reason: Reason
    count: Counter


class TownStatus(Struct, frozen=True, kw_only=True):
    """How a town is: what its agents do, what waits and why, and what is wrong.

    `spent` is of today, in millionths of a dollar. `violations` are sentences, of open ones.
    """

    town: TownView
    agents: AgentCounts
    beads: BeadCounts
    waiting: Annotated[tuple[WaitingFor, ...], Meta(max_length=PAGE_ITEMS_MAX)]
    violations: Annotated[tuple[Reason, ...], Meta(max_length=PAGE_ITEMS_MAX)]
    spent: Counter
    next_tick_at: Time | None
    events_waiting: Counter


_ONE: Final = "/api/towns/{id}"
RIG: Final = Param("rig", NAME_PATTERN, "The rig's name.", required=True)
AGENT: Final = Param("agent", ID_PATTERN, "The agent's id or name.", required=True)

TOWNS: Final = (
    look("towns.list", "/api/towns", TownList, "Towns.", *PAGING, ACCOUNT),
    followed("towns.create", "/api/towns", TownCreate, TownView, "Make a town."),
    look("towns.get", _ONE, TownView, "A town, and what keeps it from starting agents."),
    look("towns.panels", f"{_ONE}/panels", ChartSet, "The panels of its reconciler.", WINDOW),
    followed(
        "towns.set", _ONE, TownPatch, TownView, "Change what is set for a town.", method="PATCH"
    ),
    followed(
        "towns.close", f"{_ONE}/close", Empty, TownView,
        "Close a town for good: its agents are stopped and all that waits ends.",
    ),
    look(
        "towns.status", f"{_ONE}/status", TownStatus, "What its agents do, what waits and why.",
        statuses=(200, 503),
    ),
    look("towns.notices", f"{_ONE}/notices", NoticeList, "What its owner was told last."),
    look("towns.rigs", f"{_ONE}/rigs", RigList, "The rigs of a town.", *PAGING),
    followed(
        "towns.rig", f"{_ONE}/rigs", RigAdd, RigView, "Add a repository, or change what is set.",
        body_bytes_max=INSTANCE_BODY_BYTES_MAX,
    ),
    followed(
        "towns.remove-rig", f"{_ONE}/rigs/{{rig}}", None, RigView,
        "Remove a repository: its credential is erased, what is under way there ends.",
        method="DELETE", params=(RIG,),
    ),
    look("towns.agents", f"{_ONE}/agents", TownAgentList, "Agents of a town.", *PAGING),
    followed("towns.agent", f"{_ONE}/agents", TownAgentAdd, TownAgentView, "Add an agent."),
    followed(
        "towns.remove-agent", f"{_ONE}/agents/{{agent}}", None, TownAgentView,
        "Remove an agent that does not work.", method="DELETE", params=(AGENT,),
    ),
    look("towns.drain", f"{_ONE}/drain", DrainView, "Whether it drains."),
    followed(
        "towns.start-drain", f"{_ONE}/drain", DrainStart, DrainView,
        "Hand nothing out, because the agents' host is going away.",
    ),
    followed("towns.end-drain", f"{_ONE}/drain/end", DrainEnd, DrainView, "Go on."),
)  # fmt: skip

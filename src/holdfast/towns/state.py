"""What a town knows: itself, its rigs, agents and beads, and what is wrong with them.

Values are frozen; the collections are persistent maps, and the indexes that rules read are kept
beside them by the fold (`draft.py`), so that a tick costs what changed or is due and not what
exists. An entity's key is a letter and its id: `b/` beads, `a/` agents, `r/` rigs, `n/` nudges,
`v/` violations; the town itself is SELF. Times are milliseconds since the epoch, 0 for never.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, Literal, Protocol, TypeAlias

import msgspec
from immutables import Map
from msgspec import Struct

from holdfast.actors.definition import SELF
from holdfast.kernel.clock import DAY_MS
from holdfast.towns.ordered import NOTHING, Ordered

STATE_VERSION: Final = 1

BeadType = Literal["issue", "merge_request", "convoy", "escalation", "message"]
Status = Literal["open", "in_progress", "in_review", "closed", "failed"]
Purpose = Literal["work", "rework", "pr_feedback", "pr_conflict"]
Role = Literal["mayor", "polecat", "refinery"]
AgentStatus = Literal["idle", "working", "stalled", "waiting"]
Contact = Literal["unheard", "heard", "silent"]
Stage = Literal["queued", "reviewing", "approved", "gating", "green", "landing", "red", "polling"]
Severity = Literal["low", "medium", "high", "critical"]
MergeStrategy = Literal["direct", "pr"]
ConvoyMode = Literal["review-then-land", "review-and-merge"]
BreakerState = Literal["closed", "open", "half_open"]

TERMINAL: Final[frozenset[Status]] = frozenset({"closed", "failed"})
FIXES: Final[frozenset[Purpose]] = frozenset({"rework", "pr_feedback", "pr_conflict"})
SEVERITIES: Final[tuple[Severity, ...]] = ("low", "medium", "high", "critical")


class Config(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What the owner of a town sets. 0 is no limit; money is in millionths of a dollar.

    `failures_hold`: what waits for a failed bead goes on waiting, and a convoy with one does not
    land; without it a failed bead counts as done. `auto_merge_delay_ms` is counted from when a
    pull request is ready; None never merges one.
    """

    code_review: bool = True
    merge_strategy: MergeStrategy = "direct"
    attempts_max: int = 5
    resolve_conflicts: bool = True
    resolve_feedback: bool = False
    auto_merge_delay_ms: int | None = None
    failures_hold: bool = True
    town_agents_max: int = 50
    rig_agents_max: int = 0
    polecats_max: int = 0
    budget_day: int = 0
    budget_bead: int = 0
    repair: bool = True


CONFIG_FIELDS: Final = Config.__struct_fields__


class Breaker(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Whether dispatching is cut off.

    `ends` are times of ended attempts, the newest last; that of a failed one is negative. `trips`
    counts openings since an agent last finished; the first of them is announced, and so is the
    first closing (`closing_told`).
    """

    state: BreakerState = "closed"
    until_ms: int = 0
    trips: int = 0
    closing_told: bool = False
    probe: str = ""
    ends: tuple[int, ...] = ()


class Town(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The town itself. `spent` is of the day `spent_day`, counted from the epoch.

    `ending_ms` is when the next of what is left in a town that was closed ends, until nothing is;
    before `retiring_ms` nothing more of what ended long ago leaves the state.
    `hosts` are the instances that were asked to say how they are.
    """

    id: str = ""
    account: str = ""
    name: str = ""
    created_ms: int = 0
    closed_ms: int = 0
    ending_ms: int = 0
    retiring_ms: int = 0
    config: Config = Config()
    resumed_ms: int = 0
    drain_until_ms: int = 0
    drain_nonce: str = ""
    breaker: Breaker = Breaker()
    spent_day: int = 0
    spent: int = 0
    exhausted: bool = False
    repairs: tuple[int, ...] = ()
    hosts: tuple[str, ...] = ()


class Rig(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A repository. `gates` are names of its checks, which are green before anything lands."""

    id: str
    name: str = ""
    branch: str = "main"
    repository: str = ""
    gates: tuple[str, ...] = ()
    gone: bool = False
    agents_max: int = 0


class Agent(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A worker. `epoch` counts its attempts; `attempt` is the one under way.

    `inactive` is the level (1 to 3) of its silence about work, `handled` the one that the rules
    answered. `release` says that its bead ended without it. `drain` is the nonce of a drain during
    which it was started, which must not be. `due_ms` is when the rules look at it.
    `away` is why nothing can be started on its instance (`letters.towns.Absence`).
    Of a mayor, `tries` counts its attempts in a row that ended while something waited for it,
    `again_ms` is the wait if the present one ends so, and `leaves` says that it was removed. With
    `looks`, what waits when the present one begins is looked at if that ends well; `looked_ms` is
    until when what was asked has been looked at.
    `told` says that somebody was asked about its absence.
    """

    id: str
    role: Role
    rig: str = ""
    name: str = ""
    host: str = ""
    status: AgentStatus = "idle"
    hook: str = ""
    attempt: str = ""
    epoch: int = 0
    contact: Contact = "unheard"
    inactive: int = 0
    handled: int = 0
    tools: bool = False
    release: bool = False
    drain: str = ""
    dispatched_ms: int = 0
    nudged_ms: int = 0
    escalated_ms: int = 0
    cost: int = 0
    due_ms: int = 0
    span_ms: int = 0
    away: str = ""
    tries: int = 0
    again_ms: int = 0
    leaves: bool = False
    looks: bool = False
    looked_ms: int = 0
    told: bool = False


class PullRequest(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What a forge says about a pull request, without anything that changes by itself."""

    state: Literal["open", "merged", "closed"] = "open"
    conflicts: bool = False
    unresolved: bool = False
    failing: bool = False
    pending: bool = False
    awaiting_approval: bool = False
    changes_requested: bool = False
    commit: str = ""

    @property
    def ready(self) -> bool:
        """Return whether nothing speaks against merging it."""
        return self.state == "open" and not (
            self.conflicts
            or self.unresolved
            or self.failing
            or self.pending
            or self.awaiting_approval
            or self.changes_requested
        )


class Review(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The part of a merge request: what is to land where, and how far that is.

    `call` numbers the calls to gates and forge, so that a late answer is recognised; `calls` are
    those in a row without an answer that decides. `reworks` counts what was sent back. `looks`
    numbers the questions about its pull request: after work on it, an equal answer is news too.
    """

    branch: str
    target: str
    stage: Stage = "queued"
    commit: str = ""
    merge_commit: str = ""
    call: int = 0
    calls: int = 0
    reworks: int = 0
    why: str = ""
    content: str = ""
    landing: bool = False
    pr_url: str = ""
    pr: PullRequest | None = None
    ready_since_ms: int = 0
    unreadable_ms: int = 0
    looks: int = 0
    merging: bool = False


class Convoy(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The part of a convoy: counts of its beads, and its landing.

    `landings` counts those that failed; after the present one, the next waits for `again_ms`.
    """

    branch: str = ""
    mode: ConvoyMode = "review-then-land"
    staged: bool = False
    total: int = 0
    closed: int = 0
    failed: int = 0
    landings: int = 0
    again_ms: int = 0
    landed_ms: int = 0
    told: bool = False


class Escalation(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The part of an escalation: a person or the mayor is needed about `about`."""

    severity: Severity = "medium"
    category: str = ""
    about: str = ""
    bumps: int = 0


class Bead(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One tracked item of work.

    `blocked_by` are those that it still waits for: one leaves it by its end, unless it failed and
    failures hold. `failed_blockers` counts those of them that failed.
    `attempts` counts those that may have started, `charged` those that failed by the bead's or its
    agent's fault, `refused` the starts in a row that its host refused. `cooldown_ms` is the wait
    if the present attempt fails, `refused_ms` if it does not even start. `due_ms` is when the rules
    look at it, `span_ms` after how long.
    """

    id: str
    type: BeadType
    status: Status = "open"
    purpose: Purpose = "work"
    rig: str = ""
    priority: int = 2
    content: str = ""
    held: bool = False
    staged: bool = False
    convoy: str = ""
    source: str = ""
    to: str = ""
    blocked_by: tuple[str, ...] = ()
    failed_blockers: int = 0
    assignee: str = ""
    attempt: str = ""
    attempts: int = 0
    charged: int = 0
    refused: int = 0
    cost: int = 0
    cooldown_ms: int = 0
    refused_ms: int = 0
    due_ms: int = 0
    span_ms: int = 0
    created_ms: int = 0
    updated_ms: int = 0
    ended_ms: int = 0
    failure: str = ""
    version: int = 0
    review: Review | None = None
    convoy_of: Convoy | None = None
    escalation: Escalation | None = None

    @property
    def blockers(self) -> int:
        """Return how many beads it waits for."""
        return len(self.blocked_by)


class NewBead(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """An issue to be made. `content` is the id of its title and text."""

    id: str
    rig: str
    content: str = ""
    priority: int = 2
    purpose: Purpose = "work"
    blocked_by: tuple[str, ...] = ()
    held: bool = False


class Nudge(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A message that is pushed to an agent; `level` is 0 for a person's.

    One with an `attempt` is about that attempt, and is not sent to a later one.
    """

    id: str
    agent: str
    level: int = 0
    content: str = ""
    attempt: str = ""
    created_ms: int = 0
    due_ms: int = 0
    span_ms: int = 0


class Violation(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A broken invariant, by number and entity; it stays known after it is resolved.

    `opened` counts how often it was opened; `alerted` says that this opening was announced.
    """

    id: str
    number: int
    entity: str
    text: str = ""
    status: Literal["open", "resolved"] = "open"
    opened: int = 1
    alerted: bool = False
    since_ms: int = 0
    due_ms: int = 0
    span_ms: int = 0


Entity: TypeAlias = Town | Rig | Agent | Bead | Nudge | Violation


class State(Struct, frozen=True):
    """A town with all its entities; the rest is made from them.

    `due` are keys by the time at which rules look at them, `ended` those of beads that ended, by
    when they leave the state: there may be many, and nothing else is done with them.
    """

    town: Town
    rigs: Map[str, Rig] = Map()
    agents: Map[str, Agent] = Map()
    beads: Map[str, Bead] = Map()
    nudges: Map[str, Nudge] = Map()
    violations: Map[str, Violation] = Map()
    index: Map[tuple[str, ...], Any] = Map()
    due: Ordered = NOTHING
    ended: Ordered = NOTHING


class Tables(Protocol):
    """What of a state can be read while it is being changed too: tables by id, and the index."""

    @property
    def town(self) -> Town: ...  # noqa: D102
    @property
    def rigs(self) -> Any: ...  # noqa: D102
    @property
    def agents(self) -> Any: ...  # noqa: D102
    @property
    def beads(self) -> Any: ...  # noqa: D102
    @property
    def nudges(self) -> Any: ...  # noqa: D102
    @property
    def violations(self) -> Any: ...  # noqa: D102
    @property
    def index(self) -> Any: ...  # noqa: D102


PREFIXES: Final = {"b": "beads", "a": "agents", "r": "rigs", "n": "nudges", "v": "violations"}


def empty(town: str) -> State:
    """Return the state before the first event."""
    return State(Town(id=town))


def found(state: State, *place: str) -> Ordered:
    """Return the ids at a place of the index, each with the number that they are sorted by."""
    at: Ordered = state.index.get(place, NOTHING)
    return at


def counted(state: State, *place: str) -> int:
    """Return how many entities there are at a place of which only that is known."""
    many: int = state.index.get(place, 0)
    return many


def entity_of(state: Tables, key: str) -> Any:
    """Return the entity of a key, or None."""
    if key == SELF:
        return state.town
    return getattr(state, PREFIXES[key[0]]).get(key[2:])


def keys(state: State) -> Iterator[str]:
    """Yield the key of every entity, sorted within its kind."""
    yield SELF
    for letter, name in PREFIXES.items():
        yield from (f"{letter}/{one}" for one in sorted(getattr(state, name)))


class _Stored(Struct, frozen=True, kw_only=True):
    """A state as it is stored: entities without what is made from them."""

    town: Town
    rigs: tuple[Rig, ...] = ()
    agents: tuple[Agent, ...] = ()
    beads: tuple[Bead, ...] = ()
    nudges: tuple[Nudge, ...] = ()
    violations: tuple[Violation, ...] = ()


encode_entity = msgspec.json.Encoder().encode
_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(_Stored)
decode_bead = msgspec.json.Decoder(Bead).decode
decode_town = msgspec.json.Decoder(Town).decode
decode_rig = msgspec.json.Decoder(Rig).decode
decode_agent = msgspec.json.Decoder(Agent).decode


def sorted_values(table: Map[str, Any]) -> tuple[Any, ...]:
    """Return the values of a map in the order of their keys."""
    return tuple(table[key] for key in sorted(table))


def encode_state(state: State) -> bytes:
    """Return the state as JSON, the same bytes for the same state."""
    tables = {name: sorted_values(getattr(state, name)) for name in PREFIXES.values()}
    return _encode(_Stored(town=state.town, **tables))


def decode_entities(body: bytes, version: int) -> Iterable[Entity]:
    """Return the entities of a stored state, the town first; raise ValueError when it is newer."""
    if version > STATE_VERSION:
        message = f"state of a town of version {version}; this code knows {STATE_VERSION}"
        raise ValueError(message)
    stored = _decoder.decode(body)
    return (
        stored.town,
        *stored.rigs,
        *stored.agents,
        *stored.beads,
        *stored.nudges,
        *stored.violations,
    )


def violation_id(number: int, entity: str) -> str:
    """Return the id of a violation: what it is about, and not how it is worded."""
    return f"{number}:{entity}"


def is_created(state: Tables) -> bool:
    """Return whether the town was created."""
    return state.town.created_ms > 0


def is_closed(state: Tables) -> bool:
    """Return whether the town was closed for good."""
    return state.town.closed_ms > 0


def spent_today(town: Town, now_ms: int) -> int:
    """Return what was spent on the present day, in millionths of a dollar."""
    return town.spent if town.spent_day == now_ms // DAY_MS else 0


def busy(state: State) -> int:
    """Return how many agents work or are stalled, except for mayors."""
    return counted(state, "busy-role", "polecat") + counted(state, "busy-role", "refinery")


def rests(agent: Agent) -> bool:
    """Return whether an agent has no work; a mayor is kept for the work that comes."""
    return agent.status == "idle" and not agent.hook and agent.role != "mayor"


def asked_ms(bead: Bead) -> int:
    """Return when somebody was asked by an escalation: as it was made, or made more severe."""
    known = bead.escalation
    is_bumped = known is not None and known.bumps and bead.due_ms
    return bead.due_ms - bead.span_ms if is_bumped else bead.created_ms


def is_awaited(state: Tables, mayor: str) -> bool:
    """Return whether something waits for a mayor: mail or a nudge to it, or an escalation.

    What it has looked at does not, nor do nudges of the rules, which ask about what waits.
    """
    agent = state.agents.get(mayor)
    looked_ms = 0 if agent is None else agent.looked_ms
    if state.index.get(("mail", mayor)) or _nudged(state, mayor, 0):
        return True
    asked = state.index.get(("escalations",), NOTHING)
    return bool(asked) if not looked_ms else _asked(state, looked_ms)


def is_awaited_since(state: Tables, mayor: str, since_ms: int) -> bool:
    """Return whether something waits for a mayor that it was not asked for until some time."""
    mail = state.index.get(("mail", mayor), NOTHING)
    if any(state.beads[one].created_ms > since_ms for one in mail):
        return True
    return _nudged(state, mayor, since_ms) or _asked(state, since_ms)


def _nudged(state: Tables, agent: str, since_ms: int) -> bool:
    nudges = (state.nudges[one] for one in state.index.get(("nudges", agent), NOTHING))
    return any(one.created_ms > since_ms and not one.attempt for one in nudges)


def _asked(state: Tables, since_ms: int) -> bool:
    asked = state.index.get(("escalations",), NOTHING)
    return any(asked_ms(state.beads[one]) > since_ms for one in asked)


def live_reviews(state: State, bead: str) -> Ordered:
    """Return the merge requests of a bead that have not ended."""
    return found(state, "reviews", bead)

"""Endpoints for operators who look into a town: its state, what its next tick does, its past.

The routes and the names in camel case and with underscores are those of another system's towns
(docs/compat/towns.md); ours stand beside them. An operator of an account reads its towns alone.
Texts, addresses and nonces are shown as `[hidden]` unless `reveal=true` asks for them.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct, field

from holdfast.wire.api.endpoint import (
    Counter,
    Id,
    Label,
    Outcome,
    Param,
    Reason,
    Time,
    look,
    order,
)
from holdfast.wire.api.rehearsals import InventedEvent, Moment
from holdfast.wire.api.town_work import BEAD, BODY_MAX, TITLE_MAX
from holdfast.wire.limits import (
    PAGE_ITEMS_MAX,
    REHEARSAL_EVENTS_MAX,
    REHEARSAL_TICKS_MAX,
    STEPS_MAX,
)

BEADS_MAX: Final = 50_000
AGENTS_MAX: Final = 1_000
RECENT_MAX: Final = 20
NUDGES_MAX: Final = 20
FACTS_MAX: Final = 64

Facts = Annotated[dict[str, Any], Meta(max_length=FACTS_MAX)]
Counts = Annotated[dict[Label, Counter], Meta(max_length=FACTS_MAX)]
Text = Annotated[str, Meta(max_length=BODY_MAX)]
Title = Annotated[str, Meta(max_length=TITLE_MAX)]


class DebugAction(Struct, frozen=True, kw_only=True):
    """An action that a tick decides; `args` are the action itself, `conflict` what it found."""

    type: Label
    rule: Label
    reason: Reason
    entity: Label
    args: Facts
    effects: Annotated[tuple[Label, ...], Meta(max_length=FACTS_MAX)] = ()
    conflict: Reason = ""


class DebugEvent(Struct, frozen=True, kw_only=True):
    """An event that waits, and what becomes of it."""

    id: Label
    outcome: Outcome
    code: Label = ""
    error: Reason = ""


class DebugHeld(Struct, frozen=True, kw_only=True):
    """What a rule held back; `entity` is empty where many are counted by reason."""

    rule: Label
    entity: Label
    because: Reason


class DebugViolation(Struct, frozen=True, kw_only=True):
    """A broken invariant."""

    number: Counter
    entity: Label
    text: Reason


class Violations(Struct, frozen=True, kw_only=True):
    """Broken invariants before and after."""

    before: Annotated[tuple[DebugViolation, ...], Meta(max_length=STEPS_MAX)]
    after: Annotated[tuple[DebugViolation, ...], Meta(max_length=STEPS_MAX)]


class Diff(Struct, frozen=True, kw_only=True):
    """How the tick differs from the last that was recorded: what is new, what is over."""

    new: Annotated[tuple[Reason, ...], Meta(max_length=STEPS_MAX)]
    gone: Annotated[tuple[Reason, ...], Meta(max_length=STEPS_MAX)]


class Basis(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a dry run began with: the last event, the hash of the state, and the time assumed."""

    town: Id
    seq: Counter
    state_hash: Label
    now: Time
    draining: bool


class RehearsedMetrics(Struct, frozen=True, kw_only=True, rename="camel"):
    """Numbers of a dry run; `pendingEventCount` is before the drain, `pendingAfter` after it."""

    actions_emitted: Counter
    actions_by_type: Counts
    events_drained: Counter
    pending_event_count: Counter
    events_applied: Counter
    events_failed: Counter
    pending_after: Counter
    ticks: Counter


class ReconcileDryRun(Struct, frozen=True, kw_only=True, rename="camel"):
    """What the next ticks do: events that wait are taken first, then the rules decide.

    With more events than a tick takes there are several ticks; `events`, `actions` and `suppressed`
    are of all of them, the last of the last.
    """

    actions: Annotated[tuple[DebugAction, ...], Meta(max_length=STEPS_MAX)]
    metrics: RehearsedMetrics
    basis: Basis
    events: Annotated[tuple[DebugEvent, ...], Meta(max_length=STEPS_MAX)]
    suppressed: Annotated[tuple[DebugHeld, ...], Meta(max_length=STEPS_MAX)]
    conflicts: Counter
    violations: Violations
    diff_vs_last_tick: Diff
    next_tick_at: Time | None
    truncated: bool


class AddedEvent(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An event that did not happen, in its own JSON form, and when it would have."""

    event: InventedEvent
    at_ms: Moment


class ReplayEvents(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A span of a town's past to make again, from and to an ISO 8601 time.

    `historical` repeats the ticks as they were recorded. `what-if` takes another `policy`, or
    leaves events out (`without`, by id) and adds others. `overlay` applies the events to the
    present state.
    """

    start: Annotated[str, Meta(min_length=1, max_length=64)] = field(name="from")
    to: Annotated[str, Meta(min_length=1, max_length=64)]
    mode: Literal["historical", "what-if", "overlay"] = "historical"
    policy: Facts = {}
    without: Annotated[tuple[Id, ...], Meta(max_length=REHEARSAL_EVENTS_MAX)] = ()
    events: Annotated[tuple[AddedEvent, ...], Meta(max_length=REHEARSAL_EVENTS_MAX)] = ()


class ReplayedTick(Struct, frozen=True, kw_only=True):
    """A tick that was made again; `differs` says where it first differs from its record."""

    tick: Counter
    now: Time
    events: Counter
    match: bool
    differs: Reason = ""


class DebugAgent(Struct, frozen=True, kw_only=True):
    """An agent's row."""

    bead_id: Id
    name: Label
    role: Label
    status: Label
    current_hook_bead_id: Label | None
    dispatch_attempts: Counter
    last_activity_at: Time | None


class DebugBead(Struct, frozen=True, kw_only=True):
    """A bead's row."""

    bead_id: Id
    type: Label
    status: Label
    title: Title
    body: Text
    rig_id: Label | None
    assignee_agent_bead_id: Label | None
    priority: Literal["critical", "high", "medium", "low"]
    labels: Annotated[tuple[Label, ...], Meta(max_length=FACTS_MAX)]
    metadata: Facts
    dispatch_attempts: Counter
    created_at: Time
    updated_at: Time
    closed_at: Time | None


class StateSnapshot(Struct, frozen=True, kw_only=True, rename="camel"):
    """The state at the end of a replay."""

    agents: Annotated[tuple[DebugAgent, ...], Meta(max_length=AGENTS_MAX)]
    non_terminal_beads: Annotated[tuple[DebugBead, ...], Meta(max_length=BEADS_MAX)]


class ReplayBasis(Struct, frozen=True, kw_only=True, rename="camel"):
    """The events that were folded: after `fromSeq`, up to `toSeq`."""

    town: Id
    from_seq: Counter
    to_seq: Counter


class ReplayAnswer(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a replay came to. `caveat` is empty where it is the past and no approximation.

    `match` says that every tick came out as recorded; null where nothing was compared.
    """

    caveat: Reason
    events_replayed: Counter
    actions: Annotated[tuple[DebugAction, ...], Meta(max_length=STEPS_MAX)]
    actions_emitted: Counter
    state_snapshot: StateSnapshot
    mode: Literal["historical", "what-if", "overlay"]
    basis: ReplayBasis
    ticks: Annotated[tuple[ReplayedTick, ...], Meta(max_length=REHEARSAL_TICKS_MAX)]
    differences: Counter
    match: bool | None


class AlarmFacts(Struct, frozen=True, kw_only=True, rename="camel"):
    """When the town looks at itself next."""

    next_fire_at: Time | None
    interval_ms: Counter
    interval_label: Literal["active", "idle"]


class AgentNumbers(Struct, frozen=True, kw_only=True):
    """Agents by what they do; none is ever dead here, one that ended is idle or gone."""

    working: Counter
    waiting: Counter
    idle: Counter
    stalled: Counter
    dead: Counter
    total: Counter


class BeadNumbers(Struct, frozen=True, kw_only=True, rename="camel"):
    """Beads by status, without agents and messages; questions for triage are escalations here."""

    open: Counter
    in_progress: Counter
    in_review: Counter
    failed: Counter
    triage_requests: Counter


class Patrol(Struct, frozen=True, kw_only=True, rename="camel"):
    """Agents that are silent about work, stalled, or idle with a bead."""

    gupp_warnings: Counter
    gupp_escalations: Counter
    stalled_agents: Counter
    orphaned_hooks: Counter


class LastTick(Struct, frozen=True, kw_only=True, rename="camel"):
    """Numbers of the last tick; effects run after it and are counted as attempted."""

    events_drained: Counter
    actions_emitted: Counter
    actions_by_type: Counts
    side_effects_attempted: Counter
    invariant_violations: Counter
    wall_clock_ms: Annotated[float, Meta(ge=0)]
    pending_event_count: Counter
    at: Time


class RecentEvent(Struct, frozen=True, kw_only=True):
    """An event of the town's log."""

    time: Time
    type: Label
    message: Reason


class AlarmStatus(Struct, frozen=True, kw_only=True, rename="camel"):
    """How the town's loop is."""

    alarm: AlarmFacts
    agents: AgentNumbers
    beads: BeadNumbers
    patrol: Patrol
    reconciler: LastTick | None
    recent_events: Annotated[tuple[RecentEvent, ...], Meta(max_length=RECENT_MAX)]
    draining: bool
    breaker: Literal["closed", "open", "half_open"]
    violations: Annotated[tuple[DebugViolation, ...], Meta(max_length=STEPS_MAX)]


class DebugStatus(Struct, frozen=True, kw_only=True, rename="camel"):
    """A town's loop, agents and live beads; `beadsTotal` where the summary was cut."""

    alarm_status: AlarmStatus
    agent_meta: Annotated[tuple[DebugAgent, ...], Meta(max_length=AGENTS_MAX)]
    bead_summary: Annotated[tuple[DebugBead, ...], Meta(max_length=PAGE_ITEMS_MAX)]
    beads_total: Counter


class DebugNudge(Struct, frozen=True, kw_only=True):
    """A nudge that was not delivered."""

    nudge_id: Id
    agent_bead_id: Id
    message: Text
    source: Literal["person", "reconciler"]
    created_at: Time


class DebugNudges(Struct, frozen=True, kw_only=True):
    """The newest nudges that were not delivered."""

    nudges: Annotated[tuple[DebugNudge, ...], Meta(max_length=NUDGES_MAX)]


class DrainStatus(Struct, frozen=True, kw_only=True, rename="camel"):
    """Whether a town drains, by which nonce, and until when at most."""

    draining: bool
    drain_nonce: Label | None
    drain_until: Time | None


class ReviewMetadata(Struct, frozen=True, kw_only=True):
    """The part of a merge request."""

    branch: Reason
    target_branch: Reason
    merge_commit: Label | None
    pr_url: Annotated[str, Meta(max_length=1_024)] | None
    retry_count: Counter
    stage: Label


class BeadDependency(Struct, frozen=True, kw_only=True):
    """A bead that another waits for (`blocks`) or belongs to (`tracks`)."""

    bead_id: Id
    depends_on_bead_id: Label
    dependency_type: Literal["blocks", "tracks"]


class DebugBeadDetail(Struct, frozen=True, kw_only=True, rename="camel"):
    """One bead, also one that ended long ago."""

    bead: DebugBead
    review_metadata: ReviewMetadata | None
    dependencies: Annotated[tuple[BeadDependency, ...], Meta(max_length=PAGE_ITEMS_MAX)]


_ONE: Final = "/debug/towns/{id}"
_REVEAL: Final = Param("reveal", "true|false", "Show texts, addresses and nonces.")
_STRICT: Final = Param("strict", "true|false", "Refuse where an event cannot be taken.")
_TICKS: Final = Param("ticks", r"[1-9][0-9]{0,2}|1000", "Ticks ahead, beyond the drain.")
_STATUSES: Final = (200, 409, 422, 503)
_see: Final = partial(look, scope="operator", statuses=(200, 503), audited=True)
_try: Final = partial(order, scope="operator", mutates=False, audited=True, statuses=_STATUSES)
_elsewhere: Final = partial(_see, statuses=(204,))

TOWN_DEBUG: Final = (
    _see("debug.status", f"{_ONE}/status", DebugStatus, "How a town's loop is.", _REVEAL),
    _see("debug.nudges", f"{_ONE}/nudges", DebugNudges, "Nudges not delivered.", _REVEAL),
    _see("debug.drain-status", f"{_ONE}/drain-status", DrainStatus, "Its drain.", _REVEAL),
    _see("debug.bead", f"{_ONE}/beads/{{bead}}", DebugBeadDetail, "One bead.", BEAD, _REVEAL),
    _try(
        "debug.reconcile-dry-run", f"{_ONE}/reconcile-dry-run", None, ReconcileDryRun,
        "What the next tick would do; it changes nothing.", params=(_STRICT, _TICKS, _REVEAL),
    ),
    _try(
        "debug.replay-events", f"{_ONE}/replay-events", ReplayEvents, ReplayAnswer,
        "Make a span of a town's past again; it changes nothing.", params=(_REVEAL,),
    ),
    _try(
        "debug.send-message", f"{_ONE}/send-message", None, None,
        "Not here: 404. Mail to the mayor goes by POST /api/towns/{id}/mail.", statuses=(204,),
    ),
    _try(
        "debug.graceful-stop", f"{_ONE}/graceful-stop", None, None,
        "Not here: 404. A drain goes by POST /api/towns/{id}/drain.", statuses=(204,),
    ),
    _elsewhere("debug.wasteland", f"{_ONE}/wasteland", None, "Not here: 404."),
    _elsewhere("debug.wasteland-beads", f"{_ONE}/wasteland-beads", None, "Not here: 404."),
)  # fmt: skip

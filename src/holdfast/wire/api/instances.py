"""Endpoints about instances: list, make, order, change, look into.

An order answers 200 with the instance as it stands after the event was taken, 409 with the
refusal, or 202 with the operation to follow.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, get_args

from msgspec import Meta, Struct

from holdfast.wire.api.endpoint import (
    ACCOUNT,
    AFTER,
    ID_PATTERN,
    LIMIT,
    PAGING,
    Counter,
    Cursor,
    Detail,
    Empty,
    Env,
    EnvName,
    EnvPatch,
    Given,
    Id,
    Label,
    Outcome,
    Param,
    Reason,
    Time,
    look,
    one_of,
    order,
    some_of,
)
from holdfast.wire.api.operations import followed
from holdfast.wire.api.upgrades import VERSION_PATTERN, InstanceUpgrade, UpgradePreview, UpgradeView
from holdfast.wire.confinement import Confinement
from holdfast.wire.controller.checkin import ObserverWork
from holdfast.wire.health import Health, HealthCode
from holdfast.wire.limits import (
    BULK_ITEMS_MAX,
    CHART_POINTS_MAX,
    CLIMBS_MAX,
    COUNTER_MAX,
    CPUS_MAX,
    ENV_VARIABLES_MAX,
    INCIDENT_REPAIRS_MAX,
    INCIDENTS_MAX,
    INSTANCE_BODY_BYTES_MAX,
    LOG_LINE_MAX,
    LOG_LINES_MAX,
    MEMORY_MB_MAX,
    MEMORY_MB_MIN,
    PAGE_ITEMS_MAX,
    PHASES_MAX,
    ROTATION_OVERLAP_S,
    ROTATION_OVERLAP_S_MAX,
    STEPS_MAX,
)

Desired = Literal["running", "stopped", "destroyed"]
Status = Literal[
    "provisioned",
    "starting",
    "running",
    "restarting",
    "recovering",
    "restoring",
    "stopped",
    "paused",
    "destroying",
    "destroyed",
    "unknown",
]
"""`paused` is wanted running and stopped by the cap of its budget; `unknown` is of one whose stored
row is damaged: see its `attention`."""
Contact = Literal["never", "here", "lost"]
Stream = Literal["stdout", "stderr", "controller"]


class RecoveryView(Struct, frozen=True, kw_only=True):
    """The recovery of the agent after failures, as its machine reports it.

    `rung` is the last action after failures in a row: `restart`,
    `last_healthy_config`, `reinstall`, `previous_version` or `parked`; `reason` says why. `held`
    is true if the recovery was stopped by request. `blocked` names what holds the agent's port.
    `work_cuts` counts the ends that cut running work. `config` is what is known of the last change
    of its configuration: `trial`, `healthy`, or, because of `config_reason`, `rolled_back` or
    `failed`: the agent did not stay up with it and nothing could be put in its place.
    """

    rung: Label = "restart"
    reason: Reason = ""
    held: bool = False
    blocked: Reason = ""
    work_cuts: Counter = 0
    config: Label = ""
    config_reason: Reason = ""


URL_MAX: Final = 512
"""A host of 253 characters, a port, a path and a code of 43."""


class AgentPage(Struct, frozen=True, kw_only=True):
    """Where an agent's own page begins for this browser; its code is good once, for a minute."""

    url: Annotated[str, Meta(max_length=URL_MAX)]

    def __repr__(self) -> str:
        """Return a form without the code."""
        return "AgentPage([hidden])"


class InstanceView(Struct, frozen=True, kw_only=True):
    """One instance as lists and pages show it.

    `restarts` counts the agent's unrequested restarts. `last_contact_at` is the time of the
    machine's last check-in. `load` is the five-minute load average of the machine. `epoch` is the
    machine's incarnation, `seq` the number of the last event this view has taken in. `attention`
    says why a person should look, or is empty. `error` is the last failure. `contact` is `lost`
    after three missed check-ins. `recovery` is null until its machine has reported it.
    `confinement` is what keeps the running agent from what is not its own; `none` lets it read all
    that the plane's user can. `paused` says that the cap of its budget stops it, from the moment on
    that it is being stopped, whatever is desired. `budget` is how far that is used up, where there
    was an alert of it. `upgrade` is the last order for another version of its agent. `health` is
    the one status that all that shows it goes by; `status` is that of its machine alone.
    """

    id: Id
    name: Label
    account: Label
    agent: Label
    desired: Desired
    status: Status
    restarts: Counter
    last_contact_at: Time | None
    created_at: Time | None
    region: Label = ""
    machine_id: Label = ""
    agent_version: Label = ""
    controller_version: Label = ""
    agent_ready: bool | None = None
    contact: Contact = "never"
    load: Annotated[float, Meta(ge=0, le=1e6)] | None = None
    epoch: Counter = 0
    seq: Counter = 0
    attention: Reason = ""
    error: Reason = ""
    recovery: RecoveryView | None = None
    confinement: Confinement = "unknown"
    paused: bool = False
    budget: Reason = ""
    health: Health = Health()
    upgrade: UpgradeView | None = None


class InstanceList(Struct, frozen=True, kw_only=True):
    """One page of instances; `total` counts all that match.

    `counts` counts all visible by `status`, `health_counts` by the code of their `health`.
    """

    items: Annotated[tuple[InstanceView, ...], Meta(max_length=PAGE_ITEMS_MAX)]
    next: Cursor = ""
    total: Counter = 0
    counts: dict[Status, Counter] = {}
    health_counts: dict[HealthCode, Counter] = {}


class Climb(Struct, frozen=True, kw_only=True):
    """One rung of the recovery that its machine tried; see `RecoveryView` for their names.

    `done` is null while it is under way, and false for one that could not be taken; `detail` says
    why, or what was done.
    """

    rung: Label
    at: Time
    reason: Reason = ""
    done: bool | None = None
    detail: Reason = ""


class StartPhase(Struct, frozen=True, kw_only=True):
    """One phase of the controller's start; times in ms.

    `state` is `ahead`, `running`, `done`, `failed`, `repaired` (its agent became ready anyway) or
    `skipped`. `took_ms` is of its last run, or until it was reported. `reason` says why it failed;
    the exact reason is in the machine's log.
    """

    name: Label
    state: Label = "ahead"
    deadline_ms: Counter = 0
    took_ms: Counter = 0
    critical: bool = False
    reason: Reason = ""


class StartView(Struct, frozen=True, kw_only=True):
    """How a machine's controller came up, as it reported at `told_at`.

    `again_at` is when a phase that failed is tried again by itself, or null. One that failed and
    is not critical can be tried again by `bootstrap.retry`.
    """

    phases: Annotated[tuple[StartPhase, ...], Meta(max_length=PHASES_MAX)] = ()
    told_at: Time | None = None
    again_at: Time | None = None


class ObserverView(Struct, frozen=True, kw_only=True):
    """What the present machine reported last of its observer.

    `state` is `running`, `stalled` (it runs and does not do its work), `failing` or `off`, `reason`
    why it is not `running`, and `work` what it did last.
    """

    state: Label
    reason: Reason = ""
    work: ObserverWork | None = None


class Incident(Struct, frozen=True, kw_only=True):
    """One outage of an instance that was wanted running.

    It was noticed as the status `code`, and `worst` is the one that hurt most since. `state` is
    `down`, `proving` (its agent is ready again since `back_at` and not proven yet), `recovered`, or
    `dropped`: it was not wanted running any more before it was back. `down_s` are the seconds
    until it was back, or so far. `restarts` of the agent, `launches` of the machine and `repairs`
    are what was tried, `work_cuts` what was lost: ends that cut running work.
    """

    number: Counter
    code: HealthCode
    worst: HealthCode
    state: Literal["down", "proving", "recovered", "dropped"]
    text: Reason
    noticed_at: Time
    back_at: Time | None = None
    ended_at: Time | None = None
    down_s: Counter = 0
    restarts: Counter = 0
    launches: Counter = 0
    repairs: Annotated[tuple[Label, ...], Meta(max_length=INCIDENT_REPAIRS_MAX)] = ()
    work_cuts: Counter = 0

    @property
    def tried(self) -> str:
        """Return what was tried, in words; nothing if nothing was."""
        counted = (
            (self.restarts, "more end", "more ends"),
            (self.launches, "launch of its machine", "launches of its machine"),
        )
        parts = [
            f"{many} {one if many == 1 else several}" for many, one, several in counted if many
        ]
        return ", ".join((*parts, *(name.replace("_", " ") for name in self.repairs)))


class InstanceDetail(Struct, frozen=True, kw_only=True):
    """One instance with what only its own page shows; secrets appear by name only.

    `incidents` are its last outages, the latest first; `recovery_s` is the median of the seconds
    in which it was back from those that it recovered from, null where there is none.
    """

    instance: InstanceView
    env: Env = {}
    secret_names: Annotated[tuple[EnvName, ...], Meta(max_length=ENV_VARIABLES_MAX)] = ()
    started_at: Time | None = None
    stopped_at: Time | None = None
    next_alarm_at: Time | None = None
    sandbox_id: Label = ""
    start: StartView | None = None
    climbs: Annotated[tuple[Climb, ...], Meta(max_length=CLIMBS_MAX)] = ()
    observer: ObserverView | None = None
    details: Annotated[tuple[Detail, ...], Meta(max_length=STEPS_MAX)] = ()
    incidents: Annotated[tuple[Incident, ...], Meta(max_length=INCIDENTS_MAX)] = ()
    recovery_s: Counter | None = None


Cpus = Annotated[int, Meta(ge=1, le=CPUS_MAX)]
Memory = Annotated[int, Meta(ge=MEMORY_MB_MIN, le=MEMORY_MB_MAX)]


class InstanceCreate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Make an instance. An operator may name the `account`; an owner's is their own.

    It keeps the `version` of its agent, without one the version that new instances get. `cloud` and
    `region` are where it runs, `cpus` and `memory_mb` how large its machine is; left out, they are
    what new instances get.
    """

    name: Given
    agent: Given = "demo"
    version: Label = ""
    desired: Literal["running", "stopped"] = "running"
    cloud: Label = ""
    region: Label = ""
    cpus: Cpus | None = None
    memory_mb: Memory | None = None
    account: Label = ""
    env: Env = {}
    secrets: Env = {}

    def __repr__(self) -> str:
        """Return a form without the secrets."""
        return f"InstanceCreate(name={self.name!r}, agent={self.agent!r})"


class InstancePatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Change variables, the `version` of its agent or its size; they apply with its next start."""

    env: EnvPatch = {}
    secrets: EnvPatch = {}
    version: Label = ""
    cpus: Cpus | None = None
    memory_mb: Memory | None = None

    def __repr__(self) -> str:
        """Return a form without the values."""
        return f"InstancePatch(env={sorted(self.env)}, secrets={sorted(self.secrets)})"


class InstanceOrder(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Start, stop or restart; `reason` goes into the log of decisions."""

    reason: Reason = ""


class InstanceRotation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Replace an instance's secrets; those before stay good for `overlap_s` seconds.

    Its tokens always, and its API key unless `key` is false; `reason` goes into the log.
    """

    overlap_s: Annotated[int, Meta(ge=0, le=ROTATION_OVERLAP_S_MAX)] = ROTATION_OVERLAP_S
    key: bool = True
    reason: Reason = ""


class InstanceDestroy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Destroy for good; `confirm` must be the instance's name, typed by the person."""

    confirm: Label
    reason: Reason = ""


class BulkOrder(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The same order for many instances; each is answered for itself."""

    ids: Annotated[tuple[Id, ...], Meta(min_length=1, max_length=BULK_ITEMS_MAX)]
    reason: Reason = ""


class BulkItem(Struct, frozen=True, kw_only=True):
    """What came of the order for one instance; `operation` is where a pending one is followed."""

    id: Id
    result: Literal["done", "pending", "refused", "missing"]
    code: Label = ""
    message: Reason = ""
    operation: Label = ""


class BulkAnswer(Struct, frozen=True, kw_only=True):
    """One item for each id asked, in the same order."""

    items: Annotated[tuple[BulkItem, ...], Meta(max_length=BULK_ITEMS_MAX)]


class LogLine(Struct, frozen=True, kw_only=True):
    """One line of an agent or its controller."""

    text: Annotated[str, Meta(max_length=LOG_LINE_MAX)]
    stream: Stream = "stdout"
    at: Time | None = None


class LogTail(Struct, frozen=True, kw_only=True):
    """The last lines, oldest first; `next` continues from here, `note` says why there are none."""

    lines: Annotated[tuple[LogLine, ...], Meta(max_length=LOG_LINES_MAX)]
    next: Cursor = ""
    note: Reason = ""


class TimelineEntry(Struct, frozen=True, kw_only=True):
    """One thing that happened: an event taken, an action decided, an effect and its outcome.

    `cause` is the id of the entry that led to this one. `text` says what happened in a sentence for
    people; it is empty for a detail of another entry.
    """

    id: Label
    at: Time
    kind: Literal["event", "action", "effect", "outcome", "conflict", "refusal", "note"]
    name: Label
    seq: Counter = 0
    tick: Counter = 0
    outcome: Outcome | Literal[""] = ""
    rule: Label = ""
    reason: Reason = ""
    cause: Label = ""
    details: Annotated[tuple[Detail, ...], Meta(max_length=STEPS_MAX)] = ()
    text: Reason = ""


class Timeline(Struct, frozen=True, kw_only=True):
    """Entries, newest first."""

    entries: Annotated[tuple[TimelineEntry, ...], Meta(max_length=PAGE_ITEMS_MAX)]
    next: Cursor = ""


class ChartSeries(Struct, frozen=True, kw_only=True):
    """One line of a chart; null where nothing was measured."""

    name: Label
    unit: Label
    values: Annotated[tuple[float | None, ...], Meta(max_length=CHART_POINTS_MAX)]


class Chart(Struct, frozen=True, kw_only=True):
    """One chart: `at_s` are the seconds since the epoch that belong to every series.

    `limits` are values from which it is worth a look, the last of them from which it is bad.
    """

    name: Label
    title: Label
    at_s: Annotated[
        tuple[Annotated[int, Meta(ge=0, le=COUNTER_MAX)], ...], Meta(max_length=CHART_POINTS_MAX)
    ]
    series: Annotated[tuple[ChartSeries, ...], Meta(max_length=32)]
    limits: Annotated[tuple[float, ...], Meta(max_length=2)] = ()


class ChartSet(Struct, frozen=True, kw_only=True):
    """The charts of one page over one window, `step_s` seconds a point."""

    since: Time
    until: Time
    step_s: Counter
    charts: Annotated[tuple[Chart, ...], Meta(max_length=16)]


class Fact(Struct, frozen=True, kw_only=True):
    """One fact of an explanation; `code` is stable and for programs."""

    code: Label
    text: Reason
    at: Time | None = None


class Explanation(Struct, frozen=True, kw_only=True):
    """Why an instance is not running (or that it is), and what comes next.

    `summary` is one sentence; `waiting_for` names what must happen, `next_at` when the plane
    will look again by itself.
    """

    id: Id
    desired: Desired
    status: Status
    summary: Reason
    facts: Annotated[tuple[Fact, ...], Meta(max_length=STEPS_MAX)] = ()
    waiting_for: Reason = ""
    next_at: Time | None = None
    fix: Reason = ""
    health: Health = Health()


SORTS: Final = ("name", "status", "health", "agent", "created", "restarts", "contact", "load")
"""Columns by which a list is sorted."""

_ONE: Final = "/api/instances/{id}"
WINDOW: Final = Param("window", r"15m|1h|6h|24h|7d", "How far back (default 1h).")

INSTANCES: Final = (
    look(
        "instance.list", "/api/instances", InstanceList, "List instances: filter, sort and page.",
        *PAGING, ACCOUNT,
        some_of("status", get_args(Status), "Only these statuses of the machine."),
        some_of("health", get_args(HealthCode), "Only where the one status is one of these."),
        Param("agent", r"[a-z0-9-]{1,63}", "Only this agent."),
        one_of("attention", ("true", "false"), "Only those that need a person, or only others."),
        Param("text", r"[ -~]{1,64}", "Only where the name or id contains this."),
        one_of(
            "sort", [sign + name for name in SORTS for sign in ("", "-")],
            "Order by this, `health` with what hurts first; a hyphen in front turns it round"
            " (default name).",
        ),
        statuses=(200, 503),
    ),
    followed(
        "instance.create", "/api/instances", InstanceCreate, InstanceView,
        "Make an instance, and start it unless `desired` says otherwise.",
        statuses=(201, 202, 404, 409), body_bytes_max=INSTANCE_BODY_BYTES_MAX,
    ),
    order(
        "instance.bulk-start", "/api/instances/bulk/start", BulkOrder, BulkAnswer,
        "Start many instances; each is answered for itself.",
    ),
    order(
        "instance.bulk-stop", "/api/instances/bulk/stop", BulkOrder, BulkAnswer,
        "Stop many instances; each is answered for itself.",
    ),
    look(
        "instance.fleet-charts", "/api/charts", ChartSet,
        "The charts of the whole visible fleet.", WINDOW, ACCOUNT,
    ),
    look("instance.get", _ONE, InstanceDetail, "Show one instance."),
    order(
        "instance.open", f"{_ONE}/open", Empty, AgentPage,
        "Sign a browser over to its agent's own page.", mutates=False, audited=True,
    ),
    followed("instance.start", f"{_ONE}/start", InstanceOrder, InstanceView, "Want it running."),
    followed("instance.stop", f"{_ONE}/stop", InstanceOrder, InstanceView, "Want it stopped."),
    followed(
        "instance.restart", f"{_ONE}/restart", InstanceOrder, InstanceView, "Restart its agent.",
    ),
    followed(
        "instance.rotate-secrets", f"{_ONE}/rotate-secrets", InstanceRotation, InstanceView,
        "Replace its tokens and its API key; those before stay good for a while.",
    ),
    look(
        "instance.upgrade-preview", f"{_ONE}/upgrade", UpgradePreview,
        "Show what another version of its agent would change, and what has a way back.",
        Param("version", VERSION_PATTERN, "Which one (default what new instances get)."),
    ),
    followed(
        "instance.upgrade", f"{_ONE}/upgrade", InstanceUpgrade, InstanceView,
        "Change the version of its agent, with a way back by itself.",
    ),
    followed(
        "instance.ladder-stop", f"{_ONE}/ladder/stop", InstanceOrder, InstanceView,
        "Stop the recovery of its agent where it is; restarts go on.",
    ),
    followed(
        "instance.ladder-retry", f"{_ONE}/ladder/retry", InstanceOrder, InstanceView,
        "Let the recovery of its agent begin anew, at once.",
    ),
    followed(
        "instance.destroy", f"{_ONE}/destroy", InstanceDestroy, InstanceView,
        "Destroy it and its data, for good; the name must be typed as confirmation.",
    ),
    followed(
        "instance.patch", _ONE, InstancePatch, InstanceView,
        "Change its environment and secrets.",
        method="PATCH", body_bytes_max=INSTANCE_BODY_BYTES_MAX,
    ),
    look(
        "instance.logs", f"{_ONE}/logs", LogTail,
        "The last lines its agent and controller printed.",
        Param("lines", r"[1-9][0-9]{0,2}|1000", "How many, 1 to 1000 (default 200)."),
        Param("stream", r"stdout|stderr|controller", "Only this stream."),
        AFTER,
    ),
    look(
        "instance.timeline", f"{_ONE}/timeline", Timeline,
        "What happened, what was decided and what came of it, newest first.",
        LIMIT, AFTER, Param("cause", ID_PATTERN, "Only what this event led to."),
    ),
    look("instance.charts", f"{_ONE}/charts", ChartSet, "Its charts.", WINDOW),
    look(
        "instance.explain", f"{_ONE}/explain", Explanation,
        "Why it is not running, or that it is, and what comes next.",
    ),
)  # fmt: skip

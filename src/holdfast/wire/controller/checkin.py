"""The check-in: what a controller reports to the plane about its machine.

Its first fields are those that existing controllers send (docs/compat/check-in.md); what follows
from `protocol` on is ours, and its presence requests an answer with a directive. Counters
are cumulative since the controller's boot, named by `bootId` and ordered by `sequence`, so that
the plane derives exact differences however often a message is lost, repeated or late. Nothing here
may carry content: no output, no prompts, no secrets.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct, field

from holdfast.wire.limits import (
    BOOTS_MAX,
    CLIMB_TEXT_MAX,
    CLIMBS_MAX,
    COUNTER_MAX,
    OUTCOMES_MAX,
    PHASES_MAX,
    REASON_MAX,
    TEXT_MAX,
    UNREAD_MAX,
)

PROTOCOL: Final = 1
"""The version of our own half of the message; a reader takes this one and the one before."""

Name = Annotated[str, Meta(min_length=1, max_length=TEXT_MAX)]
Label = Annotated[str, Meta(max_length=TEXT_MAX)]
Reason = Annotated[str, Meta(max_length=REASON_MAX)]
Counter = Annotated[int, Meta(ge=0, le=COUNTER_MAX)]
Load = Annotated[float, Meta(ge=0, le=1e6)]


class CommandOutcome(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What came of one command of a directive; `id` is the command's."""

    id: Name
    ok: bool
    code: Label = ""
    message: Reason = ""


class BootCounters(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What an earlier boot had counted when its last message was made, sent or not.

    A machine that keeps these on its disk loses no count with a reboot; it repeats them until
    messages that carried them were answered.
    """

    boot_id: Name
    sequence: Counter = 0
    restarts: Counter = 0
    crashes: Counter = 0
    bytes_in: Counter = 0
    bytes_out: Counter = 0


class Recovery(Struct, frozen=True, gc=False, kw_only=True, rename="camel", omit_defaults=True):
    """The recovery of the agent after failures.

    `rung` is the last action after failures, from `restart` to `parked`, and `reason` why; `held`
    is true if the recovery was stopped by request. `blocked` names what holds the agent's port.
    `work_cuts` counts, since the controller's boot, the ends that cut running work.
    `config` is what is known of the last change of its configuration: `trial`, `healthy`, or,
    because of `config_reason`, `rolled_back` or `failed` (nothing could be put in its place).
    """

    rung: Label = "restart"
    reason: Reason = ""
    held: bool = False
    blocked: Reason = ""
    work_cuts: Counter = 0
    config: Label = ""
    config_reason: Reason = ""


class Climb(Struct, frozen=True, gc=False, kw_only=True, rename="camel", omit_defaults=True):
    """One rung of the recovery that was taken at `at_ms`, because of `reason`.

    `done` is null while it is under way and false for one that could not be taken, as `detail`
    says.
    """

    rung: Label
    at_ms: Counter
    reason: Annotated[str, Meta(max_length=CLIMB_TEXT_MAX)] = ""
    done: bool | None = None
    detail: Annotated[str, Meta(max_length=CLIMB_TEXT_MAX)] = ""


class StartPhase(Struct, frozen=True, gc=False, kw_only=True, rename="camel", omit_defaults=True):
    """One phase of the controller's start; times in ms.

    `state` is `ahead`, `running`, `done`, `failed`, `repaired` or `skipped`. `took_ms` is of its
    last run, or so far. `reason` is a fixed text. Control routes are closed until those that are
    `critical` are done.
    """

    name: Name
    state: Label = "ahead"
    deadline_ms: Counter = 0
    took_ms: Counter = 0
    critical: bool = False
    reason: Reason = ""


class Start(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The start by its phases; `again_in_ms` is when a failed one is tried again by itself."""

    phases: Annotated[tuple[StartPhase, ...], Meta(max_length=PHASES_MAX)] = ()
    again_in_ms: Counter = 0


class UnreadSources(Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """Files of the agent that cannot be read: how many, and why in a fixed text that names none."""

    reason: Annotated[str, Meta(max_length=CLIMB_TEXT_MAX)]
    sources: Counter = 0


class ObserverWork(Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """What an observer did last, as it says; the same on its way to the controller and to a page.

    `heard` is when the plane answered a heartbeat last, `looked` when it last was through with all
    files that may be read, in ms since the epoch, 0 for never. `stuck` is why it does not do its
    work though it runs, `paused` why content is not read or not sent. `waiting` counts uploads in
    its queue. `sources` and `bytes` are what is left to read of content, databases without their
    bytes. `oversized` counts lines since its start of which only the length was sent.
    """

    heard: Counter = 0
    looked: Counter = 0
    stuck: Annotated[str, Meta(max_length=CLIMB_TEXT_MAX)] = ""
    paused: Annotated[str, Meta(max_length=CLIMB_TEXT_MAX)] = ""
    waiting: Counter = 0
    sources: Counter = 0
    bytes: Counter = 0
    oversized: Counter = 0
    unread: Annotated[tuple[UnreadSources, ...], Meta(max_length=UNREAD_MAX)] = ()


class VersionChange(
    Struct, frozen=True, gc=False, kw_only=True, rename="camel", omit_defaults=True
):
    """The last change of the agent's version in this machine, from `before` to `after`.

    `step` is `copy` (of its state), `doctor` (of the new version, on the copy), `start` (until it
    is ready and proven) or `back` while it is under way. Then it is `done`; `rolled_back`, and the
    version and state of before are used again; `refused`, and nothing was changed; or `failed`: it
    does not work and the version before is not installed any more. `reason` says why. `turn` is the
    number of the order that asked for it.
    """

    before: Label
    after: Label
    step: Label
    reason: Reason = ""
    turn: Counter = 0


class MachineStatus(
    Struct, frozen=True, gc=False, kw_only=True, rename="camel", omit_defaults=True
):
    """The part of a check-in that is only shown: the plane keeps the latest, and logs none of it.

    A field that is added here reaches the API and pages without another declaration.
    `load_avg_5m` is the five-minute load average of the machine, not divided by its CPUs.
    `disk_used_bytes` and `disk_total_bytes` may be null or negative, which count as 0.
    `confinement` names what confines its agent, see `wire.confinement`; empty if not reported.
    `observer` is `running`, `stalled` (it runs and does not do its work), `failing` or `off`, empty
    if not reported; `observer_reason` is why it does not run or work, `observer_work` what it did.
    """

    uptime_seconds: Annotated[float, Meta(ge=0, le=COUNTER_MAX)]
    load_avg_5m: Load = field(name="loadAvg5m")
    disk_used_bytes: int | None = None
    disk_total_bytes: int | None = None
    agent_kind: Label = ""
    confinement: Label = ""
    cpus: Annotated[int, Meta(ge=0, le=4_096)] = 0
    memory_bytes: Counter = 0
    failed_checkins: Counter = 0
    last_error: Reason = ""
    observer: Label = ""
    observer_reason: Reason = ""
    observer_work: ObserverWork | None = None
    start: Start | None = None
    climbs: Annotated[tuple[Climb, ...], Meta(max_length=CLIMBS_MAX)] = ()


class CheckIn(MachineStatus, frozen=True, kw_only=True, rename="camel", omit_defaults=False):
    """One report of a machine; unknown keys are dropped (compat/check-in.md).

    `agent_state` is how its agent stands: `starting` (and not ready yet), `ready`, `unready` (it
    was ready and does not answer), `waiting` for its next start at `next_try_at_ms`, `repairing`
    (by `repair`), `parked`, `blocked`, `stopping` or `stopped`. `failures` counts its ends in a row
    that nobody asked for, and `failure` says how the last one came. `channel_trouble` says which of
    the channels of an agent that is ready do not run, and why. Times are ms since the epoch.
    """

    sandbox_id: Name
    controller_version: Name
    controller_commit: Name
    supervisor_state: Name
    openclaw_version: Label | None
    openclaw_commit: Label | None
    total_restarts: Counter
    restarts_since_last_checkin: Counter
    bandwidth_bytes_in: Counter
    bandwidth_bytes_out: Counter
    machine_id: Label = ""
    last_exit_reason: Reason = ""

    protocol: Annotated[int, Meta(ge=1, le=1_000)] | None = None
    boot_id: Label = ""
    sequence: Counter = 0
    epoch: Counter = 0
    bytes_in_total: Counter = 0
    bytes_out_total: Counter = 0
    crashes_total: Counter = 0
    agent_ready: bool | None = None
    phase: Label = ""
    degraded: Reason = ""
    last_exit_at_ms: Counter | None = None
    last_exit_requested: bool = False
    capabilities: Annotated[tuple[Label, ...], Meta(max_length=128)] = ()
    recovery: Recovery | None = None
    pairing_epoch: Counter = 0
    pairing_count: Counter = 0
    interval_ms: Counter = 0
    earlier_boots: Annotated[tuple[BootCounters, ...], Meta(max_length=BOOTS_MAX)] = ()
    outcomes: Annotated[tuple[CommandOutcome, ...], Meta(max_length=OUTCOMES_MAX)] = ()
    agent_state: Label = ""
    failures: Counter = 0
    failure: Reason = ""
    repair: Label = ""
    next_try_at_ms: Counter = 0
    version_change: VersionChange | None = None
    channel_trouble: Reason = ""

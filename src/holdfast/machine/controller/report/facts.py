"""The content of a check-in, computed from facts, and the totals after a delivery.

Differences are counted from the last delivered report, so a lost report is contained in the next
one. Every report also has totals, numbered within this boot of the controller, from which the plane
computes exact differences despite losses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from holdfast.machine.controller.agent.supervisor import Stats
from holdfast.machine.controller.agent.version import Version
from holdfast.machine.controller.lifecycle import Steps
from holdfast.machine.controller.observing.process import Told
from holdfast.machine.controller.process.sampler import Sample
from holdfast.machine.controller.settings import Reporting
from holdfast.machine.controller.supervise import Exit, State
from holdfast.machine.controller.supervise.state import Status
from holdfast.wire.controller import checkin
from holdfast.wire.limits import CLIMB_TEXT_MAX, CLIMBS_MAX, OUTCOMES_MAX, REASON_MAX, TEXT_MAX

AgentState: TypeAlias = Literal[
    "starting",
    "ready",
    "unready",
    "waiting",
    "repairing",
    "parked",
    "blocked",
    "stopping",
    "stopped",
]
"""How an agent stands; see `CheckIn`."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """The totals that the plane has: differences are counted from here."""

    restarts: int = 0
    received: int = 0
    sent: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The facts of a report, at one moment."""

    stats: Stats
    sample: Sample
    version: Version
    agent_kind: str
    confinement: str
    phase: str
    degraded: str
    failed: int
    last_error: str
    interval_ms: int
    outcomes: tuple[checkin.CommandOutcome, ...]
    capabilities: tuple[str, ...]
    observer: Told | None = None
    steps: Steps | None = None
    pairing_epoch: int = 0
    pairing_count: int = 0
    version_change: checkin.VersionChange | None = None
    channel_trouble: str = ""


@dataclass(frozen=True, slots=True)
class Identity:
    """The sender: the machine's settings, the controller's version, and this boot of it."""

    reporting: Reporting
    version: str
    boot_id: str


def totals_of(facts: Facts) -> Delivered:
    """Return the delivered totals after a report of these facts."""
    sample = facts.sample
    return Delivered(facts.stats.state.restarts, sample.received, sample.sent)


def build(
    identity: Identity,
    facts: Facts,
    delivered: Delivered,
    sequence: int,
    *,
    earlier: tuple[checkin.BootCounters, ...] = (),
) -> checkin.CheckIn:
    """Return the report of these facts, including `earlier` boots."""
    given, state, sample = identity.reporting, facts.stats.state, facts.sample
    last = state.last_exit
    return checkin.CheckIn(
        sandbox_id=given.sandbox_id,
        machine_id=given.machine_id[:TEXT_MAX],
        controller_version=identity.version,
        controller_commit=given.commit[:TEXT_MAX],
        openclaw_version=facts.version.version,
        openclaw_commit=facts.version.commit,
        supervisor_state=state.status,
        total_restarts=state.restarts,
        restarts_since_last_checkin=max(state.restarts - delivered.restarts, 0),
        uptime_seconds=facts.stats.uptime_s,
        load_avg_5m=sample.load[1],
        bandwidth_bytes_in=max(sample.received - delivered.received, 0),
        bandwidth_bytes_out=max(sample.sent - delivered.sent, 0),
        last_exit_reason=describe_exit(last),
        disk_used_bytes=sample.disk_used_bytes,
        disk_total_bytes=sample.disk_total_bytes,
        protocol=checkin.PROTOCOL,
        boot_id=identity.boot_id,
        sequence=sequence,
        epoch=given.epoch,
        bytes_in_total=sample.received,
        bytes_out_total=sample.sent,
        crashes_total=state.crashes,
        agent_ready=state.ready,
        agent_kind=facts.agent_kind[:TEXT_MAX],
        confinement=facts.confinement,
        phase=facts.phase[:TEXT_MAX],
        degraded=(facts.degraded or state.parked or state.blocked)[:REASON_MAX],
        last_exit_at_ms=None if last is None else last.at_ms,
        last_exit_requested=last is not None and last.requested,
        cpus=sample.cpus,
        memory_bytes=sample.memory_bytes,
        failed_checkins=facts.failed,
        last_error=facts.last_error[:REASON_MAX],
        observer="" if facts.observer is None else facts.observer.state,
        observer_reason="" if facts.observer is None else facts.observer.reason[:REASON_MAX],
        observer_work=None if facts.observer is None else facts.observer.work,
        capabilities=facts.capabilities,
        pairing_epoch=facts.pairing_epoch,
        pairing_count=facts.pairing_count,
        interval_ms=facts.interval_ms,
        earlier_boots=earlier,
        outcomes=facts.outcomes[:OUTCOMES_MAX],
        recovery=recovery_of(state),
        start=None if facts.steps is None else start_of(facts.steps),
        climbs=climbs_of(state),
        agent_state=agent_state_of(state),
        failures=max(state.failures, state.clean_run),
        failure=failure_of(state)[:REASON_MAX],
        repair=state.repair or "",
        next_try_at_ms=facts.stats.next_try_at_ms,
        version_change=facts.version_change,
        channel_trouble=facts.channel_trouble,
    )


def agent_state_of(state: State) -> AgentState:
    """Return how the agent stands, in one word."""
    if state.repair is not None:
        return "repairing"
    if state.parked:
        return "parked"
    if state.blocked and not state.child:
        return "blocked"
    if state.status == "running":
        if state.ready:
            return "ready"
        return "unready" if state.ready_by_ms is None or state.misses else "starting"
    if state.status == "stopping":
        asked = state.termination is None or state.termination.cause == "asked"
        return ("starting" if state.again else "stopping") if asked else "unready"
    return _STANDS[state.status]


_STANDS: Final[dict[Status, AgentState]] = {
    "starting": "starting",
    "crashed": "waiting",
    "stopped": "stopped",
    "shutting_down": "stopping",
}


def failure_of(state: State) -> str:
    """Return how the agent failed last, or nothing if it did not or was asked to end."""
    last = state.last_exit
    if last is None or last.requested or not max(state.failures, state.clean_run):
        return ""
    if last.cause and state.goodbye is not None:
        return state.goodbye.reason
    return last.signal or f"exit code {last.code}"


def start_of(steps: Steps) -> checkin.Start | None:
    """Return the state of the start in wire form; None if no phase is known."""
    phases = tuple(
        checkin.StartPhase(
            name=step.name, state=step.state, deadline_ms=step.deadline_ms, took_ms=step.took_ms,
            critical=step.critical, reason=step.reason,
        )
        for step in steps.snapshot()
    )  # fmt: skip
    return checkin.Start(phases=phases, again_in_ms=steps.again_in_ms) if phases else None


def recovery_of(state: State) -> checkin.Recovery:
    """Return the state of the recovery in wire form."""
    ladder, verdict = state.ladder, state.verdict
    config, reason = "", ""
    if state.trial is not None and not state.trial.of_version:
        config = "trial"
    elif verdict is not None and not verdict.of_version:
        config = verdict.word
        reason = verdict.reason
    return checkin.Recovery(
        rung=ladder.rung,
        reason=ladder.reason[:REASON_MAX],
        held=ladder.held,
        blocked=state.blocked[:REASON_MAX],
        work_cuts=state.cuts,
        config=config,
        config_reason=reason[:REASON_MAX],
    )


def climbs_of(state: State) -> tuple[checkin.Climb, ...]:
    """Return the last rungs that were tried, the latest last."""
    return tuple(
        checkin.Climb(
            rung=climb.rung, at_ms=climb.at_ms, reason=climb.reason[:CLIMB_TEXT_MAX],
            done=climb.done, detail=climb.detail[:CLIMB_TEXT_MAX],
        )
        for climb in state.ladder.history[-CLIMBS_MAX:]
    )  # fmt: skip


def is_news(before: State, after: State) -> bool:
    """Return whether to report at once: the agent, its recovery or a trial moved."""
    return (
        after.parked != before.parked
        or agent_state_of(after) != agent_state_of(before)
        or (after.failures, after.clean_run) != (before.failures, before.clean_run)
        or after.retry_at_ms != before.retry_at_ms
        or after.blocked != before.blocked
        or after.ladder.rung != before.ladder.rung
        or after.ladder.held != before.ladder.held
        or after.ladder.history != before.ladder.history
        or (after.trial is None) != (before.trial is None)
        or after.verdict is not before.verdict
        or after.cuts != before.cuts
    )


def describe_exit(last: Exit | None) -> str:
    """Return the last exit as compat/check-in.md has it: `signal:NAME`, `code:N` or nothing."""
    if last is None:
        return ""
    if last.signal is not None:
        return f"signal:{last.signal}"
    return "" if last.code is None else f"code:{last.code}"

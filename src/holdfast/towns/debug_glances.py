"""What the process of rehearsals shows of a town to operators: rows by the names of others. Pure.

Texts are not here: they are kept beside the town, and whoever answers adds those that may be shown.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Literal

from holdfast.actors.record import Note, TickRecord
from holdfast.actors.rehearse import Glance
from holdfast.kernel.clock import MINUTE_MS, SECOND_MS
from holdfast.towns.glances import agent_counts, bead_counts
from holdfast.towns.state import TERMINAL, Agent, Bead, Nudge, State, sorted_values
from holdfast.wire.api.town_debug import (
    AGENTS_MAX,
    NUDGES_MAX,
    AgentNumbers,
    AlarmFacts,
    AlarmStatus,
    BeadDependency,
    BeadNumbers,
    DebugAgent,
    DebugBead,
    DebugNudge,
    DebugNudges,
    DebugStatus,
    DebugViolation,
    LastTick,
    Patrol,
    ReviewMetadata,
    StateSnapshot,
)
from holdfast.wire.limits import PAGE_ITEMS_MAX, REASON_MAX, STEPS_MAX
from holdfast.wire.times import time_text

STATUS: Final = "holdfast.towns.debug_glances:status"
NUDGES: Final = "holdfast.towns.debug_glances:nudges"
SNAPSHOT: Final = "holdfast.towns.debug_glances:snapshot"

ACTIVE_MS: Final = 5 * SECOND_MS
IDLE_MS: Final = 5 * MINUTE_MS
"""How often the loop of others looks at a town that works, and at one that does not. Ours is woken
by what happens and by deadlines; these name the two states."""

_PRIORITIES: Final[tuple[Literal["critical", "high", "medium", "low"], ...]] = (
    "critical", "high", "medium", "low",
)  # fmt: skip
_LABELS: Final = {
    "rework": "gt:rework",
    "pr_feedback": "gt:pr-feedback",
    "pr_conflict": "gt:pr-conflict",
}
_TYPES: Final = {
    "merge_request": "gt:merge-request",
    "convoy": "gt:convoy",
    "escalation": "gt:escalation",
    "message": "gt:message",
}


def status(glance: Glance) -> DebugStatus:
    """Return the loop of a town, its agents and its live beads, without recent events."""
    state: State = glance.folded.state
    live = live_beads(state)
    return DebugStatus(
        alarm_status=_alarm_status(glance, state),
        agent_meta=agents(state),
        bead_summary=tuple(map(bead_row, live[:PAGE_ITEMS_MAX])),
        beads_total=len(live),
    )


def snapshot(glance: Glance) -> StateSnapshot:
    """Return the state at the end of a replay."""
    state: State = glance.folded.state
    return StateSnapshot(
        agents=agents(state), non_terminal_beads=tuple(map(bead_row, live_beads(state)))
    )


def nudges(glance: Glance) -> DebugNudges:
    """Return the newest nudges that were not delivered, without their texts."""
    state: State = glance.folded.state
    found: list[Nudge] = sorted(state.nudges.values(), key=lambda one: (-one.created_ms, one.id))
    return DebugNudges(
        nudges=tuple(
            DebugNudge(
                nudge_id=one.id,
                agent_bead_id=one.agent,
                message=one.content,
                source="reconciler" if one.level else "person",
                created_at=time_text(one.created_ms),
            )
            for one in found[:NUDGES_MAX]
        )
    )


def live_beads(state: State) -> list[Bead]:
    """Return the beads that have not ended, the oldest first."""
    live = (bead for bead in state.beads.values() if bead.status not in TERMINAL)
    return sorted(live, key=lambda one: (one.created_ms, one.id))


def agents(state: State) -> tuple[DebugAgent, ...]:
    """Return the rows of agents."""
    return tuple(map(_agent_row, sorted_values(state.agents)[:AGENTS_MAX]))


def _agent_row(agent: Agent) -> DebugAgent:
    return DebugAgent(
        bead_id=agent.id,
        name=agent.name,
        role=agent.role,
        status=agent.status,
        current_hook_bead_id=agent.hook or None,
        dispatch_attempts=agent.epoch,
        last_activity_at=_time(agent.dispatched_ms),
    )


def bead_row(bead: Bead) -> DebugBead:
    """Return the row of a bead; `title` is the id of its text, which whoever answers replaces."""
    labels = [_LABELS.get(bead.purpose, ""), _TYPES.get(bead.type, "")]
    labels += ["gt:held"] if bead.held else []
    return DebugBead(
        bead_id=bead.id,
        type=bead.type,
        status=bead.status,
        title=bead.content,
        body="",
        rig_id=bead.rig or None,
        assignee_agent_bead_id=bead.assignee or None,
        priority=_PRIORITIES[min(max(bead.priority, 0), 3)],
        labels=tuple(label for label in labels if label),
        metadata=_metadata(bead),
        dispatch_attempts=bead.attempts,
        created_at=time_text(bead.created_ms),
        updated_at=time_text(bead.updated_ms),
        closed_at=_time(bead.ended_ms),
    )


def _metadata(bead: Bead) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "convoy_id": bead.convoy,
        "source_bead_id": bead.source,
        "to_agent_id": bead.to,
        "blocked_by": list(bead.blocked_by),
        "failure": bead.failure,
        "staged": bead.staged,
    }
    if bead.review is not None:
        facts |= {"pr_url": bead.review.pr_url, "stage": bead.review.stage}
    if bead.convoy_of is not None:
        facts |= {"feature_branch": bead.convoy_of.branch, "merge_mode": bead.convoy_of.mode}
        facts |= {"total_beads": bead.convoy_of.total, "closed_beads": bead.convoy_of.closed}
    if bead.escalation is not None:
        facts |= {"severity": bead.escalation.severity, "category": bead.escalation.category}
    return {name: value for name, value in facts.items() if value}


def review_metadata(bead: Bead) -> ReviewMetadata | None:
    """Return the part of a merge request."""
    review = bead.review
    if review is None:
        return None
    return ReviewMetadata(
        branch=review.branch[:REASON_MAX],
        target_branch=review.target[:REASON_MAX],
        merge_commit=review.merge_commit or None,
        pr_url=review.pr_url or None,
        retry_count=review.reworks,
        stage=review.stage,
    )


def dependencies(bead: Bead) -> Iterable[BeadDependency]:
    """Yield what a bead waits for, then what it belongs to."""
    for one in bead.blocked_by:
        yield BeadDependency(bead_id=bead.id, depends_on_bead_id=one, dependency_type="blocks")
    for one in (bead.convoy, bead.source):
        if one:
            yield BeadDependency(bead_id=bead.id, depends_on_bead_id=one, dependency_type="tracks")


def _alarm_status(glance: Glance, state: State) -> AlarmStatus:
    workers, beads = agent_counts(state), bead_counts(state)
    active = bool(workers.working or beads.open or beads.in_progress or beads.in_review)
    alarm_ms = glance.folded.alarm_ms
    found = state.agents.values()
    violated = [one for one in sorted_values(state.violations) if one.status == "open"]
    return AlarmStatus(
        alarm=AlarmFacts(
            next_fire_at=None if alarm_ms is None else time_text(alarm_ms),
            interval_ms=ACTIVE_MS if active else IDLE_MS,
            interval_label="active" if active else "idle",
        ),
        agents=AgentNumbers(
            working=workers.working, waiting=workers.waiting, idle=workers.idle,
            stalled=workers.stalled, dead=0, total=workers.total,
        ),
        beads=BeadNumbers(
            open=beads.open, in_progress=beads.in_progress, in_review=beads.in_review,
            failed=beads.failed, triage_requests=beads.escalations,
        ),
        patrol=Patrol(
            gupp_warnings=sum(one.inactive >= 1 for one in found),
            gupp_escalations=sum(one.inactive > 1 for one in found),
            stalled_agents=workers.stalled,
            orphaned_hooks=sum(one.status == "idle" and bool(one.hook) for one in found),
        ),
        reconciler=None if glance.last is None else last_tick(glance.last, glance.pending),
        recent_events=(),
        draining=bool(state.town.drain_nonce),
        breaker=state.town.breaker.state,
        violations=violations(Note(one.number, one.entity, one.text) for one in violated),
    )  # fmt: skip


def last_tick(record: TickRecord, pending: int) -> LastTick:
    """Return the numbers of a tick."""
    return LastTick(
        events_drained=len(record.inputs),
        actions_emitted=len(record.decisions),
        actions_by_type=by_type(decision.name for decision in record.decisions),
        side_effects_attempted=sum(len(decision.effects) for decision in record.decisions),
        invariant_violations=len(record.notes),
        wall_clock_ms=sum(record.phases_us) / 1_000,
        pending_event_count=pending,
        at=time_text(record.now_ms),
    )


def by_type(names: Iterable[str]) -> dict[str, int]:
    """Count names, the most frequent first."""
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items(), key=lambda one: (-one[1], one[0])))


def violations(notes: Iterable[Note]) -> tuple[DebugViolation, ...]:
    """Return broken invariants."""
    found = (
        DebugViolation(number=note.number, entity=note.entity[:128], text=note.text[:REASON_MAX])
        for note in notes
    )
    return tuple(found)[:STEPS_MAX]


def _time(at_ms: int) -> str | None:
    return time_text(at_ms) if at_ms else None

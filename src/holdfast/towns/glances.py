"""What the process of rehearsals says of a town's present state. Pure."""

from __future__ import annotations

from collections import Counter
from typing import Final

from holdfast.actors.rehearse import Glance
from holdfast.towns import presenters
from holdfast.towns.state import State, sorted_values, spent_today
from holdfast.wire.api.towns import AgentCounts, BeadCounts, TownStatus, WaitingFor
from holdfast.wire.limits import PAGE_ITEMS_MAX, REASON_MAX
from holdfast.wire.times import time_text

STATUS: Final = "holdfast.towns.glances:status"


def status(glance: Glance) -> TownStatus:
    """Return how a town is."""
    state: State = glance.folded.state
    withheld = glance.last.withheld if glance.last is not None else ()
    waiting = sorted(withheld, key=lambda one: (-one.count, one.rule, one.because))
    alarm_ms = glance.folded.alarm_ms
    return TownStatus(
        town=presenters.town_view(state.town),
        agents=agent_counts(state),
        beads=bead_counts(state),
        waiting=tuple(
            WaitingFor(rule=one.rule, reason=one.because[:REASON_MAX], count=one.count)
            for one in waiting[:PAGE_ITEMS_MAX]
        ),
        violations=violations(state),
        spent=spent_today(state.town, glance.now_ms),
        next_tick_at=None if alarm_ms is None else time_text(alarm_ms),
        events_waiting=glance.pending,
    )


def violations(state: State) -> tuple[str, ...]:
    """Return the open violations as sentences."""
    found = (one for one in sorted_values(state.violations) if one.status == "open")
    return tuple(f"invariant {one.number}, {one.entity}: {one.text}"[:REASON_MAX] for one in found)[
        :PAGE_ITEMS_MAX
    ]


def agent_counts(state: State) -> AgentCounts:
    """Count agents by what they do."""
    found = Counter(agent.status for agent in state.agents.values())
    return AgentCounts(
        working=found["working"],
        waiting=found["waiting"],
        idle=found["idle"],
        stalled=found["stalled"],
        total=len(state.agents),
    )


def bead_counts(state: State) -> BeadCounts:
    """Count beads by status; escalations apart, messages not at all."""
    work = [bead for bead in state.beads.values() if bead.type not in {"escalation", "message"}]
    found = Counter(bead.status for bead in work)
    asked = (bead for bead in state.beads.values() if bead.type == "escalation")
    return BeadCounts(
        open=found["open"],
        in_progress=found["in_progress"],
        in_review=found["in_review"],
        failed=found["failed"],
        closed=found["closed"],
        held=sum(bead.held for bead in work),
        escalations=sum(bead.status == "open" for bead in asked),
    )

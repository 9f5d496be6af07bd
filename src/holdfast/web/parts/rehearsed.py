"""What a dry run of an actor's next tick says, as a panel. Pure."""

from __future__ import annotations

from typing import NamedTuple

from holdfast.web.parts.moments import Moment, moment
from holdfast.web.parts.words import Badge, outcome_badge, spoken
from holdfast.wire.api.rehearsals import Rehearsal, RehearsedTick


class Step(NamedTuple):
    """One thing that the next tick would do, or would not."""

    title: str
    badge: Badge | None
    rule: str
    reason: str
    at: Moment | None = None


class Next(NamedTuple):
    """What the next tick would do."""

    summary: str
    steps: tuple[Step, ...]
    held: tuple[Step, ...]
    changes: tuple[str, ...]
    notes: tuple[str, ...]
    deadline: Moment | None


def what_next(rehearsal: Rehearsal, *, now_ms: int) -> Next:
    """Return a dry run as a panel."""
    ticks = rehearsal.ticks
    return Next(
        summary=rehearsal.summary,
        steps=tuple(step for tick in ticks for step in _steps(tick)),
        held=tuple(
            Step(spoken(item.name), None, item.rule, item.reason, moment(item.until, now_ms))
            for tick in ticks
            for item in tick.suppressed
        ),
        changes=rehearsal.changes,
        notes=tuple(note for tick in ticks for note in tick.notes),
        deadline=moment(ticks[-1].deadline_at, now_ms) if ticks else None,
    )


def _steps(tick: RehearsedTick) -> list[Step]:
    """Return what a rehearsed tick takes and does, in order."""
    taken = [
        Step(spoken(event.name), outcome_badge(event.outcome), "", event.message)
        for event in tick.events
    ]
    done = [
        Step(
            spoken(action.name),
            Badge("conflict", "warn", action.conflict) if action.conflict else None,
            action.rule,
            action.conflict or action.reason,
        )
        for action in tick.actions
    ]
    return taken + done

"""One lesson, for the page of lessons and for the page of a brain. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple

from holdfast.web.parts.moments import Moment, moment
from holdfast.web.parts.words import Badge
from holdfast.wire.api.brains import LessonView

DECISIONS: Final = {
    "": Badge("to decide", "busy"),
    "approved": Badge("approved", "ok"),
    "rejected": Badge("rejected", "off"),
}

NOT_TAKEN: Final = "not yet taken by the brain"
"""What a decision says until the brain has confirmed that it has it."""


class LessonRow(NamedTuple):
    """One lesson."""

    id: str
    key: str
    text: str
    category: str
    state: str
    confidence: float
    percent: str
    counts: str
    brain: str
    brain_href: str
    badge: Badge
    by: str
    updated: Moment | None
    can_approve: bool
    can_reject: bool


def lesson_row(found: LessonView, *, now_ms: int) -> LessonRow:
    """Return one lesson; a decision can be taken back by its opposite."""
    decided = f"by {found.decided_by}" if found.decision and found.decided_by else ""
    if found.decision and not found.taken:
        decided = f"{decided} · {NOT_TAKEN}" if decided else NOT_TAKEN
    times = "once" if found.fires == 1 else f"{found.fires} times"
    made = "1 correction" if found.corrections == 1 else f"{found.corrections} corrections"
    return LessonRow(
        id=found.id,
        key=f"l-{found.id}",
        text=found.text,
        category=found.category,
        state=found.state.lower(),
        confidence=min(1.0, max(0.0, found.confidence)),
        percent=f"{min(1.0, max(0.0, found.confidence)):.0%}",
        counts=f"from {made}, applied {times}" if found.fires else f"from {made}",
        brain=found.brain_name or found.brain,
        brain_href=f"/brains/{found.brain}",
        badge=DECISIONS[found.decision],
        by=decided,
        updated=moment(found.updated_at, now_ms),
        can_approve=found.decision != "approved",
        can_reject=found.decision != "rejected",
    )

"""An event in quarantine, as a row. Pure."""

from __future__ import annotations

from typing import NamedTuple

from holdfast.web.parts.moments import Moment, moment
from holdfast.web.parts.words import actor_href, spoken
from holdfast.wire.api.operations import QuarantinedEvent


class QuarantineRow(NamedTuple):
    """One event that waits for a decision."""

    event: str
    title: str
    actor: str
    actor_href: str
    at: Moment | None
    error: str
    attempts: int


def quarantine_row(found: QuarantinedEvent, *, now_ms: int) -> QuarantineRow:
    """Return an event in quarantine."""
    return QuarantineRow(
        event=found.event,
        title=spoken(found.name),
        actor=found.actor,
        actor_href=actor_href(found.actor),
        at=moment(found.at, now_ms),
        error=found.error,
        attempts=found.attempts,
    )

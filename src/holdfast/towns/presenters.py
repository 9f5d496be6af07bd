"""Shows towns and beads as the API does."""

from __future__ import annotations

from holdfast.towns.state import Bead, Town
from holdfast.wire.api.towns import BeadView, TownView
from holdfast.wire.times import time_text


def town_view(town: Town) -> TownView:
    """Return a town for the API."""
    return TownView(
        id=town.id,
        account=town.account,
        name=town.name,
        created_at=time_text(town.created_ms),
        closed=town.closed_ms > 0,
        draining=bool(town.drain_nonce),
        breaker=town.breaker.state,
        exhausted=town.exhausted,
        code_review=town.config.code_review,
        agents_max=town.config.town_agents_max,
    )


def bead_view(bead: Bead) -> BeadView:
    """Return a bead for the API."""
    return BeadView(
        id=bead.id,
        type=bead.type,
        status=bead.status,
        rig=bead.rig,
        priority=bead.priority,
        content=bead.content,
        assignee=bead.assignee,
        attempts=bead.attempts,
        blockers=bead.blockers,
        convoy=bead.convoy,
        source=bead.source,
        failure=bead.failure,
        created_at=time_text(bead.created_ms),
        updated_at=time_text(bead.updated_ms),
    )

"""Events that an actor could not take, which wait for a decision."""

from __future__ import annotations

from typing import Final, NamedTuple

from holdfast.letters import topics
from holdfast.web.limits import LIST_ITEMS
from holdfast.web.live_page import Redrawn
from holdfast.web.page import Context, Names, Page, paging
from holdfast.web.parts.moments import Moment, moment
from holdfast.web.parts.words import actor_href, spoken
from holdfast.wire.api.call import Call
from holdfast.wire.api.operations import QuarantinedEvent, QuarantineList


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


async def load(context: Context, call: Call) -> Names:
    """Return the events in quarantine."""
    query = paging(call, LIST_ITEMS)
    found = await context.api.ask(call, "quarantine.list", QuarantineList, query=query)
    rows = tuple(quarantine_row(item, now_ms=call.now_ms) for item in found.items)
    return {"rows": rows, "next": found.next}


PAGE: Final = Page(
    "quarantine",
    "quarantine.html",
    load,
    live=Redrawn(frozenset({topics.INSTANCE, topics.QUARANTINE}), ("quarantine",)),
)

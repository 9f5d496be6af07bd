"""Events that an actor could not take, which wait for a decision."""

from __future__ import annotations

from typing import Final

from holdfast.letters import topics
from holdfast.web.limits import LIST_ITEMS
from holdfast.web.live_page import Redrawn
from holdfast.web.page import Context, Names, Page, paging
from holdfast.web.parts.quarantine_row import quarantine_row
from holdfast.wire.api.call import Call
from holdfast.wire.api.operations import QuarantineList


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

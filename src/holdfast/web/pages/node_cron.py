"""The cron jobs of a node: when each runs next, when it ran last, and how that ended."""

from __future__ import annotations

from typing import Final, NamedTuple

from holdfast.letters import topics
from holdfast.web.limits import CRON_JOBS, LOOK_S, REDRAW_S
from holdfast.web.live_page import Redrawn
from holdfast.web.page import Context, Names, Page, paging
from holdfast.web.parts.moments import Moment, moment
from holdfast.web.parts.observed import observed
from holdfast.web.parts.start import took_words
from holdfast.web.parts.words import Badge
from holdfast.wire.api.call import Call
from holdfast.wire.api.content import CronJob, CronList

_RESULTS: Final = {
    "ok": "ok",
    "success": "ok",
    "error": "bad",
    "failed": "bad",
    "skipped": "off",
    "running": "busy",
}


class JobRow(NamedTuple):
    """One job."""

    id: str
    name: str
    schedule: str
    enabled: Badge | None
    result: Badge | None
    error: str
    took: str
    next: Moment | None
    last: Moment | None
    told: Moment | None


def job_row(found: CronJob, *, now_ms: int) -> JobRow:
    """Return one job; a result in a word that is not known is shown as it is."""
    tone = _RESULTS.get(found.result, "warn")
    return JobRow(
        id=found.id,
        name=found.name or found.id,
        schedule=found.schedule,
        enabled=None if found.enabled is not False else Badge("switched off", "off"),
        result=Badge(found.result, tone) if found.result else None,  # type: ignore[arg-type]
        error=found.error,
        took="" if found.took_ms is None else took_words(found.took_ms),
        next=moment(found.next_at, now_ms),
        last=moment(found.last_at, now_ms),
        told=moment(found.at, now_ms),
    )


async def load(context: Context, call: Call) -> Names:
    """Return the jobs by name."""
    _, names = await observed(context, call, "metadata")
    found = await context.api.ask(
        call, "content.cron", CronList, path={"id": call.path["id"]}, query=paging(call, CRON_JOBS)
    )
    rows = [job_row(one, now_ms=call.now_ms) for one in found.items]
    return {
        **names,
        "jobs": sorted(rows, key=lambda row: (row.name, row.id)),
        "next": found.next,
    }


PAGE: Final = Page(
    "node-cron",
    "node_cron.html",
    load,
    section="nodes",
    live=Redrawn(
        frozenset({topics.CONTENT, topics.NODE}),
        ("node-facts", "node-sealed", "cron"),
        look_s=LOOK_S,
        rest_s=REDRAW_S,
        own=True,
    ),
)

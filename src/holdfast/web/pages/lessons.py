"""What brains learned, to approve or reject."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import urlencode

from holdfast.letters import topics
from holdfast.web.limits import FEED_ROWS, REDRAW_S
from holdfast.web.live_page import Redrawn
from holdfast.web.page import Context, Names, Page
from holdfast.web.parts.lesson_row import LessonRow, lesson_row
from holdfast.wire.api.brains import LessonList
from holdfast.wire.api.call import Call


class Lessons(NamedTuple):
    """The page of lessons; `tabs` are (title, address, is on)."""

    rows: tuple[LessonRow, ...]
    tabs: tuple[tuple[str, str, bool], ...]
    next_href: str
    events_href: str
    narrows: bool


def lessons(found: LessonList, query: Mapping[str, str], *, now_ms: int) -> Lessons:
    """Return the page of lessons under a query of `brain` and `decision`."""
    given = {name: query[name] for name in ("brain", "decision") if query.get(name)}

    def href(path: str, **changes: str) -> str:
        text = urlencode({name: v for name, v in (given | changes).items() if v})
        return f"{path}?{text}" if text else path

    chosen = given.get("decision", "")
    tabs = (("All", ""), ("To decide", "none"), ("Approved", "approved"), ("Rejected", "rejected"))
    return Lessons(
        rows=tuple(lesson_row(each, now_ms=now_ms) for each in found.items),
        tabs=tuple((title, href("/lessons", decision=d), d == chosen) for title, d in tabs),
        next_href=href("/lessons", after=found.next) if found.next else "",
        events_href="" if query.get("after") else href("/events", page="lessons"),
        narrows=bool(given),
    )


async def load(context: Context, call: Call) -> Names:
    """Return the page of lessons."""
    given = {name: call.query.get(name, "") for name in ("brain", "decision", "after")}
    query = {name: value for name, value in given.items() if value} | {"limit": str(FEED_ROWS)}
    found = await context.api.ask(call, "lesson.list", LessonList, query=query)
    return {"lessons": lessons(found, call.query, now_ms=call.now_ms)}


PAGE: Final = Page(
    "lessons",
    "lessons.html",
    load,
    section="corrections",
    live=Redrawn(frozenset({topics.LESSON}), elements=("lessons",), rest_s=REDRAW_S),
)

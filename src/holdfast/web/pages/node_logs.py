"""The log lines of a node, the latest first: live, searched, and by how bad they are."""

from __future__ import annotations

from typing import Final, NamedTuple, get_args
from urllib.parse import urlencode

from holdfast.letters import topics
from holdfast.web.limits import LOG_ROWS, LOOK_S, REDRAW_S
from holdfast.web.live_page import Redrawn
from holdfast.web.page import Context, Names, Page, paging
from holdfast.web.parts.moments import Moment, moment
from holdfast.web.parts.observed import observed
from holdfast.web.parts.words import Badge
from holdfast.wire.api.call import Call
from holdfast.wire.api.content import LogLevel, LogList, LogRow

_LEVELS: Final[dict[str, Badge]] = {
    "trace": Badge("trace", "off"),
    "debug": Badge("debug", "off"),
    "info": Badge("info", "busy"),
    "warn": Badge("warn", "warn"),
    "error": Badge("error", "bad"),
    "fatal": Badge("fatal", "bad"),
}


class Line(NamedTuple):
    """One log line: `message` is what is read first, and `text` the whole where that is more."""

    id: str
    badge: Badge | None
    at: Moment | None
    message: str
    text: str
    sealed: bool
    cut: bool


def log_line(found: LogRow, *, now_ms: int) -> Line:
    """Return one log line."""
    has_words = bool(found.message) and found.message != found.text
    return Line(
        id=found.id,
        badge=_LEVELS.get(found.level),
        at=moment(found.at, now_ms),
        message=found.message or found.text,
        text=found.text if has_words else "",
        sealed=found.sealed,
        cut=found.cut,
    )


async def load(context: Context, call: Call) -> Names:
    """Return one page of lines, all or those that are searched."""
    _, names = await observed(context, call, "logs")
    query = {name: call.query[name] for name in ("text", "level") if call.query.get(name)}
    path = {"id": call.path["id"]}
    asked = {**paging(call, LOG_ROWS), **query}
    found = await context.api.ask(call, "content.logs", LogList, path=path, query=asked)
    address = f"/nodes/{call.path['id']}/logs?"
    return {
        **names,
        "lines": tuple(log_line(one, now_ms=call.now_ms) for one in found.items),
        "text": query.get("text", ""),
        "level": query.get("level", ""),
        "levels": get_args(LogLevel),
        "is_search": bool(query),
        "is_newest": not call.query.get("after"),
        "looked_to": moment(found.looked_to, call.now_ms),
        "newest": address + urlencode(query),
        "older": address + urlencode({**query, "after": found.next}) if found.next else "",
    }


PAGE: Final = Page(
    "node-logs",
    "node_logs.html",
    load,
    section="nodes",
    live=Redrawn(
        frozenset({topics.CONTENT, topics.NODE}),
        ("node-facts", "node-sealed", "logs"),
        look_s=LOOK_S,
        rest_s=REDRAW_S,
        own=True,
    ),
)

"""Corrections as a feed and one by one: what was written, what it became, how much."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import urlencode

from holdfast.letters import topics
from holdfast.web.hub import Batch
from holdfast.web.limits import BRAINS_LISTED, FEED_ROWS, LOOK_S, REDRAW_S, SINGLE_ROWS_MAX
from holdfast.web.live_page import OpenPage
from holdfast.web.page import Context, Names, Page, update
from holdfast.web.parts.correction_rows import (
    SEVERITIES,
    CorrectionRow,
    correction_row,
    load_rows,
)
from holdfast.web.parts.difference import Piece, difference
from holdfast.wire.api.brains import BrainList, CorrectionDetail, CorrectionList
from holdfast.wire.api.call import Call

CATEGORIES: Final = ("CONTENT", "FACTUAL", "PROCESS", "STRUCTURE", "STYLE", "TONE")


@dataclass(frozen=True, slots=True)
class FeedQuery:
    """The parameters of the page: filters and position of the feed."""

    brain: str = ""
    category: str = ""
    severity: str = ""
    text: str = ""
    after: str = ""

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> FeedQuery:
        """Return the query of an address; empty fields say nothing."""
        return cls(
            brain=query.get("brain", ""),
            category=query.get("category", ""),
            severity=query.get("severity", ""),
            text=query.get("text", "").strip(),
            after=query.get("after", ""),
        )

    def fields(self, **changes: str) -> dict[str, str]:
        """Return the fields that say something, with changes."""
        given = {
            "brain": self.brain,
            "category": self.category,
            "severity": self.severity,
            "text": self.text,
            "after": self.after,
        }
        return {name: value for name, value in (given | changes).items() if value}

    def href(self, **changes: str) -> str:
        """Return the page's address with changes; a new view begins at its first page."""
        text = urlencode(self.fields(**({"after": ""} | changes)))
        return f"/corrections?{text}" if text else "/corrections"

    @property
    def narrows(self) -> bool:
        """Return whether anything is filtered out."""
        return bool(self.brain or self.category or self.severity or self.text)


class Chip(NamedTuple):
    """A severity, which is also the filter for it."""

    text: str
    tone: str
    href: str
    is_on: bool


class Feed(NamedTuple):
    """The page; a live one keeps `keeps` rows, the newest."""

    query: FeedQuery
    rows: tuple[CorrectionRow, ...]
    chips: tuple[Chip, ...]
    brains: tuple[tuple[str, str], ...]
    categories: tuple[str, ...]
    next_href: str
    events_href: str
    keeps: int


class Origin(NamedTuple):
    """A named value about where a correction came from."""

    name: str
    value: str


class Correction(NamedTuple):
    """The page of one correction, with its whole texts."""

    row: CorrectionRow
    pieces: tuple[Piece, ...]
    draft: str
    final: str
    context: str
    origin: tuple[Origin, ...]
    removed: int
    added: int
    truncated: bool


def feed(
    query: FeedQuery, listed: CorrectionList, rows: Sequence[CorrectionRow], brains: BrainList
) -> Feed:
    """Return the page of some rows."""
    chips = tuple(
        Chip(
            badge.text,
            badge.tone,
            query.href(severity="" if name == query.severity else name),
            name == query.severity,
        )
        for name, badge in SEVERITIES.items()
    )
    stream = urlencode({"page": "corrections"} | query.fields())
    return Feed(
        query=query,
        rows=tuple(rows),
        chips=chips,
        brains=tuple((each.id, each.name) for each in brains.items),
        categories=tuple(sorted({*CATEGORIES, query.category} - {""})),
        next_href=query.href(after=listed.next) if listed.next else "",
        events_href="" if query.after else f"/events?{stream}",
        keeps=0 if query.after else FEED_ROWS,
    )


def correction(found: CorrectionDetail, pieces: tuple[Piece, ...], *, now_ms: int) -> Correction:
    """Return the page of one correction; `pieces` are the difference of the whole texts."""
    view = found.view
    named = (
        ("Session", view.session or ""),
        ("Made", view.at[:19].replace("T", " ") + " UTC"),
        ("Changed", "" if view.edit_distance is None else f"{view.edit_distance:.0%}"),
        ("Kinds of edit", ", ".join(found.classifications)),
        ("Instance", found.instance or ""),
        ("SDK", found.sdk),
        ("Came by", ", ".join(view.routes)),
        ("Sender", found.source),
        ("Its number", str(found.seq) if found.seq else ""),
        ("Account", found.account),
    )
    return Correction(
        row=correction_row(view, pieces, now_ms=now_ms),
        pieces=pieces,
        draft=found.draft,
        final=found.final,
        context=_context(found.context),
        origin=tuple(Origin(name, value) for name, value in named if value),
        removed=_words(pieces, "removed"),
        added=_words(pieces, "added"),
        truncated=found.truncated,
    )


def _words(pieces: Sequence[Piece], kind: str) -> int:
    return sum(len(piece.text.split()) for piece in pieces if piece.kind == kind)


def _context(text: str) -> str:
    """Return JSON as lines for people, and anything else, or what is too deep, as it is."""
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False) if text else ""
    except (ValueError, RecursionError):
        return text


async def _load_rows(
    context: Context, call: Call, query: FeedQuery
) -> tuple[CorrectionList, list[CorrectionRow]]:
    return await load_rows(context, call, query.fields(limit=str(FEED_ROWS)))


async def load(context: Context, call: Call) -> Names:
    """Return the feed; only the corrections themselves are indispensable."""
    query = FeedQuery.parse(call.query)
    found, rows = await _load_rows(context, call, query)
    brains = await context.api.ask_or(
        call, "brain.list", BrainList(items=()), query={"limit": str(BRAINS_LISTED)}
    )
    return {"feed": feed(query, found, rows, brains)}


async def load_correction(context: Context, call: Call) -> Names:
    """Return one correction; a long one is compared beside the loop."""
    found = await context.api.ask(call, "correction.get", CorrectionDetail, path=call.path)
    pieces = await asyncio.to_thread(difference, found.draft, found.final)
    return {"found": correction(found, pieces, now_ms=call.now_ms)}


class LiveFeed(OpenPage):
    """Corrections as they come: new ones on top, and those that came again in their place.

    Changes are drawn at once; after many at a time it waits for REDRAW_S, to bound the work.
    """

    topics = frozenset({topics.CORRECTION})

    def __init__(self, context: Context, page: Page, call: Call) -> None:
        super().__init__(context, page, call)
        self._query = FeedQuery.parse(call.query)
        self._shown: dict[str, tuple[object, ...]] = {}
        self._is_stale = False
        self._rests_s = 0.0

    def _rest_left_s(self) -> float:
        return self._rests_s - self.steady_s()

    @property
    def idle_s(self) -> float:
        """Return the time to the next look."""
        return max(0.01, self._rest_left_s()) if self._is_stale else LOOK_S

    async def full(self) -> str:
        """Return the whole page of the feed."""
        names = await self.page.load(self.context, self.now())
        self._shown = {row.key: row.fingerprint() for row in names["feed"].rows}
        return self.draw_elements("feed", **names)

    async def changed(self, batch: Batch) -> str:
        """Return new rows, or nothing while redrawing is delayed."""
        if self._rest_left_s() > 0:
            self._is_stale = True
            return ""
        return await (self.full() if batch.all_stale else self.idle())

    async def idle(self) -> str:
        """Return new rows, or the whole feed if none of the shown rows is still in it."""
        self._is_stale = False
        _, rows = await _load_rows(self.context, self.now(), self._query)
        fresh = [row for row in rows if row.key not in self._shown]
        if len(fresh) > SINGLE_ROWS_MAX:
            self._rests_s = self.steady_s() + REDRAW_S
        if fresh and (len(fresh) == len(rows) or rows[: len(fresh)] != fresh):
            return await self.full()
        again = [
            row
            for row in rows
            if row.key in self._shown and self._shown[row.key] != row.fingerprint()
        ]
        self._shown = {row.key: row.fingerprint() for row in rows}
        drawn = update("#feed", "".join(map(self._draw, fresh)), swap="afterbegin") if fresh else ""
        return drawn + "".join(
            update(f"#{row.key}", self._draw(row), swap="outerMorph") for row in again
        )

    def _draw(self, row: CorrectionRow) -> str:
        return self.context.renderer.draw("parts/correction.html", row=row)


PAGE: Final = Page("corrections", "corrections.html", load, live=LiveFeed)
ONE: Final = Page("correction", "correction.html", load_correction, section="corrections")

"""Corrections as a feed and one by one: what was written, what it became, how much. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import urlencode

from holdfast.web.limits import FEED_ROWS
from holdfast.web.models.difference import Piece, excerpt
from holdfast.web.models.moments import Moment, moment
from holdfast.web.models.words import Badge
from holdfast.wire.api.brains import BrainList, CorrectionDetail, CorrectionList, CorrectionView

_AROUND: Final = 80
"""Characters beside a change that are shown of what is the same."""
_SHOWN: Final = 900
"""Characters of one correction in the feed: about ten lines."""

SEVERITIES: Final[dict[str, Badge]] = {
    "as-is": Badge("as is", "ok", "Nearly nothing was changed."),
    "minor": Badge("minor", "off", "A few words were changed."),
    "moderate": Badge("moderate", "busy", "A part was written anew."),
    "major": Badge("major", "warn", "Most was written anew."),
    "discarded": Badge("discarded", "bad", "Nothing of the draft was kept."),
}
"""The five severities by which the feed is filtered, the mildest first."""
CATEGORIES: Final = ("CONTENT", "FACTUAL", "PROCESS", "STRUCTURE", "STYLE", "TONE")


@dataclass(frozen=True, slots=True)
class FeedQuery:
    """How the feed is looked at: what the address of the page says."""

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


class CorrectionRow(NamedTuple):
    """One correction in the feed."""

    key: str
    href: str
    brain: str
    brain_href: str
    category: str
    severity: Badge
    pieces: tuple[Piece, ...]
    repeats: str
    is_cut: bool
    at: Moment | None

    def likeness(self) -> tuple[object, ...]:
        """Return what differs when the row does, apart from the time that passes."""
        return self[:-1]


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


def severity_badge(severity: str) -> Badge:
    """Return a severity; one of another SDK's words is shown as it is."""
    return SEVERITIES.get(severity) or Badge(severity or "unknown", "off")


def _repeats(view: CorrectionView) -> str:
    """Return how often the same was corrected, where it was more than once."""
    parts = [f"{view.count} times"] if view.count > 1 else []
    if view.recurrences:
        others = (
            "another session" if view.recurrences == 1 else f"{view.recurrences} other sessions"
        )
        parts.append(f"also in {others}")
    return ", ".join(parts)


def correction_row(view: CorrectionView, pieces: Sequence[Piece], *, now_ms: int) -> CorrectionRow:
    """Return a row; `pieces` are the difference of its texts."""
    shown = excerpt(pieces, around=_AROUND, most=_SHOWN)
    return CorrectionRow(
        key=f"c-{view.id}",
        href=f"/corrections/{view.id}",
        brain=view.brain_name or view.brain,
        brain_href=f"/brains/{view.brain}",
        category=view.category,
        severity=severity_badge(view.severity),
        pieces=shown,
        repeats=_repeats(view),
        is_cut=view.cut or any(piece.kind == "left_out" for piece in shown),
        at=moment(view.received_at, now_ms),
    )


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
    )


def _words(pieces: Sequence[Piece], kind: str) -> int:
    return sum(len(piece.text.split()) for piece in pieces if piece.kind == kind)


def _context(text: str) -> str:
    """Return JSON as lines for people, and anything else, or what is too deep, as it is."""
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False) if text else ""
    except (ValueError, RecursionError):
        return text

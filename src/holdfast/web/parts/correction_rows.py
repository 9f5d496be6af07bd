"""Corrections as rows, for the feed and for the page of a brain."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from holdfast.web.limits import DIFFERENCES_MAX
from holdfast.web.page import Cache, Context
from holdfast.web.parts.difference import Piece, difference, excerpt
from holdfast.web.parts.moments import Moment, moment
from holdfast.web.parts.words import Badge
from holdfast.wire.api.brains import CorrectionList, CorrectionView
from holdfast.wire.api.call import Call

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

    def fingerprint(self) -> tuple[object, ...]:
        """Return what differs when the row does, apart from the time that passes."""
        return self[:-1]


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


class Differences(Cache[str, tuple[Piece, ...]]):
    """The differences of corrections by id, each worked out once: its texts never change."""

    most = DIFFERENCES_MAX


async def load_rows(
    context: Context, call: Call, query: Mapping[str, str]
) -> tuple[CorrectionList, list[CorrectionRow]]:
    """Return a page of corrections, and leave the loop to others between long ones."""
    found = await context.api.ask(call, "correction.list", CorrectionList, query=query)
    kept = context.cache(Differences)
    rows = []
    for view in found.items:
        pieces = kept.get(view.id)
        if pieces is None:
            pieces = kept.keep(view.id, difference(view.draft, view.final))
            await asyncio.sleep(0)
        rows.append(correction_row(view, pieces, now_ms=call.now_ms))
    return found, rows

"""A timeline as stories: what belongs to one cause stands together. Pure.

Entries arrive newest first and know their cause. A story is the entries that lead back to one
first entry, in the order in which they happened and indented by how far they are from it;
stories stand newest first. An entry whose cause is on a later page begins a story of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from holdfast.web.parts.moments import Moment, moment
from holdfast.web.parts.words import Badge, outcome_badge, spoken
from holdfast.wire.api.endpoint import Detail
from holdfast.wire.api.instances import TimelineEntry

_DEPTH_MAX: Final = 4


class Line(NamedTuple):
    """One entry of a story."""

    id: str
    kind: str
    title: str
    at: Moment | None
    badge: Badge | None
    rule: str
    reason: str
    depth: int
    details: tuple[Detail, ...]
    seq: int
    tick: int


class Story(NamedTuple):
    """One happening: everything that one entry led to, oldest first.

    `title` is what happened in a sentence, `end` what came of it where that is something else,
    `by` who asked for it. `times` is how often the same happened in a row; the lines are those of
    the latest.
    """

    id: str
    at: Moment | None
    lines: tuple[Line, ...]
    title: str
    end: str
    by: str
    badge: Badge | None
    times: int = 1


def stories(entries: Iterable[TimelineEntry], *, now_ms: int) -> tuple[Story, ...]:
    """Return the stories of some entries, newest first."""
    listed = list(entries)
    known = {entry.id: entry for entry in listed}
    told: dict[str, list[TimelineEntry]] = {}
    for entry in listed:
        told.setdefault(_path(entry, known)[-1], []).append(entry)
    return tuple(
        Story(
            id=root,
            at=moment(known[root].at, now_ms),
            lines=tuple(_line(e, known, now_ms=now_ms) for e in reversed(members)),
            **_headline(known[root], members),
        )
        for root, members in told.items()
    )


def joined(stories: Iterable[Story]) -> tuple[Story, ...]:
    """Return stories, newest first, of which the same ones in a row are one."""
    found: list[Story] = []
    for story in stories:
        last = found[-1] if found else None
        if last is not None and _same(last, story):
            found[-1] = last._replace(times=last.times + 1)
        else:
            found.append(story)
    return tuple(found)


def _same(one: Story, other: Story) -> bool:
    return (one.title, one.end, one.by, one.badge) == (
        other.title, other.end, other.by, other.badge,
    )  # fmt: skip


def _headline(root: TimelineEntry, members: list[TimelineEntry]) -> dict[str, Any]:
    """Return the title, end, person and badge of a story of these members, newest first."""
    said = [entry.text for entry in members if entry.text]
    title = root.text or (said[-1] if said else spoken(root.name))
    end = said[0] if said and said[0] != title else ""
    bad = next((e.outcome for e in members if e.outcome in {"refused", "quarantined"}), "")
    by = next((item.value for item in root.details if item.name == "by"), "")
    return {"title": title, "end": end, "by": by, "badge": outcome_badge(bad) if bad else None}


def _path(entry: TimelineEntry, known: Mapping[str, TimelineEntry]) -> list[str]:
    """Return the ids from an entry back to its first cause among the known."""
    path = [entry.id]
    while entry.cause in known and entry.cause not in path:
        entry = known[entry.cause]
        path.append(entry.id)
    return path


def _line(entry: TimelineEntry, known: Mapping[str, TimelineEntry], *, now_ms: int) -> Line:
    """Return one entry as it is printed."""
    return Line(
        id=entry.id,
        kind=entry.kind,
        title=spoken(entry.name),
        at=moment(entry.at, now_ms),
        badge=None if entry.outcome == "applied" else outcome_badge(entry.outcome),
        rule=entry.rule,
        reason=entry.reason,
        depth=min(len(_path(entry, known)) - 1, _DEPTH_MAX),
        details=entry.details,
        seq=entry.seq,
        tick=entry.tick,
    )

"""Brains, all and one: what they sent, what waits there, what is missing, and their keys."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from holdfast.letters import topics
from holdfast.web.api import unless_missing
from holdfast.web.limits import BRAINS_LISTED, LESSON_ROWS, LOOK_S, REDRAW_S
from holdfast.web.live_page import Redrawn
from holdfast.web.page import Context, Names, Page
from holdfast.web.parts.correction_rows import load_rows
from holdfast.web.parts.lesson_row import lesson_row
from holdfast.web.parts.moments import NOTHING, Moment, moment, span_words
from holdfast.web.parts.words import Badge
from holdfast.wire.api.brains import (
    BrainAlert,
    BrainAlertList,
    BrainDetail,
    BrainKeyList,
    BrainKeyView,
    BrainList,
    BrainView,
    LessonList,
    SdkCounts,
    SourceView,
)
from holdfast.wire.api.call import Call

GAPS_SHOWN: Final = 12
_ALERTS: Final = {"backlog": "Backlog", "silent": "Silent", "refusals": "Refused"}


class AlertRow(NamedTuple):
    """What is wrong with a brain."""

    brain: str
    href: str
    title: str
    text: str
    fix: str
    since: Moment | None


class BrainRow(NamedTuple):
    """One brain in the list."""

    id: str
    href: str
    name: str
    account: str
    instance: str
    badge: Badge
    sdk: str
    accepted: str
    deduplicated: str
    refused: str
    pending: str
    oldest: str
    missing: str
    heard: Moment | None


class VersionRow(NamedTuple):
    """What one version of an SDK sent."""

    sdk: str
    accepted: str
    deduplicated: str
    refused: str
    is_refused: bool
    first: Moment | None
    last: Moment | None


class SenderRow(NamedTuple):
    """One sender: its queue, and the numbers that did not arrive."""

    name: str
    sdk: str
    depth: str
    oldest: str
    high_water: str
    gaps: tuple[str, ...]
    more_gaps: int
    heard: Moment | None


class Brain(NamedTuple):
    """The page of one brain."""

    row: BrainRow
    alerts: tuple[AlertRow, ...]
    versions: tuple[VersionRow, ...]
    senders: tuple[SenderRow, ...]
    aliases: tuple[str, ...]


class KeyRow(NamedTuple):
    """One brain key."""

    id: str
    name: str
    brain: str
    by: str
    badge: Badge
    created: Moment | None
    used: Moment | None
    is_live: bool


def _amount(number: int) -> str:
    return f"{number:,}"


def alert_row(found: BrainAlert, *, now_ms: int) -> AlertRow:
    """Return an alert."""
    return AlertRow(
        brain=found.brain_name or found.brain,
        href=f"/brains/{found.brain}",
        title=_ALERTS.get(found.code, found.code),
        text=found.message,
        fix=found.fix,
        since=moment(found.since, now_ms),
    )


def alerts(found: Iterable[BrainAlert], *, now_ms: int) -> tuple[AlertRow, ...]:
    """Return what is wrong, as it was given."""
    return tuple(alert_row(each, now_ms=now_ms) for each in found)


def brain_badge(view: BrainView) -> Badge:
    """Return how a brain is, the worst first."""
    for alert in view.alerts:
        return Badge(_ALERTS.get(alert.code, alert.code).lower(), "bad", alert.message)
    if view.missing:
        return Badge("missing", "warn", "Some of what it sent did not arrive.")
    if view.heard_at is None:
        return Badge("never heard", "off", "No sender has used it yet.")
    if view.pending:
        return Badge("sending", "busy", "Its senders have more to send.")
    return Badge("well", "ok")


def brain_row(view: BrainView, *, now_ms: int) -> BrainRow:
    """Return one brain."""
    return BrainRow(
        id=view.id,
        href=f"/brains/{view.id}",
        name=view.name or view.id,
        account=view.account,
        instance=view.instance or "",
        badge=brain_badge(view),
        sdk=view.sdk or NOTHING,
        accepted=_amount(view.accepted),
        deduplicated=_amount(view.deduplicated),
        refused=_amount(view.refused),
        pending=_amount(view.pending),
        oldest=span_words(view.oldest_ms) if view.pending else "",
        missing=_amount(view.missing),
        heard=moment(view.heard_at, now_ms),
    )


def brains(found: BrainList, *, now_ms: int) -> tuple[BrainRow, ...]:
    """Return the list."""
    return tuple(brain_row(each, now_ms=now_ms) for each in found.items)


def version_row(found: SdkCounts, *, now_ms: int) -> VersionRow:
    """Return what a version sent."""
    return VersionRow(
        sdk=found.sdk or "unknown",
        accepted=_amount(found.accepted),
        deduplicated=_amount(found.deduplicated),
        refused=_amount(found.refused),
        is_refused=found.refused > 0,
        first=moment(found.first_at, now_ms),
        last=moment(found.last_at, now_ms),
    )


def sender_row(found: SourceView, *, now_ms: int) -> SenderRow:
    """Return one sender, the first of its gaps by name."""
    ranges = tuple(
        str(gap.first) if gap.first == gap.last else f"{gap.first} to {gap.last}"
        for gap in found.gaps
    )
    return SenderRow(
        name=found.name,
        sdk=found.sdk,
        depth=_amount(found.depth),
        oldest=span_words(found.oldest_ms) if found.depth else "",
        high_water=_amount(found.high_water),
        gaps=ranges[:GAPS_SHOWN],
        more_gaps=len(ranges[GAPS_SHOWN:]) + found.forgotten,
        heard=moment(found.heard_at, now_ms),
    )


def brain(found: BrainDetail, *, now_ms: int) -> Brain:
    """Return the page of one brain."""
    return Brain(
        row=brain_row(found.view, now_ms=now_ms),
        alerts=alerts(found.view.alerts, now_ms=now_ms),
        versions=tuple(version_row(each, now_ms=now_ms) for each in found.versions),
        senders=tuple(sender_row(each, now_ms=now_ms) for each in found.sources),
        aliases=found.aliases,
    )


def key_row(found: BrainKeyView, *, now_ms: int) -> KeyRow:
    """Return one key; revoked ones stay listed."""
    return KeyRow(
        id=found.id,
        name=found.name,
        brain=found.brain_name or found.brain or "every brain",
        by=found.created_by,
        badge=Badge("revoked", "off") if found.revoked_at else Badge("active", "ok"),
        created=moment(found.created_at, now_ms),
        used=moment(found.last_used_at, now_ms),
        is_live=not found.revoked_at,
    )


def keys(found: BrainKeyList, *, now_ms: int, brain_id: str = "") -> tuple[KeyRow, ...]:
    """Return the keys, live ones first; of one brain only where `brain_id` is given."""
    listed = [each for each in found.items if not brain_id or each.brain == brain_id]
    rows = [key_row(each, now_ms=now_ms) for each in listed]
    return tuple(sorted(rows, key=lambda row: not row.is_live))


async def load(context: Context, call: Call) -> Names:
    """Return the list of brains, what is wrong with them, and the keys."""
    api, now_ms = context.api, call.now_ms
    query = {"limit": str(BRAINS_LISTED)}
    query |= {"after": call.query["after"]} if call.query.get("after") else {}
    found = await api.ask(call, "brain.list", BrainList, query=query)
    wrong = await api.ask_or(call, "brain.alerts", BrainAlertList(items=()))
    listed = await api.attempt(call, "brain-key.list", BrainKeyList)
    return {
        "brains": brains(found, now_ms=now_ms),
        "next": found.next,
        "alerts": alerts(wrong.items, now_ms=now_ms),
        "keys": unless_missing(listed, lambda it: keys(it, now_ms=now_ms)),
    }


async def load_brain(context: Context, call: Call) -> Names:
    """Return one brain with its newest corrections, lessons and keys."""
    api, now_ms, brain_id = context.api, call.now_ms, call.path["id"]
    mine = {"brain": brain_id, "limit": str(LESSON_ROWS)}
    found = await api.ask(call, "brain.get", BrainDetail, path=call.path)
    _, rows = await load_rows(context, call, mine)
    learned = await api.attempt(call, "lesson.list", LessonList, query=mine)
    listed = await api.attempt(call, "brain-key.list", BrainKeyList)
    return {
        "id": brain_id,
        "brain": brain(found, now_ms=now_ms),
        "rows": tuple(rows),
        "lessons": unless_missing(
            learned, lambda it: tuple(lesson_row(each, now_ms=now_ms) for each in it.items)
        ),
        "keys": unless_missing(listed, lambda it: keys(it, now_ms=now_ms, brain_id=brain_id)),
    }


_TOPICS: Final = frozenset({topics.CORRECTION, topics.LESSON, topics.BRAIN})

PAGE: Final = Page(
    "brains",
    "brains.html",
    load,
    section="corrections",
    live=Redrawn(_TOPICS, ("brain-alerts", "brains"), look_s=LOOK_S, rest_s=REDRAW_S),
)
ONE: Final = Page(
    "brain",
    "brain.html",
    load_brain,
    section="corrections",
    live=Redrawn(
        _TOPICS,
        ("brain", "brain-feed", "brain-senders", "brain-lessons"),
        look_s=LOOK_S,
        rest_s=REDRAW_S,
        own=True,
    ),
)

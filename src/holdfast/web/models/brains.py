"""Brains: what they sent, what waits there, what is missing; their lessons and keys. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple
from urllib.parse import urlencode

from holdfast.web.models.moments import NOTHING, Moment, moment, span_words
from holdfast.web.models.words import Badge
from holdfast.wire.api.brains import (
    BrainAlert,
    BrainDetail,
    BrainKeyList,
    BrainKeyView,
    BrainList,
    BrainView,
    LessonList,
    LessonView,
    SdkCounts,
    SourceView,
)

GAPS_SHOWN: Final = 12
_ALERTS: Final = {"backlog": "Backlog", "silent": "Silent", "refusals": "Refused"}
DECISIONS: Final = {
    "": Badge("to decide", "busy"),
    "approved": Badge("approved", "ok"),
    "rejected": Badge("rejected", "off"),
}

NOT_TAKEN: Final = "not yet taken by the brain"
"""What a decision says until the brain has told that it has it."""


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


class LessonRow(NamedTuple):
    """One lesson."""

    id: str
    key: str
    text: str
    category: str
    state: str
    confidence: float
    percent: str
    counts: str
    brain: str
    brain_href: str
    badge: Badge
    by: str
    updated: Moment | None
    can_approve: bool
    can_reject: bool


class Lessons(NamedTuple):
    """The page of lessons; `tabs` are (title, address, is on)."""

    rows: tuple[LessonRow, ...]
    tabs: tuple[tuple[str, str, bool], ...]
    next_href: str
    events_href: str
    narrows: bool


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


def lesson_row(found: LessonView, *, now_ms: int) -> LessonRow:
    """Return one lesson; a decision can be taken back by its opposite."""
    decided = f"by {found.decided_by}" if found.decision and found.decided_by else ""
    if found.decision and not found.taken:
        decided = f"{decided} · {NOT_TAKEN}" if decided else NOT_TAKEN
    times = "once" if found.fires == 1 else f"{found.fires} times"
    made = "1 correction" if found.corrections == 1 else f"{found.corrections} corrections"
    return LessonRow(
        id=found.id,
        key=f"l-{found.id}",
        text=found.text,
        category=found.category,
        state=found.state.lower(),
        confidence=min(1.0, max(0.0, found.confidence)),
        percent=f"{min(1.0, max(0.0, found.confidence)):.0%}",
        counts=f"from {made}, applied {times}" if found.fires else f"from {made}",
        brain=found.brain_name or found.brain,
        brain_href=f"/brains/{found.brain}",
        badge=DECISIONS[found.decision],
        by=decided,
        updated=moment(found.updated_at, now_ms),
        can_approve=found.decision != "approved",
        can_reject=found.decision != "rejected",
    )


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

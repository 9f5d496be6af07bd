"""What was decided about people and devices that asked to be let in. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from msgspec import structs

from holdfast.web.parts.moments import Moment, moment
from holdfast.web.parts.words import Badge, channel_words, element_id
from holdfast.wire.api.pairing import PairingEntry

DECISIONS_SHOWN: Final = 8
DECIDED: Final[dict[str, Badge]] = {
    "approve": Badge("approving", "busy"),
    "dismiss": Badge("dismissing", "busy"),
    "approved": Badge("approved", "ok"),
    "dismissed": Badge("dismissed", "off"),
    "failed": Badge("failed", "bad"),
}
_ORDERS: Final = frozenset({"approve", "dismiss"})
_ORDERED: Final = ("kind", "channel", "sender", "by", "rule")


class DecisionRow(NamedTuple):
    """A decision about a pairing request, as a row."""

    key: str
    badge: Badge
    who: str
    channel: str
    instance: str
    href: str
    by: str
    text: str
    at: Moment | None


def newest(rows: Iterable[DecisionRow]) -> tuple[DecisionRow, ...]:
    """Return the newest decisions, newest first."""
    ordered = sorted(rows, key=lambda row: row.at.iso if row.at else "", reverse=True)
    return tuple(ordered[:DECISIONS_SHOWN])


def settled(entries: Iterable[PairingEntry]) -> list[PairingEntry]:
    """Return what was decided about requests: of an order and its outcome, one entry.

    The outcome says what came of it, the order who asked and who decided. Entries are newest
    first, so an outcome is seen before its order.
    """
    kept: list[PairingEntry] = []
    open_: dict[str, int] = {}  # where the outcome of each request's order is, until that is seen
    for entry in entries:
        if entry.what in _ORDERS:
            at = open_.pop(entry.request_id, None)
            if at is None:
                kept.append(entry)
            else:
                kept[at] = _joined(entry, kept[at])
        elif entry.what in DECIDED:
            open_[entry.request_id] = len(kept)
            kept.append(entry)
    return kept


def _joined(order: PairingEntry, outcome: PairingEntry) -> PairingEntry:
    """Return an outcome with what only its order says."""
    said = {name: getattr(outcome, name) or getattr(order, name) for name in _ORDERED}
    return structs.replace(outcome, **said)


def decision_row(entry: PairingEntry, *, instance: str, name: str, now_ms: int) -> DecisionRow:
    """Return one decision."""
    return DecisionRow(
        key=element_id("decided", instance, entry.event),
        badge=DECIDED[entry.what],
        who=entry.sender or entry.request_id,
        channel="a device" if entry.kind == "device" else channel_words(entry.channel),
        instance=name or instance,
        href=f"/instances/{instance}",
        by="by a rule" if entry.rule else f"by {entry.by}" if entry.by else "",
        text=entry.message if entry.what == "failed" else "",
        at=moment(entry.at, now_ms),
    )

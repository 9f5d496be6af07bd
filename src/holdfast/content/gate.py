"""The gate: the one place that decides whether content of a node may be stored. Pure.

A store takes nothing but `Admitted`, and nothing but `admit` makes one. Unknown, absent, expired
or unreadable consent admits nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from holdfast.content.records import Row
from holdfast.wire.api.clawmetry import GateReason
from holdfast.wire.consent import (
    ContentClass,
    Grant,
    SignedDocument,
    Standing,
    decode_document,
    from_base64url,
)

_GRANTS: Final = 4_096
"""Decoded grants kept in memory."""


class Admitted(NamedTuple):
    """Rows that may be stored: made by `admit` alone."""

    node: int
    of: ContentClass
    rows: Sequence[Row]
    received_ms: int


def allows(standing: Standing, of: ContentClass) -> bool:
    """Return whether a node may send content of a class."""
    return standing.registered and of in standing.classes


def sync_allowed(standing: Standing) -> bool:
    """Return what a client with a single switch is told: whether any class but numbers is let in.

    Which of the others are is decided with each body.
    """
    return standing.registered and any(of != "counters" for of in standing.classes)


def reason(standing: Standing) -> GateReason:
    """Return the reason that a client is told: any other than these two means an ended trial."""
    return "intent_started" if sync_allowed(standing) else "intent_pending"


def told(standing: Standing, *, is_second: bool) -> tuple[bool, GateReason]:
    """Return what a client is told of its gate; a second sender waits for the owner to choose."""
    if is_second:
        return False, "intent_pending"
    return sync_allowed(standing), reason(standing)


def admit(
    standing: Standing, of: ContentClass, rows: Sequence[Row], *, node: int, now_ms: int
) -> Admitted | None:
    """Return the rows that may be stored, those that the grant's backfill leaves; None for none.

    What is sealed has no time of its own and counts as of now.
    """
    if not allows(standing, of):
        return None
    oldest_ms = backfill_from_ms(standing)
    kept = [row for row in rows if row.at_ms >= oldest_ms] if oldest_ms else rows
    return Admitted(node, of, kept, now_ms)


def may_ask(standing: Standing) -> bool:
    """Return whether a node may be asked for a session: not where its grant has a backfill.

    A session is answered whole, sealed and without times, so nothing of it could be left out.
    """
    return allows(standing, "transcripts") and not backfill_from_ms(standing)


def backfill_from_ms(standing: Standing) -> int:
    """Return the time of the oldest content that a node's grant lets out; 0 for everything."""
    return _oldest_ms(standing.grant)


@lru_cache(maxsize=_GRANTS)
def _oldest_ms(signed: SignedDocument | None) -> int:
    """Return the time of the oldest content that a grant lets out; 0 for everything."""
    if signed is None:
        return 0
    try:
        document = decode_document(from_base64url(signed.payload))
    except (ValueError, msgspec.MsgspecError):
        return 0  # the classes were decided by whoever verified it; this only narrows them
    return document.backfill_from_ms if isinstance(document, Grant) else 0

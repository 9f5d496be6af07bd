"""What may be shown of a list, given what was decided. Pure.

Two belts hold a decided request back. A list that was asked for before something changed belongs
to another basis and is not used again. And whatever a list says, a request with a mark of a
decision that is done, or may be, is not shown.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from holdfast.pairing.limits import FORGET_SLACK_MS, FORGET_UNTIMED_MS
from holdfast.pairing.ports import Basis, Listing
from holdfast.pairing.requests import Waiting, is_expired
from holdfast.pairing.state import HIDING, Decision, Pairing, decided


class Known(Struct, frozen=True, kw_only=True):
    """A list as it was told at `fetched_ms`, and the basis it belongs to."""

    basis: Basis
    listing: Listing
    fetched_ms: int


class Shown(Struct, frozen=True):
    """A request to be shown, with the decision about it that is on its way or failed."""

    request: Waiting
    decision: Decision | None = None


def shown(requests: Iterable[Waiting], state: Pairing, now_ms: int) -> tuple[Shown, ...]:
    """Return what waits for a decision: neither over nor decided, each request once."""
    kept: list[Shown] = []
    seen: set[str] = set()
    for request in requests:
        if is_expired(request, now_ms) or seen.intersection(request.marks):
            continue
        seen.update(request.marks)
        decision = decided(state, request.marks)
        if decision is None or decision.status not in HIDING:
            kept.append(Shown(request, decision))
    return tuple(kept)


def is_usable(known: Known | None, basis: Basis, now_ms: int, life_ms: int) -> bool:
    """Return whether a kept list still answers a question: of this basis, whole, and young."""
    return (
        known is not None
        and known.basis == basis
        and known.listing.complete
        and 0 <= now_ms - known.fetched_ms < life_ms
    )


def forget_at(request: Waiting | None, now_ms: int) -> int:
    """Return until when a decision about a request must be remembered, in ms since the epoch."""
    if request is None or request.expires_ms is None:
        return now_ms + FORGET_UNTIMED_MS
    return max(request.expires_ms, now_ms) + FORGET_SLACK_MS

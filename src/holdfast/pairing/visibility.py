"""Which requests of a list are shown, given the decisions. Pure.

Two mechanisms hide a decided request. A list that was read before a change has another basis and is
not used again. And whatever the list, a request with a mark of a decision that is done, or may be,
is not shown.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from holdfast.pairing.limits import FORGET_SLACK_MS, FORGET_UNTIMED_MS
from holdfast.pairing.ports import Basis, Listing
from holdfast.pairing.requests import Waiting, is_expired
from holdfast.pairing.state import HIDING, Decision, Pairing, decided


class Known(Struct, frozen=True, kw_only=True):
    """A list, read at `fetched_ms`, and its basis."""

    basis: Basis
    listing: Listing
    fetched_ms: int


class Shown(Struct, frozen=True):
    """A request to show, with the decision about it that is in flight or failed."""

    request: Waiting
    decision: Decision | None = None


def shown(requests: Iterable[Waiting], state: Pairing, now_ms: int) -> tuple[Shown, ...]:
    """Return the requests that are neither expired nor decided, each once."""
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
    """Return whether a cached list can be used: of this basis, complete, and recent."""
    return (
        known is not None
        and known.basis == basis
        and known.listing.complete
        and 0 <= now_ms - known.fetched_ms < life_ms
    )


def forget_at(request: Waiting | None, now_ms: int) -> int:
    """Return until when a decision about a request must be kept, in ms since the epoch."""
    if request is None or request.expires_ms is None:
        return now_ms + FORGET_UNTIMED_MS
    return max(request.expires_ms, now_ms) + FORGET_SLACK_MS

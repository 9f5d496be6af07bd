"""Identity of corrections: equal texts in one session or, without one, on one UTC day. Pure.

The hash is computed here from the texts; a hash sent by a sender is not used, or one sender could
make another's correction disappear. Corrections by a route that truncates texts are matched with
those by another by the hash of the truncated texts.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from holdfast.corrections.limits import GRADATA_CUT

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_CHARS: Final = 10


class Identity(NamedTuple):
    """The identity of a correction; see `records.Correction`."""

    scope: str
    hash: bytes
    cut_hash: bytes
    was_cut: bool


def content_hash(draft: str, final: str) -> bytes:
    """Return SHA-256 of the draft's UTF-8 bytes, one byte 0, and the final text's."""
    return hashlib.sha256(f"{draft}\0{final}".encode()).digest()


def day_of(at_ms: int) -> str:
    """Return the UTC day of a time: `2026-11-21`."""
    return (_EPOCH + timedelta(milliseconds=at_ms)).date().isoformat()


def scope_of(session: str | None, day: str, at_ms: int) -> str:
    """Return the scope of repeats: the session, or the day as the sender names it."""
    if session is not None:
        return f"s:{session}"
    return f"d:{day if len(day) == _DAY_CHARS else day_of(at_ms)}"


def identity(draft: str, final: str, scope: str, *, cut: int) -> Identity:
    """Return the identity of a correction; its route truncates texts at `cut`, or 0."""
    hashed = content_hash(draft, final)
    was_cut = cut > 0 and (len(draft) >= cut or len(final) >= cut)
    is_long = len(draft) > GRADATA_CUT or len(final) > GRADATA_CUT
    cut_hash = b""
    if was_cut or is_long:
        cut_hash = content_hash(draft[:GRADATA_CUT], final[:GRADATA_CUT])
    return Identity(scope, hashed, cut_hash, was_cut)


def raised(via: int, count: int, event_id: str, known: list[str]) -> int:
    """Return the count of a correction by one route, after a repeat under a new id.

    A sender that counts sends the first id, a `~` and the count so far; its first row may arrive
    after such a one. A sender that does not count sends each repeat as a new row.
    """
    if count > 1:
        return max(via, count)
    if any(one.startswith(f"{event_id}~") for one in known):
        return max(via, 1)
    return via + 1

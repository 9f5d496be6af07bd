"""Results of enqueueing and flushing: plain values, and cheap to load."""

from __future__ import annotations

from typing import Final, NamedTuple

OPEN: Final = ""
"""A gate's answer that allows everything; see ports.Gate."""


class Receipt(NamedTuple):
    """Result of enqueueing one item.

    `state` is "stored", "duplicate" (this event id is or was queued) or "dropped" (counted, with
    the `reason`). `seq` is its number in its source, 0 if it has none.
    """

    state: str
    seq: int
    reason: str


class Flushed(NamedTuple):
    """Result of a flush: rows from before the call still `pending`, and why (empty: none is)."""

    pending: int
    reason: str

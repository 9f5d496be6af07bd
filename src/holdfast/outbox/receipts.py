"""What the outbox answers to whoever enqueues and flushes: plain values, and little to load."""

from __future__ import annotations

from typing import Final, NamedTuple

OPEN: Final = ""
"""What a gate says when it lets everything pass; see ports.Gate."""


class Receipt(NamedTuple):
    """What became of one enqueued item.

    `state` is "stored", "duplicate" (this event id is or was queued) or "dropped" (counted, with
    the `reason`). `seq` is its number in its source, 0 where it has none.
    """

    state: str
    seq: int
    reason: str


class Flushed(NamedTuple):
    """How a flush ended: rows of before the call still `pending`, and why (empty: none is)."""

    pending: int
    reason: str

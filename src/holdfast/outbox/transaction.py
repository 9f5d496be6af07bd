"""One transaction of the folder: the caller's own statements, and what it enqueues.

Either both the local record and its row in the queue are there afterwards, or neither is.
"""

from __future__ import annotations

import _sqlite3 as sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Final

from holdfast.outbox import limits, recount, statements
from holdfast.outbox.counters import Counters, row_checksum
from holdfast.outbox.receipts import Receipt

STORED: Final = "stored"
DUPLICATE: Final = "duplicate"
DROPPED: Final = "dropped"


class Transaction:
    """Valid within its `with` block; the block must neither commit nor roll back by itself."""

    __slots__ = ("changed", "connection", "counters", "last_row", "now_ms", "resolved", "stored")

    def __init__(
        self, connection: sqlite3.Connection, counters: Counters, *, last_row: int, now_ms: int
    ) -> None:
        self.connection = connection
        self.counters = counters
        self.last_row = last_row
        self.now_ms = now_ms
        self.stored = 0
        self.resolved = False
        self.changed = False

    def execute(self, sql: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> sqlite3.Cursor:
        """Run one of the caller's own statements."""
        return self.connection.execute(sql, values)

    def enqueue(
        self, kind: str, event_id: str, payload: Mapping[str, Any] | str, *, again: bool = False
    ) -> Receipt:
        """Queue one item; `payload` is a mapping, or JSON text that is sent as it is.

        `again` sends what was delivered once more; what is pending, or is a dead letter, stays one
        row.

        Raise ValueError for an unknown kind, an event id that is empty or longer than 128
        characters, and a payload beyond 256 KiB. A full queue is no error: the receipt has
        "dropped", and it is counted.
        """
        text = payload if isinstance(payload, str) else encode(payload)
        size = check(kind, event_id, text)
        if again:
            self.connection.execute(statements.FORGET, (event_id,))
        counters = self.counters
        why = recount.full(counters, size)
        known = self._known(event_id) if why else None
        if known is not None:
            return Receipt(DUPLICATE, known, "")
        counters.seq += 1
        self.changed = True
        if why:
            # It has a number, so that the other side can detect what it did not get.
            counters.dropped += 1
            return Receipt(DROPPED, counters.seq, why)
        values = (
            text, kind, self.now_ms / 1_000, event_id, counters.source, counters.seq,
            row_checksum(event_id, kind, counters.source, counters.seq, text),
        )  # fmt: skip
        done = self.connection.execute(statements.ENQUEUE, values)
        if done.rowcount < 1:
            counters.seq -= 1
            return Receipt(DUPLICATE, self._known(event_id) or 0, "")
        counters.pending += 1
        counters.pending_bytes += size
        self.stored += 1
        self.last_row = max(self.last_row, done.lastrowid or 0)
        return Receipt(STORED, counters.seq, "")

    def _known(self, event_id: str) -> int | None:
        row = self.connection.execute(statements.KNOWN_SEQ, (event_id,)).fetchone()
        return None if row is None else row[0] or 0


def encode(payload: Mapping[str, Any]) -> str:
    """Return the payload as compact JSON; raise ValueError if that is impossible."""
    if not isinstance(payload, Mapping):
        raise ValueError(f"payload: want a map or JSON text, got {type(payload).__name__}")  # noqa: TRY004  # as promised
    import json  # noqa: PLC0415  # a millisecond, and felt at import

    try:
        return json.dumps(payload, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"payload: not JSON: {error}") from error


def check(kind: str, event_id: str, payload: str) -> int:
    """Return the payload's size in bytes; raise ValueError naming the argument that is wrong."""
    for name, value in (("kind", kind), ("event_id", event_id), ("payload", payload)):
        if not isinstance(value, str):
            raise ValueError(f"{name}: want a str, got {type(value).__name__}")  # noqa: TRY004  # as promised
    if kind not in limits.KINDS:
        raise ValueError(f"kind {kind[:40]!r}: want one of {', '.join(limits.KINDS)}")
    if not event_id or len(event_id) > limits.EVENT_ID_CHARS_MAX or not event_id.isprintable():
        most = limits.EVENT_ID_CHARS_MAX
        raise ValueError(f"event_id {event_id[:40]!r}: want 1 to {most} printable characters")
    try:
        size = len(payload.encode())
    except UnicodeEncodeError as error:
        raise ValueError(f"payload: not writable as UTF-8: {error}") from error
    if size > limits.PAYLOAD_BYTES_MAX:
        raise ValueError(
            f"payload: {size} bytes, at most {limits.PAYLOAD_BYTES_MAX}: shorten its texts"
        )
    return size

"""A row of the queue, accepted only if its checksum is valid."""

from __future__ import annotations

from typing import NamedTuple

from holdfast.outbox import limits
from holdfast.outbox.counters import row_checksum


class Found(NamedTuple):
    """One valid row, in the order of `statements.SALVAGED` but for the last column."""

    row: int
    payload: str
    kind: str
    enqueued_at: float
    attempts: int
    event_id: str
    source: str
    seq: int
    state: int
    checksum: int
    status: int | None
    dead_at: float | None
    last_error: str | None


def believed(values: tuple[object, ...]) -> Found | None:
    """Return the row if its types and its checksum are valid."""
    row = Found(*values)  # type: ignore[arg-type]  # judged below
    if not (
        isinstance(row.row, int)
        and isinstance(row.event_id, str)
        and isinstance(row.kind, str)
        and row.kind in limits.KINDS
        and isinstance(row.source, str)
        and isinstance(row.seq, int)
        and isinstance(row.payload, str)
        and isinstance(row.state, int)
        and row.state in {0, 1, 2}
    ):
        return None
    if row.checksum != row_checksum(row.event_id, row.kind, row.source, row.seq, row.payload):
        return None
    return row._replace(
        enqueued_at=row.enqueued_at if isinstance(row.enqueued_at, float) else 0.0,
        attempts=row.attempts if isinstance(row.attempts, int) else 0,
        status=row.status if isinstance(row.status, int) else None,
        dead_at=row.dead_at if isinstance(row.dead_at, float) else None,
        last_error=row.last_error if isinstance(row.last_error, str) else None,
    )

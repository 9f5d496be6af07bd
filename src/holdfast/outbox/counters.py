"""The counts of a queue, in one row beside it and changed in the same transactions.

They have a checksum of their own, because a flipped bit in a count would otherwise go unnoticed.
"""

from __future__ import annotations

import zlib
from typing import Final

from holdfast.outbox.ledger import Account

FIELDS: Final = (
    "source", "inode", "seq", "pending", "pending_bytes", "dead", "delivered", "deduplicated",
    "discarded", "dropped", "lost",
)  # fmt: skip


class Counters:
    """Current counts, and totals of everything ever enqueued.

    `seq` is the last number given in `source`; `discarded` are dead letters a person dropped;
    `dropped` were refused on enqueueing, because the queue was full or could not be written; `lost`
    were stored once and are gone.
    """

    __slots__ = FIELDS

    def __init__(self, source: str) -> None:
        self.source = source
        self.inode = 0
        self.seq = 0
        self.pending = 0
        self.pending_bytes = 0
        self.dead = 0
        self.delivered = 0
        self.deduplicated = 0
        self.discarded = 0
        self.dropped = 0
        self.lost = 0

    def row(self) -> tuple[str | int, ...]:
        """Return the values as they are stored, the checksum last."""
        values: tuple[str | int, ...] = tuple(getattr(self, name) for name in FIELDS)
        return (*values, zlib.crc32(repr(values).encode()))

    def account(self, *, last_row: int, low: int) -> Account:
        """Return the part of this in the ledger."""
        return Account(
            source=self.source,
            inode=self.inode,
            seq=self.seq,
            last_row=last_row,
            low=low,
            pending=self.pending,
            dead=self.dead,
            dropped=self.dropped,
            lost=self.lost,
        )


def parse(row: tuple[str | int, ...]) -> Counters | None:
    """Return the stored counters, None if the checksum fails."""
    counters = Counters("")
    for name, value in zip(FIELDS, row, strict=False):
        setattr(counters, name, value)
    return counters if counters.row() == tuple(row) else None


def row_checksum(event_id: str, kind: str, source: str, seq: int, payload: str) -> int:
    """Return the checksum over the parts of a row that are sent."""
    return zlib.crc32("\x1f".join((event_id, kind, source, str(seq), payload)).encode())

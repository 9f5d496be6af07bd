"""The hash chain of the audit: each row's hash covers the row before, so a changed row shows.

Who recomputes every hash after a change, or cuts off the tail, leaves a chain that fits by itself.
That shows by the head kept outside of the file: the last row and its hash. Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

import msgspec

from holdfast.accounts.records import AuditEntry, AuditRow, ChainEnd, KeptHead

GENESIS: Final = ChainEnd().hash
"""The `before` hash of the first row."""

_ENCODER: Final = msgspec.json.Encoder(order="sorted")


def link(before: str, seq: int, entry: AuditEntry) -> AuditRow:
    """Return the entry as row `seq` after the row with hash `before`."""
    return AuditRow(seq=seq, before=before, hash=digest(before, seq, entry), entry=entry)


def digest(before: str, seq: int, entry: AuditEntry) -> str:
    """Return the hash of a row: 64 hexadecimal digits."""
    return hashlib.sha256(_ENCODER.encode((before, seq, entry))).hexdigest()


def first_broken(rows: Iterable[AuditRow], *, seq: int = 0, before: str = GENESIS) -> int | None:
    """Return the number of the first row that does not follow row `seq` and its hash, or None."""
    for row in rows:
        fits = row.seq == seq + 1 and row.before == before
        if not fits or row.hash != digest(before, row.seq, row.entry):
            return row.seq
        seq, before = row.seq, row.hash
    return None


def anchor_fault(anchor: ChainEnd, kept: KeptHead) -> str:
    """Return what is wrong with where the file's chain begins, or nothing."""
    if anchor.seq > kept.purged.seq:
        return f"rows up to {anchor.seq} are missing, and were purged up to {kept.purged.seq} only"
    if anchor.seq == kept.purged.seq and anchor.hash != kept.purged.hash:
        return f"row {anchor.seq}, the last one purged, had another hash"
    return ""


def head_fault(last: ChainEnd, kept: KeptHead, hash_at_kept: str) -> str:
    """Return what is wrong with where the file's chain ends, or nothing.

    `hash_at_kept` is the hash in the file of the row that was kept as the last one. Rows after it
    are in order: the head is kept after its row.
    """
    if last.seq < kept.last.seq:
        return f"rows {last.seq + 1} to {kept.last.seq} are missing at the end"
    if hash_at_kept != kept.last.hash:
        return f"row {kept.last.seq} was the last one once, with another hash"
    return ""

"""The hash chain of the audit: each row's hash covers the row before, so a changed row shows.

A tail cut off together with its hashes does not show; store the head elsewhere where that
matters. Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

import msgspec

from holdfast.accounts.records import AuditEntry, AuditRow

GENESIS: Final = "0" * 64
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

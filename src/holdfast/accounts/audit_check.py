"""Checks the audit: its whole chain, or only its two ends against the head kept outside of it."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from holdfast.accounts import audit
from holdfast.accounts.limits import AUDIT_CHECK_ROWS
from holdfast.accounts.ports import Audit
from holdfast.accounts.records import ChainEnd, KeptHead


class Verdict(NamedTuple):
    """The result of checking the audit: `rows` were checked, `head` is the last one's hash.

    `broken_at` is the first row that does not fit, and `reason` says why; `purged` is the last row
    that was purged, and `kept` is true when a head kept outside of the file was compared.
    """

    rows: int
    broken_at: int | None
    head: str
    reason: str = ""
    purged: int = 0
    kept: bool = False


async def check_chain(store: Audit) -> Verdict:
    """Check the whole chain, and that it contains the head that was kept outside of the file."""
    while True:
        # The head is read before the rows, so that rows written meanwhile are not reported.
        kept, anchor = await _kept(store), await store.audit_anchor()
        verdict = await _walk(store, anchor, kept)
        if anchor == await store.audit_anchor():  # else a purge removed rows meanwhile
            return verdict


async def check_ends(store: Audit) -> str:
    """Return what is wrong with the chain's two ends, or an empty text; reads one row of it."""
    kept, anchor = await _kept(store), await store.audit_anchor()
    if isinstance(kept, str):
        return kept
    if kept is None:
        return ""
    rows = await store.audit_chain(kept.last.seq - 1, 1)
    found = ChainEnd(rows[0].seq, rows[0].hash) if rows else anchor
    if found.seq < kept.last.seq:
        return f"row {kept.last.seq}, which was the last one once, is missing"
    return audit.anchor_fault(anchor, kept) or audit.head_fault(found, kept, found.hash)


async def _kept(store: Audit) -> KeptHead | str | None:
    """Return the head that is kept outside, or why it cannot be read."""
    try:
        return await store.kept_head()
    except (OSError, ValueError) as error:
        return str(error)


async def _walk(store: Audit, anchor: ChainEnd, kept: KeptHead | str | None) -> Verdict:
    """Check each row after the anchor, then both ends."""
    last, hash_at_kept = anchor, ""
    compared = isinstance(kept, KeptHead)
    while page := await store.audit_chain(last.seq, AUDIT_CHECK_ROWS):
        broken = audit.first_broken(page, seq=last.seq, before=last.hash)
        if broken is not None:
            return Verdict(
                last.seq - anchor.seq, broken, last.hash,
                f"row {broken} does not follow the one before it", anchor.seq, compared,
            )  # fmt: skip
        for row in page:
            if isinstance(kept, KeptHead) and row.seq == kept.last.seq:
                hash_at_kept = row.hash
        last = ChainEnd(page[-1].seq, page[-1].hash)
        await asyncio.sleep(0)
    reason, broken = "", None
    if isinstance(kept, str):
        reason, broken = kept, last.seq
    elif kept is not None and (reason := audit.anchor_fault(anchor, kept)):
        broken = anchor.seq
    elif kept is not None and (reason := audit.head_fault(last, kept, hash_at_kept)):
        broken = min(last.seq + 1, kept.last.seq)
    return Verdict(last.seq - anchor.seq, broken, last.hash, reason, anchor.seq, compared)

"""Views of a node's consent: its own row, and one for each receipt, the newest first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from holdfast.actors.definition import SELF, ViewRow
from holdfast.consent.state import Node, encode_kept, encode_row, is_registered
from holdfast.wire.limits import COUNTER_MAX

NODE_VIEW: Final = "node"
RECEIPT_VIEW: Final = "node_receipt"
_DIGITS: Final = len(str(COUNTER_MAX))


def receipt_key(node: str, number: int) -> str:
    """Return the key of a receipt's row; those of a node sort from the newest to the oldest."""
    return f"{node}:{COUNTER_MAX - number:0{_DIGITS}d}"


def receipts_begin(node: str) -> str:
    """Return the text that the keys of a node's receipts begin with, and that sorts before them."""
    return f"{node}:"


def views(before: Node | None, after: Node, touched: Iterable[str]) -> Iterable[ViewRow]:
    """Return the rows of what changed; those of everything where nothing was before."""
    if not is_registered(after):
        return
    kept = {str(one.number): one for one in after.receipts}
    keys = (SELF, *kept) if before is None else touched
    for key in keys:
        if key == SELF:
            yield ViewRow(NODE_VIEW, after.node, after.account, encode_row(after))
        else:
            one = kept.get(key)
            body = None if one is None else encode_kept(one)
            yield ViewRow(RECEIPT_VIEW, receipt_key(after.node, int(key)), after.account, body)

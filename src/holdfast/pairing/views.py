"""The row that people and the inbox read of an instance's pairing: its state, as it is.

The state holds nothing that its owner may not see, and it is small, so that one row serves all.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from holdfast.actors.definition import ViewRow
from holdfast.pairing.state import Pairing, encode_state

PAIRING_VIEW: Final = "pairing"


def views(before: Pairing | None, after: Pairing, _touched: Iterable[str]) -> Iterable[ViewRow]:
    """Return the row that shows `after`; none for what is gone."""
    if after.gone:
        if before is not None and before.account and not before.gone:
            yield ViewRow(PAIRING_VIEW, after.instance, after.account, None)
        return
    if after.account:
        yield ViewRow(PAIRING_VIEW, after.instance, after.account, encode_state(after))

"""The view of an instance's pairing, for people and the inbox: the state itself.

The state contains nothing that its owner may not see, and is small, so one row is enough.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from holdfast.actors.definition import ViewRow
from holdfast.pairing.state import Pairing, encode_state

PAIRING_VIEW: Final = "pairing"


def views(before: Pairing | None, after: Pairing, _touched: Iterable[str]) -> Iterable[ViewRow]:
    """Return the row of `after`; a deletion for a destroyed instance."""
    if after.gone:
        if before is not None and before.account and not before.gone:
            yield ViewRow(PAIRING_VIEW, after.instance, after.account, None)
        return
    if after.account:
        yield ViewRow(PAIRING_VIEW, after.instance, after.account, encode_state(after))

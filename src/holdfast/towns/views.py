"""Views of a town: its own row, and one for each rig, agent, bead and violation.

A bead that left the state keeps its row, which a rebuild from the state cannot make again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from holdfast.actors.definition import SELF, ViewRow
from holdfast.towns.state import TERMINAL, State, encode_entity, entity_of, is_created, keys

TOWN_VIEW: Final = "town"
BEAD_VIEW: Final = "town_bead"
_VIEWS: Final = {
    "b": BEAD_VIEW,
    "a": "town_agent",
    "r": "town_rig",
    "n": "town_nudge",
    "v": "town_violation",
}


def row_key(town: str, one: str) -> str:
    """Return the key of a row of a town's entity."""
    return f"{town}:{one}"


def views(before: State | None, after: State, touched: Iterable[str]) -> Iterable[ViewRow]:
    """Return the rows of what changed; those of everything where nothing was before."""
    if not is_created(after):
        return
    town, account = after.town.id, after.town.account
    for key in keys(after) if before is None else touched:
        one = entity_of(after, key)
        if key == SELF:
            yield ViewRow(TOWN_VIEW, town, account, encode_entity(one))
            continue
        body = None if one is None else encode_entity(one)
        if body is None and before is not None and _ended(before, key):
            continue
        yield ViewRow(_VIEWS[key[0]], row_key(town, key[2:]), account, body)


def _ended(before: State, key: str) -> bool:
    known = before.beads.get(key[2:]) if key[0] == "b" else None
    return known is not None and known.status in TERMINAL

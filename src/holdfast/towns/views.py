"""Views of a town: its own row, and rows of its rigs, agents and beads.

A bead that left the state keeps its rows, which a rebuild from the state cannot make again. Convoys
and escalations have rows in views of their own besides, so that a list of them reads no other bead,
and the issues of a convoy have rows by its id.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from holdfast.actors.definition import SELF, ViewRow
from holdfast.towns.state import Bead, State, encode_entity, entity_of, is_created, keys

TOWN_VIEW: Final = "town"
RIG_VIEW: Final = "town_rig"
AGENT_VIEW: Final = "town_agent"
BEAD_VIEW: Final = "town_bead"
CONVOY_VIEW: Final = "town_convoy"
ESCALATION_VIEW: Final = "town_escalation"
TASK_VIEW: Final = "town_task"

_DROPPED: Final = {"r": RIG_VIEW, "a": AGENT_VIEW}
"""Views of what loses its row with its place in the state."""
_OF_TYPE: Final = {"convoy": CONVOY_VIEW, "escalation": ESCALATION_VIEW}


def row_key(town: str, *parts: str) -> str:
    """Return the key of a row of a town's entity; a task's parts are its convoy and itself."""
    return ":".join((town, *parts))


def views(before: State | None, after: State, touched: Iterable[str]) -> Iterable[ViewRow]:
    """Return the rows of what changed; those of everything where nothing was before."""
    if not is_created(after):
        return
    town, account = after.town.id, after.town.account
    for key in keys(after) if before is None else touched:
        letter, one = key[:1], key[2:]
        if key == SELF:
            yield ViewRow(TOWN_VIEW, town, account, encode_entity(after.town))
        elif letter == "b" and (bead := after.beads.get(one)) is not None:
            yield from _rows(town, account, bead)
        elif letter in _DROPPED:
            known = entity_of(after, key)
            body = None if known is None else encode_entity(known)
            yield ViewRow(_DROPPED[letter], row_key(town, one), account, body)


def _rows(town: str, account: str, bead: Bead) -> Iterator[ViewRow]:
    """Yield the rows of a bead."""
    body = encode_entity(bead)
    yield ViewRow(BEAD_VIEW, row_key(town, bead.id), account, body)
    if bead.type in _OF_TYPE:
        yield ViewRow(_OF_TYPE[bead.type], row_key(town, bead.id), account, body)
    if bead.convoy:
        yield ViewRow(TASK_VIEW, row_key(town, bead.convoy, bead.id), account, body)

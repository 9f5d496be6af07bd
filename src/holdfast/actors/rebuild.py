"""Making an actor again from its log, where the state that is stored is not what was written."""

from __future__ import annotations

import asyncio
from typing import Any

from holdfast.actors.commit import Restored, fold_older
from holdfast.actors.definition import Definition
from holdfast.actors.ports import Journal, Loaded
from holdfast.actors.tick import NewerEventError
from holdfast.kernel.ids import Address
from holdfast.kernel.log import Log


async def read_older(
    journal: Journal,
    definition: Definition[Any, Any, Any, Any],
    where: Address,
    loaded: Loaded | None,
    damage: Exception | Restored,
    *,
    log: Log,
) -> tuple[Restored, Loaded | None]:
    """Make an actor from older states and its log, until one gives what was written.

    `damage` is what is wrong with the stored state: raised again, or returned with its notes, when
    nothing older helps. Raise NewerEventError when newer code wrote the log.
    """
    why = damage.notes[0].text if isinstance(damage, Restored) else repr(damage)
    below = 0 if loaded is None else loaded.state_seq + 1
    older = await journal.load_older(where, below) if below else None
    while older is not None:
        try:
            found = await asyncio.to_thread(fold_older, definition, where, older, why)
        except NewerEventError:
            raise
        except Exception as error:  # noqa: BLE001  that one is damaged too
            log.warning("state.unreadable", actor=str(where), reason=repr(error))
            found = None
        if found is not None:
            return found, older
        if older.state is None:
            break  # it was made from its first event on
        older = await journal.load_older(where, older.state_seq)
    if isinstance(damage, Restored):
        return damage, loaded
    raise damage

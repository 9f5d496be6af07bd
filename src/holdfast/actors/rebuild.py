"""Rebuilds an actor from its log when the stored state is not what was written."""

from __future__ import annotations

import asyncio
from typing import Any

from holdfast.actors.commit import Restored, fold_older
from holdfast.actors.definition import Definition
from holdfast.actors.ports import Journal, Loaded
from holdfast.actors.tick import NewerEventError
from holdfast.kernel.failure import brief
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
    """Rebuild an actor from the newest older state from which its log can be folded.

    `damage` is what is wrong with the stored state. When no older state works, an exception is
    raised again, and a `Restored` is returned with its notes. Raise NewerEventError when newer code
    wrote the log.
    """
    why = damage.notes[0].text if isinstance(damage, Restored) else repr(damage)
    below = 0 if loaded is None else loaded.state_seq + 1
    older = await journal.load_older(where, below) if below else None
    while older is not None:
        try:
            found = await asyncio.to_thread(fold_older, definition, where, older, why)
        except NewerEventError:
            raise
        except Exception as error:  # noqa: BLE001  this older state is damaged too
            log.warning("state.unreadable", actor=str(where), reason=brief(error))
            found = None
        if found is not None:
            return found, older
        if older.state is None:
            break  # this was already the fold from the first event
        older = await journal.load_older(where, older.state_seq)
    if isinstance(damage, Restored):
        return damage, loaded
    raise damage

"""Examines every stored actor: whether it can be loaded, and whether it is ended and old.

An actor is otherwise loaded only when it has an event, so damage could stay unnoticed for months.
A damaged actor is passed to the owner, which rebuilds it from its log.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from holdfast.actors.commit import Restored, fold_loaded
from holdfast.actors.kinds import Kinds
from holdfast.actors.ports import Journal
from holdfast.actors.tick import NewerEventError
from holdfast.kernel.failure import brief
from holdfast.kernel.ids import Address
from holdfast.kernel.log import Log

PAGE: Final = 100
"""Actors examined before the event loop gets a turn: about 5 ms."""


async def examine_actors(
    journal: Journal, kinds: Kinds, wake: Callable[[Address], None], log: Log
) -> int:
    """Wake every actor whose stored state is damaged; return their number."""
    damaged = 0
    async for actor, definition in _actors(journal, kinds):
        try:
            found: Restored | None = fold_loaded(definition, actor, await journal.load(actor))
        except NewerEventError:
            found = None
        except Exception as error:  # noqa: BLE001  the owner rebuilds it, or reports that
            log.warning("actor.damaged", actor=str(actor), reason=brief(error))
            found = None
        if found is None or found.doubted:
            damaged += 1
            wake(actor)
    return damaged


async def forget_actors(journal: Journal, kinds: Kinds, before_ms: int) -> int:
    """Delete actors that ended before `before_ms` and hold no claim; return their number."""
    forgotten = 0
    async for actor, definition in _actors(journal, kinds):
        try:
            state = fold_loaded(definition, actor, await journal.load(actor)).folded.state
        except Exception:  # noqa: BLE001, S112  `examine_actors` reports it
            continue
        if definition.exists(state) or definition.claims(state):
            continue
        forgotten += await journal.forget(actor, before_ms) > 0
    return forgotten


async def _actors(journal: Journal, kinds: Kinds) -> AsyncIterator[tuple[Address, Any]]:
    """Yield every actor whose kind is known, with its definition."""
    after = ""
    while page := await journal.actors(PAGE, after):
        for actor in page:
            if actor.kind in kinds:
                yield actor, kinds[actor.kind].definition
        after = str(page[-1])
        await asyncio.sleep(0)

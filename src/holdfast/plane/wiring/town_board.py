"""Makes what shows towns to people: handlers over the engine's state, and over its past."""

from __future__ import annotations

from typing import Any, Final

from holdfast.actors.committed_tick import CommittedTick
from holdfast.actors.rehearsal_worker import Look
from holdfast.kernel.ids import address
from holdfast.letters import topics
from holdfast.plane.rehearsals import ask_worker
from holdfast.plane.wiring.core import Core
from holdfast.plane.wiring.engine import make_worker
from holdfast.plane.wiring.holder import JOURNAL_FILE
from holdfast.plane.wiring.part import Part
from holdfast.plane.wiring.towns import town_kind
from holdfast.towns.board_handlers import BoardDeps, board_handlers
from holdfast.towns.definition import KIND
from holdfast.towns.policy import Policy

VIEWS: Final = "holdfast.towns.board"
"""The module of what another process makes of a town."""


def town_board_part(core: Core) -> Part:
    """Return the pages' view of towns as a part.

    The past and large towns are looked at in a process of their own, so that no page waits for a
    replay.
    """
    policy = Policy()
    worker = make_worker(core.home / JOURNAL_FILE, {KIND: town_kind(policy)}, core.log)
    core.closing.push_async_callback(worker.stop)

    async def elsewhere(view: str, town: str, tick: int | None) -> Any:
        where, now_ms = str(address(KIND, town)), core.clock.now_ms()
        asked = Look(actor=where, now_ms=now_ms, view=f"{VIEWS}:{view}", tick=tick)
        return await ask_worker(worker.look(asked))

    def publish(committed: CommittedTick) -> None:
        """Have open pages of a town look again, after each of its ticks."""
        where = committed.tick.after.address
        if committed.commit is not None and where.kind == KIND:
            core.publish(topics.TOWN, where.id, committed.commit.account)

    return Part(
        name="town-board",
        handlers=board_handlers(
            BoardDeps(
                reader=core.stores.reader,
                records=core.stores.towns,
                policy=policy,
                state=core.engine.owner.state,
                elsewhere=elsewhere,
            )
        ),
        on_commit=(publish,),
    )

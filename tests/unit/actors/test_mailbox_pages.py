"""Actors whose events wait: those that can go no further do not hide those behind them."""

from __future__ import annotations

import pytest

from holdfast.sim.loop import SimClock
from tests.support.toys.lamp import BulbAdded, Made
from tests.unit.actors.rig import Rig, arrive, lamp, play, until


@pytest.mark.parametrize("page", [1, 5])
def test_a_page_of_actors_that_are_stuck_hides_no_other(
    monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr("holdfast.actors.mailbox.WAITING_PAGE", page)

    async def story(clock: SimClock) -> None:
        async with Rig(clock) as rig:
            await rig.say("well", Made("well"))
            stuck = [f"a{n}" for n in range(page + 1)]
            for name in stuck:
                rig.engine.owner._cache.fetch(lamp(name)).given_up = True
                await rig.raw.accept([(lamp(name), arrive(Made(name), name))])
            # Accepted by another process: nobody tells this one.
            await rig.raw.accept([(lamp("well"), arrive(BulbAdded("b"), "b"))])
            await until(lambda: not rig.store.waiting.get(lamp("well")), within_s=60)
            assert set(rig.store.waiting) == {lamp(name) for name in stuck}

    play(story)

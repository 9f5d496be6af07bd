"""Regular looks cost no row and come in time; an actor that is not ticked any more is named."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

from holdfast.actors.committed_tick import CommittedTick
from holdfast.actors.limits import PROGRESS_MS
from holdfast.actors.ports import Commit, Journal
from holdfast.plane.wiring.engine_part import _no_progress, _progress, _troubles
from holdfast.sim.loop import SimClock
from tests.support.toys.lamp import LAMP, BulbAdded, Lamp, Made, Policy, Smashed
from tests.unit.actors.rig import Rig, lamp, play, until

EVERY_MS = 5_000


def looked_at(cadence: Callable[[Lamp, Policy], int]) -> Any:
    return replace(LAMP, cadence=cadence)


def each_five_seconds(state: Lamp, _policy: Policy) -> int:
    """Return 5 s for a lamp with bulbs, 5 min for one without, 0 for one that is gone."""
    if not LAMP.exists(state):
        return 0
    return EVERY_MS if state.bulbs else 60 * EVERY_MS


def heard(rig: Rig, clock: SimClock, name: str) -> list[tuple[int, bool]]:
    """Return a list that fills with the times of an actor's ticks, and which of them wrote."""
    ticks: list[tuple[int, bool]] = []

    def hear(committed: CommittedTick) -> None:
        if committed.tick.after.address == lamp(name):
            ticks.append((clock.now_ms(), committed.commit is not None))

    rig.engine.owner.listen(hear)
    return ticks


def test_an_hour_of_looks_writes_nothing_and_each_comes_in_time() -> None:
    async def scenario(clock: SimClock) -> None:
        async with Rig(clock, definition=looked_at(each_five_seconds)) as rig:
            await rig.say("hall", Made("sun"), BulbAdded("a"))
            ticks = heard(rig, clock, "hall")
            rows = len(rig.log_of(lamp("hall"))), len(rig.ticks_of(lamp("hall")))
            await asyncio.sleep(3_600)
            assert (len(rig.log_of(lamp("hall"))), len(rig.ticks_of(lamp("hall")))) == rows
            assert not any(wrote for _, wrote in ticks)
            assert len(ticks) in {719, 720, 721}
            gaps = [later - at for (at, _), (later, _) in pairwise(ticks)]
            assert max(gaps) - min(gaps) < 100

    play(scenario)


def test_a_cadence_follows_the_state_and_ends_with_the_actor() -> None:
    async def scenario(clock: SimClock) -> None:
        async with Rig(clock, definition=looked_at(each_five_seconds)) as rig:
            await rig.say("hall", Made("sun"))
            ticks = heard(rig, clock, "hall")
            await asyncio.sleep(3_600)
            assert len(ticks) in {11, 12, 13}
            await rig.say("hall", BulbAdded("a"))
            ticks.clear()
            await asyncio.sleep(60)
            assert len(ticks) in {11, 12, 13}
            await rig.say("hall", Smashed())
            await until(lambda: len(rig.engine.cadence) == 0)
            await asyncio.sleep(60)
            ticks.clear()
            await asyncio.sleep(3_600)
            assert not [at for at, wrote in ticks if not wrote]

    play(scenario)


def test_looks_of_many_are_spread_and_the_same_after_a_restart() -> None:
    async def scenario(clock: SimClock) -> None:
        phases: list[list[float]] = []
        store = None
        for _ in range(2):
            async with Rig(clock, store, definition=looked_at(each_five_seconds)) as rig:
                store = rig.store
                for number in range(20):
                    await rig.say(f"l{number}", Made("sun"), BulbAdded("a"))
                due = rig.engine.cadence._next
                phases.append([due[lamp(f"l{number}")] % EVERY_MS for number in range(20)])
        assert [round(one) for one in phases[0]] == [round(one) for one in phases[1]]
        assert len({round(one / 500) for one in phases[0]}) > 5

    play(scenario)


class Stuck:
    """A journal whose commits never end once it is told so."""

    def __init__(self, inner: Journal) -> None:
        self._inner = inner
        self.stuck = False

    async def commit(self, commit: Commit) -> None:
        if self.stuck:
            await asyncio.Event().wait()
        await self._inner.commit(commit)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def test_an_actor_that_is_not_ticked_any_more_is_named_by_health_and_doctor() -> None:
    async def scenario(clock: SimClock) -> None:
        made: list[Stuck] = []

        def wrap(journal: Journal) -> Any:
            made.append(Stuck(journal))
            return made[0]

        rig = Rig(clock, wrap=wrap)
        await rig.engine.start()
        await rig.say("hall", Made("sun"))
        assert _progress(rig.engine).result == "ok"
        made[0].stuck = True
        answer = await rig.ask("hall", BulbAdded("a"), wait_ms=10)
        assert answer.stamp is None  # it was accepted, as if all were well
        await asyncio.sleep(PROGRESS_MS / 1_000 - 5)
        assert _no_progress(rig.engine) is None
        await asyncio.sleep(10)
        assert list(_troubles(rig.engine)) == ["1 actors wait for a tick; lamp/hall for 65 s"]
        assert _progress(rig.engine).result == "failed"
        rig.engine.owner._under.clear()
        await rig.engine.stop()

    play(scenario)


def test_alarms_that_do_not_fire_are_named() -> None:
    async def scenario(clock: SimClock) -> None:
        async with Rig(clock, definition=looked_at(each_five_seconds)) as rig:
            await rig.say("hall", Made("sun"), BulbAdded("a"))
            await asyncio.sleep(1_800)
            assert _no_progress(rig.engine) is None
            for part, name in ((rig.engine.alarms, "alarms"), (rig.engine.cadence, "looks")):
                task = part.task
                assert task is not None
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                await asyncio.sleep(1_800)
                why = _no_progress(rig.engine)
                assert why is not None
                assert why.startswith(f"the {name} of actors are 1")
                await part.stop()
                await part.start()
                await asyncio.sleep(10)
                assert _no_progress(rig.engine) is None

    play(scenario)

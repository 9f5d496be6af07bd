"""What an owner makes of answers that do not come, of a stop in between, and of lost claims."""

from __future__ import annotations

import asyncio
from dataclasses import replace as replace_fields

from holdfast.actors.definition import Claim
from holdfast.actors.ports import Commit, StaleError
from holdfast.sim.loop import SimClock
from tests.support.toys.lamp import LAMP, BulbAdded, Lamp, Made, NoteWritten, SwitchedOn
from tests.unit.actors.rig import Rig, arrive, lamp, play, until
from tests.unit.actors.test_owner import wrap, wrapped


def test_a_plane_that_stops_makes_no_tick_of_what_it_still_reads() -> None:
    async def scenario(clock: SimClock) -> None:
        rig = Rig(clock, wrap=wrap)
        async with rig:
            await rig.say("hall", Made("hall"))
            commits = len(wrapped(rig).commits)
            await rig.raw.accept([(lamp("hall"), arrive(BulbAdded("a"), "a"))])
            wrapped(rig).slow_s = 1.0
            rig.engine.owner.look_again(lamp("hall"))
            await asyncio.sleep(0.5)
        await asyncio.sleep(5)
        assert len(wrapped(rig).commits) == commits
        assert len(await rig.raw.pending(lamp("hall"), 9)) == 1

    play(scenario)


def test_a_letter_that_comes_while_its_receiver_is_read_is_not_overlooked() -> None:
    async def scenario(clock: SimClock) -> None:
        rig = Rig(clock, wrap=wrap)
        async with rig:
            await rig.say("hall", Made("hall"))
            await rig.say("attic", Made("attic"))
            wrapped(rig).slow_s = 1.0
            rig.engine.owner.look_again(lamp("attic"))
            await asyncio.sleep(0.1)
            await rig.say("hall", NoteWritten("lamp/attic", "hello"))
            await asyncio.sleep(2.5)
            assert (await rig.state("attic")).heard == ("lamp/hall:hello:0",)

    play(scenario)


def test_an_actor_that_loses_many_claims_goes_on_after_a_rest() -> None:
    async def scenario(clock: SimClock) -> None:
        def claims(state: Lamp) -> frozenset[Claim]:
            return frozenset([Claim("lamp", f"n{len(state.lost)}")] if state.made else [])

        rig = Rig(clock, definition=replace_fields(LAMP, claims=claims))
        for n in range(12):
            rig.store.claims[Claim("lamp", f"n{n}")] = lamp("other")
        async with rig:
            await rig.ask("hall", Made("hall"), wait_ms=0)
            await asyncio.sleep(300)
            assert rig.store.claims[Claim("lamp", "n12")] == lamp("hall")

    play(scenario)


def test_a_tick_whose_commit_was_not_answered_is_told_of_once_it_is_found() -> None:
    async def scenario(clock: SimClock) -> None:
        rig = Rig(clock, wrap=wrap)
        async with rig:
            told: list[Commit] = []
            rig.engine.owner.listen(lambda committed: told.append(committed.commit or told[-1]))
            await rig.say("hall", Made("hall"), BulbAdded("a"), BulbAdded("b"))
            wrapped(rig).lose_answers = 1
            await rig.ask("hall", SwitchedOn(), wait_ms=0)
            await until(lambda: len(rig.grid.calls) == 2, within_s=30)
            await asyncio.sleep(5)
            assert {bulb.status for bulb in (await rig.state("hall")).bulbs.values()} == {"lit"}
            numbers = [commit.number for commit in told]
            assert sorted(set(numbers)) == [commit.number for commit in wrapped(rig).commits]
            assert len(rig.grid.calls) == 2

    play(scenario)


def test_a_tick_that_was_not_committed_is_not_told_of_after_a_lost_answer() -> None:
    async def scenario(clock: SimClock) -> None:
        rig = Rig(clock, wrap=wrap)
        async with rig:
            await rig.say("hall", Made("hall"), BulbAdded("a"))
            wrapped(rig).fail = [ConnectionError("never came"), StaleError("somebody else wrote")]
            await rig.ask("hall", SwitchedOn(), wait_ms=0)
            await asyncio.sleep(10)
            assert rig.grid.lit() == ["a"]
            committed = [effect.id for commit in wrapped(rig).commits for effect in commit.effects]
            assert [call.id for call in rig.grid.calls] == committed

    play(scenario)

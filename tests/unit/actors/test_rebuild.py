"""A stored state that is damaged: the log makes the actor again, and it says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from msgspec import ValidationError
from msgspec.structs import replace

from holdfast.actors.limits import STATE_INLINE_BYTES_MAX
from holdfast.actors.record import decode_record
from holdfast.kernel import metrics
from holdfast.sim.loop import SimClock
from holdfast.stores.memory.journal_state import Actor, MemoryStore
from tests.support.toys.lamp import LAMP, BulbAdded, Made, NoteWritten, SwitchedOn
from tests.unit.actors.rig import Rig, lamp, play, until

Damage = Callable[[Actor], None]
HALL = lamp("hall")


def unreadable(actor: Actor) -> None:
    actor.state = b"\x00 no state of a lamp"


def another(actor: Actor) -> None:
    """Leave a state that can be read and is not the one that was written."""
    assert actor.state is not None
    state = LAMP.decode_state(actor.state, LAMP.version)
    actor.state = LAMP.encode_state(replace(state, on=not state.on))


async def damaged(clock: SimClock, damage: Damage, *, bulbs: int = 3) -> MemoryStore:
    """Return a store whose hall has a damaged state."""
    store = MemoryStore()
    async with Rig(clock, store) as rig:
        added = [BulbAdded(f"b{n:04}") for n in range(bulbs)]
        await rig.say("hall", Made("hall"), *added, SwitchedOn())
        await until(lambda: len(rig.engine.dispatch) == 0)
        await rig.say("hall", NoteWritten("lamp/hall", "after"))
    damage(store.actors[HALL])
    return store


@pytest.mark.parametrize("damage", [unreadable, another])
def test_a_damaged_state_is_made_again_from_the_log(damage: Damage) -> None:
    async def story(clock: SimClock) -> None:
        store = await damaged(clock, damage)
        number = store.actors[HALL].number
        async with Rig(clock, store) as rig:
            rig.engine.owner.wake(HALL)
            await until(lambda: store.actors[HALL].number > number)
            assert rig.log.named("actor.rebuilt")
            assert ("where",) in rig.meter.names[metrics.FAULTS.name]
            assert HALL in rig.engine.owner.rebuilt
            state = await rig.state("hall")
            assert state.on
            assert {bulb.status for bulb in state.bulbs.values()} == {"lit"}
            record = decode_record(rig.ticks_of(HALL)[-1])
            assert record.notes[0].text.startswith("rebuilt from ")
            assert await rig.say("hall", BulbAdded("z")) == ["applied"]
            await until(lambda: rig.grid.lit() == ["z"])
        async with Rig(clock, store) as rig:
            rig.engine.owner.wake(HALL)
            await asyncio.sleep(10)
            assert not rig.log.at_least("error", "critical")
            assert not rig.engine.owner.rebuilt

    play(story)


@pytest.mark.parametrize("damage", [unreadable, another])
def test_one_that_only_makes_calls_is_made_again_too(damage: Damage) -> None:
    """An effect that waits asks for the state, and nothing else wakes its actor."""

    async def story(clock: SimClock) -> None:
        store = await damaged(clock, damage)
        async with Rig(clock, store) as rig:
            if damage is unreadable:
                with pytest.raises(ValidationError):
                    await rig.engine.owner.state(HALL)
            else:
                rig.engine.owner.wake(HALL)
            await until(lambda: HALL in rig.engine.owner.rebuilt)
            assert (await rig.state("hall")).on

    play(story)


def test_a_damaged_snapshot_is_passed_over() -> None:
    async def story(clock: SimClock) -> None:
        store = await damaged(clock, unreadable, bulbs=80)
        kept = store.snapshots[HALL]
        assert len(kept) >= 2
        kept[-1] = kept[-1]._replace(state=b"damaged too")
        async with Rig(clock, store) as rig:
            rig.engine.owner.wake(HALL)
            await until(lambda: HALL in rig.engine.owner.rebuilt)
            assert f"since seq {kept[-2].seq}" in rig.engine.owner.rebuilt[HALL]
            assert len((await rig.state("hall")).bulbs) == 80

    play(story)


def test_a_large_state_is_made_again_and_written() -> None:
    async def story(clock: SimClock) -> None:
        store = await damaged(clock, lambda _actor: None, bulbs=500)
        actor = store.actors[HALL]
        assert actor.state is not None
        assert len(actor.state) > STATE_INLINE_BYTES_MAX
        unreadable(actor)
        async with Rig(clock, store) as rig:
            rig.engine.owner.wake(HALL)
            await until(lambda: HALL in rig.engine.owner.rebuilt)
            await until(lambda: b"no state" not in (store.actors[HALL].state or b""))

    play(story)


def test_what_the_log_cannot_make_again_is_known_as_not_governed() -> None:
    async def story(clock: SimClock) -> None:
        store = await damaged(clock, unreadable)
        del store.log[HALL][0]
        async with Rig(clock, store) as rig:
            rig.engine.owner.wake(HALL)
            await until(lambda: HALL in rig.engine.owner.unloadable)
            assert rig.log.named("actor.load_failed")
            await rig.say("attic", Made("attic"))

    play(story)

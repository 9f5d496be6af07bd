"""Letters: exactly once, in order per pair, returned without a receiver, bounded hops."""

from __future__ import annotations

import asyncio

from holdfast.actors.limits import LETTER_HOPS_MAX
from holdfast.sim.loop import SimClock
from holdfast.stores.memory.journal import MemoryStore
from tests.support.toys.lamp import Made, NoteWritten, Smashed
from tests.unit.actors.rig import Rig, arrive, lamp, play, until


async def quiet(rig: Rig) -> None:
    await until(lambda: not rig.store.waiting)
    await asyncio.sleep(0.1)
    await until(lambda: not rig.store.waiting)


def test_letters_arrive_once_and_in_the_order_of_their_sender() -> None:
    async def scenario(clock: SimClock) -> None:
        async with Rig(clock) as rig:
            await rig.say("hall", Made("hall"))
            await rig.say("attic", Made("attic"))
            for n in range(20):
                await rig.ask("hall", NoteWritten("lamp/attic", f"{n}"), wait_ms=0)
            await quiet(rig)
            heard = (await rig.state("attic")).heard
            assert heard == tuple(f"lamp/hall:{n}:0" for n in range(20))
            row = rig.log_of(lamp("attic"))[-1]
            assert (row.source, row.by) == ("letter", "lamp/hall")

    for seed in range(4):
        play(scenario, seed=seed)


def test_a_letter_to_nobody_comes_back() -> None:
    async def scenario(clock: SimClock) -> None:
        async with Rig(clock) as rig:
            await rig.say("hall", Made("hall"), NoteWritten("lamp/nobody", "hello"))
            await quiet(rig)
            assert (await rig.state("hall")).returned == ("lamp/nobody:hello",)
            assert rig.log.named("letter.undeliverable")

    play(scenario)


def test_a_letter_to_a_tombstone_comes_back() -> None:
    async def scenario(clock: SimClock) -> None:
        async with Rig(clock) as rig:
            await rig.say("attic", Made("attic"), Smashed())
            await rig.say("hall", Made("hall"), NoteWritten("lamp/attic", "hello"))
            await quiet(rig)
            assert (await rig.state("hall")).returned == ("lamp/attic:hello",)

    play(scenario)


def test_a_letter_to_an_unknown_kind_comes_back_in_the_same_commit() -> None:
    async def scenario(clock: SimClock) -> None:
        async with Rig(clock) as rig:
            await rig.say("hall", Made("hall"), NoteWritten("town/x", "hello"))
            await quiet(rig)
            assert (await rig.state("hall")).returned == ("town/x:hello",)

    play(scenario)


def test_letters_that_answer_each_other_end() -> None:
    async def scenario(clock: SimClock) -> None:
        async with Rig(clock) as rig:
            await rig.say("hall", Made("hall"))
            await rig.say("attic", Made("attic"))
            await rig.say("hall", NoteWritten("lamp/attic", "echo"))
            await quiet(rig)
            both = [await rig.state("hall"), await rig.state("attic")]
            assert sum(len(one.heard) for one in both) == LETTER_HOPS_MAX + 1
            assert sum(len(one.returned) for one in both) == 1

    play(scenario)


def test_a_returned_letter_to_a_sender_that_is_gone_is_lost_and_logged() -> None:
    async def scenario(clock: SimClock) -> None:
        store = MemoryStore()
        async with Rig(clock, store) as rig:
            await rig.say("hall", Made("hall"), NoteWritten("lamp/nobody", "x"))
            rig.engine.owner.halt()
        await rig.raw.accept([(lamp("hall"), arrive(Smashed(), "smash"))])
        async with Rig(clock, store) as rig:
            await quiet(rig)
            if not rig.log.named("letter.lost"):
                # It was back before the lamp was smashed, which this order may allow.
                assert rig.log_of(lamp("hall"))[-1].outcome == "applied"
            assert (await rig.state("hall")).returned == ()

    for seed in range(4):
        play(scenario, seed=seed)


def test_a_letter_survives_a_crash_between_its_commit_and_its_receiver() -> None:
    async def scenario(clock: SimClock) -> None:
        store = MemoryStore()
        async with Rig(clock, store) as rig:
            await rig.say("hall", Made("hall"))
            await rig.say("attic", Made("attic"))
            arrival = arrive(NoteWritten("lamp/attic", "late"), "late")
            await rig.engine.mailbox.ask(lamp("hall"), arrival, wait_ms=2_000)
        async with Rig(clock, store) as rig:
            await quiet(rig)
            assert (await rig.state("attic")).heard == ("lamp/hall:late:0",)

    for seed in range(4):
        play(scenario, seed=seed)

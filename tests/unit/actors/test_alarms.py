"""Alarms: fired in time, kept through crashes and failures, never a spin, steps of the clock."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from holdfast.actors.definition import EffectCall
from holdfast.kernel.clock import DAY_MS
from holdfast.kernel.ids import Address
from holdfast.kernel.outcome import Outcome
from holdfast.sim.loop import SimClock
from holdfast.stores.memory.journal import MemoryStore
from tests.support.toys.lamp import BulbAdded, Made, Policy, SwitchedOn
from tests.unit.actors.rig import Rig, lamp, play, until
from tests.unit.actors.test_owner import wrap, wrapped


async def never(_call: EffectCall) -> Outcome[None]:
    await asyncio.Event().wait()
    raise AssertionError


def patient(clock: SimClock, store: MemoryStore | None = None, **options: Any) -> Rig:
    """A rig whose calls to the grid may hang for days."""
    return Rig(clock, store, timeout_ms=10**9, **options)


async def start_lighting(rig: Rig) -> None:
    """Leave one bulb being lit, with a deadline in 60 s, and nothing that answers."""
    rig.grid.default = never
    await rig.say("hall", Made("hall"), BulbAdded("a"), SwitchedOn())


def test_an_alarm_ticks_its_actor_when_it_is_due() -> None:
    async def scenario(clock: SimClock) -> None:
        async with patient(clock) as rig:
            began = clock.now_ms()
            await start_lighting(rig)
            ticks = len(rig.ticks_of(lamp("hall")))
            await until(lambda: len(rig.ticks_of(lamp("hall"))) > ticks)
            late_ms = clock.now_ms() - began - 60_000
            assert 0 <= late_ms < 100

    play(scenario)


def test_an_alarm_outlives_its_plane() -> None:
    async def scenario(clock: SimClock) -> None:
        store = MemoryStore()
        async with patient(clock, store) as rig:
            await start_lighting(rig)
        await asyncio.sleep(3_600)
        async with patient(clock, store) as rig:
            rig.grid.default = never
            ticks = len(rig.ticks_of(lamp("hall")))
            await until(lambda: len(rig.ticks_of(lamp("hall"))) > ticks, within_s=1)

    play(scenario)


def test_an_alarm_whose_tick_cannot_be_committed_is_tried_for_ever() -> None:
    async def scenario(clock: SimClock) -> None:
        rig = patient(clock, wrap=wrap)
        async with rig:
            await start_lighting(rig)
            wrapped(rig).fail = [OSError("disk full")] * 40
            ticks = len(rig.ticks_of(lamp("hall")))
            await asyncio.sleep(900)
            assert wrapped(rig).fail == []
            assert len(rig.ticks_of(lamp("hall"))) > ticks

    play(scenario)


def test_a_deadline_left_in_the_past_does_not_spin() -> None:
    async def scenario(clock: SimClock) -> None:
        rig = patient(clock, wrap=wrap, policy=Policy(late=True))
        async with rig:
            await rig.say("hall", Made("hall"))
            await asyncio.sleep(3_600)
            late = rig.log.named("alarm.unanswered")
            assert 10 <= len(late) <= 40
            assert len(wrapped(rig).commits) <= 40
            assert late[-1]["retry_in_ms"] > 200_000

    play(scenario)


def test_far_alarms_are_read_when_their_time_is_near() -> None:
    async def scenario(clock: SimClock) -> None:
        policy = Policy(patience_ms=7_200_000, valid_ms=9_000_000)
        async with patient(clock, policy=policy) as rig:
            await start_lighting(rig)
            assert len(rig.engine.alarms) == 0
            ticks = len(rig.ticks_of(lamp("hall")))
            await asyncio.sleep(7_190)
            assert len(rig.ticks_of(lamp("hall"))) == ticks
            await until(lambda: len(rig.ticks_of(lamp("hall"))) > ticks, within_s=20)

    play(scenario)


def test_a_step_forward_fires_what_became_due() -> None:
    async def scenario(clock: SimClock) -> None:
        async with patient(clock) as rig:
            await start_lighting(rig)
            ticks = len(rig.ticks_of(lamp("hall")))
            clock.jump(3_600_000)
            await until(lambda: len(rig.ticks_of(lamp("hall"))) > ticks, within_s=5)
            assert rig.log.named("clock.stepped")[0]["by_ms"] == 3_600_000

    play(scenario)


def test_a_step_back_wakes_who_waits_and_spins_nobody() -> None:
    async def scenario(clock: SimClock) -> None:
        rig = patient(clock, wrap=wrap)
        async with rig:
            await start_lighting(rig)
            commits = len(wrapped(rig).commits)
            clock.jump(-3_600_000)
            await asyncio.sleep(120)
            assert rig.log.named("clock.stepped")
            assert len(wrapped(rig).commits) == commits
            await asyncio.sleep(3_600)
            assert len(wrapped(rig).commits) > commits

    play(scenario)


def test_a_step_back_wakes_who_has_an_alarm_far_ahead() -> None:
    async def scenario(clock: SimClock) -> None:
        async with Rig(clock, policy=Policy(patience_ms=90 * DAY_MS)) as rig:
            await start_lighting(rig)
            assert len(rig.engine.alarms) == 0
            woken: list[Address] = []
            rig.engine.alarms._wake = woken.append
            clock.jump(-3_600_000)
            await asyncio.sleep(5)
            assert woken == [lamp("hall")]

    play(scenario)


def test_a_store_that_cannot_be_read_delays_alarms_and_loses_none() -> None:
    async def scenario(clock: SimClock) -> None:
        policy = Policy(patience_ms=1_200_000, valid_ms=9_000_000)
        async with patient(clock, policy=policy) as rig:
            await start_lighting(rig)
            ticks = len(rig.ticks_of(lamp("hall")))
            good = rig.journal.alarms

            async def broken(_until_ms: int, _limit: int) -> list[object]:
                raise OSError("no store")

            rig.journal.alarms = broken  # type: ignore[method-assign,assignment]
            await asyncio.sleep(900)
            rig.journal.alarms = good  # type: ignore[method-assign]
            await asyncio.sleep(400)
            assert rig.log.named("alarms.refill_failed")
            assert len(rig.ticks_of(lamp("hall"))) > ticks

    play(scenario)


def test_a_bug_of_the_watch_is_logged_and_the_watch_goes_on() -> None:
    async def scenario(clock: SimClock) -> None:
        async with patient(clock) as rig:
            await start_lighting(rig)
            ticks = len(rig.ticks_of(lamp("hall")))
            wake, failures = rig.engine.owner.wake, [KeyError("a bug")]

            def broken(actor: Address) -> None:
                if failures:
                    raise failures.pop()
                wake(actor)

            rig.engine.alarms._wake = broken
            await asyncio.sleep(100)
            assert rig.log.named("alarms.fault")
            assert len(rig.ticks_of(lamp("hall"))) > ticks

    play(scenario)


def test_more_overdue_alarms_than_one_look_brings_are_all_fired(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("holdfast.actors.alarms.ALARM_PAGE", 5)

    async def scenario(clock: SimClock) -> None:
        store = MemoryStore()
        names = [f"l{n}" for n in range(23)]
        async with patient(clock, store) as rig:
            rig.grid.default = never
            for name in names:
                await rig.say(name, Made(name), BulbAdded("a"), SwitchedOn())
        await asyncio.sleep(3_600)
        async with patient(clock, store, policy=Policy(late=True)) as rig:
            rig.grid.default = never
            await asyncio.sleep(600)
            late = {line["actor"] for line in rig.log.named("alarm.unanswered")}
            assert len(late) == 23
            # The faulty rules of all of them are tried again and again, none is forgotten.
            assert len(rig.log.named("alarm.unanswered")) >= 23 * 5

    play(scenario)


def test_a_page_of_alarms_that_nobody_answers_hides_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = 5
    monkeypatch.setattr("holdfast.actors.alarms.ALARM_PAGE", page)

    async def story(clock: SimClock) -> None:
        store = MemoryStore()
        stuck = [f"a{n}" for n in range(page + 1)]
        async with patient(clock, store) as rig:
            rig.grid.default = never
            for name in (*stuck, "well"):
                await rig.say(name, Made(name), BulbAdded("a"), SwitchedOn())
        now_ms = clock.now_ms()
        for name in stuck:
            store.actors[lamp(name)].alarm_ms = now_ms - DAY_MS
        store.actors[lamp("well")].alarm_ms = now_ms + 30_000
        rig = patient(clock, store)
        rig.grid.default = never
        woken: list[Address] = []
        rig.engine.alarms._wake = woken.append
        async with rig:
            await until(lambda: lamp("well") in woken, within_s=600)
        assert {str(lamp(name)) for name in stuck} <= {str(actor) for actor in woken}

    play(story)


def test_every_far_alarm_is_woken_at_the_start_and_after_a_step_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = 5
    monkeypatch.setattr("holdfast.actors.alarms.ALARM_PAGE", page)

    async def story(clock: SimClock) -> None:
        store = MemoryStore()
        names = [f"a{n}" for n in range(page + 1)]
        async with patient(clock, store) as rig:
            rig.grid.default = never
            for name in names:
                await rig.say(name, Made(name), BulbAdded("a"), SwitchedOn())
        for name in names:
            store.actors[lamp(name)].alarm_ms = clock.now_ms() + DAY_MS
        rig = patient(clock, store)
        rig.grid.default = never
        woken: list[Address] = []
        rig.engine.alarms._wake = woken.append
        async with rig:
            assert {str(actor) for actor in woken} == {str(lamp(name)) for name in names}
            await asyncio.sleep(5)
            woken.clear()
            clock.jump(-DAY_MS)
            await until(lambda: len(woken) >= len(names), within_s=60)

    play(story)

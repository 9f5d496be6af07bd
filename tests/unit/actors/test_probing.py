"""Probes: computed times, an event only when the answer changed, failures that make none."""

from __future__ import annotations

import asyncio
from dataclasses import replace as replace_fields

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from holdfast.actors.definition import Probe
from holdfast.actors.ports import Loaded, UnwritableError
from holdfast.actors.probing import _Standing, next_look_ms
from holdfast.kernel.clock import DAY_MS
from holdfast.kernel.ids import Address
from holdfast.kernel.outcome import Ok, Permanent, Retryable
from holdfast.sim.loop import SimClock
from holdfast.stores.memory.journal import MemoryStore
from tests.support.toys.lamp import LAMP, BulbAdded, Lamp, Made, Policy, Smashed
from tests.unit.actors.rig import Rig, lamp, play

HOURLY = Policy(period_ms=3_600_000)
OFTEN = Policy(period_ms=600_000)


def test_a_probe_is_asked_each_period_and_makes_an_event_when_the_answer_changes() -> None:
    async def scenario(clock: SimClock) -> None:
        async with Rig(clock, policy=HOURLY) as rig:
            await rig.say("hall", Made("hall"))
            await asyncio.sleep(5 * 3_600)
            assert len(rig.grid.looks) == 5
            assert len(rig.log_of(lamp("hall"))) == 2
            rig.grid.seen = Ok("silent")
            await asyncio.sleep(3_600)
            assert (await rig.state("hall")).grid == "silent"
            rig.grid.seen = Ok("humming")
            await asyncio.sleep(3_600)
            assert (await rig.state("hall")).grid == "humming"
            rig.grid.seen = Permanent("gone", "no grid")
            await asyncio.sleep(3_600)
            assert (await rig.state("hall")).grid == "gone"

    play(scenario)


def test_a_failure_makes_no_event_and_is_tried_again_within_the_period() -> None:
    async def scenario(clock: SimClock) -> None:
        async with Rig(clock, policy=HOURLY) as rig:
            await rig.say("hall", Made("hall"))
            rig.grid.seen = Retryable("lost", "no connection")
            await asyncio.sleep(2 * 3_600)
            assert 4 <= len(rig.grid.looks) <= 40
            assert len(rig.log_of(lamp("hall"))) == 1
            assert len(rig.log.named("probe.failed")) == len(rig.grid.looks)

    play(scenario)


def test_a_probe_that_raises_is_logged_and_asked_again() -> None:
    async def scenario(clock: SimClock) -> None:
        async with Rig(clock, policy=HOURLY) as rig:
            await rig.say("hall", Made("hall"))
            rig.grid.seen = None  # type: ignore[assignment]
            await asyncio.sleep(2 * 3_600)
            failed = rig.log.named("probe.failed")
            assert failed
            assert failed[0]["exc_info"] is not None

    play(scenario)


def test_at_start_up_each_is_asked_once_over_a_window() -> None:
    async def scenario(clock: SimClock) -> None:
        store = MemoryStore()
        async with Rig(clock, store) as rig:
            for n in range(50):
                await rig.say(f"l{n}", Made(f"l{n}"))
        async with Rig(clock, store) as rig:
            await asyncio.sleep(30)
            half = len(rig.grid.looks)
            assert 10 < half < 40
            await asyncio.sleep(31)
            assert len(rig.grid.looks) == 50

    play(scenario)


def test_a_probe_ends_with_its_actor() -> None:
    async def scenario(clock: SimClock) -> None:
        async with Rig(clock, policy=HOURLY) as rig:
            await rig.say("hall", Made("hall"), Smashed())
            await asyncio.sleep(3 * 3_600)
            assert rig.grid.looks == []
            assert len(rig.engine.prober) == 0

    play(scenario)


@settings(deadline=None)
@given(
    key=st.text(min_size=1, max_size=8),
    period_ms=st.integers(1_000, 86_400_000),
    now_ms=st.integers(0, 2_000_000_000_000),
)
def test_the_next_look_is_one_phase_in_every_period(key: str, period_ms: int, now_ms: int) -> None:
    at_ms = next_look_ms(lamp("hall"), key, period_ms, now_ms)
    assert now_ms < at_ms <= now_ms + period_ms
    assert next_look_ms(lamp("hall"), key, period_ms, at_ms) == at_ms + period_ms
    assert next_look_ms(lamp("hall"), key, period_ms, at_ms - 1) == at_ms


def test_a_step_back_of_the_clock_delays_no_look() -> None:
    async def scenario(clock: SimClock) -> None:
        async with Rig(clock, policy=HOURLY) as rig:
            await rig.say("hall", Made("hall"))
            await asyncio.sleep(2 * 3_600)
            clock.jump(-365 * DAY_MS)
            before = len(rig.grid.looks)
            await asyncio.sleep(3 * 3_600)
            assert 3 <= len(rig.grid.looks) - before <= 4

    play(scenario)


def test_what_moved_is_not_remembered_for_ever() -> None:
    async def scenario(clock: SimClock) -> None:
        async with Rig(clock) as rig:
            await rig.say("hall", Made("hall"))
            row = next(iter(rig.engine.prober._all.values())).row
            for _ in range(50_000):
                rig.engine.prober._put(_Standing(row, clock.now_ms() + DAY_MS, renewed=True))
            assert len(rig.engine.prober._heap) < 20_000

    play(scenario)


def test_a_policy_that_changed_between_two_planes_is_asked_by_and_makes_no_event() -> None:
    async def scenario(clock: SimClock) -> None:
        store = MemoryStore()
        async with Rig(clock, store, policy=HOURLY) as rig:
            await rig.say("hall", Made("hall"))
            await asyncio.sleep(3_600)
            assert len(rig.grid.looks) == 1
            log = len(rig.log_of(lamp("hall")))
        async with Rig(clock, store, policy=OFTEN) as rig:
            await asyncio.sleep(3_600)
            assert 6 <= len(rig.grid.looks) <= 7
            assert {call.period_ms for call in rig.grid.looks} == {OFTEN.period_ms}
            assert len(rig.log_of(lamp("hall"))) == log
            rig.grid.seen = Ok("silent")
            await asyncio.sleep(600)
            assert (await rig.state("hall")).grid == "silent"

    play(scenario)


def test_a_probe_that_the_policy_no_longer_wants_is_asked_no_more() -> None:
    async def scenario(clock: SimClock) -> None:
        store = MemoryStore()
        async with Rig(clock, store) as rig:
            await rig.say("hall", Made("hall"))
        blind = replace_fields(LAMP, probes=lambda _state, _policy: ())
        async with Rig(clock, store, definition=blind) as rig:
            await asyncio.sleep(120)
            assert rig.grid.looks == []
            assert len(rig.engine.prober) == 0

    play(scenario)


def test_what_is_stood_for_is_looked_up_once_and_again_while_the_store_is_away() -> None:
    async def scenario(clock: SimClock) -> None:
        store = MemoryStore()
        async with Rig(clock, store, policy=HOURLY) as rig:
            await rig.say("hall", Made("hall"))
            await asyncio.sleep(3_600)
        rig = Rig(clock, store, policy=OFTEN)
        load, loads = rig.raw.load, 0

        async def away(actor: Address) -> Loaded | None:
            nonlocal loads
            loads += 1
            if loads == 1:
                raise UnwritableError("the disk is away")
            return await load(actor)

        rig.raw.load = away  # type: ignore[method-assign]
        async with rig:
            await asyncio.sleep(3_600)
            assert len(rig.grid.looks) >= 5
            assert loads == 2

    play(scenario)


def test_a_probe_whose_provider_changed_is_asked_of_the_new_one() -> None:
    async def scenario(clock: SimClock) -> None:
        store = MemoryStore()
        async with Rig(clock, store) as rig:
            await rig.say("hall", Made("hall"))

        def elsewhere(state: Lamp, policy: Policy) -> tuple[Probe, ...]:
            (probe,) = LAMP.probes(state, policy)
            return (structs.replace(probe, provider="nobody"),)

        async with Rig(clock, store, definition=replace_fields(LAMP, probes=elsewhere)) as rig:
            await asyncio.sleep(3_600)
            assert rig.grid.looks == []
            assert {line["code"] for line in rig.log.named("probe.failed")} == {"no_provider"}

    play(scenario)


def test_a_probe_that_is_asked_at_other_times_makes_no_event_for_the_same_answer() -> None:
    def eager(state: Lamp, policy: Policy) -> tuple[Probe, ...]:
        return tuple(
            structs.replace(probe, period_ms=600_000 if state.bulbs else 3_600_000)
            for probe in LAMP.probes(state, policy)
        )

    async def scenario(clock: SimClock) -> None:
        async with Rig(clock, definition=replace_fields(LAMP, probes=eager)) as rig:
            await rig.say("hall", Made("hall"))
            await asyncio.sleep(3_600)
            assert [row.source for row in rig.log_of(lamp("hall"))] == ["api", "probe"]
            await rig.say("hall", BulbAdded("a"))
            await asyncio.sleep(3_600)
            assert len(rig.grid.looks) >= 6
            assert [row.source for row in rig.log_of(lamp("hall"))] == ["api", "probe", "api"]

    play(scenario)

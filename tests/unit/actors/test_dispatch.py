"""Effects: lanes, supersession, retries, rates, timeouts, bugs, and what survives a crash."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from holdfast.actors.definition import EffectCall
from holdfast.actors.limiter import Limiter
from holdfast.kernel.clock import Clock, ManualClock
from holdfast.kernel.outcome import Conflict, Ok, Outcome, Permanent, Retryable
from holdfast.sim.loop import SimClock
from holdfast.stores.memory.journal import MemoryStore
from tests.support.toys.lamp import (
    LAMP,
    BulbAdded,
    Lamp,
    Made,
    Policy,
    Smashed,
    SwitchedOff,
    SwitchedOn,
    wanted,
)
from tests.unit.actors.rig import Answerer, Rig, lamp, play, until

BULBS = [BulbAdded(key) for key in "abcd"]


async def never(_call: EffectCall) -> Outcome[Any]:
    await asyncio.Event().wait()
    raise AssertionError


def slow(seconds: float, outcome: Outcome[Any]) -> Answerer:
    async def answer(_call: EffectCall) -> Outcome[Any]:
        await asyncio.sleep(seconds)
        return outcome

    return answer


def script(*outcomes: Outcome[Any]) -> Answerer:
    left = list(outcomes)

    async def answer(_call: EffectCall) -> Outcome[Any]:
        return left.pop(0) if left else Ok(None)

    return answer


async def status(rig: Rig, key: str) -> str:
    return (await rig.state("hall")).bulbs[key].status


async def settled(rig: Rig) -> None:
    await until(lambda: len(rig.engine.dispatch) == 0 and not rig.store.waiting)


def test_an_outcome_comes_back_as_an_event_in_the_same_transaction() -> None:
    async def scenario(clock: SimClock) -> None:
        async with Rig(clock) as rig:
            await rig.say("hall", Made("hall"), BulbAdded("a"), SwitchedOn())
            await settled(rig)
            assert await status(rig, "a") == "lit"
            (effect,) = await rig.reader.effects(lamp("hall"))
            assert effect.status == "done"
            last = rig.log_of(lamp("hall"))[-1]
            assert (last.source, last.cause) == ("effect", effect.id)
            assert rig.grid.calls[0].key == effect.id

    play(scenario)


def test_lanes_run_side_by_side_up_to_what_the_provider_allows() -> None:
    async def scenario(clock: SimClock) -> None:
        def gate(of: Clock) -> Limiter:
            return Limiter(of, concurrency=2, rate_per_s=1e6)

        async with Rig(clock, gate=gate) as rig:
            rig.grid.default = slow(1.0, Ok(None))
            await rig.say("hall", Made("hall"), *BULBS, SwitchedOn())
            await settled(rig)
            assert rig.grid.most == 2
            assert sorted(rig.grid.lit()) == list("abcd")

    play(scenario)


def test_a_newer_intent_supersedes_what_waits_in_its_lane() -> None:
    async def scenario(clock: SimClock) -> None:
        async with Rig(clock) as rig:
            rig.grid.answers["a"] = slow(5.0, Ok(None))
            await rig.say("hall", Made("hall"), BulbAdded("a"), SwitchedOn())
            await rig.say("hall", SwitchedOff(), SwitchedOn())
            await rig.say("hall", SwitchedOff(), SwitchedOn())
            await settled(rig)
            # The first was under way, the second never ran, the third did.
            assert [call.epoch for call in rig.grid.calls] == [1, 5]
            states = sorted(effect.status for effect in await rig.reader.effects(lamp("hall")))
            assert states == ["done", "done", "superseded"]
            assert await status(rig, "a") == "lit"

    for seed in range(5):
        play(scenario, seed=seed)


def test_a_wait_between_two_tries_ends_when_it_is_superseded() -> None:
    async def scenario(clock: SimClock) -> None:
        async with Rig(clock) as rig:
            rig.grid.answers["a"] = script(Retryable("busy", "later", retry_after_ms=20_000))
            await rig.say("hall", Made("hall"), BulbAdded("a"), SwitchedOn())
            await asyncio.sleep(1)
            began = clock.now_ms()
            await rig.say("hall", SwitchedOff(), SwitchedOn())
            await settled(rig)
            assert clock.now_ms() - began < 1_000
            assert [call.epoch for call in rig.grid.calls] == [1, 3]

    play(scenario)


def test_what_the_state_no_longer_wants_is_not_done() -> None:
    async def scenario(clock: SimClock) -> None:
        def gate(of: Clock) -> Limiter:
            return Limiter(of, concurrency=1, rate_per_s=1e6)

        async with Rig(clock, gate=gate) as rig:
            rig.grid.answers["a"] = slow(5.0, Ok(None))
            await rig.say("hall", Made("hall"), *BULBS[:2], SwitchedOn())
            await rig.say("hall", SwitchedOff())
            await settled(rig)
            assert rig.grid.lit() == ["a"]
            states = {
                effect.lane: effect.status for effect in await rig.reader.effects(lamp("hall"))
            }
            assert states == {"bulb/a": "done", "bulb/b": "unwanted"}

    play(scenario)


def test_what_is_too_late_is_not_done_and_its_subject_hears() -> None:
    async def scenario(clock: SimClock) -> None:
        store = MemoryStore()
        policy = Policy(valid_ms=1_000)
        async with Rig(clock, store, policy=policy) as rig:
            rig.grid.default = never
            await rig.say("hall", Made("hall"), BulbAdded("a"), SwitchedOn())
        await asyncio.sleep(30)
        async with Rig(clock, store, policy=policy) as rig:
            await settled(rig)
            assert rig.grid.calls == []
            assert (await rig.reader.effects(lamp("hall")))[0].status == "expired"
            assert (await rig.state("hall")).bulbs["a"].code == "expired"

    play(scenario)


def test_a_retryable_failure_is_tried_again_in_the_lane() -> None:
    async def scenario(clock: SimClock) -> None:
        async with Rig(clock) as rig:
            lost = Retryable("lost", "connection lost")
            rig.grid.answers["a"] = script(lost, lost, lost)
            await rig.say("hall", Made("hall"), BulbAdded("a"), SwitchedOn())
            await settled(rig)
            assert [call.attempt for call in rig.grid.calls] == [1, 2, 3, 4]
            assert len({call.key for call in rig.grid.calls}) == 1
            assert await status(rig, "a") == "lit"

    play(scenario)


def test_after_30_s_of_failures_the_rules_decide() -> None:
    async def scenario(clock: SimClock) -> None:
        async with Rig(clock) as rig:
            rig.grid.default = slow(0.1, Retryable("lost", "connection lost"))
            began = clock.now_ms()
            await rig.say("hall", Made("hall"), BulbAdded("a"), SwitchedOn())
            await settled(rig)
            assert 15_000 < clock.now_ms() - began <= 30_200
            bulb = (await rig.state("hall")).bulbs["a"]
            assert (bulb.status, bulb.code) == ("broken", "lost")

    play(scenario)


@pytest.mark.parametrize("outcome", [Permanent("nope", "no such bulb"), Conflict("held", "taken")])
def test_other_failures_are_final_at_once(outcome: Outcome[Any]) -> None:
    async def scenario(clock: SimClock) -> None:
        async with Rig(clock) as rig:
            rig.grid.default = slow(0.1, outcome)
            await rig.say("hall", Made("hall"), BulbAdded("a"), SwitchedOn())
            await settled(rig)
            assert len(rig.grid.calls) == 1
            assert (await rig.state("hall")).bulbs["a"].status == "broken"

    play(scenario)


def test_what_a_lane_would_repeat_in_vain_settles_at_once() -> None:
    async def scenario(clock: SimClock) -> None:
        async with Rig(clock, settling=frozenset({"full"})) as rig:
            rig.grid.default = slow(0.1, Retryable("full", "no room"))
            await rig.say("hall", Made("hall"), BulbAdded("a"), SwitchedOn())
            await settled(rig)
            assert len(rig.grid.calls) == 1
            bulb = (await rig.state("hall")).bulbs["a"]
            assert (bulb.status, bulb.code) == ("broken", "full")

    play(scenario)


def test_a_rate_limit_holds_the_whole_provider_back() -> None:
    async def scenario(clock: SimClock) -> None:
        def gate(of: Clock) -> Limiter:
            return Limiter(of, concurrency=1, rate_per_s=1e6)

        async with Rig(clock, gate=gate) as rig:
            limited = Retryable("rate_limited", "slow down", retry_after_ms=10_000)
            rig.grid.answers["a"] = script(limited)
            times: list[int] = []

            async def note(_call: EffectCall) -> Outcome[Any]:
                times.append(clock.now_ms())
                return Ok(None)

            rig.grid.answers["b"] = note
            began = clock.now_ms()
            await rig.say("hall", Made("hall"), *BULBS[:2], SwitchedOn())
            await settled(rig)
            assert times[0] - began >= 10_000
            assert rig.grid.lit().count("a") == 2

    play(scenario)


def test_another_retry_after_holds_only_its_lane_back() -> None:
    async def scenario(clock: SimClock) -> None:
        async with Rig(clock) as rig:
            rig.grid.answers["a"] = script(Retryable("busy", "later", retry_after_ms=10_000))
            began = clock.now_ms()
            await rig.say("hall", Made("hall"), *BULBS[:2], SwitchedOn())
            await until(lambda: rig.grid.lit().count("b") == 1)
            assert clock.now_ms() - began < 1_000
            await settled(rig)
            assert clock.now_ms() - began >= 10_000

    play(scenario)


def test_calls_begin_at_the_rate_that_the_provider_allows() -> None:
    async def scenario(clock: SimClock) -> None:
        def gate(of: Clock) -> Limiter:
            return Limiter(of, concurrency=100, rate_per_s=10, burst=10)

        async with Rig(clock, gate=gate) as rig:
            bulbs = [BulbAdded(f"b{n}") for n in range(40)]
            began = clock.now_ms()
            await rig.say("hall", Made("hall"), *bulbs, SwitchedOn())
            await settled(rig)
            assert 2_900 <= clock.now_ms() - began <= 3_500

    play(scenario)


def test_an_executor_that_hangs_is_a_timeout() -> None:
    async def scenario(clock: SimClock) -> None:
        async with Rig(clock, timeout_ms=31_000) as rig:
            rig.grid.default = never
            await rig.say("hall", Made("hall"), BulbAdded("a"), SwitchedOn())
            await until(lambda: bool(rig.log.named("effect.over")))
            rig.grid.default = None
            await settled(rig)
            # The toy's rules light a bulb again after a timeout.
            assert await status(rig, "a") == "lit"
            assert rig.log.named("effect.over")[0]["result"] == "timeout"

    play(scenario)


@pytest.mark.parametrize("error", [ValueError("bug"), TimeoutError("of its own")])
def test_an_executor_that_raises_is_a_bug_with_its_traceback(error: Exception) -> None:
    async def scenario(clock: SimClock) -> None:
        async with Rig(clock) as rig:

            async def raises(_call: EffectCall) -> Outcome[Any]:
                raise error

            rig.grid.default = raises
            await rig.say("hall", Made("hall"), BulbAdded("a"), SwitchedOn())
            await settled(rig)
            assert (await rig.state("hall")).bulbs["a"].code == "bug"
            assert rig.log.named("effect.bug")[0]["exc_info"] is error

    play(scenario)


def test_an_effect_that_nobody_carries_out_is_an_outcome() -> None:
    async def scenario(clock: SimClock) -> None:
        rig = Rig(clock)
        rig.engine.dispatch._providers = {}
        async with rig:
            await rig.say("hall", Made("hall"), BulbAdded("a"), SwitchedOn())
            await settled(rig)
            assert (await rig.state("hall")).bulbs["a"].code == "no_provider"

    play(scenario)


def test_a_call_under_way_at_a_crash_is_made_again_with_its_key() -> None:
    async def scenario(clock: SimClock) -> None:
        store = MemoryStore()
        async with Rig(clock, store) as rig:
            rig.grid.default = never
            await rig.say("hall", Made("hall"), *BULBS, SwitchedOn())
            await until(lambda: len(rig.grid.calls) == 4)
            keys = sorted(call.key for call in rig.grid.calls)
        async with Rig(clock, store) as rig:
            await settled(rig)
            assert sorted(call.key for call in rig.grid.calls) == keys
            # Whether the plane before had made it is not known, so it is not the first try.
            assert {call.attempt for call in rig.grid.calls} == {2}
            assert await status(rig, "d") == "lit"

    play(scenario)


def test_an_outcome_is_not_lost_to_a_full_disk() -> None:
    async def scenario(clock: SimClock) -> None:
        async with Rig(clock) as rig:
            finish = rig.raw.finish_effect
            failures = [OSError("disk full")] * 6

            async def failing(*args: Any) -> Any:
                if failures:
                    raise failures.pop()
                return await finish(*args)

            rig.raw.finish_effect = failing  # type: ignore[method-assign,assignment]
            await rig.say("hall", Made("hall"), BulbAdded("a"), SwitchedOn())
            await settled(rig)
            assert len(rig.grid.calls) == 1
            assert await status(rig, "a") == "lit"
            assert len(rig.log.named("effect.finish_failed")) == 6

    play(scenario)


def test_a_tombstone_wants_nothing() -> None:
    async def scenario(clock: SimClock) -> None:
        def gate(of: Clock) -> Limiter:
            return Limiter(of, concurrency=1, rate_per_s=1e6)

        async with Rig(clock, gate=gate) as rig:
            rig.grid.answers["a"] = slow(5.0, Ok(None))
            await rig.say("hall", Made("hall"), *BULBS[:2], SwitchedOn(), Smashed())
            await settled(rig)
            assert rig.grid.lit() == ["a"]
            outcomes = [row.outcome for row in rig.log_of(lamp("hall"))][-2:]
            assert outcomes == ["refused", "refused"]

    play(scenario)


def test_a_limiter_that_admits_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        Limiter(ManualClock(), concurrency=0)


def test_a_subject_that_cannot_say_what_it_wants_delays_only_its_lane() -> None:
    async def scenario(clock: SimClock) -> None:
        failures = [ValueError("what do I want?")]

        def undecided(state: Lamp, call: EffectCall, now_ms: int) -> bool:
            if call.lane == "bulb/a" and failures:
                raise failures.pop()
            return wanted(state, call, now_ms)

        confused = dataclasses.replace(LAMP, wanted=undecided)
        async with Rig(clock, definition=confused) as rig:
            began = clock.now_ms()
            await rig.say("hall", Made("hall"), *BULBS[:2], SwitchedOn())
            await until(lambda: rig.grid.lit() == ["b"])
            assert clock.now_ms() - began < 1_000
            await settled(rig)
            assert await status(rig, "a") == "lit"
            assert rig.log.named("effect.stuck")

    play(scenario)


def test_a_plane_that_lost_its_lease_calls_nobody() -> None:
    async def scenario(clock: SimClock) -> None:
        store = MemoryStore()
        slow_policy = Policy(patience_ms=600_000)
        async with Rig(clock, store, policy=slow_policy) as first:
            first.grid.answers["a"] = script(Retryable("busy", "later", retry_after_ms=20_000))
            await first.say("hall", Made("hall"), BulbAdded("a"), SwitchedOn())
            await until(lambda: len(first.grid.calls) == 1)
            async with Rig(clock, store, policy=slow_policy) as second:
                await first.ask("attic", Made("attic"), wait_ms=100)
                assert first.engine.lease.lost
                await settled(second)
                await asyncio.sleep(60)
                assert len(first.grid.calls) == 1
                assert len(second.grid.calls) == 1

    play(scenario)


def test_any_number_of_slots_may_be_released_at_once() -> None:
    async def scenario(clock: SimClock) -> None:
        gate = Limiter(clock, concurrency=1, rate_per_s=1e6)
        begun: list[int] = []
        gate.submit(lambda: begun.append(0))
        for n in range(1, 5_001):

            def start(n: int = n) -> None:
                begun.append(n)
                gate.refund()

            gate.submit(start)
        gate.leave()
        await until(lambda: len(gate) == 0)
        assert begun == list(range(5_001))

    play(scenario)

"""The manners of the simulated cloud: time, lag, limits, faults, and the room it takes."""

from __future__ import annotations

import asyncio
import gc
import random
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from holdfast.kernel.clock import ManualClock
from holdfast.kernel.outcome import Conflict, Ok, Outcome, Permanent, Retryable
from holdfast.world.clouds.faults import (
    FAULT_KINDS,
    Call,
    Fault,
    first_of,
    no_faults,
    on_call,
    outage,
    seeded,
)
from holdfast.world.clouds.port import (
    CAPACITY,
    CONFLICT,
    LABEL_SANDBOX,
    MISSING_VOLUME,
    NAME_TAKEN,
    RATE_LIMITED,
    TRANSIENT,
    Machine,
    MachineSpec,
    VolumeSpec,
    verdict,
)
from holdfast.world.clouds.simulated import SimulatedCloud
from holdfast.world.clouds.simulated_world import Timing


class Stage:
    """A cloud and the clock it lives by; `pass_ms` lets time pass."""

    def __init__(self, seed: int = 1, timing: Timing | None = None) -> None:
        self.clock = ManualClock()
        self.cloud = SimulatedCloud(
            clock=self.clock,
            chance=random.Random(seed),
            sleep=self._sleep,
            timing=timing or Timing(),
        )

    async def _sleep(self, by_ms: int) -> None:
        self.clock.advance(by_ms)
        await asyncio.sleep(0)  # others get their turn

    def pass_ms(self, by_ms: int) -> None:
        self.clock.advance(by_ms)

    async def create(self, spec: MachineSpec) -> Outcome[Machine]:
        return await self.cloud.create(spec, idempotency_key="k", timeout_ms=10_000)


@pytest.fixture
def stage() -> Stage:
    return Stage()


def spec(name: str = "box", **changes: object) -> MachineSpec:
    plain = MachineSpec(
        name=name, instance_id=f"i-{name}", sandbox_id=name, account_id="a", region="ams"
    )
    return replace(plain, **changes)


def value(outcome: Outcome[Machine]) -> Machine:
    assert isinstance(outcome, Ok), outcome
    return outcome.value


def code(outcome: Outcome[Any]) -> str:
    assert not isinstance(outcome, Ok)
    return outcome.code


async def test_states_pass_through_time(stage: Stage) -> None:
    machine = value(await stage.create(spec()))
    assert machine.state == "created"
    seen: list[str] = [machine.state]
    for _ in range(12):
        stage.pass_ms(100)
        state = value(await stage.cloud.describe(machine.id)).state
        if state != seen[-1]:
            seen.append(state)
    assert seen == ["created", "starting", "started"]


async def test_a_taken_name_is_refused_in_both_of_the_ways_fly_does(stage: Stage) -> None:
    machine = value(await stage.create(spec()))
    messages: set[str] = set()
    for _ in range(20):
        stage.pass_ms(5_000)
        refused = await stage.create(spec())
        assert isinstance(refused, Conflict)
        assert (refused.code, refused.holder) == (NAME_TAKEN, machine.id)
        messages.add(refused.message[:3])
    assert messages == {"409", "422"}


async def test_the_listing_lags_and_the_description_does_not(stage: Stage) -> None:
    machine = value(await stage.create(spec()))
    stage.pass_ms(600)
    assert await stage.cloud.find({LABEL_SANDBOX: "box"}) == Ok(())
    assert value(await stage.cloud.describe(machine.id)).state == "started"
    stage.pass_ms(5_000)
    await stage.cloud.destroy(machine.id)
    stage.pass_ms(500)
    assert verdict(await stage.cloud.describe(machine.id)) == "gone"
    listed = await stage.cloud.find({LABEL_SANDBOX: "box"})
    assert isinstance(listed, Ok)
    assert [one.id for one in listed.value] == [machine.id]
    stage.pass_ms(5_000)
    assert await stage.cloud.find({LABEL_SANDBOX: "box"}) == Ok(())


async def test_a_full_region_refuses_until_it_has_capacity(stage: Stage) -> None:
    stage.cloud.world.full_regions.add("ams")
    for _ in range(10):
        assert code(await stage.create(spec())) == CAPACITY
        stage.pass_ms(2_000)
    volume = await stage.cloud.create_volume(
        VolumeSpec(name="v", region="ams"), idempotency_key="k", timeout_ms=1_000
    )
    assert code(volume) == CAPACITY
    value(await stage.create(spec(region="fra")))


async def test_a_lost_volume_fails_the_start_as_fly_does(stage: Stage) -> None:
    made = await stage.cloud.create_volume(
        VolumeSpec(name="v", region="ams"), idempotency_key="k", timeout_ms=1_000
    )
    assert isinstance(made, Ok)
    machine = value(await stage.create(spec(volume_id=made.value.id)))
    await stage.cloud.stop(machine.id, grace_ms=1_000)
    stage.pass_ms(2_000)
    stage.cloud.world.lose_volume(made.value.id)
    assert code(await stage.cloud.start(machine.id)) == MISSING_VOLUME


async def test_one_call_a_second_for_an_action_on_a_machine_and_five_reads(stage: Stage) -> None:
    stage = Stage(timing=Timing(call_ms=0))
    machine = value(await stage.create(spec()))
    stops = [await stage.cloud.stop(machine.id, grace_ms=1) for _ in range(5)]
    assert [isinstance(one, Ok) for one in stops] == [True, True, True, False, False]
    limited = stops[-1]
    assert isinstance(limited, Retryable)
    assert limited.code == RATE_LIMITED
    assert limited.retry_after_ms == 1_000
    reads = [await stage.cloud.describe(machine.id) for _ in range(12)]
    assert sum(isinstance(one, Ok) for one in reads) == 10
    stage.pass_ms(1_000)
    assert isinstance(await stage.cloud.stop(machine.id, grace_ms=1), Ok)
    assert stage.cloud.answers["stop", RATE_LIMITED] == 2


async def test_a_world_event_shows_at_once(stage: Stage) -> None:
    machine = value(await stage.create(spec()))
    stage.pass_ms(5_000)
    stage.cloud.world.force(machine.id, "stopped", exit_code=1)
    seen = value(await stage.cloud.describe(machine.id))
    assert (seen.state, seen.exit_code) == ("stopped", 1)


async def test_changes_are_told_at_their_time_to_who_listens(stage: Stage) -> None:
    due: list[tuple[int, Callable[[], None]]] = []
    told: list[tuple[str, int]] = []
    stage.cloud.world.wake_at = lambda at_ms, wake: due.append((at_ms, wake))
    stage.cloud.world.on_change = lambda one: told.append((one.state, stage.clock.now_ms()))
    start = stage.clock.now_ms()
    await stage.create(spec())
    while due:
        at_ms, wake = due.pop(0)
        stage.pass_ms(max(0, at_ms - stage.clock.now_ms()))
        wake()
    assert [(state, at_ms - start) for state, at_ms in told] == [
        ("created", 20),
        ("starting", 220),
        ("started", 520),
    ]


# ----------------------------------------------------------------------- faults


async def test_a_lost_reply_was_done(stage: Stage) -> None:
    stage.cloud.faults = on_call("create", Fault(kind="lose_reply"))
    before = stage.clock.now_ms()
    assert code(await stage.create(spec())) == TRANSIENT
    assert stage.clock.now_ms() - before == 10_000  # the caller waited for its whole timeout
    assert len(stage.cloud.machines_of("box")) == 1
    assert code(await stage.create(spec())) == NAME_TAKEN


async def test_a_refused_call_was_not_done_even_when_it_lies(stage: Stage) -> None:
    machine = value(await stage.create(spec()))
    stage.cloud.faults = on_call("describe", Fault(kind="refuse", status=404, body="not found"))
    assert verdict(await stage.cloud.describe(machine.id)) == "gone"  # a lie that names survive
    assert verdict(await stage.cloud.describe(machine.id)) == "here"
    stage.cloud.faults = on_call("destroy", Fault(kind="refuse", status=500))
    assert code(await stage.cloud.destroy(machine.id)) == TRANSIENT
    assert len(stage.cloud.machines_of("box")) == 1


async def test_a_repeated_create_meets_its_own_machine(stage: Stage) -> None:
    stage.cloud.faults = on_call("create", Fault(kind="repeat"))
    answer = await stage.create(spec())
    assert code(answer) == NAME_TAKEN
    assert len(stage.cloud.machines_of("box")) == 1


async def test_a_late_call_is_done_after_its_caller_gave_up(stage: Stage) -> None:
    stage.cloud.faults = on_call("create", Fault(kind="late", delay_ms=60_000))
    assert code(await stage.create(spec())) == TRANSIENT
    assert stage.cloud.machines_of("box") == ()
    stage.pass_ms(60_000)
    assert len(stage.cloud.machines_of("box")) == 1


async def test_a_delay_past_the_timeout_is_late_too(stage: Stage) -> None:
    stage.cloud.faults = on_call("create", Fault(kind="delay", delay_ms=10_000))
    assert code(await stage.create(spec())) == TRANSIENT
    stage.pass_ms(10_000)
    assert len(stage.cloud.machines_of("box")) == 1


async def test_an_outage_ends(stage: Stage) -> None:
    start = stage.clock.now_ms()
    stage.cloud.faults = first_of(no_faults, outage(from_ms=start, until_ms=start + 3_600_000))
    assert code(await stage.create(spec())) == TRANSIENT
    stage.pass_ms(3_600_000)
    value(await stage.create(spec()))


def test_seeded_faults_repeat_and_come_in_their_share() -> None:
    shares = dict.fromkeys(FAULT_KINDS, 20)
    call = Call(verb="create", target="box", number=1, now_ms=0)
    first, second = (
        [plan(call) for _ in range(5_000)]
        for plan in (seeded(random.Random(7), per_mille=shares) for _ in range(2))
    )
    assert first == second
    faults = [one for one in first if one is not None]
    assert 400 < len(faults) < 600
    assert {one.kind for one in faults} == set(FAULT_KINDS)


async def test_the_same_seed_gives_the_same_history() -> None:
    async def history(seed: int) -> list[str]:
        stage = Stage(seed)
        stage.cloud.faults = seeded(
            random.Random(seed), per_mille={"lose_reply": 100, "refuse": 200, "late": 100}
        )
        told: list[str] = []
        for number in range(60):
            told.append(repr(await stage.create(spec(f"box-{number % 7}"))))
            told.append(repr(await stage.cloud.find({})))
            stage.pass_ms(500)
        return told

    assert await history(3) == await history(3)
    assert await history(3) != await history(4)


async def test_conflicting_calls_are_refused_while_it_stops(stage: Stage) -> None:
    machine = value(await stage.create(spec()))
    stage.pass_ms(1_000)
    assert value(await stage.cloud.stop(machine.id, grace_ms=1)).state == "stopping"
    assert code(await stage.cloud.start(machine.id)) == CONFLICT
    assert code(await stage.cloud.update(machine.id, spec())) == CONFLICT


async def test_a_wait_sees_what_others_do_meanwhile(stage: Stage) -> None:
    machine = value(await stage.create(spec()))
    waited, _ = await asyncio.gather(
        stage.cloud.wait(machine.id, state="stopped", incarnation="", timeout_ms=30_000),
        stage.cloud.stop(machine.id, grace_ms=1),
    )
    assert value(waited).state == "stopped"


async def test_a_forgotten_machine_is_not_found_and_takes_no_capacity(stage: Stage) -> None:
    machine = value(await stage.create(spec()))
    await stage.cloud.destroy(machine.id)
    stage.pass_ms(120_000)
    assert isinstance(await stage.cloud.describe(machine.id), Permanent)
    assert list(stage.cloud.world.rows()) == []


async def test_machines_take_less_than_two_kilobytes_each() -> None:
    number_of = 2_000
    stage = Stage(timing=Timing(call_ms=0))
    tracemalloc.start()
    try:
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for number in range(number_of):
            stage.pass_ms(1)
            await stage.create(spec(f"sandbox-{number:08d}"))
        stage.pass_ms(10_000)
        assert len(stage.cloud.all_machines()) == number_of
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / number_of < 2_000

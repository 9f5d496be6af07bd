"""Faults from production, elsewhere and here, as scenarios in virtual time.

Each is a fault of a real control plane or one that a seed found; the checker runs all the time.
"""

from __future__ import annotations

import pytest

from holdfast.instances.policy import Policy
from holdfast.kernel.clock import HOUR_MS, MINUTE_MS
from holdfast.sim.fleet import Fleet
from holdfast.world.clouds.faults import Fault, no_faults, on_call, outage
from tests.sim.stage import (
    INTERVAL_S,
    converge_and_rest,
    happened,
    heard,
    machines,
    play,
    quick,
    state,
    status,
    up,
)


def cut(fleet: Fleet, for_s: float, code: int = 503) -> None:
    """Have the cloud answer nothing but `code` for a while from now."""
    now_ms = fleet.truth.now_ms()
    fleet.cloud.faults = outage(from_ms=now_ms, until_ms=now_ms + round(for_s * 1_000), status=code)


def test_a_create_whose_answer_is_lost_is_adopted_and_does_not_loop() -> None:
    async def scenario(fleet: Fleet) -> None:
        fleet.cloud.faults = on_call("create", Fault(kind="lose_reply"))
        instance = await fleet.people.create("alpha")
        await fleet.until(lambda: heard(fleet, instance), within_s=300)
        assert len(machines(fleet, instance)) == 1
        assert fleet.cloud.calls["create"] <= 2

    play(scenario)


def test_no_room_is_waited_for_and_nobody_has_to_ask_again() -> None:
    async def scenario(fleet: Fleet) -> None:
        fleet.truth.full_regions.update({"", "ams", "fra", "iad"})
        instance = await fleet.people.create("alpha")
        await fleet.until(lambda: status(fleet, instance) == "stopped", within_s=60)
        await fleet.pass_time(3_600)
        assert state(fleet, instance).faults["start"].code == "capacity"
        # One each at 1, 2, 4 s and so on up to one in five minutes; no lane repeats any.
        assert 12 <= fleet.cloud.calls["create"] <= 30
        fleet.truth.full_regions.clear()
        await fleet.until(lambda: heard(fleet, instance), within_s=400)

    play(scenario)


def test_a_start_ends_after_five_minutes_of_errors_with_its_id_kept_and_nothing_replaced() -> None:
    async def scenario(fleet: Fleet) -> None:
        instance = await up(fleet)
        ((machine, _),) = machines(fleet, instance)
        await fleet.people.order(instance, "stop")
        await fleet.until(lambda: status(fleet, instance) == "stopped", within_s=60)
        cut(fleet, 1_200)
        await fleet.people.order(instance, "start")
        await fleet.until(lambda: status(fleet, instance) == "starting", within_s=10)
        began = fleet.virtual_ms()
        await fleet.until(lambda: status(fleet, instance) == "stopped", within_s=600)
        assert fleet.virtual_ms() - began <= 7 * MINUTE_MS
        assert state(fleet, instance).machine.id == machine
        fleet.cloud.faults = no_faults
        await fleet.until(lambda: heard(fleet, instance), within_s=900)
        assert [one for one, _ in machines(fleet, instance)] == [machine]
        assert fleet.cloud.calls["create"] == 1

    play(scenario)


@pytest.mark.parametrize("cooldown_ms", [30_000, MINUTE_MS, 5 * MINUTE_MS])
@pytest.mark.parametrize("cadence_ms", [30_000, MINUTE_MS, 5 * MINUTE_MS])
def test_no_pair_of_cooldown_and_cadence_keeps_a_recovery_from_running(
    cooldown_ms: int, cadence_ms: int
) -> None:
    policy = quick(
        running_look_ms=cadence_ms,
        idle_look_ms=cadence_ms,
        start_retry_first_ms=cooldown_ms,
        start_retry_cap_ms=cooldown_ms,
        destroy_retry_ms=cooldown_ms,
    )

    async def scenario(fleet: Fleet) -> None:
        instance = await up(fleet)
        for _ in range(3):
            ((machine, _),) = machines(fleet, instance)
            fleet.truth.force(machine, "failed")
            await fleet.pass_time(1)
            within_s = 2 * (cooldown_ms + cadence_ms) / 1_000 + 60
            await fleet.until(
                lambda: machines(fleet, instance)[0][1] == "started", within_s=within_s
            )
            await fleet.until(lambda: heard(fleet, instance), within_s=within_s)

    play(scenario, policy)


def test_a_machine_that_keeps_dying_is_revived_for_ever_and_at_once_by_a_person() -> None:
    async def scenario(fleet: Fleet) -> None:
        instance = await up(fleet)
        for _ in range(8):
            ((machine, now),) = machines(fleet, instance)
            if now == "started":
                fleet.truth.force(machine, "failed")
            await fleet.pass_time(600)
        ((machine, _),) = machines(fleet, instance)
        fleet.truth.force(machine, "stopped")
        await fleet.people.order(instance, "restart")
        await fleet.until(lambda: heard(fleet, instance), within_s=60)
        assert fleet.cloud.calls["create"] == 1

    play(scenario)


def test_an_hour_without_a_plane_loses_no_contact() -> None:
    async def scenario(fleet: Fleet) -> None:
        for name in ("a", "b", "c"):
            await up(fleet, name)
        fleet.restarts_s = lambda: 3_600.0
        fleet.plane_now().crash("for an hour")
        await fleet.until(lambda: not fleet.up(), within_s=10)
        await fleet.until(lambda: bool(fleet.up()), within_s=4_000)
        await fleet.pass_time(1_800)
        assert happened(fleet, "ContactLost") == 0

    play(scenario)


def test_a_silent_machine_is_noticed_within_three_intervals_and_ten_seconds() -> None:
    async def scenario(fleet: Fleet) -> None:
        instance = await up(fleet)
        await fleet.pass_time(600)
        (controller,) = fleet.controllers()
        controller.silent = True
        await fleet.until(
            lambda: state(fleet, instance).contact.heard == "lost", within_s=3 * INTERVAL_S + 10
        )
        assert machines(fleet, instance)[0][1] == "started"
        await fleet.pass_time(60)
        assert status(fleet, instance) == "running"  # unreachable is not dead
        controller.silent = False
        await fleet.until(lambda: heard(fleet, instance), within_s=INTERVAL_S + 10)

    play(scenario)


@pytest.mark.parametrize("kind", ["delay", "lose_reply", "late", "repeat"])
def test_a_destroy_while_the_create_is_in_flight_leaves_nothing(kind: str) -> None:
    async def scenario(fleet: Fleet) -> None:
        fault = Fault(kind=kind, delay_ms=25_000)  # type: ignore[arg-type]
        fleet.cloud.faults = on_call("create", fault)
        instance = await fleet.people.create("alpha")
        await fleet.until(lambda: fleet.cloud.calls["create"] == 1, within_s=10, step_s=0.01)
        await fleet.people.destroy(instance)
        await fleet.until(lambda: status(fleet, instance) == "destroyed", within_s=400)
        await fleet.pass_time(300)
        assert [one for one in fleet.cloud.all_machines() if one.state != "destroyed"] == []

    play(scenario)


def test_a_stop_while_it_starts_is_remembered() -> None:
    async def scenario(fleet: Fleet) -> None:
        fleet.cloud.faults = on_call("create", Fault(kind="delay", delay_ms=20_000))
        instance = await fleet.people.create("alpha")
        await fleet.until(lambda: fleet.cloud.calls["create"] == 1, within_s=10, step_s=0.01)
        await fleet.people.order(instance, "stop")
        await fleet.until(lambda: status(fleet, instance) == "stopped", within_s=400)
        await fleet.pass_time(300)
        assert {now for _, now in machines(fleet, instance)} <= {"stopped"}

    play(scenario)


def test_a_machine_that_vanished_is_replaced_once_and_only_after_it_was_confirmed_gone() -> None:
    async def scenario(fleet: Fleet) -> None:
        instance = await up(fleet)
        ((machine, _),) = machines(fleet, instance)
        fleet.truth.force(machine, "destroyed")
        await fleet.until(
            lambda: heard(fleet, instance) and state(fleet, instance).machine.id != machine,
            within_s=900,
        )
        assert fleet.cloud.calls["create"] == 2
        assert len(machines(fleet, instance)) == 1

    play(scenario)


def test_an_hour_of_not_found_replaces_nothing() -> None:
    async def scenario(fleet: Fleet) -> None:
        instance = await up(fleet)
        ((machine, _),) = machines(fleet, instance)
        cut(fleet, 3_600, 404)
        await fleet.people.order(instance, "restart")
        await fleet.pass_time(4_000)
        await fleet.until(lambda: heard(fleet, instance), within_s=1_800)
        assert [one for one, _ in machines(fleet, instance)] == [machine]

    play(scenario)


def test_two_planes_at_once_make_one_machine() -> None:
    async def scenario(fleet: Fleet) -> None:
        instances = [await fleet.people.create(name) for name in "abc"]
        fleet.replace_plane()
        await fleet.pass_time(1)
        instances += [await fleet.people.create(name) for name in "def"]
        for instance in instances:
            await fleet.until(lambda one=instance: heard(fleet, one), within_s=300)  # type: ignore[misc]
            assert len(machines(fleet, instance)) == 1
        assert fleet.cloud.answers["create", "ok"] == len(instances)

    play(scenario)


def test_it_is_heard_again_though_its_machine_says_nothing_new() -> None:
    """The start failed at the cloud while the machine ran on: same boot, same report."""

    async def scenario(fleet: Fleet) -> None:
        instance = await up(fleet)
        cut(fleet, 900)
        await fleet.people.order(instance, "stop")
        await fleet.pass_time(5)
        await fleet.people.order(instance, "start")
        await fleet.until(lambda: status(fleet, instance) == "stopped", within_s=900)
        await fleet.until(lambda: status(fleet, instance) == "running", within_s=900)
        await fleet.until(lambda: heard(fleet, instance), within_s=2 * INTERVAL_S)
        assert happened(fleet, "RestartBegun") == 0

    play(scenario)


@pytest.mark.parametrize("down", ["crash", "live"])
def test_a_clock_set_back_by_hours_holds_nothing_up(down: str) -> None:
    async def scenario(fleet: Fleet) -> None:
        instance = await up(fleet)
        cut(fleet, 90)
        await fleet.people.destroy(instance)
        await fleet.pass_time(80)
        if down == "crash":
            fleet.plane_now().crash("while the clock is set back")
        fleet.jump(-5 * HOUR_MS)
        await fleet.until(lambda: status(fleet, instance) == "destroyed", within_s=400)

    play(scenario)


def test_twenty_converged_instances_are_silent_for_a_day() -> None:
    """The figure is for ten thousand; tests/bench/bench_sim.py runs the same with those."""
    rows, calls = play(lambda fleet: converge_and_rest(fleet, 20), Policy(), hourly=True)
    assert (rows, calls) == (0, 20)

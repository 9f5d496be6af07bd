"""Budgets over days: who is over a cap is paused, goes on, and nothing is said twice."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest
from msgspec.structs import replace

from holdfast.content import spend_watch
from holdfast.instances import spend
from holdfast.kernel.clock import DAY_MS, HOUR_MS, MINUTE_MS
from holdfast.sim.check import ViolationError
from holdfast.sim.fault_plan import draw
from holdfast.sim.fleet import Fleet
from holdfast.sim.scenario import play as play_seed
from holdfast.wire.api.budgets import BudgetSet
from holdfast.wire.budget import period_of
from holdfast.wire.consent import node_of_instance
from holdfast.wire.money import MICRO
from tests.sim.stage import happened, heard, machines, play, state, status, up
from tests.support.slices import slice_of

CAPPED = BudgetSet(day_micro=10 * MICRO, cap=True)


def spent(fleet: Fleet, instance: str, units: float) -> None:
    """Have the numbers of today come."""
    node = node_of_instance(state(fleet, instance).account, instance)
    day_ms = period_of("day", fleet.clock.now_ms())[0]
    fleet.spenders.come(node, day_ms, round(units * MICRO))


def leap_to_end_of_day(fleet: Fleet, *, after_ms: int) -> None:
    """Set the planes' clock to so long after the end of this day; earlier, if that is negative."""
    now_ms = fleet.clock.now_ms()
    fleet.jump(period_of("day", now_ms)[1] + after_ms - now_ms)


async def limited(fleet: Fleet, budget: BudgetSet = CAPPED) -> str:
    """Return an instance with a budget, some hours after a day began."""
    instance = await up(fleet)
    leap_to_end_of_day(fleet, after_ms=2 * HOUR_MS)
    assert await fleet.people.limit(instance, budget)
    return instance


async def paused(fleet: Fleet) -> str:
    """Return an instance that its cap has stopped."""
    instance = await limited(fleet)
    spent(fleet, instance, 10)
    await fleet.until(lambda: status(fleet, instance) == "stopped", within_s=120)
    assert state(fleet, instance).desired == "running"
    return instance


def test_over_its_cap_it_stops_and_goes_on_when_the_next_day_begins() -> None:
    async def scenario(fleet: Fleet) -> None:
        instance = await paused(fleet)
        assert [one for _, one in machines(fleet, instance)] == ["stopped"]
        rows = fleet.rows()
        leap_to_end_of_day(fleet, after_ms=-10 * MINUTE_MS)
        await fleet.pass_time(9 * 60)
        assert fleet.rows()[0] - rows[0] <= 1  # the daily look
        await fleet.until(lambda: heard(fleet, instance), within_s=600)
        assert fleet.clock.now_ms() % DAY_MS < 9 * MINUTE_MS
        assert (happened(fleet, "BudgetPaused"), happened(fleet, "SpendAlerted")) == (1, 1)

    play(scenario, hourly=True, spends=True)


def test_a_plane_that_dies_between_the_counters_and_the_letter_pauses_when_it_is_back() -> None:
    async def scenario(fleet: Fleet) -> None:
        instance = await limited(fleet)
        fleet.plane_now().crash("before it measures")
        spent(fleet, instance, 10)
        await fleet.until(lambda: status(fleet, instance) == "stopped", within_s=300)
        assert state(fleet, instance).paused_ms

    play(scenario, hourly=True, spends=True)


def test_people_have_it_go_on_raise_the_budget_or_remove_it() -> None:
    async def scenario(fleet: Fleet) -> None:
        instance = await paused(fleet)
        assert not await fleet.people.order(instance, "start")
        assert fleet.people.refusals == {"paused_by_budget": 1}
        assert await fleet.people.order(instance, "go-on")
        await fleet.until(lambda: heard(fleet, instance), within_s=120)
        for units, way_out in ((25, BudgetSet(day_micro=50 * MICRO, cap=True)), (60, BudgetSet())):
            spent(fleet, instance, units)
            await fleet.people.limit(instance, replace(CAPPED, day_micro=units * MICRO))
            await fleet.until(lambda: status(fleet, instance) == "stopped", within_s=120)
            assert await fleet.people.limit(instance, way_out)
            await fleet.until(lambda: heard(fleet, instance), within_s=120)

    play(scenario, hourly=True, spends=True)


def test_an_owners_stop_holds_when_the_next_day_begins() -> None:
    async def scenario(fleet: Fleet) -> None:
        instance = await paused(fleet)
        assert await fleet.people.order(instance, "stop")
        leap_to_end_of_day(fleet, after_ms=-MINUTE_MS)
        await fleet.pass_time(900)
        assert (status(fleet, instance), state(fleet, instance).desired) == ("stopped", "stopped")

    play(scenario, hourly=True, spends=True)


def test_without_a_cap_there_are_alerts_alone() -> None:
    async def scenario(fleet: Fleet) -> None:
        instance = await limited(fleet, BudgetSet(day_micro=10 * MICRO))
        for units in (5, 6, 8, 4, 9.6, 10, 30, 2, 30):
            spent(fleet, instance, units)
            await fleet.pass_time(30)
        assert happened(fleet, "SpendAlerted") == 4
        assert (happened(fleet, "BudgetPaused"), status(fleet, instance)) == (0, "running")

    play(scenario, hourly=True, spends=True)


@pytest.mark.parametrize("seed", range(slice_of(30, here=4)))
def test_it_converges_whatever_agents_spend_and_people_limit(seed: int) -> None:
    outcome, _ = play_seed(seed, dataclasses.replace(draw(seed), spends_every_s=12))
    assert not outcome.failure


def test_a_second_alert_of_a_level_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spend, "carried", lambda _old, new: new)

    async def scenario(fleet: Fleet) -> None:
        instance = await limited(fleet, BudgetSet(day_micro=10 * MICRO))
        for units in (8, 1, 8):
            spent(fleet, instance, units)
            await fleet.pass_time(30)

    with pytest.raises(ViolationError, match="alerted twice"):
        play(scenario, hourly=True, spends=True)


def test_a_level_that_nobody_wrote_about_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spend_watch.SpendWatch, "run", lambda _self: asyncio.Event().wait())

    async def scenario(fleet: Fleet) -> list[str]:
        instance = await limited(fleet)
        spent(fleet, instance, 10)
        await fleet.pass_time(300)
        return [*fleet.spenders.unknown()]

    assert play(scenario, hourly=True, spends=True)[0].count("level=100") == 1

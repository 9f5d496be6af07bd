"""The checker finds what it is there to find: each thing is done wrong once, on purpose."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from holdfast.actors.ports import Accepted
from holdfast.kernel.ids import EventId
from holdfast.sim.check import ViolationError
from holdfast.sim.fleet import Fleet
from holdfast.sim.loop import DeadlockError, SpinError, run
from tests.sim.stage import machines, play, quick, state, up


def test_two_machines_for_one_sandbox_are_found() -> None:
    async def scenario(fleet: Fleet) -> None:
        instance = await up(fleet)
        (row,) = fleet.living(state(fleet, instance).sandbox_id)
        fleet.truth.create(replace(row.spec, name="another-name"))
        fleet.look()

    with pytest.raises(ViolationError, match="two machines"):
        play(scenario)


def test_a_machine_destroyed_while_it_is_wanted_is_found() -> None:
    async def scenario(fleet: Fleet) -> None:
        instance = await up(fleet)
        fleet.truth.destroy(machines(fleet, instance)[0][0])
        fleet.look()

    with pytest.raises(ViolationError, match="is wanted"):
        play(scenario)


def test_a_status_that_outlives_its_limit_is_found() -> None:
    async def scenario(fleet: Fleet) -> None:
        await fleet.people.create("alpha")
        fleet.restarts_s = lambda: 86_400.0
        fleet.excused_ms = lambda: 0.0  # type: ignore[method-assign]
        fleet.plane_now().crash("and nobody starts another")
        await fleet.pass_time(3_600)

    with pytest.raises(ViolationError, match=r"has been starting|alarm is"):
        play(scenario)


def test_an_acknowledged_event_that_is_not_there_is_found() -> None:
    async def scenario(fleet: Fleet) -> None:
        await up(fleet)
        fleet.check.acknowledged([Accepted(EventId("nowhere"), fresh=True)])

    with pytest.raises(ViolationError, match="acknowledged and is not there"):
        play(scenario)


def test_a_log_that_replays_otherwise_is_found() -> None:
    async def scenario(fleet: Fleet) -> None:
        await up(fleet)
        (log,) = fleet.store.log.values()
        log[0] = replace(log[0], body=log[0].body.replace(b'"alpha"', b'"gamma"'))

    with pytest.raises(ViolationError, match="replay differs"):
        play(scenario)


def test_what_exists_without_a_way_on_is_found() -> None:
    async def scenario(fleet: Fleet) -> None:
        await up(fleet)
        fleet.store.probes.clear()
        for actor in fleet.store.actors.values():
            actor.alarm_ms = None
        fleet.look()

    with pytest.raises(ViolationError, match="neither alarm nor probe"):
        play(scenario, quick())


def test_a_loop_that_runs_hot_or_waits_for_nothing_is_found() -> None:
    async def hot(_loop: object, _clock: object) -> None:
        while True:  # noqa: ASYNC110  it is to run hot
            await asyncio.sleep(0)

    async def stuck(_loop: object, _clock: object) -> None:
        await asyncio.Event().wait()

    with pytest.raises(SpinError):
        run(1, hot)
    with pytest.raises(DeadlockError):
        run(1, stuck)

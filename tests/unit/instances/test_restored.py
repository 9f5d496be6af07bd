"""A journal older than the cloud: the present machine is found, and nothing is doubled or made."""

from __future__ import annotations

import pytest

from holdfast.actors.tick import Folded
from holdfast.instances import events
from holdfast.instances.effects import seen_best_first
from holdfast.instances.limits import DOUBT_MS, REVISIONS_SKIPPED
from holdfast.instances.state import Instance
from holdfast.instances.views import attention
from holdfast.kernel.clock import HOUR_MS, MINUTE_MS
from holdfast.wire.controller.identity import gateway_token
from tests.unit.instances.driver import SANDBOX, Driver, created, seen
from tests.unit.instances.test_clouds import Bench


def restored(bench: Bench, *, hold: bool = True) -> events.Restored:
    """Return what the plane tells an instance at the first start after a restore."""
    return events.Restored(machines=seen_best_first(bench.cloud.machines_of(SANDBOX)), hold=hold)


def go_back(bench: Bench, before: Folded[Instance]) -> None:
    """Put a backup's state back; the calls that wait are of a time that is gone."""
    bench.driver.folded = before
    bench.driver.waiting.clear()


async def lose_machine(bench: Bench) -> None:
    """Have the machine removed behind the plane's back."""
    await bench.cloud.destroy(bench.driver.state.machine.id)
    bench.driver.clock.advance(MINUTE_MS)
    assert bench.living() == []


async def replaced() -> tuple[Bench, Folded[Instance], str]:
    """An instance with the state of a backup, and the machine that took the old one's place."""
    bench = await Bench().up()
    before, old = bench.driver.folded, bench.driver.state.machine.id
    await lose_machine(bench)
    bench.driver.send(events.MachineWatched(old, "destroyed"))
    await bench.settle(10 * MINUTE_MS)
    (new,) = bench.living()
    assert new != old
    return bench, before, new


async def test_a_machine_replaced_since_the_backup_is_taken_over() -> None:
    bench, before, new = await replaced()
    epoch, revision = bench.driver.state.epoch, bench.driver.state.revision
    go_back(bench, before)
    bench.driver.send(restored(bench))
    await bench.settle(MINUTE_MS)
    assert (bench.driver.status, bench.driver.state.machine.id) == ("running", new)
    await bench.settle(HOUR_MS)
    assert bench.living() == [new]
    assert bench.driver.state.epoch > epoch, "what the machine has seen is not counted again"
    assert bench.driver.state.revision > REVISIONS_SKIPPED > revision


@pytest.mark.parametrize("listed", [True, False])
async def test_a_listing_without_the_bound_machine_condemns_no_other(*, listed: bool) -> None:
    """Also without a restore: the machine that is there may be the only one there is."""
    bench, before, new = await replaced()
    bench.driver.clock.advance(MINUTE_MS if listed else 0)
    go_back(bench, before)
    bench.driver.send(events.TwinSeen((new,)))
    await bench.settle(10 * MINUTE_MS)
    assert bench.living() == [new]
    assert (bench.driver.status, bench.driver.state.machine.id) == ("running", new)


async def test_a_machine_that_knows_the_tokens_takes_all_again_without_a_restart() -> None:
    bench = await Bench().up()
    before, incarnation = bench.driver.folded, bench.driver.state.machine.incarnation
    go_back(bench, before)
    bench.driver.send(restored(bench))
    await bench.settle(HOUR_MS)
    ((secrets, _),) = bench.told
    assert secrets.api_key == "hfm_key"
    assert secrets.gateway_token == gateway_token("fleet-secret", SANDBOX, version=1)
    assert bench.driver.state.machine.incarnation == incarnation
    assert bench.driver.state.credentials == before.state.credentials


async def test_a_machine_with_newer_tokens_is_launched_anew_with_the_present_ones() -> None:
    bench = await Bench().up()
    before, incarnation = bench.driver.folded, bench.driver.state.machine.incarnation
    go_back(bench, before)
    bench.deaf = "denied: the token is not that of this machine"
    bench.driver.send(restored(bench))
    await bench.settle(DOUBT_MS + 2 * MINUTE_MS)
    state = bench.driver.state
    assert state.machine.incarnation != incarnation
    assert (state.status, state.credentials.doubt_until_ms) == ("running", 0)
    assert len(bench.living()) == 1


@pytest.mark.parametrize("hold", [True, False])
async def test_a_machine_that_is_gone_is_made_again_only_when_that_was_asked(*, hold: bool) -> None:
    bench = await Bench().up()
    before = bench.driver.folded
    await lose_machine(bench)
    go_back(bench, before)
    bench.driver.send(restored(bench, hold=hold))
    await bench.settle(HOUR_MS)
    state = bench.driver.state
    if not hold:
        assert (state.status, len(bench.living())) == ("running", 1)
        return
    assert (state.status, state.desired, bench.living()) == ("stopped", "running", [])
    assert "comes from a backup" in attention(state)
    bench.driver.send(events.StartRequested())
    await bench.settle(10 * MINUTE_MS)
    assert (bench.driver.status, len(bench.living())) == ("running", 1)


async def test_what_was_to_be_destroyed_is_destroyed_with_what_is_there_now() -> None:
    bench, before, new = await replaced()
    go_back(bench, before)
    bench.driver.send(events.DestroyRequested(), restored(bench))
    assert new in bench.living()
    await bench.settle(20 * MINUTE_MS)
    assert (bench.driver.status, bench.living()) == ("destroyed", [])


def test_a_stopped_instance_stays_stopped_and_its_machine_is_stopped() -> None:
    driver = Driver()
    driver.send(created(desired="stopped"))
    stamp = driver.send(events.Restored(machines=(seen("started", "m9", epoch=7),)))
    assert stamp.outcome == "applied"
    assert driver.state.machine.id == "m9"
    assert driver.state.epoch > 7
    assert "stop" in driver.asked()


def test_a_call_of_the_backup_is_not_waited_for() -> None:
    driver = Driver()
    driver.send(created())
    assert driver.state.job is not None
    old = driver.state.epoch
    driver.send(events.Restored(machines=(seen("started", "m9", epoch=3),)))
    assert driver.state.epoch > max(old, 3)
    assert (driver.status, driver.state.machine.id) == ("running", "m9")


def test_one_that_waits_for_a_person_goes_on_waiting() -> None:
    driver = Driver()
    driver.send(created())
    driver.send(events.Restored())
    assert driver.state.blocked == "restored"
    assert driver.send(events.Restored()).outcome == "ignored"

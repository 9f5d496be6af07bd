"""Stopping, restarting, destroying, and what each refuses."""

from __future__ import annotations

import pytest

from holdfast.actors.definition import Claim
from holdfast.instances import events, ports
from holdfast.instances.definition import INSTANCE
from holdfast.instances.limits import LISTING_LAG_MS
from holdfast.instances.policy import Policy
from holdfast.kernel.clock import HOUR_MS, MINUTE_MS, SECOND_MS
from holdfast.kernel.outcome import Conflict, Ok, Permanent, Retryable
from tests.unit.instances.driver import PROVIDER, SANDBOX, Driver, created, seen

TRANSIENT = Retryable("transient", "503: unavailable")
GONE = Permanent("not_found", "404: not found")
GOOD = Ok(ports.Destroyed())


def starting() -> Driver:
    driver = Driver()
    driver.send(created())
    return driver


def restarting() -> Driver:
    driver = Driver().running()
    driver.send(events.RestartRequested())
    assert driver.status == "restarting"
    return driver


# -- stop


def test_a_stop_waits_until_the_machine_stopped() -> None:
    driver = Driver().running()
    driver.send(events.StopRequested())
    assert (driver.state.desired, driver.status) == ("stopped", "running")
    driver.answer(ports.StopCall, Ok(seen("stopping")))
    assert driver.status == "running"
    driver.answer(ports.WaitCall, Ok(seen("stopped")))
    assert (driver.status, driver.deadline_ms) == ("stopped", None)


def test_a_stop_that_fails_leaves_the_status_and_is_tried_for_ever() -> None:
    driver = Driver().running()
    driver.send(events.StopRequested())
    for _ in range(100):
        driver.answer(ports.StopCall, TRANSIENT)
        assert driver.status == "running"
        driver.advance(45 * SECOND_MS)
    driver.answer(ports.StopCall, Ok(seen("stopped")))
    assert driver.status == "stopped"


def test_a_stop_of_a_machine_that_is_gone_is_a_stop() -> None:
    driver = Driver().running()
    driver.advance(LISTING_LAG_MS)
    driver.send(events.StopRequested())
    driver.answer(ports.StopCall, GONE)
    assert driver.status == "running"
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    assert (driver.status, driver.state.machine.id) == ("stopped", "")


def test_one_not_found_that_a_listing_contradicts_is_not_believed() -> None:
    driver = Driver().running()
    driver.advance(MINUTE_MS)
    driver.send(events.StopRequested())
    driver.answer(ports.StopCall, GONE)
    driver.answer(ports.FindCall, Ok(ports.Listed((seen("started"),))))
    driver.take_call(ports.StopCall)


def test_a_stop_that_does_not_take_is_sent_again() -> None:
    driver = Driver().running()
    driver.send(events.StopRequested())
    driver.answer(ports.StopCall, Ok(seen("stopping")))
    driver.answer(ports.WaitCall, Retryable("wait_timeout", "408"))
    driver.advance(2 * SECOND_MS)
    driver.take_call(ports.StopCall)


def test_a_stop_while_the_create_is_in_flight_is_honoured_when_it_settles() -> None:
    driver = starting()
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    create = driver.take_call(ports.CreateCall)
    driver.send(events.StopRequested())
    assert driver.state.desired == "stopped"
    driver.reply(create, Ok(ports.Made(seen("starting"))))
    driver.answer(ports.FindCall, Ok(ports.Listed((seen("starting"),))))
    driver.answer(ports.StopCall, Ok(seen("stopped")))
    assert (driver.status, driver.state.desired) == ("stopped", "stopped")
    assert driver.waiting == []


def test_a_stop_before_anything_was_made_settles_at_once() -> None:
    driver = starting()
    driver.send(events.StopRequested())
    assert driver.status == "stopped"


def test_a_lost_create_is_looked_for_until_a_listing_must_show_it() -> None:
    driver = starting()
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    driver.take_call(ports.CreateCall)
    driver.send(events.StopRequested())
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    assert driver.status == "starting"
    driver.advance(LISTING_LAG_MS)
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    assert (driver.status, driver.state.pending_create) == ("stopped", None)


def test_a_stop_that_outlasts_the_start_is_shown_as_stopped_and_goes_on() -> None:
    driver = starting()
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    driver.answer(ports.CreateCall, Ok(ports.Made(seen("starting"))))
    driver.send(events.StopRequested())
    while driver.status == "starting":
        if driver.waiting:
            driver.answer(ports.StopCall, TRANSIENT)
        else:
            assert driver.deadline_ms is not None
            driver.advance(driver.deadline_ms - driver.clock.now_ms())
    assert driver.status == "stopped"
    driver.advance(MINUTE_MS)
    driver.answer(ports.StopCall, Ok(seen("stopped")))
    assert driver.state.aim == ""


def test_a_start_after_a_stop_in_flight_waits_its_turn_and_runs() -> None:
    driver = Driver().running()
    driver.send(events.StopRequested())
    stop = driver.take_call(ports.StopCall)
    driver.send(events.StartRequested())
    assert driver.status == "starting"
    driver.reply(stop, Ok(seen("stopping")))
    driver.answer(ports.DescribeCall, Ok(seen("stopping")))
    driver.answer(ports.WaitCall, Ok(seen("stopped")))
    driver.answer(ports.UpdateCall, Ok(seen("starting", incarnation="i2")))
    driver.answer(ports.WaitCall, Ok(seen("started", incarnation="i2")))
    assert driver.status == "running"


def test_looks_of_a_new_aim_share_the_lane_of_the_changes_before() -> None:
    # Else a look could overtake a stop under way and find the machine still up.
    driver = Driver().running()
    driver.send(events.StopRequested())
    stop = driver.made[-1]
    driver.send(events.StartRequested())
    assert driver.made[-1].lane == stop.lane


# -- restart


def test_a_restart_succeeds_with_the_new_incarnation_only() -> None:
    driver = restarting()
    assert driver.take_call(ports.UpdateCall).body.launch.epoch == driver.state.epoch
    driver = restarting()
    driver.answer(ports.UpdateCall, Ok(seen("replacing", incarnation="i2")))
    call = driver.take_call(ports.WaitCall)
    assert call.body.incarnation == "i2"
    driver.reply(call, Ok(seen("started", incarnation="i1")))
    assert driver.status == "restarting"
    driver.advance(2 * SECOND_MS)
    driver.answer(ports.WaitCall, Ok(seen("started", incarnation="i2")))
    assert driver.status == "running"
    assert driver.state.machine.epoch == driver.state.epoch


def test_a_restart_works_from_stopped_with_a_machine() -> None:
    driver = Driver().running().stopped()
    assert driver.send(events.RestartRequested()).outcome == "applied"
    assert (driver.status, driver.state.desired) == ("restarting", "running")


def test_a_restart_whose_update_never_went_through_is_not_a_success() -> None:
    driver = restarting()
    began = driver.clock.now_ms()
    while driver.status == "restarting" and driver.clock.now_ms() - began < 5 * MINUTE_MS:
        driver.answer(ports.UpdateCall, TRANSIENT)
        driver.advance(45 * SECOND_MS)
    assert driver.status == "restarting"
    driver.answer(ports.DescribeCall, Ok(seen("started")))
    assert driver.status == "running"
    assert driver.state.faults["restart"].code == "transient"
    assert driver.state.machine.epoch < driver.state.epoch


def test_an_outage_does_not_move_the_window_of_a_restart() -> None:
    driver = restarting()
    began = driver.clock.now_ms()
    while driver.status == "restarting":
        if driver.waiting:
            call = driver.next_call()
            driver.waiting.remove(call)
            driver.reply(call, TRANSIENT)
        else:
            assert driver.deadline_ms is not None
            driver.advance(driver.deadline_ms - driver.clock.now_ms())
    assert driver.clock.now_ms() - began == 15 * MINUTE_MS
    assert (driver.status, driver.state.machine.id) == ("stopped", "m1")


def test_a_machine_that_keeps_replacing_ends_at_the_hard_limit() -> None:
    driver = restarting()
    began = driver.clock.now_ms()
    driver.answer(ports.UpdateCall, Ok(seen("replacing", incarnation="i2")))
    while driver.status == "restarting":
        if driver.waiting:
            call = driver.next_call()
            driver.waiting.remove(call)
            if isinstance(call.body, ports.WaitCall):
                driver.clock.advance(20 * SECOND_MS)
                driver.reply(call, Retryable("wait_timeout", "408"))
            else:
                driver.reply(call, Ok(seen("replacing", incarnation="i2")))
        else:
            assert driver.deadline_ms is not None
            driver.advance(driver.deadline_ms - driver.clock.now_ms())
    assert 15 * MINUTE_MS <= driver.clock.now_ms() - began <= 16 * MINUTE_MS
    assert driver.status == "stopped"


def test_a_machine_found_stopped_after_the_update_is_started() -> None:
    driver = restarting()
    driver.answer(ports.UpdateCall, Ok(seen("stopped", incarnation="i2")))
    driver.answer(ports.StartCall, Ok(seen("starting", incarnation="i3")))
    driver.answer(ports.WaitCall, Ok(seen("started", incarnation="i3")))
    assert driver.status == "running"


def test_a_machine_that_is_gone_while_restarting_is_replaced() -> None:
    driver = restarting()
    driver.answer(ports.UpdateCall, GONE)
    assert (driver.status, driver.state.machine.id) == ("stopped", "")
    driver.advance(SECOND_MS)
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    driver.take_call(ports.CreateCall)


def test_a_failed_machine_ends_the_restart_and_keeps_the_earlier_error() -> None:
    driver = restarting()
    driver.answer(ports.UpdateCall, Retryable("transient", "first error"))
    driver.advance(2 * SECOND_MS)
    driver.answer(ports.UpdateCall, Ok(seen("failed", incarnation="i2")))
    assert driver.status == "stopped"
    assert driver.state.faults["restart"].message == "first error"


# -- destroy


@pytest.mark.parametrize("prepare", [starting, restarting, lambda: Driver().running()])
def test_destroy_is_legal_whatever_is_under_way(prepare: object) -> None:
    driver: Driver = prepare()  # type: ignore[operator]
    assert driver.send(events.DestroyRequested()).outcome == "applied"
    assert driver.status == "destroying"


def test_a_destroy_ends_with_a_listing_that_shows_nothing() -> None:
    driver = Driver().running()
    driver.send(events.DestroyRequested())
    driver.answer(ports.DestroyCall, GOOD)
    assert driver.status == "destroying"
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    assert (driver.status, driver.deadline_ms) == ("destroyed", None)
    assert INSTANCE.claims(driver.state) == frozenset()
    assert INSTANCE.probes(driver.state, driver.policy) == ()
    assert {row.body for row in driver.ticks[-1].views} == {None}


def test_a_machine_that_is_gone_counts_as_destroyed() -> None:
    driver = Driver().running()
    driver.advance(LISTING_LAG_MS)  # long enough for a listing to be believed about it
    driver.send(events.DestroyRequested())
    driver.answer(ports.DestroyCall, GONE)
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    assert driver.status == "destroyed"


def test_a_delete_that_fails_keeps_the_id_and_is_tried_each_minute_for_ever() -> None:
    driver = Driver().running()
    driver.send(events.DestroyRequested())
    for _ in range(200):
        driver.answer(ports.DestroyCall, TRANSIENT)
        assert driver.state.doomed == ("m1",)
        assert driver.deadline_ms == driver.clock.now_ms() + MINUTE_MS
        driver.advance(MINUTE_MS)
    driver.answer(ports.DestroyCall, GOOD)
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    assert driver.status == "destroyed"


def test_a_destroy_while_a_create_is_in_flight_leaves_no_machine() -> None:
    driver = starting()
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    create = driver.take_call(ports.CreateCall)
    driver.send(events.DestroyRequested())
    driver.reply(create, Ok(ports.Made(seen("starting", "m9"))))
    assert driver.state.doomed == ("m9",)
    driver.answer(ports.FindCall, Ok(ports.Listed((seen("starting", "m9"),))))
    driver.answer(ports.DestroyCall, GOOD)
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    assert driver.status == "destroyed"


def test_a_create_without_an_answer_holds_the_tombstone_back_until_a_listing_must_show_it() -> None:
    driver = starting()
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    driver.take_call(ports.CreateCall)
    driver.send(events.DestroyRequested())
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    assert driver.status == "destroying"
    driver.advance(LISTING_LAG_MS)
    driver.answer(ports.FindCall, Ok(ports.Listed((seen("started", "m9"),))))
    driver.answer(ports.DestroyCall, GOOD)
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    assert driver.status == "destroyed"


def test_a_machine_that_comes_to_light_after_the_end_is_still_removed() -> None:
    driver = starting()
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    create = driver.take_call(ports.CreateCall)
    driver.send(events.DestroyRequested())
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    driver.advance(LISTING_LAG_MS)
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    assert driver.status == "destroyed"
    driver.reply(create, Ok(ports.Made(seen("started", "m9"))))
    assert driver.status == "destroying"
    driver.answer(ports.DestroyCall, GOOD)
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    assert driver.status == "destroyed"


def test_a_volume_goes_after_the_machine_and_is_given_up_after_fifty_failures() -> None:
    driver = Driver(Policy(first_contact_ms=0, volumes=(PROVIDER,)))
    driver.send(created())
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    driver.answer(ports.VolumeCall, Ok(ports.VolumeFound("v1", "ams")))
    driver.answer(ports.CreateCall, Ok(ports.Made(seen("starting"))))
    driver.send(events.DestroyRequested())
    driver.answer(ports.DestroyCall, GOOD)
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    driver.advance(LISTING_LAG_MS)
    for _ in range(50):
        assert driver.state.volume_id == "v1"
        driver.answer(ports.DestroyVolumeCall, Retryable("transient", "500"))
        driver.advance(MINUTE_MS)
        driver.answer(ports.FindCall, Ok(ports.Listed()))
    assert driver.status == "destroyed"
    assert driver.state.faults["destroy_volume"].code == "volume_abandoned"


def test_a_volume_that_is_gone_counts_as_deleted() -> None:
    driver = Driver(Policy(first_contact_ms=0, volumes=(PROVIDER,)))
    driver.send(created(desired="stopped"))
    driver.send(events.DestroyRequested())
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    driver.answer(ports.DestroyVolumeCall, GOOD)
    assert driver.status == "destroyed"
    assert "create" not in driver.asked()
    assert "volume" not in driver.asked()


# -- refusals


def test_what_may_not_be_is_refused_with_a_stable_code() -> None:
    driver = Driver()
    assert driver.send(events.StartRequested()).code == "no_such_instance"
    driver.send(created(desired="stopped"))
    assert driver.send(created()).code == "already_exists"
    assert driver.send(events.RestartRequested()).code == "busy"
    driver.send(events.StartRequested())
    assert driver.send(events.RestartRequested()).code == "busy"
    driver = restarting()
    assert driver.send(events.StartRequested()).code == "busy"
    assert driver.send(events.RestartRequested()).code == "busy"
    driver.send(events.DestroyRequested())
    assert driver.send(events.StartRequested()).code == "destroying"
    assert driver.send(events.RestartRequested()).code == "busy"
    assert driver.send(events.ConfigChanged(env={"A": "1"})).code == "destroying"
    assert driver.send(events.StopRequested()).outcome == "ignored"
    assert driver.send(events.DestroyRequested()).outcome == "ignored"


def test_a_restart_without_a_machine_is_refused() -> None:
    driver = starting()
    driver.send(events.StopRequested())
    assert driver.send(events.RestartRequested()).code == "no_machine"


@pytest.mark.parametrize(
    "event",
    [
        events.StartRequested(),
        events.StopRequested(),
        events.RestartRequested(),
        events.DestroyRequested(),
        events.ConfigChanged(env={"A": "1"}),
        events.MachinesFound(0, 9, (seen(),)),
        events.ContactLost(),
        created(),
    ],
)
def test_a_tombstone_refuses_everything(event: events.Event) -> None:
    driver = Driver().running()
    driver.send(events.DestroyRequested())
    driver.answer(ports.DestroyCall, GOOD)
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    stamp = driver.send(event)
    if isinstance(event, events.InstanceCreated):
        assert stamp.code == "destroyed"
    assert stamp.outcome == "refused"
    assert driver.status == "destroyed"


def test_names_are_claimed_and_the_loser_is_refused() -> None:
    driver = Driver()
    driver.taken = {Claim("instance-name", "acme/alpha")}
    stamp = driver.send(created())
    assert (stamp.outcome, stamp.code) == ("refused", "name_taken")
    assert driver.status == "absent"
    driver = Driver()
    driver.taken = {Claim("sandbox", SANDBOX)}
    assert driver.send(created()).code == "sandbox_taken"


def test_a_machine_that_another_actor_claimed_is_left_alone() -> None:
    driver = starting()
    driver.taken = {Claim("machine", f"{PROVIDER}/m5")}
    driver.answer(ports.FindCall, Ok(ports.Listed((seen("started", "m5"),))))
    assert (driver.status, driver.state.blocked) == ("stopped", "collision")
    assert driver.state.machine.id == ""
    assert "m5" not in driver.state.doomed


def test_a_conflict_of_a_stop_is_looked_into() -> None:
    driver = Driver().running()
    driver.send(events.StopRequested())
    driver.answer(ports.StopCall, Conflict("conflict", "409: busy"))
    driver.advance(2 * SECOND_MS)
    driver.answer(ports.DescribeCall, Ok(seen("stopped")))
    assert driver.status == "stopped"


# -- stale provisions


def stale() -> Driver:
    driver = Driver()
    driver.send(created(desired="stopped"))
    return driver


def test_a_provision_that_was_never_started_goes_after_eight_hours() -> None:
    driver = stale()
    driver.advance(8 * HOUR_MS - 1)
    assert driver.waiting == []
    driver.advance(1)
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    assert driver.status == "destroying"
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    assert driver.status == "destroyed"
    assert "destroy_volume" not in driver.asked()


def test_a_stale_provision_with_a_machine_or_without_an_answer_stays() -> None:
    driver = stale()
    driver.advance(8 * HOUR_MS)
    driver.answer(ports.FindCall, TRANSIENT)
    assert driver.status == "provisioned"
    driver.advance(MINUTE_MS)
    driver.answer(ports.FindCall, Ok(ports.Listed((seen("stopped", "m3"),))))
    assert (driver.status, driver.state.machine.id) == ("provisioned", "m3")
    assert driver.deadline_ms is None


def test_one_that_was_started_once_is_never_stale() -> None:
    driver = Driver().running().stopped()
    driver.advance(100 * HOUR_MS)
    assert driver.status == "stopped"


def test_a_listing_proves_nothing_later_than_its_question() -> None:
    # Its answer may be folded long after it was given: the plane was down in between.
    driver = starting()
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    driver.take_call(ports.CreateCall)
    driver.send(events.DestroyRequested())
    late = driver.take_call(ports.FindCall)
    driver.clock.advance(LISTING_LAG_MS + SECOND_MS)
    driver.reply(late, Ok(ports.Listed()))
    assert driver.status == "destroying"
    driver.answer(ports.FindCall, Ok(ports.Listed((seen("started", "m9"),))))
    driver.answer(ports.DestroyCall, GOOD)
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    assert driver.status == "destroyed"


def test_a_volume_asked_for_may_come_to_light_and_is_waited_for() -> None:
    driver = Driver(Policy(first_contact_ms=0, volumes=(PROVIDER,)))
    driver.send(created())
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    driver.take_call(ports.VolumeCall)
    driver.send(events.DestroyRequested())
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    assert driver.status == "destroying"
    driver.advance(LISTING_LAG_MS)
    driver.answer(ports.DestroyVolumeCall, Ok(ports.Destroyed()))
    assert driver.status == "destroyed"


def test_a_clock_set_back_lengthens_no_wait() -> None:
    driver = Driver().running()
    driver.send(events.DestroyRequested())
    driver.answer(ports.DestroyCall, TRANSIENT)
    driver.clock.jump(-5 * HOUR_MS)
    driver.send(events.StopRequested())  # whatever wakes it; the alarms do when the clock steps
    driver.advance(2 * MINUTE_MS)
    driver.answer(ports.DestroyCall, GOOD)
    assert "clock.set_back" in driver.rules()


def test_a_machine_that_was_just_created_is_stopped_once_it_is_up() -> None:
    driver = starting()
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    create = driver.take_call(ports.CreateCall)
    driver.send(events.StopRequested())
    driver.reply(create, Ok(ports.Made(seen("created"))))
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    assert driver.status == "starting"
    driver.answer(ports.WaitCall, Ok(seen("started")))
    driver.answer(ports.StopCall, Ok(seen("stopping")))
    driver.answer(ports.WaitCall, Ok(seen("stopped")))
    assert driver.status == "stopped"


def test_a_restart_looks_at_the_volume_before_it_launches() -> None:
    driver = Driver(Policy(first_contact_ms=0, volumes=(PROVIDER,)))
    driver.send(created())
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    driver.answer(ports.VolumeCall, Ok(ports.VolumeFound("v1", "ams")))
    driver.answer(ports.CreateCall, Ok(ports.Made(seen("starting"))))
    driver.answer(ports.WaitCall, Ok(seen("started")))
    driver.send(events.RestartRequested())
    driver.answer(ports.VolumeCall, Ok(ports.VolumeFound("v1", "ams")))
    driver.take_call(ports.UpdateCall)


def test_what_is_stopped_and_speaks_is_looked_at() -> None:
    driver = Driver().running().stopped()
    driver.send(events.MachineReported(machine_id="m1", boot_id="b2"))
    driver.answer(ports.DescribeCall, Ok(seen("started")))
    driver.take_call(ports.StopCall)

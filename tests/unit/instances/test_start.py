"""Starting: find before create, adopt what is ours, and end in time."""

from __future__ import annotations

import pytest

from holdfast.instances import events, ports
from holdfast.instances.policy import Policy
from holdfast.kernel.clock import HOUR_MS, MINUTE_MS, SECOND_MS
from holdfast.kernel.outcome import Conflict, Ok, Permanent, Retryable
from tests.unit.instances.driver import PROVIDER, Driver, created, seen

TRANSIENT = Retryable("transient", "503: unavailable")
GONE = Permanent("not_found", "404: not found")
VOLUMES = Policy(first_contact_ms=0, volumes=(PROVIDER,))


def test_creation_starts_at_once_and_becomes_running() -> None:
    driver = Driver()
    driver.send(created())
    assert (driver.status, driver.state.desired) == ("starting", "running")
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    driver.answer(ports.CreateCall, Ok(ports.Made(seen("created"))))
    assert driver.state.machine.id == "m1"
    assert driver.state.pending_create is None
    driver.answer(ports.WaitCall, Ok(seen("started")))
    assert driver.status == "running"
    assert driver.state.started_ms == driver.clock.now_ms()
    assert driver.deadline_ms is None


def test_creation_can_be_left_stopped() -> None:
    driver = Driver()
    driver.send(created(desired="stopped"))
    assert driver.status == "provisioned"
    assert driver.waiting == []


def test_the_intent_is_there_before_the_call() -> None:
    driver = Driver()
    driver.send(created())
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    pending = driver.state.pending_create
    assert pending is not None
    assert pending.name == driver.state.sandbox_id
    assert driver.made[-1].body.launch.epoch == driver.state.epoch


def test_the_id_is_kept_when_the_wait_fails() -> None:
    driver = Driver()
    driver.send(created())
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    driver.answer(ports.CreateCall, Ok(ports.Made(seen("created"))))
    driver.answer(ports.WaitCall, Retryable("wait_timeout", "408"))
    assert driver.state.machine.id == "m1"
    assert driver.status == "starting"
    assert "start" not in driver.state.faults


def test_a_machine_found_by_label_is_taken_over_and_nothing_is_created() -> None:
    driver = Driver()
    driver.send(created())
    driver.answer(ports.FindCall, Ok(ports.Listed((seen("started", "m7", epoch=3),))))
    assert driver.status == "running"
    assert driver.state.machine.id == "m7"
    assert driver.state.machine.epoch == 3
    assert "create" not in driver.asked()


def test_a_stopped_machine_found_by_label_is_launched_not_replaced() -> None:
    driver = Driver()
    driver.send(created())
    driver.answer(ports.FindCall, Ok(ports.Listed((seen("stopped", "m7"),))))
    call = driver.take_call(ports.UpdateCall)
    assert call.body.machine_id == "m7"


def test_an_inconclusive_listing_never_leads_to_a_create() -> None:
    driver = Driver()
    driver.send(created())
    for _ in range(4):
        driver.answer(ports.FindCall, TRANSIENT)
        driver.advance(45 * SECOND_MS)
    assert "create" not in driver.asked()


def test_a_taken_name_is_adopted_once_verified() -> None:
    driver = Driver()
    driver.send(created())
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    driver.answer(ports.CreateCall, Ok(ports.Made(seen("stopped", "m5"), adopted=True)))
    assert driver.state.machine.id == "m5"
    assert driver.take_call(ports.UpdateCall).body.machine_id == "m5"
    assert driver.asked().count("create") == 1


def test_a_strangers_machine_is_never_adopted_and_needs_a_person() -> None:
    driver = Driver()
    driver.send(created())
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    driver.answer(ports.CreateCall, Conflict("collision", "m5 is not ours", "m5"))
    assert (driver.status, driver.state.blocked) == ("stopped", "collision")
    assert driver.state.machine.id == ""
    driver.advance(48 * HOUR_MS)
    assert driver.asked().count("create") == 1
    driver.send(events.StartRequested())
    assert driver.status == "starting"


def test_a_start_ends_after_five_minutes_of_api_errors_and_keeps_the_id() -> None:
    driver = Driver().running().stopped()
    began = driver.clock.now_ms()
    driver.send(events.StartRequested())
    while driver.status == "starting":
        if driver.waiting:
            driver.answer(ports.DescribeCall, TRANSIENT)
        else:
            assert driver.deadline_ms is not None
            driver.advance(driver.deadline_ms - driver.clock.now_ms())
    assert driver.clock.now_ms() - began <= 5 * MINUTE_MS + 2 * SECOND_MS
    assert driver.clock.now_ms() - began >= 5 * MINUTE_MS
    assert driver.status == "stopped"
    assert driver.state.machine.id == "m1"
    assert driver.state.faults["start"].code == "start_timeout"
    assert driver.asked().count("create") == 1
    assert driver.deadline_ms is not None


def test_a_machine_that_turns_out_started_at_the_deadline_is_running() -> None:
    driver = Driver()
    driver.send(created())
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    driver.answer(ports.CreateCall, Ok(ports.Made(seen("created"))))
    driver.clock.advance(6 * MINUTE_MS)
    driver.answer(ports.WaitCall, Retryable("wait_timeout", "408"))
    driver.answer(ports.DescribeCall, Ok(seen("started")))
    assert driver.status == "running"


def test_a_machine_still_created_at_the_deadline_ends_the_start() -> None:
    driver = Driver()
    driver.send(created())
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    driver.answer(ports.CreateCall, Ok(ports.Made(seen("created"))))
    driver.clock.advance(6 * MINUTE_MS)
    driver.answer(ports.WaitCall, Retryable("wait_timeout", "408"))
    driver.answer(ports.DescribeCall, Ok(seen("created")))
    assert driver.status == "stopped"
    assert driver.state.machine.id == "m1"


def test_a_start_without_a_machine_ends_without_a_call() -> None:
    driver = Driver()
    driver.send(created())
    driver.answer(ports.FindCall, TRANSIENT)
    driver.clock.advance(5 * MINUTE_MS)
    before = len(driver.made)
    driver.advance(0)
    assert driver.status == "stopped"
    assert len(driver.made) == before


def test_a_server_error_does_not_recreate_a_known_machine() -> None:
    driver = Driver().running().stopped()
    driver.send(events.StartRequested())
    driver.answer(ports.DescribeCall, Ok(seen("stopped")))
    driver.answer(ports.UpdateCall, Retryable("transient", "500"))
    driver.advance(2 * SECOND_MS)
    assert driver.state.machine.id == "m1"
    assert driver.asked().count("create") == 1


def test_a_confirmed_absence_leads_to_a_listing_then_a_new_machine() -> None:
    driver = Driver().running().stopped()
    driver.send(events.StartRequested())
    driver.answer(ports.DescribeCall, GONE)
    assert driver.state.machine.id == ""
    assert driver.state.verdict == "gone"
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    driver.take_call(ports.CreateCall)
    assert driver.rules()[-1] == "replace.gone"


def test_a_machine_that_fails_ends_the_start_at_once_and_is_tried_again_with_backoff() -> None:
    driver = Driver()
    driver.send(created())
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    driver.answer(ports.CreateCall, Ok(ports.Made(seen("created"))))
    driver.answer(ports.WaitCall, Ok(seen("failed")))
    assert driver.status == "stopped"
    assert driver.state.failures == 1
    driver.advance(SECOND_MS)
    assert driver.status == "starting"


def test_backoff_grows_to_five_minutes() -> None:
    driver = Driver()
    driver.send(created())
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    waits = []
    for _ in range(12):
        driver.answer(ports.CreateCall, Retryable("capacity", "412: insufficient resources"))
        assert driver.status == "stopped"
        assert driver.deadline_ms is not None
        waits.append(driver.deadline_ms - driver.clock.now_ms())
        driver.advance(waits[-1])
        driver.answer(ports.FindCall, Ok(ports.Listed()))
    assert waits[0] <= SECOND_MS
    assert 4 * MINUTE_MS <= waits[-1] <= 5 * MINUTE_MS
    assert driver.state.faults["start"].code == "capacity"


def test_a_capacity_error_ends_the_start_at_once_without_a_pending_create() -> None:
    driver = Driver()
    driver.send(created())
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    driver.answer(ports.CreateCall, Retryable("capacity", "409: insufficient memory"))
    assert driver.status == "stopped"
    assert driver.state.pending_create is None


def test_a_lost_answer_to_a_create_is_retried_under_the_same_name() -> None:
    driver = Driver()
    driver.send(created())
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    driver.answer(ports.CreateCall, Retryable("timeout", "no answer"))
    assert driver.state.pending_create is not None
    driver.advance(2 * SECOND_MS)
    assert driver.take_call(ports.CreateCall).body.launch.sandbox_id == driver.state.sandbox_id


def test_a_call_that_is_never_answered_is_given_up() -> None:
    driver = Driver()
    driver.send(created())
    driver.take_call(ports.FindCall)
    driver.advance(3 * MINUTE_MS)
    assert driver.state.faults["start"].code == "no_answer"
    driver.take_call(ports.FindCall)


def test_an_answer_that_comes_too_late_still_binds_the_machine() -> None:
    driver = Driver()
    driver.send(created())
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    late = driver.take_call(ports.CreateCall)
    driver.advance(3 * MINUTE_MS)
    assert driver.state.machine.id == ""
    driver.reply(late, Ok(ports.Made(seen("starting", "m9"))))
    assert driver.state.machine.id == "m9"


def test_rate_limits_are_waited_out() -> None:
    driver = Driver()
    driver.send(created())
    driver.answer(ports.FindCall, Retryable("rate_limited", "429", retry_after_ms=30_000))
    assert driver.deadline_ms == driver.clock.now_ms() + 30_000


def test_a_refusal_of_access_is_tried_again_each_hour() -> None:
    driver = Driver()
    driver.send(created())
    driver.answer(ports.FindCall, Permanent("denied", "401"))
    assert (driver.status, driver.state.blocked) == ("stopped", "denied")
    driver.advance(HOUR_MS)
    assert driver.status == "starting"


# -- volumes


def test_a_volume_is_ensured_before_the_create() -> None:
    driver = Driver(VOLUMES)
    driver.send(created())
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    driver.answer(ports.VolumeCall, Ok(ports.VolumeFound("v1", "ams")))
    launch = driver.take_call(ports.CreateCall).body.launch
    assert (launch.volume_id, launch.region) == ("v1", "ams")


def _with_volume() -> Driver:
    driver = Driver(VOLUMES)
    driver.send(created())
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    driver.answer(ports.VolumeCall, Ok(ports.VolumeFound("v1", "ams")))
    driver.answer(ports.CreateCall, Ok(ports.Made(seen("starting"))))
    driver.answer(ports.WaitCall, Ok(seen("started")))
    return driver


def test_a_known_volume_is_checked_before_every_start_and_drift_is_corrected() -> None:
    driver = _with_volume().stopped()
    driver.send(events.StartRequested())
    driver.answer(ports.DescribeCall, Ok(seen("stopped")))
    call = driver.take_call(ports.VolumeCall)
    assert call.body.volume_id == "v1"
    driver.reply(call, Ok(ports.VolumeFound("v1", "fra")))
    assert driver.state.volume_region == "fra"
    driver.take_call(ports.UpdateCall)


def test_a_lost_volume_before_the_first_run_is_made_anew() -> None:
    driver = Driver(VOLUMES)
    driver.send(created())
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    driver.answer(ports.VolumeCall, Ok(ports.VolumeFound("v1", "ams")))
    driver.answer(ports.CreateCall, Permanent("missing_volume", "400: volume not found"))
    driver.advance(2 * SECOND_MS)
    driver.answer(ports.VolumeCall, GONE)
    call = driver.take_call(ports.VolumeCall)
    assert call.body.volume_id == ""


def test_a_lost_volume_with_data_stops_for_a_person() -> None:
    driver = _with_volume().stopped()
    driver.send(events.StartRequested())
    driver.answer(ports.DescribeCall, Ok(seen("stopped")))
    driver.answer(ports.VolumeCall, GONE)
    assert (driver.status, driver.state.blocked) == ("stopped", "volume_lost")
    # The machine was made for the lost volume, so it goes; the name is then free.
    driver.answer(ports.DestroyCall, Ok(ports.Destroyed()))
    driver.advance(HOUR_MS)
    assert driver.status == "stopped"
    driver.send(events.StartRequested())
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    assert driver.take_call(ports.VolumeCall).body.volume_id == ""


def test_an_unreachable_volume_check_is_tried_again_not_skipped() -> None:
    driver = _with_volume().stopped()
    driver.send(events.StartRequested())
    driver.answer(ports.DescribeCall, Ok(seen("stopped")))
    driver.answer(ports.VolumeCall, TRANSIENT)
    driver.advance(2 * SECOND_MS)
    driver.take_call(ports.VolumeCall)
    assert driver.state.volume_id == "v1"


# -- a second order


def test_a_second_start_while_fresh_changes_nothing() -> None:
    driver = Driver()
    driver.send(created())
    epoch, calls = driver.state.epoch, len(driver.made)
    assert driver.send(events.StartRequested()).outcome == "ignored"
    assert (driver.state.epoch, len(driver.made)) == (epoch, calls)


def test_a_start_of_what_runs_changes_nothing() -> None:
    driver = Driver().running()
    assert driver.send(events.StartRequested()).outcome == "ignored"
    assert driver.status == "running"


@pytest.mark.parametrize("state", ["starting", "replacing", "updating"])
def test_a_transitional_machine_is_waited_for(state: str) -> None:
    driver = Driver().running().stopped()
    driver.send(events.StartRequested())
    driver.answer(ports.DescribeCall, Ok(seen(state)))
    assert driver.take_call(ports.WaitCall).body.state == "started"


def test_a_stopping_machine_is_launched_once_it_stopped() -> None:
    driver = Driver().running().stopped()
    driver.send(events.StartRequested())
    driver.answer(ports.DescribeCall, Ok(seen("stopping")))
    call = driver.take_call(ports.WaitCall)
    assert call.body.state == "stopped"
    driver.reply(call, Ok(seen("stopped")))
    driver.take_call(ports.UpdateCall)


def test_a_report_that_is_sooner_than_the_clouds_answer_counts() -> None:
    """A machine reports what does not change once only."""
    driver = Driver()
    driver.send(created())
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    driver.answer(ports.CreateCall, Ok(ports.Made(seen("created"))))
    driver.send(events.MachineReported(machine_id="m1", boot_id="b1", agent_state="starting"))
    driver.answer(ports.WaitCall, Ok(seen("started")))
    assert (driver.status, driver.state.contact.heard) == ("running", "heard")


def test_a_report_of_the_machine_before_its_restart_does_not_count() -> None:
    driver = Driver()
    driver.send(created())
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    driver.answer(ports.CreateCall, Ok(ports.Made(seen("created"))))
    driver.answer(ports.WaitCall, Ok(seen("started")))
    driver.send(events.MachineReported(machine_id="m1", boot_id="b1", agent_ready=True))
    driver.send(events.RestartRequested())
    assert driver.status == "restarting"
    driver.send(events.MachineReported(machine_id="m1", boot_id="b1", agent_ready=False))
    driver.answer(ports.UpdateCall, Ok(seen("started", incarnation="i2")))
    assert (driver.status, driver.state.contact.heard) == ("running", "unknown")

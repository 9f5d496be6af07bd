"""What runs: silence, looks, machines that go down or double, cadences."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from holdfast.actors.definition import ProbeAnswer
from holdfast.instances import events, ports
from holdfast.instances.definition import INSTANCE
from holdfast.instances.policy import CONTRACT, Policy
from holdfast.kernel.clock import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from holdfast.kernel.outcome import Ok, Outcome, Permanent, Retryable
from tests.unit.instances.driver import Driver, created, seen

TRANSIENT = Retryable("transient", "503: unavailable")
GONE = Permanent("not_found", "404: not found")


def probed(driver: Driver, outcome: Outcome[object]) -> events.Event:
    assert driver.probe is not None
    assert INSTANCE.probed is not None
    return INSTANCE.probed(ProbeAnswer(driver.probe.key, driver.probe.epoch, outcome))


# -- converged


@pytest.mark.parametrize("desired", ["running", "stopped"])
def test_what_is_as_it_should_be_makes_no_row_and_no_call(desired: str) -> None:
    driver = Driver().running()
    if desired == "stopped":
        driver.stopped()
    rows, calls = driver.rows, len(driver.made)
    assert driver.deadline_ms is None
    driver.advance(30 * DAY_MS)
    assert (driver.rows, len(driver.made)) == (rows, calls)


def test_one_probe_a_day_looks_at_whatever_exists() -> None:
    driver = Driver()
    driver.send(created(desired="stopped"))
    assert driver.probe is not None
    assert (driver.probe.key, driver.probe.period_ms) == ("find", DAY_MS)
    driver = Driver().running()
    assert driver.probe is not None
    assert driver.probe.key == "machine/m1"
    assert driver.probe.epoch == driver.state.epoch


def test_a_probe_that_says_what_is_known_is_ignored() -> None:
    driver = Driver().running()
    assert driver.send(probed(driver, Ok(seen("started")))).outcome == "ignored"
    assert driver.send(probed(driver, Permanent("denied", "401"))).outcome == "ignored"
    assert driver.status == "running"


def test_a_probe_that_finds_it_down_brings_it_back() -> None:
    driver = Driver().running()
    driver.send(probed(driver, Ok(seen("stopped"))))
    assert driver.status == "stopped"
    driver.advance(SECOND_MS)
    driver.answer(ports.DescribeCall, Ok(seen("stopped")))
    driver.take_call(ports.UpdateCall)


def test_a_probe_that_finds_it_gone_replaces_it_after_a_listing() -> None:
    driver = Driver().running()
    driver.send(probed(driver, GONE))
    assert (driver.status, driver.state.machine.id) == ("stopped", "")
    driver.advance(SECOND_MS)
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    driver.take_call(ports.CreateCall)
    assert driver.rules()[-1] == "replace.gone"


def test_a_probe_finds_a_machine_that_should_not_be_and_stops_it() -> None:
    driver = Driver()
    driver.send(created(desired="stopped"))
    driver.send(probed(driver, Ok(ports.Listed((seen("started", "m4"),)))))
    driver.answer(ports.StopCall, Ok(seen("stopped", "m4")))
    assert (driver.status, driver.state.machine.id) == ("stopped", "m4")


def test_a_probe_of_an_older_incarnation_is_ignored() -> None:
    driver = Driver().running()
    old = probed(driver, GONE)
    driver.send(events.RestartRequested())
    assert driver.send(old).outcome == "ignored"
    assert driver.state.machine.id == "m1"


# -- silence


def test_silence_asks_the_cloud_and_an_answer_changes_nothing_by_itself() -> None:
    driver = Driver().running()
    driver.send(events.ContactLost())
    assert driver.rules()[-1] == "describe.on_silence"
    driver.answer(ports.DescribeCall, Ok(seen("started")))
    assert driver.status == "running"
    assert driver.waiting == []


def test_unreachable_is_not_dead() -> None:
    driver = Driver().running()
    driver.send(events.ContactLost())
    for _ in range(20):
        driver.answer(ports.DescribeCall, TRANSIENT)
        assert driver.status == "running"
        assert driver.state.machine.id == "m1"
        driver.advance(45 * SECOND_MS)
    assert "create" not in driver.asked()[3:]


def test_silence_and_a_confirmed_absence_replace_the_machine() -> None:
    driver = Driver().running()
    driver.send(events.ContactLost())
    driver.answer(ports.DescribeCall, GONE)
    assert driver.state.verdict == "gone"
    driver.advance(SECOND_MS)
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    driver.answer(ports.CreateCall, Ok(ports.Made(seen("starting", "m2"))))
    driver.answer(ports.WaitCall, Ok(seen("started", "m2")))
    assert (driver.status, driver.state.machine.id) == ("running", "m2")


def test_a_machine_that_stays_silent_is_restarted_and_the_waits_double() -> None:
    driver = Driver().running()
    waits = []
    for number in range(2, 5):
        driver.send(events.ContactLost())
        lost_ms = driver.clock.now_ms()
        driver.answer(ports.DescribeCall, Ok(seen("started", incarnation=f"i{number - 1}")))
        assert driver.deadline_ms is not None
        driver.advance(driver.deadline_ms - driver.clock.now_ms())
        waits.append(driver.clock.now_ms() - lost_ms)
        assert (driver.status, driver.rules()[-1]) == ("restarting", "restart.silent")
        driver.answer(ports.UpdateCall, Ok(seen("replacing", incarnation=f"i{number}")))
        driver.answer(ports.WaitCall, Ok(seen("started", incarnation=f"i{number}")))
    assert waits == [15 * MINUTE_MS, 30 * MINUTE_MS, HOUR_MS]
    driver.send(events.ContactLost())
    driver.send(events.ContactRegained())
    assert driver.state.contact.silent_restarts == 0


def test_a_machine_heard_again_is_not_restarted() -> None:
    driver = Driver().running()
    driver.send(events.ContactLost())
    driver.answer(ports.DescribeCall, Ok(seen("started")))
    driver.send(events.ContactRegained())
    driver.advance(DAY_MS)
    assert driver.rules().count("restart.silent") == 0
    assert driver.deadline_ms is None


def test_a_machine_that_was_never_heard_counts_as_silent_after_a_while() -> None:
    driver = Driver(Policy()).running()
    driver.advance(15 * MINUTE_MS)
    assert driver.rules()[-2:] == ["contact.never", "describe.on_silence"]
    driver = Driver(Policy()).running()
    driver.send(events.MachineReported(machine_id="m1", agent_ready=True))
    assert driver.deadline_ms is None


def test_silence_of_what_is_not_meant_to_run_is_expected() -> None:
    driver = Driver().running().stopped()
    assert driver.send(events.ContactLost()).outcome == "ignored"


def test_a_repeated_level_of_silence_is_ignored() -> None:
    driver = Driver().running()
    driver.send(events.ContactLost())
    assert driver.send(events.ContactLost()).outcome == "ignored"
    assert driver.send(events.ContactLost(2)).outcome == "applied"


# -- reports


def test_a_report_changes_what_is_shown_and_a_repeated_one_nothing() -> None:
    driver = Driver().running()
    report = events.MachineReported(
        machine_id="m1", boot_id="b1", agent_ready=True, agent_version="2.0", restarts=3
    )
    assert driver.send(report).outcome == "applied"
    assert driver.state.contact.heard == "heard"
    assert driver.send(report).outcome == "ignored"


def test_another_machines_report_is_not_taken_for_ours() -> None:
    driver = Driver().running()
    assert driver.send(events.MachineReported(machine_id="m8")).outcome == "ignored"


def test_a_second_machine_is_looked_for_and_destroyed() -> None:
    driver = Driver().running()
    driver.send(events.TwinSeen(("m1", "m8")))
    driver.answer(ports.FindCall, Ok(ports.Listed((seen(), seen("started", "m8")))))
    assert driver.state.doomed == ("m8",)
    assert driver.take_call(ports.DestroyCall).body.machine_id == "m8"
    assert driver.state.machine.id == "m1"


def test_a_watcher_makes_the_cloud_be_asked_at_once() -> None:
    driver = Driver().running()
    driver.send(events.MachineWatched("m1", "stopped"))
    assert driver.rules()[-1] == "describe.on_watch"
    driver.answer(ports.DescribeCall, Ok(seen("stopped")))
    driver.advance(SECOND_MS)
    assert driver.status == "starting"
    assert driver.send(events.MachineWatched("m8", "stopped")).outcome == "ignored"


def test_a_watcher_that_speaks_while_a_look_is_under_way_is_heard_after_it() -> None:
    driver = Driver().running()
    driver.send(events.ContactLost())
    driver.clock.advance(SECOND_MS)
    driver.send(events.MachineWatched("m1", "stopped"))
    driver.answer(ports.DescribeCall, Ok(seen("started")))
    assert driver.rules()[-1] == "describe.on_watch"


def test_a_crash_loop_backs_off_and_a_healthy_run_resets_it() -> None:
    driver = Driver().running()
    for number in range(1, 5):
        driver.send(events.MachineWatched("m1", "failed"))
        driver.answer(ports.DescribeCall, Ok(seen("failed", incarnation=f"i{number}")))
        assert driver.state.failures == number
        assert driver.deadline_ms is not None
        driver.advance(driver.deadline_ms - driver.clock.now_ms())
        driver.answer(ports.DescribeCall, Ok(seen("failed", incarnation=f"i{number}")))
        driver.answer(ports.UpdateCall, Ok(seen("starting", incarnation=f"i{number + 1}")))
        driver.answer(ports.WaitCall, Ok(seen("started", incarnation=f"i{number + 1}")))
        assert driver.status == "running"
    driver.advance(HOUR_MS)
    driver.send(events.MachineWatched("m1", "failed"))
    driver.answer(ports.DescribeCall, Ok(seen("failed", incarnation="i5")))
    assert driver.state.failures == 1


# -- the contract's cadences as another policy


def contract(**changes: object) -> Policy:
    return replace(CONTRACT, first_contact_ms=0, **changes)


def test_the_contracts_cadence_looks_every_five_minutes_with_jitter() -> None:
    driver = Driver(contract()).running()
    for _ in range(5):
        assert driver.deadline_ms is not None
        wait = driver.deadline_ms - driver.clock.now_ms()
        assert 5 * MINUTE_MS <= wait < 6 * MINUTE_MS
        driver.advance(wait)
        driver.answer(ports.DescribeCall, Ok(seen("started")))
    assert driver.status == "running"


def test_the_contracts_idle_cadence_is_thirty_minutes_also_before_the_first_start() -> None:
    driver = Driver(contract()).running().stopped()
    assert driver.deadline_ms is not None
    assert 30 * MINUTE_MS <= driver.deadline_ms - driver.clock.now_ms() < 31 * MINUTE_MS
    driver = Driver(contract())
    driver.send(created(desired="stopped"))
    assert driver.deadline_ms is not None
    assert 30 * MINUTE_MS <= driver.deadline_ms - driver.clock.now_ms() < 31 * MINUTE_MS


def test_down_counts_only_after_the_threshold_and_a_good_look_resets_it() -> None:
    driver = Driver(contract()).running()

    def look(state: str) -> None:
        assert driver.deadline_ms is not None
        driver.advance(driver.deadline_ms - driver.clock.now_ms())
        driver.answer(ports.DescribeCall, Ok(seen(state)))

    for _ in range(4):
        look("stopped")
    assert driver.status == "running"
    look("started")
    assert driver.state.down_count == 0
    for _ in range(5):
        assert driver.status == "running"
        look("stopped")
    assert driver.status == "stopped"


@pytest.mark.parametrize("state", ["starting", "stopping"])
def test_a_transitional_look_changes_nothing(state: str) -> None:
    driver = Driver(contract()).running()
    driver.advance(6 * MINUTE_MS)
    driver.answer(ports.DescribeCall, Ok(seen(state)))
    assert driver.status == "running"


@pytest.mark.parametrize("prepare", ["running", "stopped"])
def test_destroyed_clears_the_id(prepare: str) -> None:
    driver = Driver(contract()).running()
    if prepare == "stopped":
        driver.stopped()
    driver.advance(31 * MINUTE_MS if prepare == "stopped" else 6 * MINUTE_MS)
    driver.answer(ports.DescribeCall, Ok(seen("destroyed")))
    assert driver.state.machine.id == ""
    assert INSTANCE.decode_state(INSTANCE.encode_state(driver.state), 1).machine.id == ""


def test_no_cooldown_equals_a_cadence() -> None:
    for policy in (Policy(), CONTRACT):
        cadences = {policy.running_look_ms, policy.idle_look_ms, policy.daily_look_ms} - {0}
        cooldowns = {policy.step_retry_cap_ms, policy.denied_retry_ms, policy.silent_restart_ms}
        assert not cadences & cooldowns

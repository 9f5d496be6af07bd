"""Launches that are over here and are done by the cloud all the same, later."""

from __future__ import annotations

import pytest

from holdfast.actors.definition import EffectCall
from holdfast.instances import events, ports
from holdfast.instances.limits import LISTING_LAG_MS
from holdfast.kernel.clock import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from holdfast.kernel.outcome import Ok, Outcome, Permanent, Retryable
from tests.unit.instances.driver import Driver, created, seen

TRANSIENT = Retryable("transient", "no answer within 30000 ms")
CAPACITY = Retryable("capacity", "412: insufficient resources")
GOOD = Ok(ports.Destroyed())
NONE = Ok(ports.Listed())


def again(call: EffectCall) -> EffectCall:
    """The same call as its lane or the next plane makes it for the second time."""
    return call._replace(attempt=2)


def creating() -> tuple[Driver, EffectCall]:
    driver = Driver()
    driver.send(created())
    driver.answer(ports.FindCall, NONE)
    return driver, driver.take_call(ports.CreateCall)


def launching(told: str = "stopped") -> tuple[Driver, EffectCall]:
    """A machine that is down is being launched; the call is in flight."""
    driver = Driver().running().stopped()
    driver.advance(HOUR_MS)
    driver.send(events.StartRequested())
    driver.answer(ports.DescribeCall, Ok(seen(told)))
    return driver, driver.take_call(ports.UpdateCall)


# -- destroy


def test_a_create_that_was_tried_twice_holds_the_tombstone_back() -> None:
    # Its first try was sent by a plane that died, and is done after the machine has gone.
    driver, create = creating()
    driver.reply(again(create), Ok(ports.Made(seen("started", "m1"))))
    driver.send(events.DestroyRequested())
    driver.answer(ports.DestroyCall, GOOD)
    driver.answer(ports.FindCall, NONE)
    assert driver.status == "destroying"
    driver.advance(LISTING_LAG_MS)
    driver.answer(ports.FindCall, Ok(ports.Listed((seen("started", "m2"),))))
    driver.answer(ports.DestroyCall, GOOD)
    driver.answer(ports.FindCall, NONE)
    assert driver.status == "destroyed"


def test_a_create_that_was_asked_for_once_and_answered_holds_nothing_back() -> None:
    driver, create = creating()
    driver.reply(create, Ok(ports.Made(seen("started", "m1"))))
    driver.send(events.DestroyRequested())
    driver.answer(ports.DestroyCall, GOOD)
    driver.answer(ports.FindCall, NONE)
    assert driver.status == "destroyed"


@pytest.mark.parametrize(
    "outcome", [CAPACITY, Permanent("denied", "403"), Ok(ports.Made(seen("started"), adopted=True))]
)
def test_a_second_try_says_nothing_of_the_first(outcome: Outcome[ports.Made]) -> None:
    driver, create = creating()
    asked_ms = driver.clock.now_ms()
    driver.reply(again(create), outcome)
    assert driver.state.late_create_ms == asked_ms


def test_a_create_that_is_asked_for_again_is_remembered() -> None:
    driver, create = creating()
    asked_ms = driver.clock.now_ms()
    driver.reply(create, TRANSIENT)
    driver.advance(2 * SECOND_MS)
    driver.answer(ports.CreateCall, Ok(ports.Made(seen("started"))))
    assert driver.state.late_create_ms == asked_ms


def test_the_refusal_of_an_older_create_does_not_settle_the_newest() -> None:
    driver, first = creating()
    driver.send(events.StopRequested())
    driver.send(events.StartRequested())
    driver.answer(ports.FindCall, NONE)
    driver.take_call(ports.CreateCall)
    driver.reply(first, CAPACITY)
    assert driver.state.pending_create is not None


# -- stop


@pytest.mark.parametrize("told", ["stopped", "failed"])
def test_a_stop_while_a_launch_is_in_flight_stops_what_it_launched(told: str) -> None:
    driver, launch = launching(told)
    driver.send(events.StopRequested())
    assert driver.state.aim == "stop"
    driver.reply(launch, TRANSIENT)
    driver.answer(ports.StopCall, Ok(seen("stopping")))
    driver.answer(ports.WaitCall, Ok(seen("stopped")))
    assert driver.status == "stopped"


def test_a_launch_done_after_the_stop_is_found_by_one_further_look_and_stopped() -> None:
    driver, _launch = launching()
    driver.send(events.StopRequested())
    driver.answer(ports.StopCall, Ok(seen("stopped")))
    assert driver.status == "stopped"
    driver.advance(LISTING_LAG_MS)
    driver.answer(ports.DescribeCall, Ok(seen("started", incarnation="i2")))
    driver.answer(ports.StopCall, Ok(seen("stopped", incarnation="i2")))
    assert (driver.status, driver.deadline_ms) == ("stopped", None)


def test_after_the_one_look_a_stopped_instance_is_silent() -> None:
    driver, launch = launching()
    driver.reply(again(launch), Ok(seen("starting", incarnation="i2")))
    driver.send(events.StopRequested())
    driver.answer(ports.StopCall, Ok(seen("stopped", incarnation="i2")))
    driver.advance(LISTING_LAG_MS)
    driver.answer(ports.DescribeCall, Ok(seen("stopped", incarnation="i2")))
    rows, made = driver.rows, len(driver.made)
    driver.advance(30 * DAY_MS)
    assert (driver.rows, len(driver.made), driver.deadline_ms) == (rows, made, None)


def test_a_look_that_fails_is_tried_again_until_it_tells() -> None:
    driver, _launch = launching()
    driver.send(events.StopRequested())
    driver.answer(ports.StopCall, Ok(seen("stopped")))
    driver.advance(LISTING_LAG_MS)
    for _ in range(5):
        driver.answer(ports.DescribeCall, TRANSIENT)
        assert driver.deadline_ms is not None
        driver.advance(MINUTE_MS)
    driver.answer(ports.DescribeCall, Ok(seen("stopped")))
    assert driver.deadline_ms is None


def test_a_stop_long_after_a_doubtful_launch_needs_no_further_look() -> None:
    driver, launch = launching()
    driver.reply(again(launch), Ok(seen("starting", incarnation="i2")))
    driver.answer(ports.WaitCall, Ok(seen("started", incarnation="i2")))
    driver.advance(HOUR_MS)
    driver.send(events.StopRequested())
    driver.answer(ports.StopCall, Ok(seen("stopped", incarnation="i2")))
    assert (driver.status, driver.deadline_ms) == ("stopped", None)


def test_a_launch_that_was_refused_at_once_leaves_no_doubt() -> None:
    driver, launch = launching()
    driver.reply(launch, Permanent("denied", "403"))
    driver.send(events.StopRequested())
    assert (driver.status, driver.deadline_ms) == ("stopped", None)


def test_a_start_that_ended_in_doubt_is_stopped_when_it_is_to_be() -> None:
    driver, launch = launching()
    driver.reply(launch, TRANSIENT)
    while driver.status == "starting":
        if driver.waiting:
            driver.reply(driver.take_call(type(driver.next_call().body)), TRANSIENT)
        else:
            assert driver.deadline_ms is not None
            driver.advance(driver.deadline_ms - driver.clock.now_ms())
    driver.send(events.StopRequested())
    driver.answer(ports.StopCall, Ok(seen("stopping")))


def test_a_create_done_after_a_stop_without_a_machine_is_found() -> None:
    driver, create = creating()
    driver.reply(again(create), CAPACITY)
    driver.send(events.StopRequested())
    driver.advance(LISTING_LAG_MS)
    driver.answer(ports.FindCall, Ok(ports.Listed((seen("started"),))))
    driver.answer(ports.StopCall, Ok(seen("stopped")))
    assert (driver.status, driver.deadline_ms) == ("stopped", None)

"""Outages: a crash loop is one, it is over when the agent is proven, and its time is known."""

from __future__ import annotations

from typing import Any

from holdfast.instances import events
from holdfast.wire.controller.checkin import Recovery
from tests.unit.instances.driver import Driver

READY: dict[str, Any] = {"agent_ready": True, "agent_state": "ready"}


def reports(driver: Driver, after_ms: int = 0, **report: Any) -> None:
    driver.clock.advance(after_ms)
    driver.send(events.MachineReported(machine_id="m1", **report))


def crash(count: int) -> dict[str, Any]:
    return {
        "agent_ready": False, "agent_state": "waiting", "failures": count, "failure": "SIGKILL",
        "restarts": count, "recovery": Recovery(work_cuts=1),
    }  # fmt: skip


def test_a_first_start_is_no_outage() -> None:
    driver = Driver().running()
    reports(driver, agent_ready=False, agent_state="starting")
    reports(driver, **READY)
    assert driver.state.incidents == ()


def test_a_crash_loop_is_one_incident_with_its_time() -> None:
    driver = Driver().running()
    reports(driver, **READY)
    began_ms = driver.clock.now_ms() + 1_000
    reports(driver, 1_000, **crash(1))
    reports(driver, 2_000, **READY, failures=1, failure="SIGKILL", restarts=1)
    reports(driver, 2_000, **crash(2))
    reports(driver, 3_000, **READY, failures=2, failure="SIGKILL", restarts=2)
    (open_one,) = driver.state.incidents
    assert (open_one.ended_ms, open_one.back_ms - began_ms) == (0, 7_000)
    reports(driver, 60_000, **READY, restarts=2)
    (found,) = driver.state.incidents
    assert (found.code, found.noticed_ms) == ("crashing", began_ms)
    assert found.back_ms - found.noticed_ms == 7_000, "until it was back for good"
    assert found.ended_ms - found.noticed_ms == 67_000
    assert (found.last_restarts - found.restarts, found.dropped) == (1, False)


def test_an_outage_that_a_person_ends_is_dropped_and_not_recovered() -> None:
    driver = Driver().running()
    reports(driver, **crash(1))
    driver.send(events.StopRequested())
    (found,) = driver.state.incidents
    assert (found.dropped, found.back_ms) == (True, 0)
    assert found.ended_ms


def test_an_outage_that_was_back_when_a_person_ended_it_is_not_dropped() -> None:
    driver = Driver().running()
    reports(driver, **crash(1))
    reports(driver, 1_000, **READY, failures=1, failure="SIGKILL", restarts=1)
    assert not driver.state.incidents[-1].ended_ms
    driver.send(events.StopRequested())
    (found,) = driver.state.incidents
    assert found.ended_ms
    assert found.back_ms
    assert not found.dropped


def test_what_was_tried_is_kept_and_a_second_outage_is_another() -> None:
    driver = Driver().running()
    reports(driver, **crash(1))
    reports(
        driver, 1_000, agent_ready=False, agent_state="repairing", repair="reinstall", failures=3
    )
    reports(driver, 1_000, **READY)
    reports(driver, 1_000, **crash(1))
    first, second = driver.state.incidents
    assert (first.repairs, first.number, second.number) == (("reinstall",), 1, 2)
    assert second.ended_ms == 0


def test_silence_is_an_outage_until_it_is_heard_and_ready() -> None:
    driver = Driver().running()
    reports(driver, **READY)
    driver.send(events.ContactLost(level=1))
    driver.send(events.ContactRegained())
    assert driver.state.incidents[-1].ended_ms == 0
    reports(driver, **READY, restarts=1)
    assert driver.state.incidents[-1].ended_ms

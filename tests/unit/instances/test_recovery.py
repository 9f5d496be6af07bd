"""What a machine tells of its agent's recovery, what people see of it, and what they may order."""

from __future__ import annotations

from holdfast.instances import events
from holdfast.instances.policy import Policy
from holdfast.instances.presenters import explain
from holdfast.instances.views import instance_view, machine_facts
from holdfast.wire.api.instances import RecoveryView
from holdfast.wire.controller.checkin import Recovery
from tests.unit.instances.driver import Driver


def told(recovery: Recovery | None) -> Driver:
    driver = Driver().running()
    driver.send(events.MachineReported(machine_id="m1", agent_ready=False, recovery=recovery))
    return driver


def test_a_rung_is_shown_with_its_reason_and_needs_nobody_yet() -> None:
    driver = told(Recovery(rung="reinstall", reason="exit code 1", work_cuts=2))
    view = instance_view(driver.state)
    assert view.recovery == RecoveryView(rung="reinstall", reason="exit code 1", work_cuts=2)
    assert view.attention == ""
    facts = {fact.code: fact.text for fact in explain(driver.state, Policy(), 0).facts}
    assert facts["recovery.reinstall"].endswith("came to reinstall: exit code 1")


def test_a_machine_that_tells_nothing_of_it_shows_nothing() -> None:
    assert instance_view(told(None).state).recovery is None


def test_a_parked_agent_and_a_port_in_strange_hands_need_a_person() -> None:
    parked = told(Recovery(rung="parked", reason="exit code 78"))
    assert "left alone: exit code 78" in instance_view(parked.state).attention
    blocked = told(Recovery(blocked="port 3001 is held by nginx (pid 7)"))
    assert "nginx (pid 7)" in instance_view(blocked.state).attention
    parked.send(events.StopRequested())
    assert "left alone" not in instance_view(parked.state).attention, "nobody wants it to run"


def test_a_configuration_that_was_rolled_back_is_explained() -> None:
    driver = told(Recovery(config="rolled_back", config_reason="exit code 78"))
    facts = {fact.code: fact.text for fact in explain(driver.state, Policy(), 0).facts}
    assert facts["config.rolled_back"].endswith("rolled back: exit code 78")


def test_the_recovery_is_stopped_and_begun_anew_through_the_directive() -> None:
    driver = Driver().running()
    before = machine_facts(driver.state)
    assert (before.ladder, before.ladder_turn) == ("auto", 0)
    assert driver.send(events.LadderStopRequested("mine")).outcome == "applied"
    assert driver.send(events.LadderStopRequested()).outcome == "ignored"
    held = machine_facts(driver.state)
    assert (held.ladder, held.ladder_turn) == ("held", 0)
    assert held.revision > before.revision, "or no long poll would tell it"
    assert driver.send(events.LadderRetryRequested()).outcome == "applied"
    anew = machine_facts(driver.state)
    assert (anew.ladder, anew.ladder_turn) == ("auto", 1)
    assert anew.revision > held.revision


def test_a_restart_lets_go_of_a_held_recovery() -> None:
    driver = Driver().running()
    driver.send(events.LadderStopRequested())
    driver.send(events.RestartRequested())
    assert not driver.state.ladder_held


def test_nothing_recovers_that_is_not_meant_to_run() -> None:
    driver = Driver().running().stopped()
    assert driver.send(events.LadderStopRequested()).code == "not_running"
    assert driver.send(events.LadderRetryRequested()).code == "not_running"

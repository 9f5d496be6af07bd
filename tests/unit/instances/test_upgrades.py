"""Orders for another version: what is refused, what a machine's report makes of one."""

from __future__ import annotations

from typing import Any

from holdfast.actors.ports import Stamp
from holdfast.instances import events, ports, upgrades
from holdfast.instances.actions import launch_of
from holdfast.instances.health import find_health
from holdfast.instances.state import Config
from holdfast.instances.views import attention, detail_row, instance_view
from holdfast.kernel.outcome import Ok
from holdfast.wire.controller.checkin import VersionChange
from tests.unit.instances.driver import Driver, created, seen

OLD, NEW = "2026.3.13-node-24.0.0", "2026.9.6-node-24.0.0"


def running(version: str = OLD) -> Driver:
    driver = Driver()
    driver.send(created(agent="openclaw", config=Config(agent_version=version)))
    driver.answer(ports.FindCall, Ok(ports.Listed()))
    driver.answer(ports.CreateCall, Ok(ports.Made(seen("starting"))))
    driver.answer(ports.WaitCall, Ok(seen("started")))
    return driver


def order(driver: Driver) -> None:
    """Order the new version, and bring its machine up again by hand."""
    driver.send(events.UpgradeRequested(version=NEW))
    relaunch(driver)


def relaunch(driver: Driver) -> None:
    driver.answer(ports.UpdateCall, Ok(seen("starting", incarnation="i2")))
    driver.answer(ports.WaitCall, Ok(seen("started", incarnation="i2")))
    assert driver.status == "running"


def refusal(stamp: Stamp) -> tuple[str, str]:
    assert stamp.outcome == "refused"
    return stamp.code, stamp.message


def reported(step: str, turn: int = 1, reason: str = "", **more: Any) -> events.MachineReported:
    change = VersionChange(
        before="2026.3.13", after="2026.9.6", step=step, turn=turn, reason=reason
    )
    return events.MachineReported(
        machine_id="m1", agent_ready=step != "doctor", agent_state="ready", phase="upgrade",
        version_change=change, **more,
    )  # fmt: skip


def test_an_order_restarts_its_machine_with_the_other_version_and_a_number() -> None:
    driver = running()
    driver.send(events.UpgradeRequested(version=NEW))
    state = driver.state
    assert state.status == "restarting" or state.restart_wanted
    launch = launch_of(state)
    assert (launch.agent_version, launch.agent_turn) == (NEW, 1)
    assert detail_row(state).agent_version_before == OLD, "it may go back, so nobody removes it"


def test_each_step_is_the_status_and_the_end_is_not() -> None:
    driver = running()
    order(driver)
    for step, words in upgrades.STEP_WORDS.items():
        driver.send(reported(step))
        found = find_health(driver.state)
        assert (found.code, found.phase) == ("upgrading", step)
        assert words in found.text
    driver.send(reported("done"))
    assert find_health(driver.state).code == "ready"
    assert detail_row(driver.state).agent_version_before == ""
    assert attention(driver.state) == ""


def test_one_that_went_back_keeps_the_version_before_and_says_why() -> None:
    driver = running()
    order(driver)
    before = driver.state.config.version
    driver.send(reported("rolled_back", reason="exit code 1"))
    state = driver.state
    assert (state.config.agent_version, state.config.version) == (OLD, before)
    assert attention(state) == f"it was not changed to {NEW}: exit code 1; it runs {OLD} as before"
    view = instance_view(state).upgrade
    assert view is not None
    assert (view.step, view.reason) == ("rolled_back", "exit code 1")
    driver.send(events.RestartRequested())
    assert attention(driver.state) == ""


def test_a_report_of_an_earlier_order_says_nothing_of_this_one() -> None:
    driver = running()
    order(driver)
    driver.send(reported("rolled_back"))
    order(driver)
    driver.send(reported("rolled_back", turn=1))
    assert driver.state.config.agent_version == NEW
    driver.send(reported("done", turn=2))
    assert driver.state.config.agent_version == NEW


def test_an_older_version_wants_to_be_told_that_work_is_set_aside() -> None:
    driver = running(NEW)
    for event in (
        events.UpgradeRequested(version=OLD),
        events.ConfigChanged(agent_version=OLD),
    ):
        code, text = refusal(driver.send(event))
        assert code == "older_version"
        assert "--restore" in text
    driver.send(events.UpgradeRequested(version=OLD, restore=True))
    assert driver.state.config.agent_version == OLD


def test_while_one_is_under_way_another_waits() -> None:
    driver = running()
    order(driver)
    driver.send(reported("doctor"))
    code, _ = refusal(driver.send(events.UpgradeRequested(version="2026.10.1")))
    assert code == "upgrading"


def test_a_bundled_agent_has_one_version() -> None:
    driver = Driver().running()
    assert refusal(driver.send(events.UpgradeRequested(version="")))[0] == "no_versions"


def test_a_preview_says_what_the_order_then_does() -> None:
    driver = running()
    told = upgrades.preview(driver.state, NEW, versions=[OLD, NEW], is_kept=True)
    assert (told.outcome, told.before, told.after, told.restore) == ("changes", OLD, NEW, False)
    assert told.steps[0].startswith("at once")
    assert told.versions == (NEW,)
    assert f"{OLD} runs again by itself" in told.back
    order(driver)
    assert driver.state.config.agent_version == NEW
    again = upgrades.preview(driver.state, NEW, versions=[OLD, NEW], is_kept=True)
    assert (again.outcome, again.steps) == ("nothing", ())


def test_a_preview_names_what_has_no_way_back() -> None:
    state = running().state
    told = upgrades.preview(state, NEW, versions=[NEW], is_kept=False)
    assert told.back.startswith(f"{OLD} is not installed on this host any more")


def test_a_preview_of_an_older_version_says_that_it_wants_that_confirmed() -> None:
    told = upgrades.preview(running(NEW).state, OLD, versions=[OLD, NEW], is_kept=True)
    assert (told.outcome, told.restore) == ("changes", True)
    assert any(f"that {OLD} wrote" in step for step in told.steps)


def test_a_preview_of_what_is_refused_says_why() -> None:
    driver = running()
    order(driver)
    driver.send(reported("doctor"))
    told = upgrades.preview(driver.state, "2026.10.1", versions=[OLD, NEW], is_kept=True)
    assert (told.outcome, told.steps) == ("refused", ())
    assert "under way" in told.reason
    driver.send(events.DestroyRequested())
    told = upgrades.preview(driver.state, "2026.10.1", versions=[OLD, NEW], is_kept=True)
    assert "destroyed" in told.reason

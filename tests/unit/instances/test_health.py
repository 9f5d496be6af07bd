"""The one status: every state has one, the worst is said, and nothing is well that is not known."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from msgspec.structs import replace

from holdfast.instances import events
from holdfast.instances.health import health, needs_look, next_words
from holdfast.instances.views import INSTANCE_VIEW, instance_view, read_instance
from holdfast.wire.controller.checkin import Recovery
from holdfast.wire.health import DOWN, HEALTHS, RANKS, WORKING, HealthCode
from tests.unit.instances.driver import Driver


def told(**report: Any) -> Driver:
    driver = Driver().running()
    driver.send(events.MachineReported(machine_id="m1", **report))
    return driver


def test_every_status_has_words_and_a_rank() -> None:
    assert set(HEALTHS) == set(get_args(HealthCode)) == set(RANKS)
    assert [HEALTHS[code].tone for code in ("ready", "parked")] == ["ok", "bad"]
    greens = {code for code, meaning in HEALTHS.items() if meaning.tone == "ok"}
    assert greens == {"ready"}, "only what is known to work is green"
    assert not DOWN & WORKING


@pytest.mark.parametrize(
    ("report", "code", "said"),
    [
        ({"agent_ready": True, "agent_state": "ready"}, "ready", "ready"),
        ({"agent_ready": True, "agent_state": "ready", "failures": 3, "failure": "SIGKILL"},
         "recovering", "3 times in a row (SIGKILL)"),
        ({"agent_ready": True, "agent_state": "ready", "channel_trouble": "telegram does not run"},
         "channel-down", "its agent runs, but telegram does not run"),
        ({"agent_ready": False, "agent_state": "starting"}, "starting", "not ready yet"),
        ({"agent_ready": False, "agent_state": "waiting", "failures": 2, "failure": "exit code 1"},
         "crashing", "2 times in a row (exit code 1)"),
        ({"agent_ready": False, "agent_state": "starting", "failures": 1, "failure": "SIGSEGV"},
         "crashing", "SIGSEGV"),
        ({"agent_ready": False, "agent_state": "unready"}, "unready", "does not answer"),
        ({"agent_ready": False, "agent_state": "repairing", "repair": "reinstall",
          "failure": "exit code 1", "failures": 3}, "repairing", "installing its program anew"),
        ({"agent_ready": False, "agent_state": "parked", "failures": 9,
          "recovery": Recovery(rung="parked", reason="exit code 78")}, "parked", "exit code 78"),
        ({"agent_ready": False, "recovery": Recovery(blocked="port 1 is held by nginx")},
         "port-taken", "nginx"),
        ({"agent_ready": False, "agent_state": "stopped", "degraded": "Startup failed during x"},
         "start-failed", "during x"),
        ({"agent_ready": False, "agent_state": "stopped"}, "agent-stopped", "inside"),
        ({"agent_ready": None, "agent_state": ""}, "unreported", "does not say"),
    ],
)  # fmt: skip
def test_what_a_machine_reports_is_one_status(
    report: dict[str, Any], code: HealthCode, said: str
) -> None:
    found = health(told(**report).state)
    assert (found.code, said in found.text) == (code, True), found


def test_a_machine_that_was_not_heard_is_not_ready() -> None:
    driver = Driver().running()
    assert health(driver.state).code == "starting", "it has not reported yet"
    driver = told(agent_ready=True, agent_state="ready")
    driver.send(events.ContactLost(level=1))
    assert health(driver.state).code == "silent"
    driver.send(events.ContactRegained())
    assert health(driver.state).code != "ready", "what was so before the silence is not known now"


def test_orders_are_followed_by_the_status() -> None:
    driver = told(agent_ready=True, agent_state="ready")
    driver.send(events.StopRequested())
    assert health(driver.state).code in {"stopping", "stopped"}
    driver = Driver().running().stopped()
    assert health(driver.state).code == "stopped"
    driver.send(events.DestroyRequested())
    assert health(driver.state).code in {"destroying", "destroyed"}


def test_a_crash_loop_is_attention_and_one_crash_is_not() -> None:
    once = told(agent_ready=False, agent_state="waiting", failures=1, failure="SIGKILL")
    loop = told(agent_ready=False, agent_state="waiting", failures=2, failure="SIGKILL")
    again = told(agent_ready=True, agent_state="ready", failures=2, failure="SIGKILL")
    assert [needs_look(health(one.state)) for one in (once, loop, again)] == [False, True, True]
    assert "SIGKILL" in instance_view(loop.state).attention
    assert instance_view(once.state).attention == ""


def test_since_is_when_the_status_began() -> None:
    driver = told(agent_ready=False, agent_state="waiting", failures=1, failure="SIGKILL")
    began = health(driver.state).since
    driver.clock.advance(5_000)
    driver.send(
        events.MachineReported(
            machine_id="m1", agent_ready=False, agent_state="waiting", failures=2, failure="SIGKILL"
        )
    )
    assert health(driver.state).since == began
    driver.send(events.MachineReported(machine_id="m1", agent_ready=True, agent_state="ready"))
    assert health(driver.state).since != began


def test_the_next_try_is_told_in_seconds() -> None:
    assert next_words(0, 1_000) == ""
    assert next_words(9_100, 1_000) == "next try in 9 s"
    assert next_words(900, 1_000) == "trying again"


def test_a_damaged_row_has_a_status() -> None:
    assert read_instance("i", b"{").health.code == "damaged"


def test_an_instance_of_before_gets_its_status_from_the_same_function() -> None:
    """Nothing may be reported of it for ever, so a plane that starts asks for one event."""
    driver = Driver().running()
    driver.send(events.MachineReported(machine_id="m1", agent_ready=True, agent_state="ready"))
    version = driver.state.config.version
    driver.folded = replace(driver.folded, state=replace(driver.state, health_ms=0))
    assert driver.send(events.ConfigChanged()).outcome == "applied"
    rows = [row for one in driver.ticks for row in one.views if row.view == INSTANCE_VIEW]
    assert read_instance("i", rows[-1].body or b"").health.code == "ready"
    assert driver.state.config.version == version
    assert driver.send(events.ConfigChanged()).outcome == "ignored"

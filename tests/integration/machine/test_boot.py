"""The start: health before all else, sealed values, degraded starts, the end."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import socket
import sys
from pathlib import Path

import aiohttp
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from holdfast.machine.controller.process import orphans
from tests.integration.machine.rig import TOKEN, Plane, alive, run_plane, run_program, until
from tests.support.patience import patience
from tests.support.ports import free_port

KEY = os.urandom(32)


def seal(text: str) -> str:
    nonce = os.urandom(12)
    return (
        "enc:v1:"
        + base64.b64encode(nonce + AESGCM(KEY).encrypt(nonce, text.encode(), None)).decode()
    )


async def fetch(port: int, path: str) -> tuple[int, dict[str, object]]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(
            f"http://127.0.0.1:{port}{path}", headers={"Authorization": f"Bearer {TOKEN}"}
        ) as answer,
    ):
        return answer.status, json.loads(await answer.read())


async def listening(port: int) -> dict[str, object]:
    async def look() -> dict[str, object] | None:
        try:
            return (await fetch(port, "/_kilo/health"))[1]
        except aiohttp.ClientConnectorError:
            return None

    found: dict[str, object] = await until(look, "health")
    return found


async def test_health_is_answered_through_the_whole_start(tmp_path: Path) -> None:
    # From the first answer on, no connection is refused and no answer is anything but 200:
    # the two listeners share one socket, and nothing is lost when the second takes over.
    port = free_port()
    async with run_program(tmp_path, HOLDFAST_CONTROLLER_PORT=str(port)) as machine:
        states = [(await listening(port))["state"]]
        while states[-1] != "ready":
            status, body = await fetch(port, "/_holdfast/health?probe=1")
            assert (status, body["status"]) == (200, "ok")
            states.append(body["state"])
        assert (await fetch(port, "/health"))[1] == {"status": "ok"}
        await machine.opened()
        await machine.ready()
        assert (await fetch(port, "/_kilo/health"))[1]["agentReady"] is True


async def test_sealed_values_reach_the_agent_and_the_key_does_not(tmp_path: Path) -> None:
    async with run_program(
        tmp_path,
        HOLDFAST_GATEWAY_TOKEN="",
        HOLDFAST_ENV_KEY=base64.b64encode(KEY).decode(),
        KILOCLAW_ENC_OPENCLAW_GATEWAY_TOKEN=seal(TOKEN),
        HOLDFAST_ENC_MODEL_KEY=seal("for-the-agent"),
    ) as machine:
        await machine.opened()
        status = await machine.ready()
        seen = environment_of(status["pid"])
        assert seen["MODEL_KEY"] == "for-the-agent"
        assert not [name for name in seen if "ENC" in name or "ENV_KEY" in name]
        assert TOKEN not in seen.values()


def environment_of(pid: int) -> dict[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if pair)


@pytest.fixture
async def plane() -> object:
    async with run_plane() as found:
        yield found


async def test_a_failed_bootstrap_stays_up_says_so_and_reports(
    tmp_path: Path, plane: Plane
) -> None:
    port = free_port()
    async with run_program(
        tmp_path,
        HOLDFAST_CONTROLLER_PORT=str(port),
        HOLDFAST_ENC_X="not sealed",
        HOLDFAST_PLANE_URL=plane.url,
    ) as machine:
        await until(lambda: plane.heard, "a check-in")
        body = await listening(port)
        assert body == {
            "status": "ok",
            "state": "degraded",
            "error": "Startup failed during bootstrap",
        }
        assert await fetch(port, "/_kilo/gateway/status") == (
            503,
            {"error": "Service starting", "state": "degraded"},
        )
        assert plane.last.degraded == "Startup failed during bootstrap"
        assert (plane.last.supervisor_state, plane.last.agent_ready) == ("stopped", False)
        assert await machine.end() == 0


async def test_without_a_token_nothing_but_health_is_served(tmp_path: Path) -> None:
    port = free_port()
    async with run_program(
        tmp_path, HOLDFAST_CONTROLLER_PORT=str(port), HOLDFAST_GATEWAY_TOKEN=""
    ) as machine:
        await until(lambda: machine.events("controller.degraded"), "degraded")
        assert (await listening(port))["state"] == "degraded"
        assert (await fetch(port, "/_kilo/version"))[0] == 503


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOLDFAST_AGENT_ARGS", "[1]"),
        ("HOLDFAST_AGENT", "nobody"),
        ("HOLDFAST_CHECKIN_INTERVAL_MS", "0"),
    ],
)
async def test_wrong_settings_degrade_with_their_name_in_the_log(
    tmp_path: Path, name: str, value: str
) -> None:
    port = free_port()
    async with run_program(
        tmp_path, HOLDFAST_CONTROLLER_PORT=str(port), **{name: value}
    ) as machine:
        (event,) = await until(lambda: machine.events("controller.degraded"), "degraded")
        assert event["phase"] == "runtime-config"
        assert name in event["reason"] or value in event["reason"]
        assert (await listening(port))["error"] == "Startup failed during runtime-config"


async def test_a_port_that_is_taken_ends_it_with_1(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with run_program(tmp_path, HOLDFAST_CONTROLLER_PORT=str(port)) as machine:
            async with asyncio.timeout(patience(10)):
                assert await machine.process.wait() == 1
            assert machine.events("controller.cannot_listen")


async def test_an_agent_that_cannot_be_made_leaves_the_control_routes(tmp_path: Path) -> None:
    async with run_program(
        tmp_path, HOLDFAST_AGENT="openclaw", HOLDFAST_OPENCLAW_HOME=str(tmp_path / "nothing")
    ) as machine:
        await machine.opened()
        status = await machine.reached(lambda status: status["crashes"] >= 1)
        assert status["state"] == "crashed"
        assert status["lastExit"]["code"] == 1
        _, version = await machine.ask("GET", "/_kilo/version")
        assert (version["openclawVersion"], version["agent"]) == (None, "openclaw")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_end_takes_the_agent_along(tmp_path: Path, number: signal.Signals) -> None:
    async with run_program(tmp_path) as machine:
        await machine.opened()
        pid = (await machine.ready())["pid"]
        assert await machine.end(number) == 0
        assert not alive(pid)
        (stopping,) = machine.events("controller.stopping")
        assert stopping["signal"] == number


async def test_the_first_signal_wins_and_an_agent_that_hangs_is_killed(tmp_path: Path) -> None:
    async with run_program(tmp_path, HOLDFAST_STOP_GRACE_MS="300") as machine:
        await machine.opened()
        pid = (await machine.ready())["pid"]
        await machine.fault("hang")
        machine.process.send_signal(signal.SIGTERM)
        await until(lambda: machine.events("controller.stopping"), "stopping")
        machine.process.send_signal(signal.SIGINT)
        assert await machine.end() == 0
        assert len(machine.events("controller.stopping")) == 1
        assert len(machine.events("agent.kill")) == 1
        assert not alive(pid)


async def test_a_killed_controller_leaves_no_agent(tmp_path: Path) -> None:
    async with run_program(tmp_path) as machine:
        await machine.opened()
        pid = (await machine.ready())["pid"]
        machine.process.kill()
        await machine.process.wait()
        await until(lambda: not alive(pid), "the agent's end")


async def test_what_a_killed_controller_left_is_ended_by_the_next(tmp_path: Path) -> None:
    # A child program of the agent with its mark, in a session of its own, as daemons do.
    async with run_program(tmp_path) as machine:
        await machine.opened()
        home = environment_of((await machine.ready())["pid"])[orphans.MARK]
        assert home == str(tmp_path / "agent")
        machine.process.kill()
        await machine.process.wait()
    nap = (sys.executable, "-c", "import time; time.sleep(60)")
    helper = await asyncio.create_subprocess_exec(
        *nap, env={orphans.MARK: home}, start_new_session=True
    )
    stranger = await asyncio.create_subprocess_exec(
        *nap, env={orphans.MARK: f"{home}-2"}, start_new_session=True
    )
    try:
        async with run_program(tmp_path) as machine:
            await machine.opened()
            async with asyncio.timeout(patience(10)):
                assert await helper.wait() == -signal.SIGKILL
            await machine.ready()
            assert stranger.returncode is None
            assert alive(stranger.pid)
    finally:
        for process in (helper, stranger):
            if process.returncode is None:
                process.kill()
                await process.wait()

"""The controller keeps an observer running beside the agent, and the agent never notices."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from holdfast.machine.content_key import id_of_key
from holdfast.machine.controller.observing.protocol import ALREADY_RUNS, UNUSABLE
from holdfast.machine.observer.run import lock_folder
from holdfast.wire.browser_keys import CONTENT_KEY, fingerprint_of
from tests.integration.machine.rig import (
    TOKEN,
    Machine,
    Plane,
    alive,
    run_machine,
    run_plane,
    until,
)
from tests.support.browser_seal import new_pair, open_from, point_of, text_of
from tests.support.consent_signer import Signer

AGAIN = {"HOLDFAST_CHECKIN_FIRST_MS": "50", "HOLDFAST_CHECKIN_INTERVAL_MS": "60000"}


def told(plane: Plane) -> dict[str, str]:
    """Return what a machine of this plane is told."""
    return {
        "HOLDFAST_PLANE_URL": plane.url,
        "HOLDFAST_CONSENT_KEY": Signer().public,
        "HOLDFAST_CONSENT_NODE": "nd_1",
        **AGAIN,
    }


def lines(machine: Machine, event: str) -> list[dict[str, object]]:
    found = [json.loads(row["line"]) for row in machine.events("observer.line")]
    return [row for row in found if row["event"] == event]


async def test_it_comes_back_after_a_kill_and_the_agent_stays(tmp_path: Path) -> None:
    async with run_plane() as plane, run_machine(tmp_path, **told(plane)) as machine:
        agent = (await (await machine.opened()).ready())["pid"]
        await until(lambda: lines(machine, "observer.started"), "the observer's own lines")
        first = machine.events("observer.started")[0]["pid"]
        await until(lambda: plane.heard and plane.last.observer == "running", "it is reported")
        assert "observer" not in (await machine.ask("GET", "/_kilo/health", token=None))[1]
        os.kill(first, signal.SIGKILL)
        await until(lambda: len(lines(machine, "observer.started")) == 2, "it comes back")
        (failed,) = machine.events("observer.failed")
        assert failed["reason"] == "it was ended by SIGKILL"
        await until(lambda: plane.last.observer == "failing", "that is reported at once", 60)
        assert plane.last.observer_reason == failed["reason"]
        status = await machine.status()
        assert (status["pid"], status["restarts"]) == (agent, 0)

        second = machine.events("observer.started")[1]["pid"]
        assert await machine.end() == 0
        assert machine.events("observer.ended")[0]["code"] == 0, "it ended in order"
        assert not alive(second)


async def test_it_dies_with_a_killed_controller(tmp_path: Path) -> None:
    async with run_plane() as plane, run_machine(tmp_path, **told(plane)) as machine:
        await until(lambda: machine.events("observer.started"), "it is started")
        pid = machine.events("observer.started")[0]["pid"]
        machine.process.kill()
        await machine.process.wait()
        await until(lambda: not alive(pid), "it ends too")


async def test_another_in_its_folder_is_named_and_waited_for(tmp_path: Path) -> None:
    held = lock_folder(tmp_path / "observer")
    assert held is not None
    async with run_plane() as plane, run_machine(tmp_path, **told(plane)) as machine:
        await (await machine.opened()).ready()
        await until(lambda: machine.events("observer.failed"), "it could not run")
        said = f"it ended with code {ALREADY_RUNS}: another observer holds its folder"
        assert machine.events("observer.failed")[0]["reason"] == said
        os.close(held)
        await until(lambda: lines(machine, "observer.started"), "it runs once the other is gone")


@pytest.mark.parametrize("in_the_way", ["lock", "folder"])
async def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path, in_the_way: str) -> None:
    folder = tmp_path / "observer"
    if in_the_way == "lock":
        (folder / "observer.lock").mkdir(parents=True)
        said = f"it ended with code {UNUSABLE}: its folder, or the consent key"
    else:
        folder.write_text("")
        said = "it could not be started: File exists"
    async with run_plane() as plane, run_machine(tmp_path, **told(plane)) as machine:
        await (await machine.opened()).ready()
        await until(lambda: machine.events("observer.failed"), "it could not run")
        assert machine.events("observer.failed")[0]["reason"].startswith(said)
        await until(lambda: plane.heard and plane.last.observer == "failing", "it is reported")
        assert not plane.last.degraded
        health = (await machine.ask("GET", "/_kilo/health", token=None))[1]
        assert (health["state"], health["observer"]) == ("ready", "failing")
        assert (await machine.status())["ready"]


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"HOLDFAST_OBSERVER": "false"}, "HOLDFAST_OBSERVER=false turns it off"),
        ({"KILOCLAW_CLAWMETRY_DISABLED": "true"}, "KILOCLAW_CLAWMETRY_DISABLED=true turns it off"),
        ({"HOLDFAST_CONSENT_KEY": ""}, "HOLDFAST_CONSENT_KEY"),
    ],
)
async def test_what_turns_it_off_is_named(
    tmp_path: Path, variables: dict[str, str], said: str
) -> None:
    async with run_plane() as plane, run_machine(tmp_path, **told(plane) | variables) as machine:
        await (await machine.opened()).ready()
        await until(lambda: plane.heard and plane.last.observer == "off", "it is reported")
        assert said in plane.last.observer_reason
        assert machine.events("observer.off")
        assert not machine.events("observer.started")


async def test_the_owners_calls_say_what_is_missing(tmp_path: Path) -> None:
    off = {"HOLDFAST_OBSERVER": "false"}
    async with run_plane() as plane, run_machine(tmp_path, **told(plane) | off) as machine:
        await (await machine.opened()).ready()
        folder = tmp_path / "agent/.clawmetry"

        async def start() -> tuple[int, str]:
            status, body = await machine.ask("POST", "/_kilo/clawmetry-start-sync")
            return status, body["code"]

        async def url() -> tuple[int, str]:
            status, body = await machine.ask("GET", "/_kilo/clawmetry-dashboard-url")
            return status, str(body.get("code") or body["url"])

        assert (await start(), await url()) == ((404, "not_registered"), (404, "no_dashboard_url"))
        folder.mkdir(parents=True)
        for text in ("{", '{"api_key": ""}', '{"node_id": "n"}', "[]"):
            (folder / "config.json").write_text(text)
            assert await start() == (500, "registration_unreadable")
        (folder / "config.json").write_text('{"api_key": "cm_1"}')
        assert await start() == (502, "intent_failed"), "this plane has no such route"
        for text in ("", "  \n", "javascript:alert(1)", "https://a\x1b[31m\r\nb", "x" * 5_000):
            (folder / "dashboard-url.txt").write_text(text)
            assert await url() == (500, "url_unreadable")
        (folder / "dashboard-url.txt").write_text(" https://one.example/x#key=k \n")
        assert await url() == (200, "https://one.example/x#key=k")
        (folder / "dashboard-url.txt").unlink()
        (folder / "dashboard-url.txt").symlink_to(tmp_path / "run/agent.token")
        assert await url() == (500, "url_unreadable"), "no link is followed out of the home"


async def test_a_browser_is_enrolled_by_its_fingerprint_and_by_the_controllers_token(
    tmp_path: Path,
) -> None:
    pair, key = new_pair(), bytes(range(32))
    point = point_of(pair)
    config = tmp_path / "agent/.clawmetry/config.json"
    # The observer leaves a registration without a node's name alone, and this plane gives none.
    async with run_plane() as plane, run_machine(tmp_path, **told(plane)) as machine:
        await machine.opened()

        async def enrol(fingerprint: str, token: str = TOKEN) -> tuple[int, dict[str, str]]:
            order = {"public_key": text_of(point), "fingerprint": fingerprint}
            return await machine.ask("POST", "/_holdfast/observer/enrol", token, order)

        shown = fingerprint_of(point)
        assert (await enrol(shown, token="an-agent-knows-none"))[0] == 401
        status, body = await enrol(shown)
        assert (status, body["code"]) == (404, "not_registered")
        config.parent.mkdir(parents=True)
        for wrong in ("", ', "encryption_key": null', ', "encryption_key": ""'):
            config.write_text(f'{{"api_key": "cm_1"{wrong}}}')
            assert (await enrol(shown))[1]["code"] == "not_registered"
        sealing = {"api_key": "cm_1", "encryption_key": text_of(key)}
        config.write_text(json.dumps(sealing))
        for other in (fingerprint_of(point_of(new_pair())), "", shown[:-1]):
            status, body = await enrol(other)
            assert (status, body["code"]) == (400, "wrong_fingerprint")
            assert body["field"] == "fingerprint"
        status, body = await enrol(shown)
        assert status == 200
        assert open_from(pair, CONTENT_KEY, "nd_1", body["sealed"]) == key
        assert body["key_id"] == id_of_key(key)
        log = json.dumps(machine.events("observer.enrolled"))
        assert shown in log
        assert text_of(key) not in log

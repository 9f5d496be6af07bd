"""A key renewed while the machine runs: used at once, seen by the agent, and never printed."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from holdfast.kernel.clock import ManualClock
from holdfast.kernel.secret import Secret
from holdfast.machine.agents.catalogue import Keys
from holdfast.machine.controller.agent import key_renewal
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.process.commands import Commands
from holdfast.machine.controller.process.priority_lock import PriorityLock
from holdfast.wire.controller.machine import AGENTS_KEY
from tests.integration.machine.rig import API_KEY, Plane, run_machine, run_plane, until
from tests.integration.machine.test_boot import environment_of

PATCH = "/_kilo/env/patch"


async def test_our_own_key_is_in_the_next_report_and_the_agent_is_left_alone(
    tmp_path: Path,
) -> None:
    plane = Plane()
    async with (
        run_plane(plane),
        run_machine(tmp_path, HOLDFAST_PLANE_URL=plane.url) as machine,
    ):
        await machine.opened()
        pid = (await machine.ready())["pid"]
        await until(lambda: plane.heard and plane.last.agent_ready, "a report")
        assert plane.headers[-1]["Authorization"] == f"Bearer {API_KEY}"
        status, answer = await machine.ask("POST", PATCH, body={"HOLDFAST_API_KEY": "hfm_new"})
        assert (status, answer) == (
            200,
            {"ok": True, "reloaded": False, "signaled": False, "migratedProfiles": 0},
        )
        await machine.fault("crash")
        await until(lambda: plane.headers[-1]["Authorization"] == "Bearer hfm_new", "the new key")
        assert (await machine.ready())["pid"] != pid
        assert "hfm_new" not in (machine.home / "machine.log").read_text()


async def test_an_agent_that_cannot_reload_is_restarted_with_its_key(tmp_path: Path) -> None:
    async with run_machine(tmp_path, KILOCODE_API_KEY="old-key") as machine:
        await machine.opened()
        before = await machine.ready()
        assert environment_of(before["pid"])["KILOCODE_API_KEY"] == "old-key"
        status, answer = await machine.ask("POST", PATCH, body={"KILOCODE_API_KEY": "new-key"})
        assert (status, answer["reloaded"], answer["signaled"]) == (200, False, True)
        after = await machine.reached(lambda now: now["ready"] and now["pid"] != before["pid"])
        assert environment_of(after["pid"])["KILOCODE_API_KEY"] == "new-key"
        assert after["restarts"] == 0, "it was asked for"
        assert (await machine.ask("POST", "/_kilo/gateway/stop"))[0] == 200
        _, answer = await machine.ask("POST", PATCH, body={"KILOCODE_API_KEY": "third"})
        assert (answer["reloaded"], answer["signaled"]) == (False, False), "there is nobody to tell"
        assert (await machine.ask("POST", "/_kilo/gateway/start"))[0] == 200
        last = await machine.ready()
        assert environment_of(last["pid"])["KILOCODE_API_KEY"] == "third"


async def test_what_may_not_be_changed_is_named(tmp_path: Path) -> None:
    async with run_machine(tmp_path) as machine:
        await machine.opened()
        await machine.ready()
        for body, code, field in (
            (b"{", "invalid_json_body", None),
            ([], "invalid_request_body", None),
            ({}, "invalid_request_body", None),
            ({"PATH": "/tmp"}, "invalid_request_body", "PATH"),
            ({"OPENCLAW_GATEWAY_TOKEN": "x"}, "invalid_request_body", "OPENCLAW_GATEWAY_TOKEN"),
            ({"KILOCODE_API_KEY": ""}, "invalid_request_body", "KILOCODE_API_KEY"),
            ({"KILOCODE_API_KEY": 3}, "invalid_request_body", "KILOCODE_API_KEY"),
            ({"KILOCODE_API_KEY": "a\0b"}, "invalid_request_body", "KILOCODE_API_KEY"),
            ({"KILOCODE_API_KEY": "x" * 9_000}, "invalid_request_body", "KILOCODE_API_KEY"),
        ):
            status, answer = await machine.ask("POST", PATCH, body=body)
            assert (status, answer["code"], answer.get("field")) == (400, code, field), body
        status, answer = await machine.ask("POST", PATCH, body={"X": "x" * 70_000})
        assert (status, answer["code"]) == (413, "body_too_large")
        assert "x" * 100 not in json.dumps(machine.log)


class Beside:
    """An agent that reloads at once, its configuration, its supervisor and the credentials."""

    def __init__(self, folder: Path) -> None:
        self.lock, self.launched, self.restarts = PriorityLock(), 0, 0
        self.commands = Commands(self.lock, self.launch)
        self.place = SimpleNamespace(home=str(folder))
        self.env, self.config = dict[str, str](), dict[str, Any]()
        self.state = SimpleNamespace(child=True)
        keys = Keys(
            path=lambda _place: str(folder / "keys" / "keys.json"),
            reload_argv=lambda _place: ("reload",),
            referring=lambda *_: {},
            moved_count=lambda _patch: 0,
        )
        self.profile = SimpleNamespace(keys=keys)

    def launch(self, argv: Any, on_line: Any, on_exit: Any, **_how: Any) -> Any:
        del argv, on_line
        assert not self.lock.take_now(), "it runs in its turn"
        self.launched += 1
        on_exit(0)
        return SimpleNamespace(kill=lambda: None)

    async def read(self) -> Any:
        return self

    async def restart(self) -> bool:
        self.restarts += 1
        return True

    def renew(self, _key: Secret) -> None:
        pass


async def test_the_reload_waits_for_other_commands_but_not_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_renewal, "LOCK_WAIT_S", 0.05)
    beside: Any = Beside(tmp_path)
    renewing = key_renewal.Renewal(beside, beside, beside, beside, Log(ManualClock(5)))
    values = {AGENTS_KEY: Secret("new-key")}
    assert (await renewing.apply(values)).reloaded
    assert beside.lock.take_now(), "it was given back, and somebody pairs now"
    after = await renewing.apply(values)
    assert (after.reloaded, after.signaled, beside.launched) == (False, True, 1)
    beside.lock.give_back()
    assert (await renewing.apply(values)).reloaded
    await renewing.close()

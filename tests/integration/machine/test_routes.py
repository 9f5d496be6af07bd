"""The control API over HTTP: credentials, routes and answers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.relay.wrong_proofs import WRONG_PROOFS_BURST
from holdfast.wire.controller.endpoint import PREFIXES, ControllerEndpoint
from holdfast.wire.controller.machine import CAPABILITY
from holdfast.wire.controller.table import ROUTES
from tests.integration.machine.rig import TOKEN, Machine, run_machine

CONTRACT = {
    "config.read", "config.restore", "config.replace", "config.patch", "env.patch", "doctor.run",
    "files.tree", "files.tree.path", "files.read", "files.write", "files.write-openclaw-config",
    "gateway.lifecycle", "gateway.ready", "pairing.channels", "pairing.devices",
}  # fmt: skip
"""The names of the contract for what this product offers."""


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    async with run_machine(tmp_path) as found:
        await found.opened()
        await found.ready()
        yield found


async def test_who_has_no_token_gets_nothing_but_health(machine: Machine) -> None:
    for prefix in PREFIXES:
        for row in ROUTES:
            path = re.sub(r"\{\w+\}", "base", row.tail)
            code, body = await machine.ask(row.method, prefix + path, None)
            if row.tail == "health":
                assert code == 200
            else:
                assert (code, body) == (401, {"error": "Unauthorized"})
        code, body = await machine.ask("GET", f"{prefix}no/such", None)
        assert (code, body["code"]) == (401, "controller_route_unavailable")
    assert (await machine.status())["state"] == "running", "nobody stopped it"


async def test_who_has_a_wrong_token_gets_nothing_but_health(machine: Machine) -> None:
    """All are asked at once: beyond the limit of wrong tokens a refusal takes a second."""

    async def ask(prefix: str, row: ControllerEndpoint[Any, Any], token: str) -> None:
        path = re.sub(r"\{\w+\}", "base", row.tail)
        code, body = await machine.ask(row.method, prefix + path, token)
        if row.tail == "health":
            assert code == 200
        elif code == 429:
            assert body["code"] == "too_many_wrong_proofs"
            late.append(path)
        else:
            assert (code, body) == (401, {"error": "Unauthorized"})
            early.append(path)

    early: list[str] = []
    late: list[str] = []
    await asyncio.gather(
        *(
            ask(prefix, row, token)
            for prefix in PREFIXES
            for row in ROUTES
            for token in ("wrong", TOKEN + "x", "")
        )
    )
    assert len(early) >= WRONG_PROOFS_BURST
    assert late, "there were more than the limit"
    assert (await machine.status())["state"] == "running", "nobody stopped it"


async def test_what_does_not_exist(machine: Machine) -> None:
    for prefix in PREFIXES:
        code, body = await machine.ask("GET", f"{prefix}no/such")
        assert (code, body["code"]) == (404, "controller_route_unavailable")
        code, body = await machine.ask("GET", f"{prefix}gateway/stop")
        assert (code, body["code"]) == (405, "method_not_allowed")
    async with machine.session.get(f"http://127.0.0.1:{machine.port}/chat") as answer:
        assert answer.status == 200
        assert "Demo agent" in await answer.text(), "what is no control route is the agent's"
    await machine.ask("POST", "/_kilo/gateway/stop")
    code, body = await machine.ask("GET", "/chat", None)
    assert (code, body["error"]) == (503, "Gateway not ready")


async def test_the_scheme_of_the_header_is_read_loosely_and_the_token_exactly(
    machine: Machine,
) -> None:
    url = f"http://127.0.0.1:{machine.port}/_kilo/version"
    for header, code in (
        (f"bearer {TOKEN}", 200),
        (f"BEARER   {TOKEN}", 200),
        (f"Basic {TOKEN}", 401),
        (f"Bearer {TOKEN} more", 401),
        (TOKEN, 401),
    ):
        async with machine.session.get(url, headers={"Authorization": header}) as answer:
            assert answer.status == code, header


async def test_version_tells_all_in_the_contracts_words(machine: Machine) -> None:
    for prefix in PREFIXES:
        code, body = await machine.ask("GET", f"{prefix}version")
        assert code == 200
        assert (body["openclawVersion"], body["openclawCommit"]) == ("2026.1.0", "abc1234")
        assert (body["apiVersion"], body["controllerState"]) == (1, "ready")
        assert body["capabilities"] == sorted(set(body["capabilities"]))
        assert set(body["capabilities"]) >= CONTRACT
        assert all(re.search(CAPABILITY, name) for name in body["capabilities"])
        foreign = ("kilo", "morning-briefing", "google", "gmail", "hooks", "profile")
        assert not [name for name in body["capabilities"] if name.startswith(foreign)]
        assert body["gateway"]["state"] == "running"


async def test_the_life_of_the_gateway(machine: Machine) -> None:
    code, body = await machine.ask("POST", "/_kilo/gateway/start")
    assert (code, body["code"]) == (409, "gateway_busy")
    before = (await machine.status())["pid"]
    restarted = await machine.ask("POST", "/_holdfast/gateway/restart")
    assert restarted == (200, {"ok": True, "workCut": False})
    after = await machine.status()
    assert after["pid"] != before
    assert after["restarts"] == 0, "asked for, so not counted"
    assert (await machine.ask("POST", "/_kilo/gateway/stop"))[1]["ok"] is True
    assert (await machine.ask("POST", "/_kilo/gateway/stop"))[1]["ok"] is True
    code, body = await machine.ask("GET", "/_kilo/gateway/ready")
    assert (code, body["ready"], body["code"]) == (503, False, "gateway_not_running")
    assert await machine.ask("POST", "/_kilo/gateway/start") == (200, {"ok": True})
    await machine.ready()


async def test_a_body_that_is_too_large_is_refused(machine: Machine) -> None:
    url = f"http://127.0.0.1:{machine.port}/_kilo/gateway/status"
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with machine.session.post(url, data=b"x" * 100_000, headers=headers) as answer:
        assert answer.status in {405, 413}
    assert (await machine.status())["state"] == "running"

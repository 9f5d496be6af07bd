"""The agent's socket: the greeting, the standing connection, lists and decisions over it.

The gateway here follows the releases' protocol; the releases themselves are tested in
tests/openclaw.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from holdfast.kernel.backoff import Backoff
from holdfast.kernel.clock import SystemClock
from holdfast.machine.agents.pairing import Place
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.pairing import limits
from holdfast.machine.controller.pairing.decisions import Order
from holdfast.machine.controller.pairing.openclaw import connection, websocket
from holdfast.machine.controller.pairing.openclaw.by_websocket import SocketSource, WebSocketBackend
from holdfast.machine.controller.pairing.openclaw.connection import Link
from holdfast.machine.controller.pairing.openclaw.entries import device_rows
from holdfast.machine.controller.pairing.state import DEVICES, Failure, Row
from tests.integration.machine.rig import until

ID = "8d08d697-1111-4222-8333-444455556666"
PENDING = {"requestId": ID, "deviceId": "d", "publicKey": "secret", "role": "operator",
           "scopes": ["operator.write"], "ts": 5}  # fmt: skip
NODE = {**PENDING, "role": "node", "roles": ["node"], "scopes": []}
PERSON = {"requestId": "A" * 32, "channel": "telegram", "accountId": "default", "senderId": "7",
          "metadata": {"username": "u"}, "createdAt": "2026-11-21T01:37:21.888Z"}  # fmt: skip


@dataclass
class Gateway:
    """A gateway; `release` selects whose rules it follows."""

    release: str = "new"
    port: int = 0
    hellos: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    open: list[web.WebSocketResponse] = field(default_factory=list)
    errors: dict[str, tuple[str, str]] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    late: dict[str, asyncio.Event] = field(default_factory=dict)
    later: list[asyncio.Task[None]] = field(default_factory=list)
    waiting: list[dict[str, Any]] = field(default_factory=lambda: [PERSON, {"channel": "slack"}])
    refuse: tuple[str, str] | None = None

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.headers.append({k.lower(): v for k, v in request.headers.items()})
        payload = {"nonce": "n", "ts": 1_795_225_048_122}
        await socket.send_json({"type": "event", "event": "connect.challenge", "payload": payload})
        scopes: set[str] = set()
        async for message in socket:
            frame = message.json()
            method, params = frame["method"], frame["params"]
            if method in self.silent:
                continue
            if method == "connect":
                self.hellos.append(params)
                answer = self._greet(request, params)
                scopes = set(params["scopes"]) if self._grants(params) else set()
                self.open.append(socket)
            else:
                self.asked.append((method, {**params, "scopes": sorted(scopes)}))
                if method in self.late:
                    self.later.append(asyncio.create_task(self._answer_late(socket, frame, scopes)))
                    continue
                answer = self._answer(method, scopes)
            await socket.send_json({"type": "res", "id": frame["id"], **answer})
        self.open = [other for other in self.open if other is not socket]
        return socket

    def _grants(self, params: dict[str, Any]) -> bool:
        return self.release == "new" or "device" in params

    def _greet(self, request: web.Request, params: dict[str, Any]) -> dict[str, Any]:
        if self.refuse is not None:
            return self._refusal(*self.refuse)
        trusting = self.release == "old-trusting" and "device" in params
        if trusting and request.headers.get("X-Forwarded-For") != "::1":
            return self._refusal("NOT_PAIRED", "pairing required")
        methods = ["device.pair.list", "device.pair.approve", "device.pair.reject"]
        if self.release != "new":
            return {"ok": True, "payload": {"features": {"methods": methods}}}
        methods += ["channels.pairing.list", "channels.pairing.approve", "channels.pairing.dismiss"]
        auth = {"scopes": params["scopes"]}
        server = {"version": "2026.9.6", "connId": "c"}
        payload = {"features": {"methods": methods}, "auth": auth, "server": server}
        return {"ok": True, "payload": payload}

    def _answer(self, method: str, scopes: set[str]) -> dict[str, Any]:
        if "operator.pairing" not in scopes:
            return self._refusal("INVALID_REQUEST", "missing scope: operator.pairing")
        if method in self.errors:
            return self._refusal(*self.errors[method])
        lists = {"device.pair.list": {"pending": [PENDING]},
                 "channels.pairing.list": {"requests": self.waiting}}  # fmt: skip
        return {"ok": True, "payload": lists.get(method, {})}

    async def _answer_late(
        self, socket: web.WebSocketResponse, frame: dict[str, Any], scopes: set[str]
    ) -> None:
        await self.late[frame["method"]].wait()
        answer = self._answer(frame["method"], scopes)
        await socket.send_json({"type": "res", "id": frame["id"], **answer})

    def _refusal(self, code: str, message: str) -> dict[str, Any]:
        return {"ok": False, "error": {"code": code, "message": message}}

    async def tell(self, event: str) -> None:
        for socket in self.open:
            await socket.send_json({"type": "event", "event": event, "payload": {}})


@asynccontextmanager
async def serving(gateway: Gateway) -> AsyncIterator[Gateway]:
    app = web.Application()
    app.router.add_get("/", gateway.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", gateway.port).start()
    gateway.port = runner.addresses[0][1]
    try:
        yield gateway
    finally:
        await runner.cleanup()


class Rig:
    def __init__(self, gateway: Gateway, link_: Link, news: list[int], log: Log) -> None:
        self.gateway, self.link, self.news = gateway, link_, news
        self.source, self.backend = SocketSource(link_), WebSocketBackend(link_, log)


@asynccontextmanager
async def linked(gateway: Gateway, folder: Path) -> AsyncIterator[Rig]:
    news: list[int] = []
    place = Place(home=str(folder), port=gateway.port, token="agent-token", python="")
    with (folder / "log").open("wb") as log:
        async with aiohttp.ClientSession() as session:
            told = Log(SystemClock(), log.fileno())
            made = Link(
                place, session, key_path=folder / "key", on_news=lambda: news.append(1),
                on_open=lambda: None, log=told,
            )  # fmt: skip
            task = asyncio.create_task(made.run())
            made.want(ready=True)
            try:
                yield Rig(gateway, made, news, told)
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_RETRY", Backoff(first_ms=10, cap_ms=20))


async def opened(rig: Rig) -> None:
    await until(lambda: rig.link.gateway is not None, "the link")


async def test_it_greets_with_the_token_and_no_more_rights_than_it_needs(tmp_path: Path) -> None:
    async with serving(Gateway()) as gateway, linked(gateway, tmp_path) as rig:
        await opened(rig)
        (hello,) = gateway.hellos
        assert hello["auth"] == {"token": "agent-token"}
        assert hello["scopes"] == ["operator.read", "operator.pairing"]
        assert "device" not in hello
        assert (hello["minProtocol"], hello["maxProtocol"]) == (3, 4)
        assert "x-forwarded-for" not in gateway.headers[0], "a new release would refuse us"
        assert rig.link.version == "2026.9.6"
        assert not (tmp_path / "key").exists()


@pytest.mark.parametrize("said", ["[" * 100_000, "{", '{"id": ' * 50_000])
async def test_what_is_no_frame_ends_the_connection(said: str) -> None:
    async def serve(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(said)
        await socket.close()
        return socket

    app = web.Application()
    app.router.add_get("/", serve)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        with pytest.raises(OSError, match="no JSON"):
            await websocket.connect(session, server.port or 0, "t", ())


async def test_why_there_is_no_link_is_in_the_log(tmp_path: Path) -> None:
    class Silent(Gateway):
        async def serve(self, request: web.Request) -> web.WebSocketResponse:
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            await socket.send_json({"type": "event", "event": "welcome"})
            await socket.close()
            return socket

    log = tmp_path / "log"
    async with serving(Silent()) as gateway, linked(gateway, tmp_path):
        await until(lambda: "the agent did not ask who we are" in log.read_text(), "why")


async def test_both_lists_come_over_it(tmp_path: Path) -> None:
    async with serving(Gateway()) as gateway, linked(gateway, tmp_path) as rig:
        await opened(rig)
        found = await rig.source.look("channels", ["telegram", "discord"])
        (row,) = rows(found["telegram"])
        assert (row.key, row.code, row.entry["id"]) == ("A" * 32, "", "7")
        assert rows(found["discord"]) == ()
        (device,) = rows((await rig.source.look("devices", [DEVICES]))[DEVICES])
        assert device.key == ID
        assert "secret" not in str(device.entry)


async def test_an_old_release_is_shown_a_device_of_ours(tmp_path: Path) -> None:
    async with serving(Gateway("old")) as gateway, linked(gateway, tmp_path) as rig:
        await opened(rig)
        device = gateway.hellos[-1]["device"]
        assert len(device["id"]) == 64
        assert device["nonce"] == "n"
        key = (tmp_path / "key").read_text()
        assert key not in str(gateway.hellos)
        assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
        assert rows((await rig.source.look("devices", [DEVICES]))[DEVICES])
        missing = (await rig.source.look("channels", ["telegram"]))["telegram"]
        assert isinstance(missing, Failure)
        assert missing.strange, "it is no empty list"
    async with serving(Gateway("old", gateway.port)) as again, linked(again, tmp_path) as rig:
        await opened(rig)
        assert again.hellos[-1]["device"]["id"] == device["id"], "the same device as before"


async def test_an_old_release_that_trusts_proxies_here_hears_that_we_are_local(
    tmp_path: Path,
) -> None:
    async with serving(Gateway("old-trusting")) as gateway, linked(gateway, tmp_path) as rig:
        await opened(rig)
        assert gateway.headers[-1]["x-forwarded-for"] == "::1"


async def test_without_a_cipher_there_is_no_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_path: Path) -> Any:
        raise ImportError

    monkeypatch.setattr(connection, "open_identity", refuse)
    async with serving(Gateway("old")) as gateway, linked(gateway, tmp_path) as rig:
        await until(lambda: b"link_failed" in (tmp_path / "log").read_bytes(), "a note")
        assert rig.link.gateway is None


async def test_events_about_devices_are_news_and_others_are_not(tmp_path: Path) -> None:
    async with serving(Gateway()) as gateway, linked(gateway, tmp_path) as rig:
        await opened(rig)
        rig.news.clear()
        await gateway.tell("tick")
        await gateway.tell("device.pair.requested")
        await until(lambda: rig.news, "news")
        assert rig.news == [1]


async def test_it_comes_back_when_the_agent_does(tmp_path: Path) -> None:
    gateway = Gateway()
    async with serving(gateway), linked(gateway, tmp_path) as rig:
        await opened(rig)
        first = rig.link.gateway
        await gateway.open[0].close(code=1012)
        await until(lambda: rig.link.gateway not in {None, first}, "another connection")
        rig.link.want(ready=False)
        await gateway.open[0].close()
        await until(lambda: rig.link.gateway is None, "the end")
        look = (await rig.source.look("devices", [DEVICES]))[DEVICES]
        assert isinstance(look, Failure)
        assert (look.code, look.strange) == ("agent_not_ready", False)


async def test_what_refuses_us_is_told_once(tmp_path: Path) -> None:
    gateway = Gateway(refuse=("AUTH_TOKEN_MISMATCH", "token=agent-token is wrong"))
    async with serving(gateway), linked(gateway, tmp_path):
        await until(lambda: len(gateway.hellos) > 3, "several tries")
        told = (tmp_path / "log").read_text()
        assert told.count("link_failed") == 1
        assert "agent-token" not in told


async def test_an_answer_that_does_not_come_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RPC_TIMEOUT_S", 0.1)
    gateway = Gateway(silent={"device.pair.list", "device.pair.reject"})
    async with serving(gateway), linked(gateway, tmp_path) as rig:
        await opened(rig)
        look = (await rig.source.look("devices", [DEVICES]))[DEVICES]
        assert isinstance(look, Failure)
        assert look.code == "rpc_failed"
        refused = await rig.backend.decide(Order("devices", "dismissed", request_id=ID), None)
        assert refused is not None
        assert (refused.code, refused.unable) == ("pairing_timeout", False)


async def test_no_connection_stays_when_the_question_whether_we_may_pair_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RPC_TIMEOUT_S", 0.1)
    silent = Gateway("old", silent={"device.pair.list"})
    async with serving(silent) as gateway, linked(gateway, tmp_path):
        await until(lambda: len(gateway.hellos) > 3, "several tries")
        assert len(gateway.open) <= 2, "each failed try ends its own"
        assert sum(task.get_name() == "pairing-gateway" for task in asyncio.all_tasks()) <= 1


@pytest.mark.parametrize(
    ("entry", "scopes"),
    [
        (PENDING, ["operator.pairing", "operator.read", "operator.write"]),
        (NODE, ["operator.admin", "operator.pairing", "operator.read"]),
    ],
)
async def test_who_approves_a_device_holds_just_what_it_gets(
    tmp_path: Path, entry: dict[str, Any], scopes: list[str]
) -> None:
    (row,) = device_rows([entry])
    async with serving(Gateway()) as gateway, linked(gateway, tmp_path) as rig:
        await opened(rig)
        order = Order("devices", "approved", request_id=ID)
        assert await rig.backend.decide(order, row) is None
        method, params = gateway.asked[-1]
        assert method == "device.pair.approve"
        assert params == {"requestId": ID, "scopes": scopes}
        await until(lambda: len(gateway.open) == 1, "the end of that connection")


async def test_people_are_approved_and_dismissed_by_their_ids(tmp_path: Path) -> None:
    async with serving(Gateway()) as gateway, linked(gateway, tmp_path) as rig:
        await opened(rig)
        (row,) = rows((await rig.source.look("channels", ["telegram"]))["telegram"])
        named = {"channel": "telegram", "accountId": "default", "requestId": "A" * 32}
        assert await rig.backend.decide(Order("channels", "approved", "telegram"), row) is None
        method, params = gateway.asked[-1]
        assert method == "channels.pairing.approve"
        assert params == {**named, "notify": True, "scopes": ["operator.pairing", "operator.read"]}
        assert await rig.backend.decide(Order("channels", "dismissed", "telegram"), row) is None
        assert gateway.asked[-1][0] == "channels.pairing.dismiss"
        assert "notify" not in gateway.asked[-1][1]
        unlisted = await rig.backend.decide(Order("channels", "approved", "telegram", "AB"), None)
        assert unlisted is not None
        assert unlisted.unable, "by code only the command line can"


async def test_an_approval_in_effect_does_not_wait_for_the_notice(tmp_path: Path) -> None:
    gateway = Gateway(late={"channels.pairing.approve": asyncio.Event()})
    async with serving(gateway), linked(gateway, tmp_path) as rig:
        await opened(rig)
        (row,) = rows((await rig.source.look("channels", ["telegram"]))["telegram"])
        order = Order("channels", "approved", "telegram")
        deciding = asyncio.create_task(rig.backend.decide(order, row))
        await until(lambda: listed(gateway) > 4, "it looks for the request")
        assert not deciding.done(), "it waits still"
        gateway.errors["channels.pairing.list"] = ("UNAVAILABLE", "not now")
        seen = listed(gateway)
        await until(lambda: listed(gateway) > seen + 4, "it looks again")
        assert not deciding.done(), "a list that does not come says nothing"
        gateway.waiting.pop(0)
        gateway.errors.clear()
        assert await deciding is None
        assert not gateway.late["channels.pairing.approve"].is_set()
        gateway.errors["channels.pairing.approve"] = ("UNAVAILABLE", "no notice")
        gateway.late["channels.pairing.approve"].set()
        await until(lambda: b"notice_failed" in (tmp_path / "log").read_bytes(), "a note")


async def test_an_approval_that_is_refused_is_not_taken_for_one_in_effect(tmp_path: Path) -> None:
    error = ("INVALID_REQUEST", "pending DM access request no longer exists")
    gateway = Gateway(errors={"channels.pairing.approve": error})
    async with serving(gateway), linked(gateway, tmp_path) as rig:
        await opened(rig)
        (row,) = rows((await rig.source.look("channels", ["telegram"]))["telegram"])
        gateway.waiting.clear()
        refused = await rig.backend.decide(Order("channels", "approved", "telegram"), row)
        assert refused is not None
        assert refused.code == "pairing_not_found"


def listed(gateway: Gateway) -> int:
    return [method for method, _ in gateway.asked].count("channels.pairing.list")


@pytest.mark.parametrize(
    ("error", "code", "unable"),
    [
        ("unknown requestId", "pairing_not_found", False),
        ("pending DM access request no longer exists", "pairing_not_found", False),
        ("device pairing approval denied", "pairing_not_found", False),
        ("missing scope: operator.admin", "pairing_failed", True),
        ("secret words", "pairing_failed", True),
    ],
)
async def test_refusals_are_told_apart_and_not_passed_on(
    tmp_path: Path, error: str, code: str, *, unable: bool
) -> None:
    gateway = Gateway(errors={"device.pair.reject": ("INVALID_REQUEST", error)})
    async with serving(gateway), linked(gateway, tmp_path) as rig:
        await opened(rig)
        refused = await rig.backend.decide(Order("devices", "dismissed", request_id=ID), None)
        assert refused is not None
        assert (refused.code, refused.unable) == (code, unable)
        assert error not in refused.message


def rows(found: object) -> tuple[Row, ...]:
    assert isinstance(found, tuple), found
    return found

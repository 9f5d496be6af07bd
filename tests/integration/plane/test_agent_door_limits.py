"""What is open to agents at once: how much, for how long, and that nothing of it gets lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import pytest

from holdfast.kernel.log import NoLog
from holdfast.plane.agent_proxy import open_sockets
from holdfast.plane.agent_proxy.access import Passage, Place
from holdfast.plane.agent_proxy.app import AgentSide
from holdfast.plane.agent_proxy.hosts import AgentHosts
from holdfast.plane.agent_proxy.open_sockets import Shares, Tally
from holdfast.plane.agent_proxy.sessions import Signed
from tests.integration.machine.rig import until
from tests.support.patience import patience

ONE, OTHER = "1" * 32, "2" * 32
WAIT_S = 10.0
Script: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class _Door:
    """Lets everybody in; a browser is its cookie."""

    def __init__(self) -> None:
        self.hosts = AgentHosts("agents.example")
        self.address = ""
        self.stay: Callable[[Signed], bool] = lambda _signed: True

    async def admit(self, instance_id: str, header: Mapping[str, str]) -> Passage:
        signed = Signed(instance_id, header.get("cookie", ""), 0, "")
        return Passage(signed, Place(self.address, "token"), account=f"of-{instance_id[0]}")

    async def still(self, signed: Signed) -> bool:
        return self.stay(signed)


class _Log(NoLog):
    def __init__(self) -> None:
        self.events: list[str] = []

    def write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        self.events.append(event)


class _Rig:
    """The agents' side before a controller that does what `script` says."""

    def __init__(self) -> None:
        self.door, self.log = _Door(), _Log()
        door: Any = self.door
        self.side = AgentSide(door, trusted=(), log=self.log)
        self.port = 0
        self.connections = 0
        self.script: Script = _silent
        self.kept: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self.script(reader, writer)
        finally:
            writer.close()

    def ask(self, instance: str, browser: str, *, method: str = "GET", **headers: str) -> _Asked:
        return _Asked(self, instance, {"cookie": browser, **headers}, method)

    async def upgrade(self, instance: str, browser: str) -> int:
        """Return the status of an upgrade; an open socket stays open."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        host = f"{instance}.agents.example"
        lines = (
            "GET /ws HTTP/1.1", f"Host: {host}", f"Origin: http://{host}", f"Cookie: {browser}",
            "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", "",
        )  # fmt: skip
        writer.write("\r\n".join(lines).encode())
        async with asyncio.timeout(patience(WAIT_S)):
            status = int((await reader.readuntil(b"\r\n\r\n")).split()[1])
        self.kept.append(writer)
        return status


class _Asked:
    """One request, as the server would hand it over."""

    def __init__(self, rig: _Rig, instance: str, headers: Mapping[str, str], method: str) -> None:
        self.said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.status = 0
        self.body = b""
        host = f"{instance}.agents.example"
        found = {"host": host, "origin": f"http://{host}", **headers}
        scope = {
            "type": "http", "method": method, "path": "/", "raw_path": b"/", "query_string": b"",
            "client": ("127.0.0.1", 1),
            "headers": [(n.replace("_", "-").encode(), v.encode()) for n, v in found.items()],
        }  # fmt: skip
        self.task = asyncio.ensure_future(rig.side.http(scope, self.said.get, self._take))

    async def _take(self, message: Any) -> None:
        self.status = message.get("status", self.status)
        self.body += message.get("body", b"")

    def say(self, body: bytes, *, more: bool) -> None:
        self.said.put_nowait({"type": "http.request", "body": body, "more_body": more})

    async def done(self) -> int:
        async with asyncio.timeout(patience(WAIT_S)):
            await self.task
        return self.status


async def _silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def _switch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")
    await reader.read()


async def _until(true: Callable[[], bool]) -> None:
    await until(true, "what the test waits for", WAIT_S)


@asynccontextmanager
async def _running() -> AsyncIterator[_Rig]:
    rig = _Rig()
    controller = await asyncio.start_server(rig.serve, "127.0.0.1", 0)
    rig.door.address = f"127.0.0.1:{controller.sockets[0].getsockname()[1]}"
    make = rig.side.sockets
    server = await asyncio.get_running_loop().create_server(
        lambda: make(None, None, None), "127.0.0.1", 0
    )
    rig.port = server.sockets[0].getsockname()[1]
    try:
        yield rig
    finally:
        rig.side.release()
        await rig.side.close()
        for writer in rig.kept:
            writer.close()
        server.close()
        controller.close()


@pytest.fixture
async def rig() -> AsyncIterator[_Rig]:
    async with _running() as found:
        yield found


async def test_requests_are_counted_by_agent_and_in_all(
    rig: _Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rig.side.http, "_tally", Tally(Shares(each=2, account=9, total=3)))
    first = [rig.ask(ONE, "a"), rig.ask(ONE, "b")]
    await _until(lambda: rig.connections == 2)
    assert await rig.ask(ONE, "c").done() == 503, "another browser does not make it another agent"
    other = rig.ask(OTHER, "a")
    await _until(lambda: rig.connections == 3)
    assert await rig.ask(OTHER, "b").done() == 503, "in all"
    for asked in (*first, other):
        asked.task.cancel()
    await asyncio.gather(*(asked.task for asked in (*first, other)), return_exceptions=True)
    again = [rig.ask(ONE, "a"), rig.ask(ONE, "b"), rig.ask(OTHER, "a")]
    await _until(lambda: rig.connections == 6)
    rig.side.release()
    for asked in again:
        await asked.done()


async def test_sockets_are_counted_by_agent_and_take_nothing_from_requests(
    rig: _Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rig.side.http, "_tally", Tally(Shares(each=1, account=1, total=1)))
    monkeypatch.setattr(rig.side.sockets, "tally", Tally(Shares(each=2, account=9, total=9)))
    asked = rig.ask(ONE, "a")
    await _until(lambda: rig.connections == 1)
    rig.script = _switch
    assert [await rig.upgrade(ONE, "a"), await rig.upgrade(ONE, "b")] == [101, 101]
    assert await rig.upgrade(ONE, "c") == 503, "another browser does not make it another agent"
    assert await rig.upgrade(OTHER, "a") == 101
    asked.task.cancel()
    await asyncio.wait([asked.task])
    rig.script = _silent
    before = rig.connections
    rig.ask(ONE, "a")
    await _until(lambda: rig.connections == before + 1)
    rig.kept.pop(0).close()
    await _until(lambda: len(rig.side.sockets.tunnels) == 2)
    rig.script = _switch
    assert await rig.upgrade(ONE, "c") == 101, "a place that is left is free"


async def test_no_account_takes_it_all(rig: _Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    shares = Shares(each=9, account=2, total=9)
    monkeypatch.setattr(rig.side.http, "_tally", Tally(shares))
    monkeypatch.setattr(rig.side.sockets, "tally", Tally(shares))
    sibling = ONE[0] + "3" * 31  # another agent of the same account
    open_ones = [rig.ask(ONE, "a"), rig.ask(sibling, "a")]
    await _until(lambda: rig.connections == 2)
    full = rig.ask(sibling, "b", accept="text/html")
    assert await full.done() == 503
    assert b"of this account" in full.body
    open_ones.append(rig.ask(OTHER, "a"))
    await _until(lambda: rig.connections == 3)
    rig.script = _switch
    assert [await rig.upgrade(ONE, "a"), await rig.upgrade(sibling, "a")] == [101, 101]
    assert await rig.upgrade(ONE, "b") == 503
    assert await rig.upgrade(OTHER, "a") == 101
    for asked in open_ones:
        asked.task.cancel()
    await asyncio.gather(*(asked.task for asked in open_ones), return_exceptions=True)


async def test_who_cannot_be_told_in_time_goes_and_keeps_nobody_waiting(
    rig: _Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_sockets, "LOOK_S", 0.01)
    monkeypatch.setattr(open_sockets, "STAY_S", 0.2)
    ended: list[str] = []

    async def still(signed: Signed) -> bool:
        if signed.session == "hangs":
            await asyncio.Event().wait()
        return False

    monkeypatch.setattr(rig.door, "still", still)
    rig.side.live.add(Signed(ONE, "hangs", 0, ""), lambda: ended.append("hangs"))
    rig.side.live.add(Signed(ONE, "leaves", 0, ""), lambda: ended.append("leaves"))
    rig.side.start()
    await _until(lambda: "hangs" in ended)
    assert ended[0] == "leaves"


async def test_who_cannot_be_looked_up_may_not_stay(
    rig: _Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_sockets, "LOOK_S", 0.01)
    ended: list[str] = []

    def stay(signed: Signed) -> bool:
        if signed.session == "broken":
            raise RuntimeError("no answer")
        return signed.session == "stays"

    def broken() -> None:
        ended.append("broken")
        raise RuntimeError("does not end")

    rig.door.stay = stay
    rig.side.start()
    forgets = [
        rig.side.live.add(Signed(ONE, "broken", 0, ""), broken),
        rig.side.live.add(Signed(ONE, "leaves", 0, ""), lambda: ended.append("leaves")),
        rig.side.live.add(Signed(ONE, "stays", 0, ""), lambda: ended.append("stays")),
    ]
    await _until(lambda: {"broken", "leaves"} <= set(ended))
    for forget in forgets:
        forget()
    assert "stays" not in ended
    assert {"agent_door.watch_failed", "agent_door.end_failed"} <= set(rig.log.events)


async def test_a_watch_that_ends_ends_what_it_watched_and_begins_anew(
    rig: _Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    watches, ended = 0, asyncio.Event()

    async def watch() -> None:
        nonlocal watches
        watches += 1
        if watches == 1:
            raise asyncio.CancelledError  # as from something that it waited for
        if watches > 2:
            await asyncio.Event().wait()

    monkeypatch.setattr(rig.side.live, "watch", watch)
    rig.side.live.add(Signed(ONE, "a", 0, ""), ended.set)
    rig.side.start()
    await _until(lambda: watches == 3)
    assert ended.is_set()
    assert rig.log.events == ["agent_door.watch_ended"] * 2


async def test_an_upload_goes_on_after_its_answer_began(rig: _Rig) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while (size := await reader.readline()) != b"0\r\n":
            writer.write((await reader.readexactly(int(size, 16) + 2))[:-2])
        await reader.readline()
        writer.write(b"!")
        await reader.read()

    rig.script = echo
    asked = rig.ask(ONE, "a", method="POST", transfer_encoding="chunked")
    said = b""
    for piece in (b"one ", b"two ", b"three ", b"four"):
        asked.say(piece, more=piece != b"four")
        said += piece
        await _until(lambda: asked.body.startswith(said))  # noqa: B023  awaited at once
        assert asked.status == 200, "the answer is under way"
    await _until(lambda: asked.body == said + b"!")
    asked.said.put_nowait({"type": "http.disconnect"})
    await asked.done()

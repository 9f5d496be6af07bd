"""What is open to agents at once: how much, for how long, and that nothing of it gets lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, cast

import pytest
import uvicorn

from holdfast.kernel.log import NoLog
from holdfast.plane.agent_proxy import open_sockets, pages
from holdfast.plane.agent_proxy.access import Passage, Place
from holdfast.plane.agent_proxy.app import AgentSide
from holdfast.plane.agent_proxy.hosts import AgentHosts
from holdfast.plane.agent_proxy.open_sockets import Shares, Tally
from holdfast.plane.agent_proxy.pages import Notice
from holdfast.plane.agent_proxy.sessions import Signed
from holdfast.plane.edge.connection import BoundedConnection
from holdfast.relay.peers import Peers
from holdfast.wire.address import Address
from tests.integration.machine.rig import until
from tests.support.patience import patience

ONE, OTHER = "1" * 32, "2" * 32
WAIT_S = 10.0
Script: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class _Access:
    """Lets everybody in; a browser is its cookie."""

    def __init__(self) -> None:
        self.hosts = AgentHosts("agents.example")
        self.address = ""
        self.stay: Callable[[Signed], bool] = lambda _signed: True

    async def admit(self, instance_id: str, header: Mapping[str, str], *, secure: bool) -> Passage:
        assert not secure
        signed = Signed(instance_id, header.get("cookie", ""), 0, "")
        return Passage(
            signed, Place(Address.parse(self.address), "token"), account=f"of-{instance_id[0]}"
        )

    async def still(self, signed: Signed) -> bool:
        return self.stay(signed)

    async def why(self, passage: Passage) -> Notice:
        assert passage.signed.instance
        return pages.starting(("/", "Try now"))


class _Log(NoLog):
    def __init__(self) -> None:
        self.events: list[str] = []

    def write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        self.events.append(event)


class _Rig:
    """The agent proxy before a controller that does what `script` defines."""

    def __init__(self) -> None:
        self.access, self.log = _Access(), _Log()
        access: Any = self.access
        self.side = AgentSide(access, peers=Peers(20_000, 20_000), trusted=(), log=self.log)
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

    async def raw(self, sent: bytes) -> bytes:
        """Return all that is answered to these bytes, HOST standing for an agent's."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(sent.replace(b"HOST", f"{ONE}.agents.example".encode()))
        try:
            async with asyncio.timeout(WAIT_S):
                return await reader.read()
        finally:
            writer.close()

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
    """One request, over a connection of its own; cancelling its task hangs up."""

    def __init__(self, rig: _Rig, instance: str, headers: Mapping[str, str], method: str) -> None:
        self.status = 0
        self.raw = b""
        host = f"{instance}.agents.example"
        found = {"host": host, "origin": f"http://{host}", "connection": "close", **headers}
        lines = [f"{n.replace('_', '-')}: {v}" for n, v in found.items()]
        self._head = "\r\n".join([f"{method} / HTTP/1.1", *lines, "", ""]).encode()
        self._port = rig.port
        self._said: asyncio.Queue[bytes] = asyncio.Queue()
        self.task = asyncio.ensure_future(self._ask())

    @property
    def body(self) -> bytes:
        return self.raw.partition(b"\r\n\r\n")[2]

    async def _ask(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(self._head)
        sending = asyncio.ensure_future(self._send(writer))
        try:
            while piece := await reader.read(65_536):
                self.raw += piece
                if self.raw[:5] == b"HTTP/":
                    self.status = int(self.raw.split()[1])
        except ConnectionResetError:
            pass  # a response ended by the plane is cut off detectably
        finally:
            sending.cancel()
            writer.close()

    async def _send(self, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(await self._said.get())

    def say(self, body: bytes, *, more: bool) -> None:
        self._said.put_nowait(b"%x\r\n%b\r\n" % (len(body), body))
        if not more:
            self._said.put_nowait(b"0\r\n\r\n")

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


async def _no_edge(_scope: Any, _receive: Any, _send: Any) -> None:
    raise AssertionError("nothing here is for the dashboard")


@asynccontextmanager
async def _running() -> AsyncIterator[_Rig]:
    rig = _Rig()
    controller = await asyncio.start_server(rig.serve, "127.0.0.1", 0)
    rig.access.address = f"127.0.0.1:{controller.sockets[0].getsockname()[1]}"
    config = uvicorn.Config(
        rig.side.before(_no_edge), port=0, log_level="critical", lifespan="off", ws="none",
        http=cast("Any", BoundedConnection.before(rig.side.proxy)),
    )  # fmt: skip
    server = uvicorn.Server(config)
    serving = asyncio.ensure_future(server._serve())
    await _until(lambda: server.started)
    rig.port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield rig
    finally:
        rig.side.release()
        await rig.side.close()
        for writer in rig.kept:
            writer.close()
        server.should_exit = True
        await serving
        controller.close()


@pytest.fixture
async def rig() -> AsyncIterator[_Rig]:
    async with _running() as found:
        yield found


async def test_requests_are_counted_by_agent_and_in_all(
    rig: _Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rig.side.proxy, "requests", Tally(Shares(each=2, account=9, total=3)))
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
    monkeypatch.setattr(rig.side.proxy, "requests", Tally(Shares(each=1, account=1, total=1)))
    monkeypatch.setattr(rig.side.proxy, "sockets", Tally(Shares(each=2, account=9, total=9)))
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
    await _until(lambda: len(rig.side.proxy.tunnels) == 2)
    assert len(rig.side.proxy.peers) == len(rig.side.proxy) + 2, "sockets are counted too"
    rig.script = _switch
    assert await rig.upgrade(ONE, "c") == 101, "a place that is left is free"


async def test_no_account_takes_it_all(rig: _Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    shares = Shares(each=9, account=2, total=9)
    monkeypatch.setattr(rig.side.proxy, "requests", Tally(shares))
    monkeypatch.setattr(rig.side.proxy, "sockets", Tally(shares))
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

    monkeypatch.setattr(rig.access, "still", still)
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

    rig.access.stay = stay
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

    rig.script = echo
    asked = rig.ask(ONE, "a", method="POST", transfer_encoding="chunked")
    said = b""
    for piece in (b"one ", b"two ", b"three ", b"four"):
        asked.say(piece, more=piece != b"four")
        said += piece
        await _until(lambda: asked.body.startswith(said))  # noqa: B023  awaited at once
        assert asked.status == 200, "the answer is under way"
    await _until(lambda: asked.body == said + b"!")
    assert await asked.done() == 200


async def test_what_passes_is_passed_as_bytes(rig: _Rig) -> None:
    body = b"3;note=1\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"
    asked = bytearray()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.extend(await reader.readuntil(b"\r\n\r\n"))
        asked.extend(await reader.readexactly(len(body)))
        writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        writer.write(
            b"HTTP/1.1 299 So \xfe\r\nX-Name: \xc3\xa9\xff\r\nServer: x\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n" + body
        )

    rig.script = script
    answer = await rig.raw(
        b"POST /\xc3\xa9\xff?%zz HTTP/1.1\r\nHost: HOST\r\nOrigin: http://HOST\r\n"
        b"X-Name: \xc3\xa9\xff\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + body
    )
    assert asked.startswith(b"POST /\xc3\xa9\xff?%zz HTTP/1.1\r\n")
    assert b"\r\nx-name: \xc3\xa9\xff\r\n" in asked
    assert asked.endswith(body)
    hints, head, rest = answer.split(b"\r\n\r\n", 2)
    assert hints == b"HTTP/1.1 103 Early Hints\r\nlink: </x>"
    assert head.startswith(b"HTTP/1.1 299 So \xfe\r\nx-name: \xc3\xa9\xff\r\n")
    assert b"server" not in head
    assert rest == body, "chunks, their notes and trailers"


async def test_answers_without_a_body_end_with_their_head(rig: _Rig) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            status = head.split()[1].removeprefix(b"/")
            writer.write(b"HTTP/1.1 %b So\r\nContent-Length: 12\r\n\r\n" % status)

    rig.script = script
    asked = b"".join(
        b"%b /%d HTTP/1.1\r\nHost: HOST\r\n%b\r\n" % (method, status, last)
        for method, status, last in (
            (b"HEAD", 200, b""), (b"GET", 304, b""), (b"GET", 204, b"Connection: close\r\n"),
        )
    )  # fmt: skip
    first, second, third, nothing = (await rig.raw(asked)).split(b"\r\n\r\n")
    assert tuple(head[9:12] for head in (first, second, third)) == (b"200", b"304", b"204")
    assert [b"content-length: 12" in head for head in (first, second, third)] == [True, True, False]
    assert nothing == b""
    assert rig.connections == 1, "a connection to a controller is kept for what may be repeated"


async def test_a_person_sees_a_page_in_place_of_a_refusal_however_it_is_framed(rig: _Rig) -> None:
    said = b'{"error": "no", "code": "my_own"}'
    framed = b"Transfer-Encoding: chunked\r\n\r\n5\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (
        said[:5], len(said) - 5, said[5:],
    )  # fmt: skip
    for rest in (framed, b"Content-Length: %d\r\n\r\n%b" % (len(said), said), b"\r\n" + said):

        async def script(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rest: bytes = rest
        ) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 503 No\r\nContent-Type: application/json\r\n" + rest)

        rig.script = script
        person = rig.ask(ONE, "a", method="POST", accept="text/html", content_length="0")
        assert await person.done() == 503
        assert b"The agent refused" in person.body
        assert b"my_own" in person.body
        program = rig.ask(ONE, "a", method="POST", accept="application/json", content_length="0")
        assert await program.done() == 503
        assert said[5:] in program.body, "a program gets it as it is"
        await _until(lambda: not rig.side.proxy.requests.total)


@pytest.mark.parametrize(
    "said", [b'{"code": []}', b'{"code": {"a": []}}', b'{"code": 7}', b"[]", b"[" * 4_000, b"\xff"]
)
async def test_a_refusal_of_any_form_is_answered(rig: _Rig, said: bytes) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = b"HTTP/1.1 503 No\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        writer.write(head % len(said) + said)

    rig.script = script
    person = rig.ask(ONE, "a", accept="text/html")
    assert await person.done() == 503
    assert pages.starting(("", "")).title.encode() in person.body
    assert "agent_door.failed" not in rig.log.events


async def test_a_machine_that_is_not_there_is_a_502_and_frees_its_place(rig: _Rig) -> None:
    free = await asyncio.start_server(_silent, "127.0.0.1", 0)
    rig.access.address = f"127.0.0.1:{free.sockets[0].getsockname()[1]}"
    free.close()
    asked = rig.ask(ONE, "a", accept="text/html")
    assert await asked.done() == 502
    assert b"cannot be reached" in asked.body
    assert rig.side.proxy.requests.total == 0
    assert "agent_door.broken" in rig.log.events

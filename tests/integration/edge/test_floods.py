"""Callers without any right: what they may hold, what they may ask, and what they leave behind."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from holdfast.kernel.clock import ManualClock
from holdfast.plane.edge.connection import BoundedConnection, Guest
from holdfast.relay.peers import Peers
from holdfast.relay.rate import Rate
from holdfast.relay.refusal_lines import REFUSAL_LINES_EACH, REFUSAL_WINDOW_MS
from holdfast.relay.wrong_proofs import HELD_BACK_MAX, WrongProofs
from tests.integration.machine.rig import until
from tests.support.asgi import Answer, call, json_headers
from tests.support.patience import patience
from tests.support.stub_plane import StubPlane

DEADLINE_S = 10.0
GET = b"GET /health HTTP/1.1\r\nhost: plane.test\r\n\r\n"
LARGE = 16 << 20
"""Bytes of an answer that no buffer of the system takes whole."""

HALF = b"POST /api/instances HTTP/1.1\r\nhost: plane.test\r\ncontent-length: 9\r\n"


class NoOthers:
    """Hosts beside the edge's, of which there are none."""

    def __init__(self) -> None:
        self.peers = Peers(4, 2)

    def claims(self, head: bytes, transport: asyncio.BaseTransport) -> bool:
        del head, transport
        return False

    def take_over(self, guest: Guest) -> None:
        raise AssertionError(guest)


@asynccontextmanager
async def serving(app: Any, others: NoOthers) -> AsyncIterator[socket.socket]:
    """Serve an application; yield the listening socket."""
    protocol: Any = BoundedConnection.before(others)
    config = uvicorn.Config(app, port=0, log_level="critical", lifespan="off", http=protocol)
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    task = asyncio.create_task(server._serve())
    async with asyncio.timeout(patience(DEADLINE_S)):
        while not server.started:  # noqa: ASYNC110  uvicorn tells nobody
            await asyncio.sleep(0.005)
    yield server.servers[0].sockets[0]
    server.should_exit = True
    await task


@pytest.fixture
async def served() -> AsyncIterator[tuple[int, NoOthers, str]]:
    plane, others = StubPlane(), NoOthers()
    tokens = await plane.prepare()
    async with serving(plane.edge, others) as listening:
        yield listening.getsockname()[1], others, tokens.owner


class Caller:
    """One connection."""

    @classmethod
    async def connect(cls, port: int) -> Caller:
        made = cls()
        made.reader, made.writer = await asyncio.open_connection("127.0.0.1", port)
        return made

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, request: bytes) -> bytes:
        """Return the head of the answer, with its body taken."""
        self.writer.write(request)
        async with asyncio.timeout(patience(DEADLINE_S)):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await self.reader.readexactly(int(length))
        return head

    async def end(self) -> bytes:
        """Return what comes until the other side has hung up."""
        async with asyncio.timeout(patience(DEADLINE_S)):
            return await self.reader.read()


async def test_idle_connections_make_room_for_whoever_asks(
    served: tuple[int, NoOthers, str],
) -> None:
    port, others, _ = served
    idle = [await Caller.connect(port) for _ in range(2)]
    assert b" 200 " in await idle[1].ask(GET)
    for _ in range(20):
        caller = await Caller.connect(port)
        assert b" 200 " in await caller.ask(GET)
        caller.writer.close()
        await caller.writer.wait_closed()
    assert await idle[0].end() == b""
    assert others.peers.closed >= 1
    for caller in idle:
        caller.writer.close()


async def test_a_peer_whose_requests_are_all_under_way_is_told_so(
    served: tuple[int, NoOthers, str],
) -> None:
    port, _, token = served
    head = HALF + b"content-type: application/json\r\nauthorization: Bearer " + token.encode()
    busy = [await Caller.connect(port) for _ in range(2)]
    for caller in busy:
        caller.writer.write(head + b"\r\nexpect: 100-continue\r\n\r\n")
        async with asyncio.timeout(patience(DEADLINE_S)):
            await caller.reader.readuntil(b"100 Continue\r\n\r\n")
    refused = await Caller.connect(port)
    answer = await refused.end()
    refused.writer.close()
    assert answer.startswith(b"HTTP/1.1 503")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"Content-Length: %d\r\n" % len(body) in head
    busy[0].writer.close()
    await busy[0].writer.wait_closed()
    again = await Caller.connect(port)
    assert b" 200 " in await again.ask(GET)
    for caller in (*busy, again):
        caller.writer.close()


@pytest.mark.parametrize("field", [b"", b"connection: close\r\n"], ids=["kept", "ended"])
async def test_who_does_not_read_an_answer_makes_room_at_once(field: bytes) -> None:
    answered = 0

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        nonlocal answered
        body = bytes(LARGE if answered < 2 else 0)
        length = (b"content-length", b"%d" % len(body))
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": body})
        answered += 1

    others = NoOthers()
    async with serving(app, others) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)  # of what it accepts
        port = listening.getsockname()[1]
        slow = [await Caller.connect(port) for _ in range(2)]
        for caller in slow:
            caller.writer.write(GET[:-2] + field + b"\r\n")
        await until(lambda: answered == 2, "both answers are made")
        fresh = [await Caller.connect(port) for _ in range(2)]
        for caller in fresh:
            assert b" 200 " in await caller.ask(GET)
        await until(lambda: len(others.peers) <= 2, "those who do not read are gone")
        for caller in slow:
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await caller.reader.readexactly(LARGE)
        for caller in (*slow, *fresh):
            caller.writer.close()


@pytest.mark.parametrize("blank", [b"\r\n", b"\r\n\r\n"])
async def test_empty_lines_before_a_request_are_skipped(
    served: tuple[int, NoOthers, str], blank: bytes
) -> None:
    caller = await Caller.connect(served[0])
    for _ in range(2):
        assert b" 200 " in await caller.ask(blank + GET)
    caller.writer.close()


# -- wrong proofs


async def wrong(plane: StubPlane, number: int, peer: str = "192.0.2.1") -> Answer:
    headers = json_headers("hf_" + f"{number:043}")
    return await call(plane.edge, "GET", "/api/instances", headers=headers, peer=peer)


async def guarded() -> tuple[StubPlane, str]:
    plane = StubPlane()
    plane.options["wrong_proofs"] = WrongProofs(
        plane.clock, Rate(burst=5, per_s=1), held_back_s=0.001
    )
    plane.__post_init__()
    return plane, (await plane.prepare()).owner


async def test_wrong_tokens_are_refused_unread_and_right_ones_of_the_same_peer_are_not() -> None:
    plane, token = await guarded()
    headers = json_headers(token)
    assert (await call(plane.edge, "GET", "/api/instances", headers=headers)).status == 200
    looked_up: list[str] = []
    by_token = plane.access.by_token

    async def count(text: str) -> Any:
        looked_up.append(text)
        return await by_token(text)

    plane.access.by_token = count  # type: ignore[method-assign]
    statuses = [(await wrong(plane, number)).status for number in range(100)]
    assert statuses == [401] * 5 + [429] * 95
    assert len(looked_up) == 5
    refused = await wrong(plane, 1)
    assert refused.header("retry-after") == "1"
    assert refused.header("connection") == "close"
    assert refused.json()["code"] == "too_many_wrong_proofs"
    assert (await call(plane.edge, "GET", "/api/instances", headers=headers)).status == 200
    assert (await wrong(plane, 1, peer="192.0.2.2")).status == 401
    plane.clock.advance(1_000)
    assert (await wrong(plane, 1)).status == 401


async def test_so_many_refusals_are_held_back_and_no_more() -> None:
    proofs = WrongProofs(ManualClock(), held_back_s=60)
    held = [asyncio.create_task(proofs.hold_back()) for _ in range(HELD_BACK_MAX)]
    await asyncio.sleep(0)
    await proofs.hold_back()
    assert not any(task.done() for task in held)
    for task in held:
        task.cancel()
    await asyncio.gather(*held, return_exceptions=True)
    again = asyncio.create_task(proofs.hold_back())
    await asyncio.sleep(0)
    assert not again.done()
    again.cancel()


async def test_a_machine_that_proves_nothing_is_refused_before_its_report_is_read() -> None:
    plane, _ = await guarded()
    headers = {**json_headers("hfm_x"), "x-holdfast-gateway-token": ""}
    target = "/api/controller/checkin"
    statuses = [
        (await call(plane.edge, "POST", target, headers=headers, body=b"{" * 9)).status
        for _ in range(7)
    ]
    assert statuses == [401] * 5 + [429] * 2


async def test_the_log_has_the_first_refusals_of_each_peer_and_the_number_of_the_rest() -> None:
    plane, _ = await guarded()
    for number in range(100):
        await wrong(plane, number)
    await wrong(plane, 1, peer="192.0.2.2")
    lines = plane.log.named("call")
    assert [line["peer"] for line in lines] == ["192.0.2.1"] * REFUSAL_LINES_EACH + ["192.0.2.2"]
    plane.clock.advance(REFUSAL_WINDOW_MS)
    await call(plane.edge, "GET", "/health")
    assert plane.log.named("calls.refused") == [
        {
            "peer": "peer:192.0.2.1",
            "without_a_line": 100 - REFUSAL_LINES_EACH,
            "codes": "too_many_wrong_proofs 95, not_authenticated 5",
        }
    ]


async def test_a_stop_writes_the_counts_that_are_left() -> None:
    plane, _ = await guarded()
    for number in range(50):
        await wrong(plane, number)
    plane.edge.close()
    assert plane.log.named("calls.refused")[0]["without_a_line"] == 50 - REFUSAL_LINES_EACH

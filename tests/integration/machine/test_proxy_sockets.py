"""WebSockets through the proxy: the upgrade, raw bytes both ways, and slots that never leak."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

import pytest

from holdfast.machine.controller.settings import Proxying
from holdfast.wire.address import Address
from tests.integration.machine.proxy_rig import (
    SWITCHED,
    TOKEN_LINE,
    UPGRADE,
    Reader,
    Rig,
    Writer,
    run_proxy,
    settled,
    silent,
)
from tests.integration.machine.rig import until
from tests.support.patience import patience

SETTINGS = Proxying(require_token=True, sockets_max=3, handshake_ms=400, idle_ms=60_000)
ASK = UPGRADE + TOKEN_LINE + b"\r\n"


async def echo(rig: Rig, reader: Reader, writer: Writer) -> None:
    """Switch, then send back whatever comes, and end as the caller does."""
    await rig.head(reader)
    writer.write(SWITCHED)
    while piece := await reader.read(65_536):
        writer.write(piece)
        await writer.drain()
    writer.write(b"bye")


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with run_proxy(SETTINGS) as found:
        found.agent.script = echo
        yield found


async def opened(rig: Rig, early: bytes = b"") -> tuple[Reader, Writer]:
    reader, writer = await rig.connect()
    writer.write(ASK + early)
    async with asyncio.timeout(patience(10)):
        head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 "), head
    return reader, writer


async def freed(rig: Rig) -> None:
    await until(lambda: not len(rig.proxy.tunnels), "every slot free")


async def test_the_upgrade_goes_through_without_what_is_not_the_agents(rig: Rig) -> None:
    reader, writer = await rig.connect()
    writer.write(ASK)
    lines = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
    assert lines[0] == b"http/1.1 101 switching protocols"
    assert {b"connection: upgrade", b"upgrade: websocket", b"sec-websocket-accept: x"} <= set(lines)
    asked = rig.agent.heads[0].lower().split(b"\r\n")
    host = b"127.0.0.1:%d" % rig.agent_port
    assert asked[0] == b"get /ws?a=1 http/1.1"
    assert sorted(line for line in asked[1:] if line) == [
        b"connection: upgrade",
        b"host: " + host,
        b"origin: http://" + host,
        b"sec-websocket-key: dghlihnhbxbszsbub25jzq==",
        b"sec-websocket-version: 13",
        b"upgrade: websocket",
    ]


async def test_bytes_that_come_early_arrive_first_both_ways(rig: Rig) -> None:
    async def eager(rig: Rig, reader: Reader, writer: Writer) -> None:
        await rig.head(reader)
        writer.write(SWITCHED + b"welcome")
        writer.write(await reader.readexactly(10))
        await reader.read()

    rig.agent.script = eager
    reader, writer = await opened(rig, early=b"hello")
    assert await reader.readexactly(7) == b"welcome"
    writer.write(b"world")
    assert await reader.readexactly(10) == b"helloworld"


async def test_nothing_is_lost_or_changed_in_a_large_exchange(rig: Rig) -> None:
    reader, writer = await opened(rig)
    block = bytes(range(256)) * 4_096

    async def send() -> None:
        for _ in range(16):
            writer.write(block)
            await writer.drain()
        writer.write_eof()

    sending = asyncio.create_task(send())
    got = await reader.read(-1)
    await sending
    assert got == block * 16 + b"bye", "the other half was still open after ours ended"
    await freed(rig)
    stats = rig.proxy.stats()
    assert (stats["webSocketUp"], stats["webSocketDown"]) == (len(block) * 16, len(got))


async def test_one_half_may_end_first_from_either_side(rig: Rig) -> None:
    async def half(rig: Rig, reader: Reader, writer: Writer) -> None:
        await rig.head(reader)
        writer.write(SWITCHED + b"last words")
        writer.write_eof()
        rig.agent.heads.append(await reader.read())

    rig.agent.script = half
    reader, writer = await opened(rig)
    assert await reader.read() == b"last words"
    writer.write(b"still here")
    writer.write_eof()
    await until(lambda: rig.agent.heads[-1] == b"still here", "what came after the end of one half")
    await freed(rig)


async def test_refusals_come_in_their_order(rig: Rig) -> None:
    async def refused(request: bytes) -> tuple[int, bytes, dict[str, str]]:
        answer = await rig.ask(request)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b"connection: close" in head.lower()
        return int(head.split()[1]), head.lower(), json.loads(body)

    rig.ready = False
    assert (await refused(UPGRADE + b"\r\n"))[0] == 401, "the token before anything else"
    status, head, body = await refused(ASK)
    assert (status, body["error"]) == (503, "Gateway not ready")
    assert b"retry-after: 5" in head
    rig.ready = True
    kept = [await opened(rig) for _ in range(3)]
    status, _, body = await refused(ASK)
    assert (status, body["code"]) == (503, "busy")
    assert rig.proxy.stats()["webSocketRefused"] == 3
    assert rig.agent.connections == 3
    kept.pop()[1].close()
    await until(lambda: len(rig.proxy.tunnels) == 2, "a slot")
    await opened(rig)


async def test_a_handshake_that_takes_too_long_is_one_502_and_a_free_slot(rig: Rig) -> None:
    rig.agent.script = silent
    answer = await rig.ask(ASK)
    assert answer.count(b"HTTP/1.1") == 1
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"] == "Bad Gateway"
    await freed(rig)


async def test_an_agent_that_answers_late_is_not_answered_for_twice(rig: Rig) -> None:
    async def late(rig: Rig, reader: Reader, writer: Writer) -> None:
        await rig.head(reader)
        await reader.read()  # until the proxy gave up
        writer.write(SWITCHED)

    rig.agent.script = late
    answer = await rig.ask(ASK)
    assert answer.count(b"HTTP/1.1") == 1
    await freed(rig)


async def test_no_agent_is_a_502(rig: Rig) -> None:
    rig.proxy._agent = Address("127.0.0.1", 1)
    assert (await rig.ask(ASK)).startswith(b"HTTP/1.1 502 ")
    await freed(rig)


@pytest.mark.parametrize("said", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 101 ", b"x" * 70_000])
async def test_an_agent_that_talks_nonsense_is_a_502(rig: Rig, said: bytes) -> None:
    async def nonsense(rig: Rig, reader: Reader, writer: Writer) -> None:
        await rig.head(reader)
        writer.write(said)

    rig.agent.script = nonsense
    assert (await rig.ask(ASK)).startswith(b"HTTP/1.1 502 ")
    await freed(rig)


async def test_an_answer_that_does_not_switch_is_passed_on_whole(rig: Rig) -> None:
    async def forbids(rig: Rig, reader: Reader, writer: Writer) -> None:
        await rig.head(reader)
        writer.write(b"HTTP/1.1 403 Forbidden\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n")
        writer.write(b"Transfer-Encoding: chunked\r\n\r\n5\r\nproxy\r\n")
        writer.write(b"0\r\n\r\n")
        await reader.read()

    rig.agent.script = forbids
    answer = await rig.ask(ASK)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 403 Forbidden")
    assert head.lower().count(b"set-cookie") == 2
    assert body == b"5\r\nproxy\r\n0\r\n\r\n"
    await freed(rig)


async def test_an_answer_that_does_not_switch_waits_for_a_slow_caller(rig: Rig) -> None:
    size, sent = 64 * 2**20, 0

    async def flood(rig: Rig, reader: Reader, writer: Writer) -> None:
        nonlocal sent
        await rig.head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while sent < size:
            writer.write(bytes(65_536))
            await writer.drain()
            sent += 65_536

    rig.agent.script = flood
    reader, writer = await rig.connect()
    writer.write(ASK)
    await until(lambda: sent, "the first bytes")
    assert await settled(lambda: sent) < size // 2, "the agent was held back"
    whole = 0
    while piece := await reader.read(2**20):
        whole += len(piece)
    assert whole > size
    await freed(rig)


class Behind(asyncio.Transport):
    """A caller's connection whose other side reads slowly, as asyncio says once."""

    def __init__(self) -> None:
        super().__init__()
        self.written = 0
        self.protocol: asyncio.BaseProtocol | None = None

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def write(self, data: bytes | bytearray | memoryview[int]) -> None:
        self.written += len(data)

    def is_closing(self) -> bool:
        return False

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None:
        pass

    resume_reading = close = abort = pause_reading


async def test_a_caller_that_was_behind_before_its_upgrade_is_not_flooded(rig: Rig) -> None:
    async def flood(rig: Rig, reader: Reader, writer: Writer) -> None:
        await rig.head(reader)
        writer.write(SWITCHED)
        while True:
            writer.write(bytes(65_536))
            await writer.drain()

    rig.agent.script = flood
    front, caller = rig.proxy(), Behind()
    front.connection_made(caller)
    front.pause_writing()
    front.data_received(ASK)
    await until(lambda: rig.agent.heads, "the upgrade")
    assert await settled(lambda: caller.written) == 0, "nothing is read for it, not even the switch"
    tunnel = caller.protocol
    assert isinstance(tunnel, asyncio.Protocol)
    tunnel.resume_writing()
    await until(lambda: caller.written > 2**20, "it is read for again")
    tunnel.connection_lost(None)
    await freed(rig)


async def test_control_requests_of_a_caller_that_is_behind_wait_too(rig: Rig) -> None:
    front, caller = rig.proxy(), Behind()
    front.connection_made(caller)
    front.pause_writing()
    front.data_received(b"GET /_kilo/health HTTP/1.1\r\nHost: a\r\n\r\n")
    assert front._job is not None
    handler = cast("Any", front._job)._handler
    assert handler._paused
    front.resume_writing()
    assert not handler._paused
    await until(lambda: caller.written, "the answer")
    front.connection_lost(None)


async def test_a_caller_that_resets_before_the_answer_harms_nobody(rig: Rig) -> None:
    rig.agent.script = silent
    for _ in range(20):
        _, writer = await rig.connect()
        writer.write(ASK)
        await until(lambda: len(rig.proxy.tunnels) == 1, "the upgrade under way")
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        await freed(rig)  # well before the handshake's time is up
    rig.agent.script = echo
    await opened(rig)


async def test_a_reset_in_the_middle_ends_the_other_side(rig: Rig) -> None:
    lost = asyncio.Event()

    async def wait(rig: Rig, reader: Reader, writer: Writer) -> None:
        await rig.head(reader)
        writer.write(SWITCHED)
        try:
            await reader.read()
        finally:
            lost.set()

    rig.agent.script = wait
    _, writer = await opened(rig)
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    async with asyncio.timeout(patience(5)):
        await lost.wait()
    await freed(rig)


async def test_who_says_nothing_for_long_is_closed() -> None:
    async with run_proxy(replace(SETTINGS, idle_ms=200)) as rig:
        rig.agent.script = echo
        talking, idle = await opened(rig), await opened(rig)
        ended = asyncio.create_task(idle[0].read())
        while not ended.done():
            talking[1].write(b"ping")
            await talking[0].readexactly(4)
            await asyncio.wait([ended], timeout=0.05)
        assert len(rig.proxy.tunnels) == 1, "the one that talks is still open"


async def test_a_side_that_will_not_close_is_cut_off(rig: Rig) -> None:
    async def clings(rig: Rig, reader: Reader, writer: Writer) -> None:
        await rig.head(reader)
        writer.write(SWITCHED)
        await reader.read()
        await asyncio.Event().wait()

    rig.proxy.tunnels.bounds = replace(rig.proxy.tunnels.bounds, close_s=0.2)
    rig.agent.script = clings
    reader, writer = await opened(rig)
    writer.write_eof()
    await freed(rig)
    assert await reader.read() == b""


async def test_faults_of_every_kind_leave_no_slot_taken(rig: Rig) -> None:
    """Two hundred upgrades that end in every way, at most three at once."""

    async def moody(rig: Rig, reader: Reader, writer: Writer) -> None:
        number = rig.agent.connections
        await rig.head(reader)
        if number % 4 == 0:
            return
        if number % 4 == 1:
            writer.write(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")
            return
        writer.write(SWITCHED)
        writer.write(await reader.read(5))
        if number % 4 == 2:
            writer.transport.abort()

    async def one(number: int) -> None:
        reader, writer = await rig.connect()
        writer.write(ASK + b"hello")
        if number % 3 == 0:
            writer.transport.abort()
            return
        with suppress(ConnectionError):
            await reader.read()
        writer.close()

    rig.agent.script = moody
    for start in range(0, 200, 5):
        await asyncio.gather(*(one(number) for number in range(start, start + 5)))
    await freed(rig)
    assert rig.proxy.stats()["webSocketOpened"] > 50


async def test_the_end_is_bounded(rig: Rig) -> None:
    async def deaf(rig: Rig, reader: Reader, writer: Writer) -> None:
        await rig.head(reader)
        writer.write(SWITCHED)
        await asyncio.Event().wait()

    await opened(rig)
    rig.agent.script = deaf
    await opened(rig)
    async with asyncio.timeout(patience(5)):
        await rig.proxy.close(0.2)
    await freed(rig)
    assert rig.proxy.tunnels.full, "no new one is taken"

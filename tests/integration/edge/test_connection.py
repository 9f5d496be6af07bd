"""What a connection may send before it is a request, over real sockets."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from typing import Any

import pytest
import uvicorn

from holdfast.plane.edge.connection import BoundedConnection
from holdfast.plane.edge.limits import HEAD_BYTES_MAX, LEFT_BYTES_MAX
from tests.support.patience import patience
from tests.support.stub_plane import StubPlane

DEADLINE_S = 10.0
GET = b"GET /health HTTP/1.1\r\nhost: plane.test\r\n"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Hasty(BoundedConnection):
    head_s = 0.3


class Unhurried(BoundedConnection):
    left_s = 0.3


class Server(uvicorn.Server):
    def install_signal_handlers(self) -> None:
        return


@pytest.fixture
async def port(request: pytest.FixtureRequest) -> AsyncIterator[int]:
    plane = StubPlane()
    await plane.prepare()
    protocol: Any = getattr(request, "param", BoundedConnection)
    config = uvicorn.Config(plane.edge, port=0, log_level="critical", lifespan="off", http=protocol)
    server = Server(config)
    task = asyncio.create_task(server.serve())
    async with asyncio.timeout(patience(DEADLINE_S)):
        while not server.started:  # noqa: ASYNC110  uvicorn has no event for it
            await asyncio.sleep(0.005)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await task


async def connect(port: int) -> Streams:
    return await asyncio.open_connection("127.0.0.1", port)


async def flood(streams: Streams, piece: bytes, most: int) -> bytes:
    """Send up to so many bytes until the other side disconnects; return what it sent."""
    reader, writer = streams
    sent = 0
    with suppress(ConnectionError):
        while sent < most and not reader.at_eof():
            writer.write(piece)
            sent += len(piece)
            await writer.drain()
            await asyncio.sleep(0)
    said = b""
    async with asyncio.timeout(patience(DEADLINE_S)):
        with suppress(ConnectionError):
            said = await reader.read()
    writer.close()
    assert sent < most, "it took everything"
    return said


async def test_an_endless_header_is_cut_off(port: int) -> None:
    streams = await connect(port)
    streams[1].write(GET + b"x-long: ")
    await flood(streams, b"a" * 4_096, 100 * HEAD_BYTES_MAX)


async def test_endless_headers_and_trailers_are_cut_off(port: int) -> None:
    streams = await connect(port)
    streams[1].write(GET)
    await flood(streams, b"x-many: " + b"a" * 1_000 + b"\r\n", 100 * HEAD_BYTES_MAX)
    streams = await connect(port)
    streams[1].write(GET + b"transfer-encoding: chunked\r\n\r\n0\r\n")
    await flood(streams, b"x-many: " + b"a" * 1_000 + b"\r\n", 100 * HEAD_BYTES_MAX)


async def test_a_body_that_goes_on_after_the_answer_is_cut_off(port: int) -> None:
    streams = await connect(port)
    streams[1].write(b"POST /api/instances HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\n")
    answer = await streams[0].readuntil(b"\r\n")
    assert answer.startswith(b"HTTP/1.1 401")
    await flood(streams, b"a" * 1_048_576, 4 * LEFT_BYTES_MAX)


def close_and_send(port: int, size: int) -> tuple[int, bytes]:
    """Return what a client of one request for each connection is answered, as urllib is one."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=patience(DEADLINE_S))
    with closing(client):
        client.request("POST", "/api/instances", body=b"a" * size, headers={"Connection": "close"})
        answer = client.getresponse()
        return answer.status, answer.read()


@pytest.mark.parametrize("size", [1_200_000, 4_000_000, 20_000_000])
async def test_a_connection_that_is_to_be_closed_is_read_to_its_end(port: int, size: int) -> None:
    for _ in range(5):
        status, body = await asyncio.to_thread(close_and_send, port, size)
        assert (status, b"not_authenticated" in body) == (401, True)


@pytest.mark.parametrize("port", [Unhurried], indirect=True)
async def test_a_body_that_stops_after_the_answer_is_hung_up_on(port: int) -> None:
    reader, writer = await connect(port)
    writer.write(
        b"POST /api/instances HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
        b"content-length: 999999\r\n\r\n"
    )
    async with asyncio.timeout(patience(DEADLINE_S)):
        assert (await reader.read()).startswith(b"HTTP/1.1 401")
        with suppress(ConnectionError):
            while True:
                writer.write(b"a")
                await writer.drain()
                if writer.transport.is_closing():
                    break
                await asyncio.sleep(0.01)
    writer.close()


@pytest.mark.parametrize("size", [1_200_000, 4_000_000, LEFT_BYTES_MAX - 1_000_000])
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/instances", b"401 Unauthorized"),
        ("/api/session/password", b"413 Request Entity Too Large"),
    ],
)
async def test_a_caller_that_sends_all_before_it_reads_reads_the_refusal(
    port: int, size: int, path: str, status: bytes
) -> None:
    reader, writer = await connect(port)
    writer.write(
        f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        f"content-length: {size}\r\n\r\n".encode()
    )
    async with asyncio.timeout(patience(DEADLINE_S)):
        for _ in range(size // 100_000):
            writer.write(b"a" * 100_000)
            await writer.drain()
        writer.write(b"a" * (size % 100_000) + GET + b"\r\n")
        assert await reader.readuntil(b"\r\n") == b"HTTP/1.1 " + status + b"\r\n"
        await reader.readuntil(b"HTTP/1.1 200 OK\r\n")
    writer.close()


@pytest.mark.parametrize("port", [Hasty], indirect=True)
@pytest.mark.parametrize("said", [b"", b"GET", GET, b"\r\n", GET + b"\r\n\r\nGE"])
async def test_whoever_does_not_finish_a_head_is_hung_up_on(port: int, said: bytes) -> None:
    reader, writer = await connect(port)
    writer.write(said)
    async with asyncio.timeout(patience(DEADLINE_S)):
        await reader.read()
    writer.close()


@pytest.mark.parametrize("port", [Hasty], indirect=True)
async def test_a_connection_may_rest_between_requests_and_during_one(port: int) -> None:
    reader, writer = await connect(port)
    for _ in range(2):
        writer.write(GET + b"content-type: application/json\r\ncontent-length: 2\r\n\r\n")
        await asyncio.sleep(1.5 * Hasty.head_s)
        writer.write(b"{}")
        async with asyncio.timeout(patience(DEADLINE_S)):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
        await asyncio.sleep(1.5 * Hasty.head_s)
    writer.close()


async def test_a_large_head_within_the_bound_is_served(port: int) -> None:
    reader, writer = await connect(port)
    writer.write(
        GET + b"x-large: " + b"a" * (HEAD_BYTES_MAX - 200) + b"\r\nconnection: close\r\n\r\n"
    )
    async with asyncio.timeout(patience(DEADLINE_S)):
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
    writer.close()

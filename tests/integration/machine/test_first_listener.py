"""The first listener: what it takes of callers before anybody can be authenticated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from holdfast.machine.controller import health_listener
from holdfast.machine.controller.health_listener import FirstListener, open_socket
from tests.support.patience import patience

GET = b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n"


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    monkeypatch.setattr(health_listener, "FIRST_CALLERS_MAX", 3)
    monkeypatch.setattr(health_listener, "FIRST_HEAD_S", 0.3)
    listening = open_socket("127.0.0.1", 0)
    first = FirstListener(lambda _path: {"status": "ok"}, lambda: "starting")
    first.serve(listening)
    yield listening.getsockname()[1]
    first.close()
    listening.close()


async def ask(port: int, request: bytes) -> bytes:
    """Return all that is answered until the connection is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        async with asyncio.timeout(patience(10)):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize("blank", [b"", b"\r\n", b"\r\n\r\n"])
async def test_empty_lines_before_a_request_are_skipped(port: int, blank: bytes) -> None:
    assert (await ask(port, blank + GET)).startswith(b"HTTP/1.1 200 OK")


async def test_whoever_says_nothing_is_hung_up_on(port: int) -> None:
    assert await ask(port, b"GET") == b""


async def test_more_callers_than_it_takes_are_closed_and_health_works_again(port: int) -> None:
    silent = [asyncio.create_task(ask(port, b"GET")) for _ in range(20)]
    assert await asyncio.gather(*silent) == [b""] * 20
    async with asyncio.timeout(patience(10)):
        while not (await ask(port, GET)).startswith(b"HTTP/1.1 200"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)

"""The socket passes from the first listener to the application without a lost request."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from aiohttp import web

from holdfast.machine.controller.health_listener import FirstListener, open_socket
from tests.integration.machine.rig import until

HANDOVERS = 200
CLIENTS = 3
ANSWER_S = 4.0
"""A request that takes longer hangs."""

REQUEST = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


class Hammer:
    """Threads that request health, each over a new connection, as fast as they are answered."""

    def __init__(self, port: int) -> None:
        self.answers: Counter[str] = Counter()
        self._port = port
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._work) for _ in range(CLIENTS)]

    @contextmanager
    def working(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()

    async def ended(self) -> None:
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    def _work(self) -> None:
        while not self._over.is_set():
            self.answers[self._ask()] += 1

    def _ask(self) -> str:
        """Return which listener answered, or the error."""
        try:
            with socket.create_connection(("127.0.0.1", self._port), ANSWER_S) as connection:
                connection.sendall(REQUEST)
                received = b""
                while piece := connection.recv(4_096):
                    received += piece
        except OSError as error:
            return repr(error)
        return received.rpartition(b"\r\n")[2].decode() or f"cut off: {received!r}"


async def serve_fully(listening: socket.socket) -> web.AppRunner:
    """Let aiohttp listen on the socket, as the controller's wiring does."""

    async def health(_request: web.Request) -> web.Response:
        return web.Response(text='"second"')

    app = web.Application()
    app.router.add_get("/health", health)
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    await web.SockSite(runner, listening).start()
    return runner


async def hand_over() -> Counter[str]:
    """Hand over once under load; return how often each listener answered."""
    listening = open_socket("127.0.0.1", 0)
    hammer = Hammer(listening.getsockname()[1])
    first = FirstListener(lambda _path: {"from": "first"}, lambda: "starting")
    first.serve(listening)
    with hammer.working():
        await until(lambda: sum(hammer.answers.values()) >= CLIENTS, "answers of the first")
        runner = await serve_fully(listening)
        first.close()
        before = sum(hammer.answers.values())
        await until(lambda: sum(hammer.answers.values()) >= before + 2 * CLIENTS, "the second")
    await hammer.ended()
    await runner.cleanup()
    return hammer.answers


@pytest.mark.timeout(120)
async def test_no_request_is_lost_between_two_listeners() -> None:
    answers: Counter[str] = Counter()
    for _ in range(HANDOVERS):
        answers += await hand_over()
    assert set(answers) == {'{"from": "first"}', '"second"'}, answers


async def test_who_connected_before_and_asks_after_is_answered() -> None:
    with open_socket("127.0.0.1", 0) as listening:
        first = FirstListener(lambda _path: {"from": "first"}, lambda: "starting")
        first.serve(listening)
        early = await asyncio.open_connection(*listening.getsockname())
        later = await asyncio.open_connection(*listening.getsockname())
        later[1].write(REQUEST)
        assert (await later[0].read()).endswith(b'{"from": "first"}'), "so the other one is too"
        first.close()
        early[1].write(REQUEST)
        assert (await early[0].read()).endswith(b'{"from": "first"}')
        for _, writer in (early, later):
            writer.close()
            await writer.wait_closed()


async def test_who_was_not_accepted_yet_is_left_to_the_next() -> None:
    listening = open_socket("127.0.0.1", 0)
    first = FirstListener(lambda _path: {"from": "first"}, lambda: "starting")
    first.serve(listening)
    with socket.create_connection(listening.getsockname()) as waiting:
        first.close()
        waiting.setblocking(False)  # noqa: FBT003
        runner = await serve_fully(listening)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(waiting, REQUEST)
        received = b""
        while piece := await loop.sock_recv(waiting, 4_096):
            received += piece
        assert received.endswith(b'"second"')
    await runner.cleanup()

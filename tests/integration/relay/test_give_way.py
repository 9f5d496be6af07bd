"""A connection that gives way to another one, to callers who do not read."""

from __future__ import annotations

import asyncio
import socket

import pytest

from holdfast.relay import http1
from holdfast.relay.downstream import Downstream
from holdfast.relay.limits import Limits
from holdfast.relay.peers import Peers
from holdfast.relay.server import Server
from tests.integration.machine.rig import until

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LARGE = 16 << 20
"""Bytes of an answer that no buffer of the system takes whole."""


class Answering(Server):
    """Answers each request with a large body."""

    def begin(self, downstream: Downstream, request: http1.Request) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE
        downstream.reply(head + bytes(LARGE), request, close=False)
        self.totals.requests += 1

    def problem(self, status: int, error: str, code: str, *, bare: bool = False) -> bytes:
        del bare
        return f"HTTP/1.1 {status} {code}\r\n\r\n{error}".encode()


async def test_who_does_not_read_an_answer_is_not_waited_for() -> None:
    server = Answering(Limits(left_s=600.0, rest_s=600.0), Peers(2, 2))
    listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    listening.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
    port = listening.sockets[0].getsockname()[1]
    callers = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
    for _, writer in callers:
        writer.write(GET)
    await until(lambda: server.totals.requests == 2, "both answers are made")
    callers += [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
    await until(lambda: server.peers.closed == 2, "the new ones are let in")
    await until(lambda: len(server) == 2, "those who do not read are gone")
    for reader, _ in callers[:2]:
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(LARGE)
    await server.close(0)
    listening.close()
    for _, writer in callers:
        writer.close()

"""The first listener: answers health before heavy modules are imported.

A platform probes health as soon as a machine starts and gives up after a while, so optional work
must come later. It needs only asyncio; the full application takes over the same socket. It accepts
by itself, because an `asyncio.Server` that is closed drops what it accepted in the same iteration
of the loop. It must answer nothing but health: no caller is authenticated yet.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from holdfast.machine.controller.limits import (
    ACCEPT_RETRY_S,
    BACKLOG,
    FIRST_CALLERS_MAX,
    FIRST_HEAD_S,
    FIRST_REQUEST_BYTES_MAX,
)

HEALTH_PATHS: Final = frozenset({"/health", "/_kilo/health", "/_holdfast/health"})

Body = dict[str, object]


class FirstListener:
    """Serves on a duplicate of a listening socket until it is closed."""

    def __init__(self, health: Callable[[str], Body], state: Callable[[], str]) -> None:
        """Answer `health(path)` on the health paths, and 503 with `state()` elsewhere."""
        self._health = health
        self._state = state
        self._socket: socket.socket | None = None
        self._opening: set[asyncio.Task[None]] = set()
        self.serving: set[_Exchange] = set()

    def serve(self, listening: socket.socket) -> None:
        """Start to serve on `listening`, which stays open when this is closed."""
        self._socket = listening.dup()
        self._socket.setblocking(False)  # noqa: FBT003  the standard library's signature
        self._watch(self._socket)

    def close(self) -> None:
        """Stop accepting; accepted connections are served, the rest stay in the backlog.

        Another listener on the socket finds the backlog unchanged, so no connection is lost.
        """
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _watch(self, listening: socket.socket) -> None:
        if listening is self._socket:
            asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        """Accept waiting connections, up to a limit per iteration of the loop."""
        loop = asyncio.get_running_loop()
        for _ in range(BACKLOG):
            try:
                connection, _address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                # Probably out of descriptors: the socket stays readable, so pause.
                loop.remove_reader(listening)
                loop.call_later(ACCEPT_RETRY_S, self._watch, listening)
                return
            if len(self.serving) + len(self._opening) >= FIRST_CALLERS_MAX:
                connection.close()
                continue
            opening = loop.create_task(self._open(connection))
            self._opening.add(opening)
            opening.add_done_callback(self._opening.discard)

    async def _open(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(lambda: _Exchange(self), connection)
        except OSError:
            connection.close()  # the peer has gone already

    def answer(self, target: str) -> tuple[int, Body]:
        """Return status and body for a request target."""
        path = target.partition("?")[0]
        if path in HEALTH_PATHS:
            return 200, self._health(path)
        return 503, {"error": "Service starting", "state": self._state()}


class _Exchange(asyncio.Protocol):
    """One request and its answer; the connection then closes."""

    def __init__(self, listener: FirstListener) -> None:
        self._listener = listener
        self._received = b""
        self._transport: asyncio.WriteTransport | None = None
        self._limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        self._listener.serving.add(self)
        self._limit = asyncio.get_running_loop().call_later(FIRST_HEAD_S, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._listener.serving.discard(self)
        if self._limit is not None:
            self._limit.cancel()

    def data_received(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self._received += data
        if len(self._received) > FIRST_REQUEST_BYTES_MAX:
            self._transport.close()
        elif b"\r\n\r\n" in self._received.lstrip(b"\r\n"):
            self._transport.write(self._respond())
            self._transport.close()

    def _respond(self) -> bytes:
        words = self._received.lstrip(b"\r\n").partition(b"\r\n")[0].decode("latin-1").split(" ")
        status, body = self._listener.answer(words[1] if len(words) > 1 else "")
        content = b"" if words[0] == "HEAD" else json.dumps(body).encode()
        ok = status == HTTPStatus.OK
        reason, extra = ("OK", "") if ok else ("Service Unavailable", "Retry-After: 5\r\n")
        head = (
            f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(content)}\r\n{extra}Connection: close\r\n\r\n"
        )
        return head.encode("latin-1") + content


def open_socket(host: str, port: int) -> socket.socket:
    """Return a socket listening on `host` and `port`; raise OSError if it is taken.

    Port 0 takes a free one.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(BACKLOG)
        listening.setblocking(False)  # noqa: FBT003  the standard library's signature
    except OSError:
        listening.close()
        raise
    return listening

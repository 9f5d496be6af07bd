"""One connection to the edge, with bounds before a request and after its response.

Uvicorn limits neither the size nor the time of a request's head, nor the bytes sent after a
response: without an account, a caller could fill the memory with one endless header, or hold every
descriptor with idle connections. Bodies are bounded where they are read, by the edge. Requests
within the bounds are not affected.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from holdfast.plane.edge.limits import (
    BLANK_BYTES_MAX,
    HEAD_BYTES_MAX,
    HEAD_S,
    LEFT_BYTES_MAX,
    LEFT_S,
)
from holdfast.relay.peers import Peers, Slot

_NO_WEBSOCKET: Final = (
    b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 68\r\n"
    b"Connection: close\r\n\r\n"
    b'{"error":"There is no WebSocket at this host","code":"no_websocket"}'
)


_FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
    b"Content-Length: 69\r\nRetry-After: 5\r\nConnection: close\r\n\r\n"
    b'{"message":"Too many connections are open","code":"connections_full"}'
)


class Guest(NamedTuple):
    """A connection handed over to the server of another host, with the bytes read so far.

    `slow` is true while writing is paused. `back` returns the connection, with the bytes read of a
    request for another host.
    """

    transport: asyncio.Transport
    received: bytes
    slow: bool
    back: Callable[[asyncio.Transport, bytes], None]


class OtherHosts(Protocol):
    """The server of hosts that are not the edge's; `peers` counts the connections of both."""

    @property
    def peers(self) -> Peers:
        """Return the count of open connections, shared by both servers."""
        ...

    def claims(self, head: bytes, transport: asyncio.BaseTransport) -> bool:
        """Return whether a request is for one of these hosts, or may be."""
        ...

    def take_over(self, guest: Guest) -> None:
        """Serve a connection from now on."""
        ...


class _AnswerTransport:
    """The transport of one answer, whose end closes the connection once the request is read.

    Closing a socket with unread bytes resets it, and a caller that sends all before it reads would
    see that in place of the answer.
    """

    __slots__ = ("_connection", "is_closing", "write")

    def __init__(self, connection: BoundedConnection) -> None:
        self._connection = connection
        self.write = connection.transport.write
        self.is_closing = connection.transport.is_closing

    def close(self) -> None:
        self._connection.close_when_read()


class BoundedConnection(HttpToolsProtocol):
    """Uvicorn's protocol, which closes a connection that sends too much or is idle."""

    head_s = HEAD_S
    left_s = LEFT_S

    _others: OtherHosts | None = None
    _held = b""
    _in_message = False
    _in_head = True
    _closes = False
    _head_bytes = 0
    _field_bytes = 0
    _left_bytes = 0
    _limit: asyncio.TimerHandle | None = None
    _slot: Slot | None = None

    @classmethod
    def before(cls, others: OtherHosts) -> Callable[..., asyncio.Protocol]:
        """Return a factory of connections that are handed to `others` for their hosts."""

        def make(**told: Any) -> asyncio.Protocol:
            made = cls(**told)
            made._others = others
            return made

        return make

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timeout of the first head."""
        super().connection_made(transport)
        if self._others is not None:
            name = transport.get_extra_info("peername")
            peer = str(name[0]) if isinstance(name, tuple) else ""
            # `close` would wait for a caller that does not read, beside the one that is let in.
            self._slot = self._others.peers.enter(peer, transport.abort)
            if self._slot is None:
                transport.write(_FULL)
                transport.close()
                return
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timeout."""
        self._wait_no_more()
        self._leave()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Receive bytes, and count those that belong to no request being served."""
        if self.transport.is_closing():
            return
        if self._others is not None and not (self._in_message or self._is_answering()):
            data = self._look_for_host(self._others, data)
            if not data:
                return
        was_in_head = self._in_head
        super().data_received(data)
        if self._is_serving() or self.transport.is_closing():
            return
        if self._limit is None:
            self._wait()
        if not self._in_head:
            self._left_bytes += len(data)
            if self._left_bytes > LEFT_BYTES_MAX:
                self.transport.close()
        elif was_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self.send_400_response("The head of the request is too large.")

    def _look_for_host(self, others: OtherHosts, data: bytes) -> bytes:
        """Return the edge's part of a request that begins here: a whole head, or nothing yet.

        The raw head is examined before any parsing, because the server of another host has a
        parser of its own.
        """
        held, self._held = self._held + data, b""
        start = len(held) - len(held.lstrip(b"\r\n"))
        end = held.find(b"\r\n\r\n", start)
        if start > BLANK_BYTES_MAX or max(end, len(held) if end < 0 else 0) > HEAD_BYTES_MAX:
            self.send_400_response("The head of the request is too large.")
        elif end < 0:
            self._held, self._in_head = held, True
            if self._limit is None:
                self._wait()
        elif others.claims(held[start : end + 4], self.transport):
            self._give_away(others, held)
        else:
            return held
        return b""

    def _give_away(self, others: OtherHosts, received: bytes) -> None:
        """Hand this connection to `others`, until they give it back."""
        self._wait_no_more()
        self._leave()
        self._unset_keepalive_if_required()
        self.connections.discard(self)
        self.flow.resume_reading()

        def back(transport: asyncio.Transport, received: bytes) -> None:
            make = type(self).before(others)
            again = make(
                config=self.config, server_state=self.server_state, app_state=self.app_state
            )
            transport.set_protocol(again)
            again.connection_made(transport)
            again.data_received(received)

        others.take_over(Guest(self.transport, received, self.flow.write_paused, back))

    def _should_upgrade_to_ws(self) -> bool:
        """Return True: an upgrade is refused here, after reading it whole."""
        return True

    def handle_websocket_upgrade(self) -> None:
        """Refuse it: the plane's own hosts have no WebSocket."""
        if not self._is_answering():
            self.transport.write(_NO_WEBSOCKET)
        self.transport.close()

    def on_message_begin(self) -> None:
        """Begin a head."""
        self._in_head = self._in_message = True
        self._field_bytes = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Receive a header or a trailer; raise ValueError, which uvicorn answers with 400."""
        self._field_bytes += len(name) + len(value)
        if self._field_bytes > HEAD_BYTES_MAX:
            message = "headers or trailers are too large"
            raise ValueError(message)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """End a head: from here the edge bounds the request."""
        self._in_head = False
        self._head_bytes = self._left_bytes = 0
        self._wait_no_more()
        if self._others is not None and self._slot is not None:
            self._others.peers.work(self._slot)
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is not before:  # an upgrade is refused without one
            answering: Any = _AnswerTransport(self)
            self.cycle.transport = answering

    def on_message_complete(self) -> None:
        """End a request; once it is answered, the next one may be for another host."""
        self._in_message = False
        super().on_message_complete()
        if self._closes:
            self.transport.close()

    def close_when_read(self) -> None:
        """Close the connection, unless the rest of an answered request is on its way."""
        if not self._in_message:
            self.transport.close()
            return
        self._closes = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
        if self._limit is None:
            self._wait()

    def on_response_complete(self) -> None:
        """End an answer; the connection rests unless another request was sent ahead.

        One that is to be closed rests as well: its caller may never read what is left.
        """
        super().on_response_complete()
        if self._others is None or self._slot is None:
            return
        if not self._is_answering():
            self._others.peers.rest(self._slot)

    def _leave(self) -> None:
        """Be counted no more."""
        slot, self._slot = self._slot, None
        if slot is not None and self._others is not None:
            self._others.peers.leave(slot)

    def _is_serving(self) -> bool:
        """Return whether arriving bytes belong to a request without a response yet."""
        return not self._in_head and self._is_answering()

    def _is_answering(self) -> bool:
        """Return whether a response is incomplete; False before the first request."""
        begun = self.cycle is not None  # pyright: ignore[reportUnnecessaryComparison]
        return begun and not self.cycle.response_complete

    def _wait(self) -> None:
        limit_s = self.head_s if self._in_head else self.left_s
        self._limit = self.loop.call_later(limit_s, self._waited)

    def _wait_no_more(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def _waited(self) -> None:
        """Close, unless a request is being answered, or uvicorn's keep-alive timer runs."""
        self._limit = None
        if self._is_answering():
            if self._in_head:
                self._wait()
        elif self._in_head or self.timeout_keep_alive_task is None:
            self.transport.close()

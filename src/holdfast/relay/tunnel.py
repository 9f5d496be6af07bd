"""WebSockets relayed as raw bytes: the upgrade, its answer, then all data both ways.

A tunnel is a member of the counted set from before it connects until both of its connections are
gone. So nothing can leak that is not also an open socket, and every open socket has a deadline.
Frames are not parsed, so a message costs one read and one write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

from holdfast.relay import http1
from holdfast.wire.address import Address

HEAD_BYTES_MAX: Final = 65_536
"""Bytes of the head of a server's answer."""

HEADS_MAX: Final = 32
"""Heads up to the final one, including those below 200."""

EARLY_BYTES_MAX: Final = 65_536
"""Bytes that a client may send before there is an answer; then reading pauses."""


_SWITCHING: Final = 101
_FINAL: Final = 200
"""Lower statuses, except the switch, precede the final answer."""


class _End(asyncio.Protocol):
    """The common part of both ends."""

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel
        self._transport: asyncio.Transport | None = None
        self._other: _End | None = None
        self._eof = False
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.lost = True
        self._tunnel.ended()

    def pause_writing(self) -> None:
        """Pause reading at the other end: this one's peer is slow."""
        if self._other is not None:
            self._other.pause()

    def resume_writing(self) -> None:
        """Resume reading at the other end."""
        if self._other is not None:
            self._other.resume()

    def eof_received(self) -> bool:
        """Pass on the end of this direction; return that the other direction stays open."""
        self._eof = True
        if self._other is not None:
            self._other.write_eof()
            self._tunnel.cut_soon()
        return True

    def write(self, data: bytes) -> None:
        """Send, unless the connection is gone."""
        if self._transport is not None and not self.lost:
            self._transport.write(data)

    def write_eof(self) -> None:
        """End sending; close if the other direction has ended too."""
        if self._transport is None or self.lost or self._transport.is_closing():
            return
        if self._eof or not self._transport.can_write_eof():
            self._tunnel.close()
            return
        self._transport.write_eof()

    def pause(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self) -> None:
        """Close once everything is sent."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class ClientEnd(_End):
    """The client's side."""

    def __init__(self, tunnel: Tunnel, transport: asyncio.Transport) -> None:
        super().__init__(tunnel)
        self._transport = transport
        self._early = b""
        self.slow = False

    def begin(self, early: bytes) -> None:
        """Read from now on; `early` was read already."""
        assert self._transport is not None
        self._transport.set_protocol(self)
        self._keep(early)

    def data_received(self, data: bytes) -> None:
        """Pass on, or buffer until there is a server."""
        if self._other is None:
            self._keep(data)
            return
        tunnel = self._tunnel
        tunnel.touched_s = tunnel.time()
        tunnel.owner.totals.up += len(data)
        self._other.write(data)

    def pause_writing(self) -> None:
        """Pause reading from the server, also if it did not switch."""
        self.slow = True
        self._tunnel.server.pause()

    def resume_writing(self) -> None:
        """Resume reading from the server."""
        self.slow = False
        self._tunnel.server.resume()

    def _keep(self, data: bytes) -> None:
        self._early += data
        if len(self._early) > EARLY_BYTES_MAX:
            self.pause()

    def join(self, server: ServerEnd) -> None:
        """Relay from now on, beginning with what came early."""
        self._other = server
        if self._early:
            self._tunnel.owner.totals.up += len(self._early)
            server.write(self._early)
        if len(self._early) > EARLY_BYTES_MAX:
            self.resume()
        self._early = b""
        if self._eof:
            server.write_eof()
            self._tunnel.cut_soon()


class ServerEnd(_End):
    """The server's side: first a head, then data."""

    def __init__(self, tunnel: Tunnel) -> None:
        super().__init__(tunnel)
        self._head = b""
        self._heads = 0
        self._in_head = True
        self._body: http1.Body | None = None

    @property
    def begun(self) -> bool:
        """Return whether there was ever a connection."""
        return self._transport is not None

    def data_received(self, data: bytes) -> None:
        """Collect the head, or pass on."""
        if self._in_head:
            self._take_head(data)
            return
        tunnel = self._tunnel
        tunnel.touched_s = tunnel.time()
        if self._body is not None:
            self._pass_body(data)
        elif self._other is not None:
            tunnel.owner.totals.down += len(data)
            self._other.write(data)

    def eof_received(self) -> bool:
        """As for both ends; before the answer it is a failure, and in a body its end."""
        if self._in_head:
            self._tunnel.refuse()
            return False
        if self._body is not None:
            self._end_body()
            return False
        return super().eof_received()

    def join(self, client: ClientEnd, rest: bytes) -> None:
        """Relay from now on, beginning with what came with the head."""
        self._other = client
        if rest:
            self._tunnel.owner.totals.down += len(rest)
            client.write(rest)

    def pass_on(self, client: ClientEnd, response: http1.Response, rest: bytes) -> None:
        """Pass on the body of an answer that did not switch, then end."""
        self._other = client
        self._body = http1.Body(response.length)
        self._pass_body(rest)

    def _take_head(self, data: bytes) -> None:
        self._head += data
        response: http1.Response | None = None
        while response is None or (response.status < _FINAL and response.status != _SWITCHING):
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                if len(self._head) > HEAD_BYTES_MAX:
                    self._tunnel.refuse()
                return
            try:
                response = http1.parse_response(self._head[: end + 4], method=b"GET")
            except http1.MalformedError:
                self._tunnel.refuse()
                return
            self._head = self._head[end + 4 :]
            self._heads += 1
            if self._heads > HEADS_MAX:
                self._tunnel.refuse()
                return
        self._in_head = False
        rest, self._head = self._head, b""
        self._tunnel.answered(response, rest)

    def _pass_body(self, data: bytes) -> None:
        assert self._body is not None
        assert self._other is not None
        try:
            used = self._body.take(data)
        except http1.MalformedError:
            self._tunnel.abort()
            return
        if used:
            self._other.write(data[:used])
        if self._body.ended:
            self._tunnel.close()

    def _end_body(self) -> None:
        """End a body with its connection: complete, or visibly truncated."""
        assert self._body is not None
        if self._body.until_close or self._body.ended:
            self._tunnel.close()
        else:
            self._tunnel.abort()


SWITCHING: Final = 101

SWEEP_S: Final = 1.0
"""Time between two checks for tunnels that are idle or do not close, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Limits of one set of tunnels; times in seconds.

    `close_s` is how long one half may stay open after the other has ended, and how long the unsent
    data may take after that.
    """

    most: int = 100
    handshake_s: float = 5.0
    idle_s: float = 600.0
    close_s: float = 10.0


@dataclass(slots=True)
class Totals:
    """Totals since the start: upgrades tried and refused, bytes each way."""

    opened: int = 0
    refused: int = 0
    failed: int = 0
    up: int = 0
    down: int = 0


class Tunnels:
    """The open tunnels of one proxy."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.totals = Totals()
        self._open: set[Tunnel] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._closing = False
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._open)

    @property
    def full(self) -> bool:
        """Return whether another one would exceed the limit; True while closing."""
        return self._closing or len(self._open) >= self.bounds.most

    def start(
        self,
        client: asyncio.Transport,
        *,
        address: Address,
        head: bytes,
        early: bytes,
        refusal: Callable[[int], bytes],
        answer: Callable[[http1.Response], http1.Headers] | None = None,
        on_end: Callable[[], None] | None = None,
        slow: bool = False,
    ) -> Tunnel:
        """Take over a client's connection and connect; the caller has checked `full`.

        `head` is the upgrade as it is to be sent, `early` what the client sent after it. `refusal`
        makes the complete answer for 502. `answer` may change the headers of the server's response;
        without it they are passed on as they are. `slow` means that the client's back pressure was
        signalled before this, so that its end is signalled too.
        """
        tunnel = Tunnel(self, client, refusal, answer, on_end)
        tunnel.client.slow = slow
        self._open.add(tunnel)
        self._empty.clear()
        self.totals.opened += 1
        if self._sweep is None:
            self._arm()
        tunnel.start(address, head, early)
        return tunnel

    async def close(self, grace_s: float) -> None:
        """Close all, refuse new ones, and reset after `grace_s` what has not closed."""
        self._closing = True
        for tunnel in list(self._open):
            tunnel.close()
        try:
            async with asyncio.timeout(grace_s):
                await self._empty.wait()
        except TimeoutError:
            for tunnel in list(self._open):
                tunnel.abort()
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None

    def forget(self, tunnel: Tunnel) -> None:
        """Remove a tunnel that has no connection left."""
        self._open.discard(tunnel)
        if not self._open:
            self._empty.set()

    def _arm(self) -> None:
        pause_s = min(SWEEP_S, self.bounds.idle_s / 4, self.bounds.close_s / 4)
        self._sweep = asyncio.get_running_loop().call_later(pause_s, self._look)

    def _look(self) -> None:
        now_s = asyncio.get_running_loop().time()
        for tunnel in list(self._open):
            tunnel.look(now_s)
        self._sweep = None
        if self._open:
            self._arm()


class Tunnel:
    """One client connection, one server connection, and the data between them."""

    def __init__(
        self,
        owner: Tunnels,
        client: asyncio.Transport,
        refusal: Callable[[int], bytes],
        answer: Callable[[http1.Response], http1.Headers] | None,
        on_end: Callable[[], None] | None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.owner = owner
        self.time = loop.time
        self.touched_s = loop.time()
        self.client = ClientEnd(self, client)
        self.server = ServerEnd(self)
        self._refusal = refusal
        self._answer = answer
        self._on_end = on_end
        self._answered = False
        self._cut_s = 0.0
        self._dialling: asyncio.Task[None] | None = None
        self._limit: asyncio.TimerHandle | None = None

    def start(self, address: Address, head: bytes, early: bytes) -> None:
        """Connect; what the client sends meanwhile waits."""
        loop = asyncio.get_running_loop()
        self.client.begin(early)
        self._limit = loop.call_later(self.owner.bounds.handshake_s, self.refuse)
        self._dialling = loop.create_task(self._dial(address, head))

    async def _dial(self, address: Address, head: bytes) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: self.server, *address)
        except OSError:
            self.refuse()
            return
        if self._answered or self.client.lost:
            self.server.abort()
            return
        # Lost in connection_made: uvloop, and asyncio before 3.11.4, begin to read after it.
        if self.client.slow:
            self.server.pause()
        self.server.write(head)

    def answered(self, response: http1.Response, rest: bytes) -> None:
        """Pass on the server's answer, and join the two if it switched."""
        if self._answered:
            return
        self._answered = True
        self._cancel_limit()
        switched = response.status == SWITCHING
        headers = response.headers if self._answer is None else self._answer(response)
        if not switched:
            headers = [*http1.end_to_end(headers), (b"connection", b"close")]
        line = b"HTTP/1.1 %d %b" % (response.status, response.reason)
        self.client.write(http1.write_head(line, headers))
        self.touched_s = self.time()
        if switched:
            self.client.join(self.server)
            self.server.join(self.client, rest)
        else:
            self.owner.totals.failed += 1
            self.server.pass_on(self.client, response, rest)

    def refuse(self) -> None:
        """Answer 502, once, and end: the server is unreachable, or too slow."""
        if self._answered:
            return
        self._answered = True
        self.owner.totals.failed += 1
        self.client.write(self._refusal(502))
        self.server.abort()
        self.close()

    def ended(self) -> None:
        """One end is gone: close the other, and leave the set with the last one."""
        if self.client.lost:
            self._answered = True
            self.server.close()
        if self.server.lost and self.server.begun:
            if not self._answered:
                self.refuse()
            self.client.close()
        if self.client.lost and (self.server.lost or not self.server.begun):
            self._cancel_limit()
            if self._dialling is not None and not self._dialling.done():
                self._dialling.cancel()
            self.owner.forget(self)
            told, self._on_end = self._on_end, None
            if told is not None:
                told()
        else:
            self.cut_soon()

    def cut_soon(self) -> None:
        """Set a deadline for the unsent data."""
        if not self._cut_s:
            self._cut_s = self.time() + self.owner.bounds.close_s

    def close(self) -> None:
        """Close both ends once everything is sent."""
        self._answered = True
        self.client.close()
        self.server.close()
        self.cut_soon()

    def abort(self) -> None:
        """Reset both ends."""
        self.client.abort()
        self.server.abort()

    def look(self, now_s: float) -> None:
        """Close it if it was idle for too long, or reset it if it does not close."""
        if self._cut_s and now_s >= self._cut_s:
            self.abort()
            return
        idle = now_s - self.touched_s >= self.owner.bounds.idle_s
        if self._answered and idle and not self._cut_s:
            self.close()

    def _cancel_limit(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

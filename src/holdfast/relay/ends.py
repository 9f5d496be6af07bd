"""The two connections of a tunnel, as asyncio's protocols.

Each pauses the other's reading while its own peer is slow, and passes on the end of one direction
while the other still speaks.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

from holdfast.relay import http1

if TYPE_CHECKING:
    from holdfast.relay.tunnel import Tunnel

HEAD_BYTES_MAX: Final = 65_536
"""Bytes of the head of a server's answer."""

HEADS_MAX: Final = 32
"""Answers up to the one that counts, those below 200 included."""

EARLY_BYTES_MAX: Final = 65_536
"""Bytes that a client may send before there is an answer; it is not read further then."""


_SWITCHING: Final = 101
_FINAL: Final = 200
"""Statuses below it, but for the switch, come before the answer."""


class _End(asyncio.Protocol):
    """What both ends do alike."""

    def __init__(self, tunnel: Tunnel) -> None:
        """Belong to a tunnel."""
        self._tunnel = tunnel
        self._transport: asyncio.Transport | None = None
        self._other: _End | None = None
        self._eof = False
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the tunnel."""
        del exc
        self.lost = True
        self._tunnel.ended()

    def pause_writing(self) -> None:
        """Have the other end read no further: this one's peer is slow."""
        if self._other is not None:
            self._other.pause()

    def resume_writing(self) -> None:
        """Let the other end read on."""
        if self._other is not None:
            self._other.resume()

    def eof_received(self) -> bool:
        """Pass on that this direction is over; return that the other direction is not."""
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
        """Say that nothing more will be sent; close if the other direction is over too."""
        if self._transport is None or self.lost or self._transport.is_closing():
            return
        if self._eof or not self._transport.can_write_eof():
            self._tunnel.close()
            return
        self._transport.write_eof()

    def pause(self) -> None:
        """Read no further."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self) -> None:
        """Close when everything is sent."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close now."""
        if self._transport is not None:
            self._transport.abort()


class ClientEnd(_End):
    """The side that asked."""

    def __init__(self, tunnel: Tunnel, transport: asyncio.Transport) -> None:
        """Take the transport over from whoever read the head."""
        super().__init__(tunnel)
        self._transport = transport
        self._early = b""
        self.slow = False

    def begin(self, early: bytes) -> None:
        """Listen from now on; `early` was read already."""
        assert self._transport is not None
        self._transport.set_protocol(self)
        self._keep(early)

    def data_received(self, data: bytes) -> None:
        """Pass on, or keep until there is somebody to pass it on to."""
        if self._other is None:
            self._keep(data)
            return
        tunnel = self._tunnel
        tunnel.touched_s = tunnel.time()
        tunnel.owner.totals.up += len(data)
        self._other.write(data)

    def pause_writing(self) -> None:
        """Have the server read no further, also where it did not switch."""
        self.slow = True
        self._tunnel.server.pause()

    def resume_writing(self) -> None:
        """Let the server read on."""
        self.slow = False
        self._tunnel.server.resume()

    def _keep(self, data: bytes) -> None:
        self._early += data
        if len(self._early) > EARLY_BYTES_MAX:
            self.pause()

    def join(self, server: ServerEnd) -> None:
        """Pass on from now on, first what came early."""
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
    """The side that is asked: first a head, then whatever it says."""

    def __init__(self, tunnel: Tunnel) -> None:
        """Wait to be connected."""
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
        """As for every end; before the answer it is no answer, and in a body its end."""
        if self._in_head:
            self._tunnel.refuse()
            return False
        if self._body is not None:
            self._end_body()
            return False
        return super().eof_received()

    def join(self, client: ClientEnd, rest: bytes) -> None:
        """Pass on from now on, first what came with the head."""
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
        """End a body with its connection: as it should, or cut off, which must show."""
        assert self._body is not None
        if self._body.until_close or self._body.ended:
            self._tunnel.close()
        else:
            self._tunnel.abort()

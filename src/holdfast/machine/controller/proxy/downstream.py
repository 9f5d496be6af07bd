"""A caller's connection: one request after the other, each given to whoever answers it.

What is sent ahead of an answer waits, unread beyond a limit, so that answers come in the order of
their requests. A body is framed here and its bytes handed on as they come.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Protocol, cast

from holdfast.machine.controller.health_listener import HEALTH_PATHS
from holdfast.machine.controller.proxy import answers, limits
from holdfast.machine.controller.proxy.control import Control, Handler
from holdfast.machine.controller.proxy.exchange import Exchange, Shared
from holdfast.relay import http1
from holdfast.relay.tunnel import Tunnels
from holdfast.wire.controller.endpoint import PREFIXES

_PREFIXES: Final = tuple(prefix.encode() for prefix in PREFIXES)
_HEALTH: Final = frozenset(path.encode() for path in HEALTH_PATHS)
_FOREVER: Final = float("inf")
_RESET: Final = struct.pack("ii", 1, 0)
"""Do not linger: what is not sent is dropped, and the other side told so."""
_CLOSE_S: Final = 5.0
"""How long a caller may take to read the rest of an answer after which we close."""


class Job(Protocol):
    """Whoever answers the request under way."""

    def body(self, data: bytes) -> None:
        """Take a piece of the request's body."""
        ...

    def body_ended(self) -> None:
        """Take note that the body is complete."""
        ...

    def overdue(self) -> None:
        """Give up: nothing happened for too long."""
        ...

    def lost(self) -> None:
        """Give up: the caller has gone."""
        ...

    def pause_writing(self) -> None:
        """Bring nothing more for now: the caller reads slowly."""
        ...

    def resume_writing(self) -> None:
        """Bring more."""
        ...


class Whole(Shared, Protocol):
    """The proxy as a whole, as a caller's connection needs it."""

    tunnels: Tunnels
    time: Callable[[], float]
    ready: Callable[[], bool]
    control: Callable[[], Handler]

    def admits(self, headers: http1.Headers) -> bool:
        """Return whether a request shows the proxy token, where that is asked for."""
        ...

    def enter(self, front: Front) -> bool:
        """Count a connection; return False when it is one too many."""
        ...

    def leave(self, front: Front) -> None:
        """Count a connection no more."""
        ...

    def open_tunnel(
        self, client: asyncio.Transport, request: http1.Request, early: bytes, *, slow: bool
    ) -> None:
        """Pass a WebSocket on to the agent."""
        ...


class Front(asyncio.Protocol):
    """One connection of a caller."""

    def __init__(self, proxy: Whole) -> None:
        """Belong to `proxy`, which counts it."""
        self._proxy = proxy
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._body: http1.Body | None = None
        self._job: Job | None = None
        self._keep = True
        self._ahead = self._blocked = False
        self._busy = False
        self.slow = False
        self.due_s = _FOREVER
        self.closing = False

    # ------------------------------------------------------------------ what asyncio tells us

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a head."""
        self._transport = cast("asyncio.Transport", transport)
        if not self._proxy.enter(self):
            self.write(answers.problem(503, "Too many connections", "busy", close=True))
            self.end()
            return
        self.touch(limits.HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give up whatever is under way."""
        del exc
        self.closing = True
        job, self._job = self._job, None
        if job is not None:
            job.lost()
        self._proxy.leave(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes in."""
        if self.closing:
            return
        self._proxy.totals.received += len(data)
        self._buffer = self._buffer + data if self._buffer else data
        self._advance()

    def pause_writing(self) -> None:
        """Pass on that the caller reads slowly, and remember it for the next request."""
        self.slow = True
        if self._job is not None:
            self._job.pause_writing()

    def resume_writing(self) -> None:
        """Pass on that it has caught up."""
        self.slow = False
        if self._job is not None:
            self._job.resume_writing()

    # -------------------------------------------------------------------- what the job asks

    def write(self, data: bytes) -> None:
        """Send to the caller."""
        if self._transport is not None and not self._transport.is_closing():
            self._proxy.totals.sent += len(data)
            self._transport.write(data)

    def answered(self, *, keep: bool = True) -> None:
        """Take the connection back after an answer, for the next request or to close it."""
        self._job = None
        self._blocked = False
        if self.closing:
            return
        if not (keep and self._keep) or self._proxy.closing:
            self.end()
        elif self._body is not None:
            self._job = _Drain(self)
            self.touch(_CLOSE_S)
            self._read_or_not()
        else:
            self.touch(limits.REST_S)
            self._read_or_not()
            self._advance()

    def refuse(self, status: int) -> None:
        """Answer that the agent could not be had, or not in time, and close."""
        self.write(answers.bad_gateway(status))
        self.answered(keep=False)

    def touch(self, wait_s: float) -> None:
        """Give the connection this long until something must have happened."""
        self.due_s = self._proxy.time() + wait_s

    def block(self) -> None:
        """Read no further: what was read has nowhere to go."""
        self._blocked = True
        self._read_or_not()

    def unblock(self) -> None:
        """Read on."""
        self._blocked = False
        self._read_or_not()

    def peer_info(self, name: str, default: Any) -> Any:
        """Return what the transport knows."""
        return default if self._transport is None else self._transport.get_extra_info(name, default)

    def end(self) -> None:
        """Close once everything is sent."""
        self.closing = True
        if self._transport is not None:
            self._transport.close()
        self.touch(_CLOSE_S)

    def abort(self) -> None:
        """Close now, by a reset, so that what was cut off is not taken for complete."""
        self.closing = True
        if self._transport is None or self._transport.is_closing():
            return
        sock = self._transport.get_extra_info("socket")
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()

    # ------------------------------------------------------------------- what the proxy asks

    def look(self, now_s: float) -> None:
        """Give up what is overdue."""
        if now_s < self.due_s:
            return
        if self.closing:
            if self._transport is not None:
                self._transport.abort()
        elif self._job is not None:
            self._job.overdue()
        else:
            if self._buffer:
                self.write(answers.problem(408, "Request Timeout", close=True))
            self.end()

    def rest(self) -> None:
        """Close after the answer under way, or now when there is none."""
        self._keep = False
        if self._job is None:
            self.end()

    # ------------------------------------------------------------------------------ requests

    def _advance(self) -> None:
        """Go on with what is in the buffer; one request at a time, without recursion."""
        if self._busy:
            return
        self._busy = True
        try:
            while self._buffer and not self.closing and self._step():
                pass
        except http1.MalformedError as error:
            self._malformed(str(error))
        finally:
            self._busy = False
        ahead = len(self._buffer) > limits.AHEAD_BYTES_MAX
        if ahead != self._ahead:
            self._ahead = ahead
            self._read_or_not()

    def _step(self) -> bool:
        """Take one piece off the buffer; return False when more must come first."""
        if self._body is not None:
            self._take_body(self._body)
            return True
        if self._job is not None:
            return False
        if self._buffer[:2] == b"\r\n":
            self._buffer = self._buffer[2:]  # some callers end a body with a line too many
            return True
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > limits.HEAD_BYTES_MAX:
                self.write(answers.problem(431, "Request head too large", close=True))
                self.end()
            return False
        head, self._buffer = self._buffer[: end + 4], self._buffer[end + 4 :]
        self._begin(head)
        return True

    def _take_body(self, body: http1.Body) -> None:
        used = body.take(self._buffer)
        piece = self._buffer if used == len(self._buffer) else self._buffer[:used]
        self._buffer = self._buffer[used:]
        if body.taken > limits.BODY_BYTES_MAX:
            self.abort()
            return
        if body.ended:
            self._body = None
        job = self._job
        if job is not None:
            job.body(piece)
            if body.ended:
                job.body_ended()

    def _begin(self, head: bytes) -> None:
        """Give a request to whoever answers it."""
        request = http1.parse_request(head)
        self._keep = http1.keeps_alive(request.minor, request.headers)
        path = request.path
        if path.startswith(_PREFIXES) or path in _HEALTH:
            control = Control(self, self._proxy.control)
            self._take(control, request)
            control.begin(head)
        elif not self._passes(request):
            return
        elif http1.is_websocket(request):
            self._tunnel(request)
            return
        else:
            exchange = Exchange(self._proxy, self, request)
            self._take(exchange, request)
            exchange.begin()
        if self._body is None and self._job is not None:
            self._job.body_ended()

    def _take(self, job: Job, request: http1.Request) -> None:
        self._job = job
        self._body = http1.Body(request.length) if request.length else None
        self.touch(limits.SILENCE_S)

    def _passes(self, request: http1.Request) -> bool:
        """Return whether a request may go to the agent; answer it where not."""
        proxy, socket = self._proxy, http1.is_websocket(request)
        close = socket or request.length != 0 or not self._keep
        bare = request.method == b"HEAD"
        if not proxy.admits(request.headers):
            answer = answers.unauthorised(close=close, bare=bare)
        elif not proxy.ready():
            answer = answers.not_ready(close=close, bare=bare)
        elif socket and proxy.tunnels.full:
            answer = answers.problem(503, "Too many WebSockets", "busy", close=True)
        elif request.length > limits.BODY_BYTES_MAX:
            answer = answers.problem(413, "Request body too large", close=True)
        else:
            return True
        proxy.totals.refused += 1
        if socket:
            proxy.tunnels.totals.refused += 1
        self.write(answer)
        if request.length:
            self._body = http1.Body(request.length)
            self._keep = False
            self._job = _Drain(self)
            self.touch(_CLOSE_S)
        else:
            self.answered(keep=not close)
        return False

    def _tunnel(self, request: http1.Request) -> None:
        """Give the whole connection away: it is a WebSocket from here on."""
        assert self._transport is not None
        transport, early = self._transport, self._buffer
        self._buffer, self.closing = b"", True
        self._proxy.leave(self)
        self._proxy.totals.requests += 1
        self._proxy.open_tunnel(transport, request, early, slow=self.slow)

    def _malformed(self, why: str) -> None:
        """Refuse what two readers may read differently; nothing behind it can be believed."""
        self._proxy.totals.malformed += 1
        job, self._job = self._job, None
        if job is not None:
            job.lost()
            self.abort()
            return
        self.write(answers.problem(400, f"Bad Request: {why}", "malformed_request", close=True))
        self.end()

    def _read_or_not(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if self._ahead or self._blocked:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()


class _Drain:
    """Throws away the rest of a body after the answer, so that the answer is read at all."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._taken = 0

    def body(self, data: bytes) -> None:
        self._taken += len(data)
        if self._taken > limits.LEFT_BYTES_MAX:
            self._front.end()

    def body_ended(self) -> None:
        self._front.answered()

    def overdue(self) -> None:
        self._front.end()

    def lost(self) -> None:
        pass

    def pause_writing(self) -> None:
        pass

    def resume_writing(self) -> None:
        pass

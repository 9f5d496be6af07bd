"""A caller's connection: one request at a time, each dispatched to a job.

Data sent ahead of an answer is buffered up to a limit, so that answers come in the order of their
requests. A body is framed here and its bytes are passed on as they come.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

from holdfast.relay import http1
from holdfast.relay.limits import Limits

_FOREVER: Final = float("inf")
_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER of 0: unsent data is dropped, and the peer gets a reset."""


class Job(Protocol):
    """Answers the request under way."""

    def body(self, data: bytes) -> None:
        """Receive a piece of the request's body."""
        ...

    def body_ended(self) -> None:
        """Handle the end of the body."""
        ...

    def overdue(self) -> None:
        """Give up: nothing happened for too long."""
        ...

    def lost(self) -> None:
        """Give up: the caller is gone."""
        ...

    def pause_writing(self) -> None:
        """Pause sending: the caller reads slowly."""
        ...

    def resume_writing(self) -> None:
        """Resume sending."""
        ...


@dataclass(slots=True)
class Totals:
    """Traffic since the start, on the callers' side: requests, refusals, bytes."""

    requests: int = 0
    refused: int = 0
    malformed: int = 0
    received: int = 0
    sent: int = 0


class Callers(Protocol):
    """The server, as a caller's connection needs it."""

    limits: Limits
    totals: Totals
    closing: bool
    time: Callable[[], float]

    def enter(self, downstream: Downstream) -> bool:
        """Count a connection; return False if it exceeds the limit."""
        ...

    def leave(self, downstream: Downstream) -> None:
        """Remove a connection from the count."""
        ...

    def works(self, downstream: Downstream) -> None:
        """Note that a request is under way on a connection."""
        ...

    def rests(self, downstream: Downstream) -> None:
        """Note that none is."""
        ...

    def begin(self, downstream: Downstream, request: http1.Request) -> None:
        """Answer a request: start a job, reply at once, or hand over the connection."""
        ...

    def problem(self, status: int, error: str, code: str, *, bare: bool = False) -> bytes:
        """Return a complete answer, after which the connection is closed; a `bare` one for HEAD."""
        ...


class Downstream(asyncio.Protocol):
    """One connection of a caller."""

    def __init__(self, server: Callers) -> None:
        self._server = server
        self._limits = server.limits
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._body: http1.Body | None = None
        self._job: Job | None = None
        self._keep = True
        self._ahead = self._blocked = False
        self._busy = False
        self._blank_lines = 0
        self._bare = False
        self.slow = False
        self.due_s = _FOREVER
        self.closing = False

    # ------------------------------------------------------------------ callbacks of asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for a head."""
        self._transport = cast("asyncio.Transport", transport)
        if not self._server.enter(self):
            self.write(self._server.problem(503, "Too many connections", "busy"))
            self.end()
            return
        self.touch(self._limits.head_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give up what is under way."""
        del exc
        self.closing = True
        job, self._job = self._job, None
        if job is not None:
            job.lost()
        self._server.leave(self)

    def data_received(self, data: bytes) -> None:
        """Receive bytes."""
        if self.closing:
            return
        self._server.totals.received += len(data)
        self._buffer = self._buffer + data if self._buffer else data
        self._advance()

    def pause_writing(self) -> None:
        """Pass on back pressure, and remember it for the next request."""
        self.slow = True
        if self._job is not None:
            self._job.pause_writing()

    def resume_writing(self) -> None:
        """Pass on the end of back pressure."""
        self.slow = False
        if self._job is not None:
            self._job.resume_writing()

    # -------------------------------------------------------------------- calls by the job

    def write(self, data: bytes) -> None:
        """Send to the caller."""
        if self._transport is not None and not self._transport.is_closing():
            self._server.totals.sent += len(data)
            self._transport.write(data)

    def answered(self, *, keep: bool = True) -> None:
        """Take the connection back after an answer, for the next request or to close it."""
        self._job = None
        self._blocked = False
        if self.closing:
            return
        self._keep = self.keeps_alive and keep
        if self._body is not None:
            if not self._keep and self._transport is not None and self._transport.can_write_eof():
                self._transport.write_eof()
            self._job = _Drain(self, self._limits.left_bytes)
            self._server.rests(self)
            self.touch(self._limits.left_s)
            self._read_or_not()
            self._advance()
        elif not self._keep:
            self.end()
        else:
            self._server.rests(self)
            self.touch(self._limits.rest_s)
            self._read_or_not()
            self._advance()

    @property
    def keeps_alive(self) -> bool:
        """Return whether another request may follow the one under way."""
        return self._keep and not self._server.closing

    @property
    def asked(self) -> bool:
        """Return whether the request under way is complete."""
        return self._body is None

    def reply(self, answer: bytes, request: http1.Request, *, close: bool) -> None:
        """Answer a request that has no job; with `close` the answer announces the end.

        The rest of its body is discarded, so that the caller reads the answer at all.
        """
        self._body = http1.Body(request.length) if request.length else None
        self.write(answer)
        self.answered(keep=not close)

    def start(self, job: Job, request: http1.Request) -> None:
        """Let `job` answer a request."""
        self._job = job
        self._body = http1.Body(request.length) if request.length else None
        self.touch(self._limits.silence_s)

    def hand_on(self, job: Job) -> None:
        """Let another job answer the request under way."""
        self._job = job

    def give_away(self) -> tuple[asyncio.Transport, bytes]:
        """Return the connection and what was read ahead; the caller owns it from here on."""
        assert self._transport is not None
        transport, early = self._transport, self._buffer
        self._buffer, self._job, self._body, self.closing = b"", None, None, True
        self._server.leave(self)
        if self._blocked or self._ahead:
            transport.resume_reading()
        return transport, early

    def touch(self, wait_s: float) -> None:
        """Set the deadline of the connection to this time from now."""
        self.due_s = self._server.time() + wait_s

    def block(self) -> None:
        """Pause reading: the data has nowhere to go."""
        self._blocked = True
        self._read_or_not()

    def unblock(self) -> None:
        """Resume reading."""
        self._blocked = False
        self._read_or_not()
        self._advance()

    def peer_info(self, name: str, default: Any) -> Any:
        """Return the transport's information."""
        return default if self._transport is None else self._transport.get_extra_info(name, default)

    def end(self) -> None:
        """Close once everything is sent."""
        self.closing = True
        if self._transport is not None:
            self._transport.close()
        self.touch(self._limits.left_s)

    def abort(self) -> None:
        """Reset the connection, so that a truncated answer is not taken for complete."""
        self.closing = True
        if self._transport is None or self._transport.is_closing():
            return
        sock = self._transport.get_extra_info("socket")
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()

    # ------------------------------------------------------------------ calls by the server

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
                self.write(self._server.problem(408, "Request Timeout", "request_timeout"))
            self.end()

    def rest(self) -> None:
        """Close after the answer under way, or now if there is none."""
        self._keep = False
        if self._job is None:
            self.end()

    def give_way(self) -> None:
        """Close for another connection, unless an answer is under way.

        The other one is let in at once, so a caller that does not read is not waited for.
        """
        self._keep = False
        if self._job is not None and not isinstance(self._job, _Drain):
            return
        if self._transport is not None and self._transport.get_write_buffer_size():
            self.abort()
        else:
            self.end()

    # ------------------------------------------------------------------------------ requests

    def _advance(self) -> None:
        """Process the buffer; one request at a time, without recursion."""
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
        ahead = len(self._buffer) > self._limits.ahead_bytes
        if ahead != self._ahead:
            self._ahead = ahead
            self._read_or_not()

    def _step(self) -> bool:
        """Process one piece of the buffer; return False if more data is needed."""
        if self._blocked:
            return False
        if self._body is not None:
            self._take_body(self._body)
            return True
        if self._job is not None:
            return False
        if self._buffer[:2] == b"\r\n":
            self._blank_lines += 1
            if self._blank_lines > self._limits.blank_lines:
                raise http1.MalformedError("too many empty lines before the request")
            self._buffer = self._buffer[2:]
            return True
        end = self._buffer.find(b"\r\n\r\n")
        if max(end, len(self._buffer) if end < 0 else 0) > self._limits.head_bytes:
            self.write(self._server.problem(431, "Request head too large", "head_too_large"))
            self.end()
            return False
        if end < 0:
            return False
        head, self._buffer = self._buffer[: end + 4], self._buffer[end + 4 :]
        self._begin(head)
        return True

    def _take_body(self, body: http1.Body) -> None:
        used = body.take(self._buffer)
        piece = self._buffer if used == len(self._buffer) else self._buffer[:used]
        self._buffer = self._buffer[used:]
        if body.taken > self._limits.body_bytes:
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
        """Dispatch a request."""
        self._blank_lines = 0
        self._bare = head[:5] == b"HEAD "
        request = http1.parse_request(head)
        self._keep = http1.keeps_alive(request.minor, request.headers)
        self._server.works(self)
        self._server.begin(self, request)

    def _malformed(self, why: str) -> None:
        """Refuse an ambiguous message; what follows it cannot be trusted."""
        self._server.totals.malformed += 1
        job, self._job = self._job, None
        if job is not None:
            job.lost()
            self.abort()
            return
        problem = self._server.problem(
            400, f"Bad Request: {why}", "malformed_request", bare=self._bare
        )
        self.write(problem)
        self.end()

    def _read_or_not(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if self._ahead or self._blocked:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()


class _Drain:
    """Discards the rest of a body after the answer, so that the caller reads the answer at all."""

    def __init__(self, downstream: Downstream, most: int) -> None:
        self._downstream = downstream
        self._most = most
        self._taken = 0

    def body(self, data: bytes) -> None:
        self._taken += len(data)
        if self._taken > self._most:
            self._downstream.end()

    def body_ended(self) -> None:
        self._downstream.answered()

    def overdue(self) -> None:
        self._downstream.end()

    def lost(self) -> None:
        pass

    def pause_writing(self) -> None:
        pass

    def resume_writing(self) -> None:
        pass

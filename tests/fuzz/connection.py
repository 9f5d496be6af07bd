"""A connection in memory to a server's own protocol: what it is sent, and how it answers.

The protocols are the real ones, so heads, framing and relaying are fuzzed with the routes; only
the kernel's sockets are left out, which makes a thousand requests a second of a hundred.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from holdfast.relay import http1
from tests.fuzz.agent import SMUGGLED

TURNS_MAX = 60
"""Turns of the loop after which a request that may be incomplete is hung up on."""

PEER = ("192.0.2.7", 50_000)


class Outcome(NamedTuple):
    """The status of an answer; CLOSED where the server gave none, WAITED where it wants more.

    `fault` says what no server may send: bytes that are no answer, or what an agent must not reach
    a caller with.
    """

    status: int
    head: bytes
    fault: str = ""


CLOSED = 0
WAITED = 1
SWITCHED = 101


class _Socket(socket.socket):
    def getpeername(self) -> Any:
        return PEER

    def getsockname(self) -> Any:
        return ("192.0.2.1", 80)


_SOCKET = _Socket()


class Wire(asyncio.Transport):
    """The server's side of a connection, and the caller's in one."""

    def __init__(
        self, make: Callable[[], asyncio.BaseProtocol], method: bytes, never: Sequence[bytes]
    ) -> None:
        super().__init__()
        self._method = method
        self._never = never
        self._loop = asyncio.get_running_loop()
        self._unread: list[bytes] = []
        self._reading = True
        self._closing = self._lost = False
        self._head = b""
        self._body: http1.Body | None = None
        self.fault = ""
        self._switched = False
        self.outcome: asyncio.Future[Outcome] = self._loop.create_future()
        self._protocol: Any = make()
        self._protocol.connection_made(self)

    # -- the caller

    def feed(self, parts: Sequence[bytes]) -> None:
        """Send a request in parts."""
        for part in parts:
            self._unread.append(part)
            self._deliver()

    def hang_up(self) -> None:
        """Be gone."""
        if not self._lost:
            self._lost = self._closing = True
            self._protocol.connection_lost(None)

    def end_sending(self) -> None:
        """Say nothing more, and read on."""
        if not self._closing and not self._protocol.eof_received():
            self.close()

    def _deliver(self) -> None:
        while self._unread and self._reading and not self._closing:
            self._protocol.data_received(self._unread.pop(0))

    def _settle(self, status: int) -> None:
        if not self.outcome.done():
            self.outcome.set_result(Outcome(status, self._head))

    def _take(self, data: bytes) -> None:
        """Read what the server sends; its own reader of an answer may not meet our refusal."""
        if self._switched or self.fault:
            return
        try:
            self._read(data)
        except http1.MalformedError as error:
            self.fault = f"no answer of a server: {error}: {(self._head + data)[:400]!r}"
            self._settle(CLOSED)

    def _read(self, data: bytes) -> None:
        if self._body is None:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            head, data = self._head[: end + 4], self._head[end + 4 :]
            response = http1.parse_response(head, method=self._method)
            if response.status < 200 and response.status != 101:
                self._head = b""
                self._read(data)
                return
            self._head = head
            self._switched = response.status == 101
            if any(text in head for text in self._never):
                self.fault = f"what an agent may not send: {head[:400]!r}"
            self._body = http1.Body(response.length)
            kind = http1.first(response.headers, b"content-type")
            if kind.startswith(b"text/event-stream") or response.status == 101:
                self._settle(response.status)
        if data and not self._body.ended:
            data = data[self._body.take(data) :]
        if self._body.ended:
            self._settle(int(self._head[9:12]))
            if data and SMUGGLED in data:
                self.fault = f"a second answer that an agent made: {data[:400]!r}"

    # -- the server

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol  # type: ignore[no-any-return]

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        known = {"peername": PEER, "sockname": ("192.0.2.1", 80), "socket": _SOCKET}
        return known.get(name, default)

    def write(self, data: Any) -> None:
        if not self._closing:
            self._take(bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._settle(int(self._head[9:12]) if self._body is not None else CLOSED)
            self._loop.call_soon(self._end)

    def _end(self) -> None:
        if not self._lost:
            self._lost = True
            self._protocol.connection_lost(None)

    abort = close

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        pass

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        if not self._reading:
            self._reading = True
            self._loop.call_soon(self._deliver)

    def is_reading(self) -> bool:
        return self._reading

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass


def starved_s() -> float:
    """Return how many seconds this thread has waited for a core, as Linux counts it."""
    return int(Path("/proc/thread-self/schedstat").read_text("ascii").split()[1]) / 1e9


async def _within(limit_s: float, outcome: asyncio.Future[Outcome]) -> Outcome:
    """Return the outcome; raise TimeoutError after so many seconds in which there was a core.

    A campaign at a low priority on a full machine gets a fiftieth of one: that is no server's hang.
    """
    loop = asyncio.get_running_loop()
    ends_s = loop.time() + limit_s - starved_s()
    while (left_s := ends_s + starved_s() - loop.time()) > 0:
        with suppress(TimeoutError):
            async with asyncio.timeout(left_s):
                return await asyncio.shield(outcome)
    raise TimeoutError


async def _go_on(wire: Wire) -> None:
    """Let both sides of a WebSocket speak for a while, then end one direction."""
    for _ in range(TURNS_MAX):
        await asyncio.sleep(0)
    wire.end_sending()
    await asyncio.sleep(0)


async def ask(
    make: Callable[[], asyncio.BaseProtocol],
    parts: Sequence[bytes],
    method: bytes,
    *,
    may_wait: bool,
    limit_s: float,
    never: Sequence[bytes] = (),
) -> Outcome:
    """Return how a server answers a request; raise TimeoutError where it neither does nor waits.

    A head with a text of `never` is a fault.
    """
    wire = Wire(make, method, never)
    try:
        wire.feed(parts)
        if may_wait:
            for _ in range(TURNS_MAX):
                if wire.outcome.done():
                    break
                await asyncio.sleep(0)
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.02):
                        outcome = await asyncio.shield(wire.outcome)
                        return outcome._replace(fault=wire.fault)
                return Outcome(WAITED, b"", wire.fault)
        outcome = await _within(limit_s, wire.outcome)
        if outcome.status == SWITCHED:
            await _go_on(wire)
        return outcome._replace(fault=wire.fault)
    finally:
        wire.hang_up()

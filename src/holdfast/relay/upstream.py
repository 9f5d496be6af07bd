"""Connections to a server: each carries one exchange at a time, and a few spare ones are kept."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

from holdfast.relay import http1
from holdfast.relay.limits import Limits
from holdfast.wire.address import Address


class Carried(Protocol):
    """A request and its answer, as the connection to the server needs them."""

    request: http1.Request

    @property
    def answer(self) -> http1.Body | None:
        """Return the framing of the answer, once known."""
        ...

    def head(self, response: http1.Response) -> None:
        """Receive a head of the answer."""
        ...

    def data(self, data: bytes) -> None:
        """Receive a piece of the answer."""
        ...

    def ended(self, *, reusable: bool) -> None:
        """Handle the end of the answer."""
        ...

    def failed(self, *, unheard: bool = False) -> None:
        """Handle the loss of the connection; `unheard` before any answer."""
        ...

    def slow(self, *, server_is: bool) -> None:
        """Begin or end back pressure from the server."""
        ...


class Upstream(asyncio.Protocol):
    """One connection to the server."""

    def __init__(self, owner: Pool) -> None:
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._exchange: Carried | None = None
        self._buffer = b""
        self._keeps = False
        self._heads = 0
        self.gone = False
        self.since_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)
        self._owner.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the exchange: successfully if the end of the connection is its end."""
        self.gone = True
        self._owner.closed(self)
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            return
        answer = exchange.answer
        if answer is not None and answer.until_close and exc is None:
            exchange.ended(reusable=False)
        else:
            exchange.failed(unheard=not self._buffer)

    def data_received(self, data: bytes) -> None:
        """Pass on the data of the answer under way; any other ends the connection."""
        exchange = self._exchange
        if exchange is None:
            self.abort()
            return
        try:
            if exchange.answer is None:
                self._buffer += data
                data = self._take_heads(exchange)
            if data and exchange.answer is not None:
                self._take_body(exchange, exchange.answer, data)
            elif exchange.answer is not None and exchange.answer.ended:
                self._end(exchange)
        except http1.MalformedError:
            self._exchange = None
            self.abort()
            exchange.failed()

    def pause_writing(self) -> None:
        """Pass on back pressure to the caller."""
        if self._exchange is not None:
            self._exchange.slow(server_is=True)

    def resume_writing(self) -> None:
        """Pass on the end of back pressure."""
        if self._exchange is not None:
            self._exchange.slow(server_is=False)

    def _take_heads(self, exchange: Carried) -> bytes:
        """Pass on each complete head; return what follows the final one."""
        while exchange.answer is None:
            end = self._buffer.find(b"\r\n\r\n")
            if max(end, len(self._buffer) if end < 0 else 0) > self._owner.limits.head_bytes:
                raise http1.MalformedError("the head of the answer is too large")
            if end < 0:
                return b""
            head, self._buffer = self._buffer[: end + 4], self._buffer[end + 4 :]
            self._heads += 1
            if self._heads > self._owner.limits.answer_heads:
                raise http1.MalformedError("too many answers before the answer")
            response = http1.parse_response(head, method=exchange.request.method)
            exchange.head(response)
            self._keeps = http1.keeps_alive(response.minor, response.headers)
        rest, self._buffer = self._buffer, b""
        return rest

    def _take_body(self, exchange: Carried, answer: http1.Body, data: bytes) -> None:
        used = 0 if answer.ended else answer.take(data)
        if used:
            exchange.data(data if used == len(data) else data[:used])
        if answer.ended:
            self._keeps = self._keeps and used == len(data)
            self._end(exchange)

    def _end(self, exchange: Carried) -> None:
        self._exchange = None
        exchange.ended(reusable=self._keeps)

    def carry(self, exchange: Carried) -> None:
        """Carry an exchange from now on."""
        self._exchange = exchange
        self._keeps = False
        self._heads = 0

    def drop(self) -> None:
        """Detach from the exchange."""
        self._exchange = None
        self.resume()

    def write(self, data: bytes) -> None:
        """Send to the server."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def pause(self) -> None:
        """Pause reading."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        """Resume reading."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def abort(self) -> None:
        """Close now."""
        if self._transport is not None:
            self._transport.abort()


class Pool:
    """All connections to one server, including the spare ones."""

    def __init__(self, address: Address, limits: Limits, time: Callable[[], float]) -> None:
        """Connect to `address` only; `time` is the loop's, in seconds."""
        self._address = address
        self.limits = limits
        self._time = time
        self._open: set[Upstream] = set()
        self._spare: deque[Upstream] = deque()
        self._dialling = 0

    def __len__(self) -> int:
        return len(self._open)

    @property
    def full(self) -> bool:
        """Return whether another one would exceed the limit."""
        return len(self._open) + self._dialling >= self.limits.upstreams

    @property
    def used(self) -> bool:
        """Return whether there is a connection, or one is being made."""
        return bool(self._open) or self._dialling > 0

    async def dial(self) -> Upstream:
        """Return a new connection; raise OSError."""
        loop = asyncio.get_running_loop()
        self._dialling += 1
        try:
            _transport, side = await loop.create_connection(lambda: Upstream(self), *self._address)
        finally:
            self._dialling -= 1
        return side

    def take(self) -> Upstream | None:
        """Return the spare connection that was used last, or None."""
        newest_first = self._time() - self.limits.spare_s
        while self._spare:
            side = self._spare.pop()
            if not side.gone and side.since_s > newest_first:
                return side
            side.abort()
        return None

    def give_back(self, side: Upstream, *, reusable: bool) -> None:
        """Keep a connection for the next exchange, or close it."""
        side.drop()
        if not reusable or side.gone or len(self._spare) >= self.limits.spare:
            side.abort()
            return
        side.since_s = self._time()
        self._spare.append(side)

    def opened(self, side: Upstream) -> None:
        """Count a connection."""
        self._open.add(side)

    def closed(self, side: Upstream) -> None:
        """Remove it from the count."""
        self._open.discard(side)

    def look(self) -> None:
        """Close spare ones that were idle for too long."""
        oldest = self._time() - self.limits.spare_s
        while self._spare and (self._spare[0].gone or self._spare[0].since_s <= oldest):
            self._spare.popleft().abort()

    def close(self) -> None:
        """Close every connection."""
        self._spare.clear()
        for side in list(self._open):
            side.abort()


class Pools:
    """Connections to many servers; a server without any costs nothing."""

    def __init__(self, limits: Limits, time: Callable[[], float]) -> None:
        self._limits = limits
        self._time = time
        self._pools: dict[Address, Pool] = {}

    def __len__(self) -> int:
        return sum(len(pool) for pool in self._pools.values())

    def of(self, address: Address) -> Pool:
        """Return the connections to one server."""
        pool = self._pools.get(address)
        if pool is None:
            pool = self._pools[address] = Pool(address, self._limits, self._time)
        return pool

    def look(self) -> None:
        """Close spare ones that were idle for too long, and drop empty pools."""
        for address, pool in list(self._pools.items()):
            pool.look()
            if not pool.used:
                del self._pools[address]

    def close(self) -> None:
        """Close every connection."""
        for pool in self._pools.values():
            pool.close()

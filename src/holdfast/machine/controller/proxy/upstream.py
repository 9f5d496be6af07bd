"""The connections to the agent: one carries one exchange at a time, and a few wait for the next."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import cast

from holdfast.machine.controller.proxy import limits
from holdfast.machine.controller.proxy.ports import Carried
from holdfast.relay import http1


class AgentSide(asyncio.Protocol):
    """One connection to the agent."""

    def __init__(self, owner: AgentSides) -> None:
        """Belong to `owner`, which counts it."""
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._exchange: Carried | None = None
        self._buffer = b""
        self._keeps = False
        self.gone = False
        self.since_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)
        self._owner.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End what is carried: as it should where the end of the connection is its end."""
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
        """Pass on what belongs to the answer under way; anything else ends the connection."""
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
        """Have the caller slow down."""
        if self._exchange is not None:
            self._exchange.slow(agent_is=True)

    def resume_writing(self) -> None:
        """Let the caller go on."""
        if self._exchange is not None:
            self._exchange.slow(agent_is=False)

    def _take_heads(self, exchange: Carried) -> bytes:
        """Pass on each head that is complete; return what follows the final one."""
        while exchange.answer is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > limits.HEAD_BYTES_MAX:
                    raise http1.MalformedError("the head of the answer is too large")
                return b""
            head, self._buffer = self._buffer[: end + 4], self._buffer[end + 4 :]
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

    def drop(self) -> None:
        """Carry nothing any more."""
        self._exchange = None
        self.resume()

    def write(self, data: bytes) -> None:
        """Send to the agent."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def pause(self) -> None:
        """Read no further."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def abort(self) -> None:
        """Close now."""
        if self._transport is not None:
            self._transport.abort()


class AgentSides:
    """Every connection to the agent, and which of them are spare."""

    def __init__(self, address: tuple[str, int], time: Callable[[], float]) -> None:
        """Dial `address`; `time` is the loop's, in seconds."""
        self._address = address
        self._time = time
        self._open: set[AgentSide] = set()
        self._spare: deque[AgentSide] = deque()

    def __len__(self) -> int:
        return len(self._open)

    @property
    def full(self) -> bool:
        """Return whether another one would be one too many."""
        return len(self._open) >= limits.AGENT_CONNECTIONS_MAX

    async def dial(self) -> AgentSide:
        """Return a new connection; raise OSError."""
        loop = asyncio.get_running_loop()
        _transport, side = await loop.create_connection(lambda: AgentSide(self), *self._address)
        return side

    def take(self) -> AgentSide | None:
        """Return the spare connection that was used last, or None."""
        newest_first = self._time() - limits.SPARE_S
        while self._spare:
            side = self._spare.pop()
            if not side.gone and side.since_s > newest_first:
                return side
            side.abort()
        return None

    def give_back(self, side: AgentSide, *, reusable: bool) -> None:
        """Keep a connection for the next exchange, or close it."""
        side.drop()
        if not reusable or side.gone or len(self._spare) >= limits.SPARE_MAX:
            side.abort()
            return
        side.since_s = self._time()
        self._spare.append(side)

    def opened(self, side: AgentSide) -> None:
        """Count a connection."""
        self._open.add(side)

    def closed(self, side: AgentSide) -> None:
        """Count it no more."""
        self._open.discard(side)

    def look(self) -> None:
        """Close the spare ones that have waited for too long."""
        oldest = self._time() - limits.SPARE_S
        while self._spare and (self._spare[0].gone or self._spare[0].since_s <= oldest):
            self._spare.popleft().abort()

    def close(self) -> None:
        """Close every connection."""
        self._spare.clear()
        for side in list(self._open):
            side.abort()

"""One connection to the edge, bounded before there is a request and after its answer.

Uvicorn bounds neither the head of a request nor the time it may take, nor what is still sent after
an answer: without an account, a caller could fill the memory with one endless header, or hold
every descriptor with connections that say nothing. Bodies are bounded where they are read, by the
edge. It must never touch a request that keeps within the bounds.
"""

from __future__ import annotations

import asyncio
from typing import Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES_MAX: Final = 65_536
"""Bytes of a request line with its headers; ours take less than 2 KiB, a browser's with cookies
rarely more than 8."""

HEAD_S: Final = 15.0
"""How long a caller may take to send them, in seconds, also the first after connecting."""

LEFT_BYTES_MAX: Final = 2 * 1_048_576
"""Bytes that are taken in and thrown away after an answer: whoever was refused before the body
was read shall read the refusal, and the largest body is half of this."""


class BoundedConnection(HttpToolsProtocol):
    """Uvicorn's protocol, which closes a connection that sends too much or says nothing."""

    head_s = HEAD_S

    _in_head = True
    _head_bytes = 0
    _field_bytes = 0
    _left_bytes = 0
    _newest = b""
    _given_away = False
    _limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._wait_no_more()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes in, and count those that belong to no request that is being served."""
        if self.transport.is_closing():
            return
        self._newest = self._newest[-3:] + data
        was_in_head = self._in_head
        super().data_received(data)
        if self._given_away:
            return
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

    def handle_websocket_upgrade(self) -> None:
        """Give the connection away, with what was sent after the head: uvicorn would lose that."""
        self._given_away = True
        early = self._newest.partition(b"\r\n\r\n")[2]
        super().handle_websocket_upgrade()
        if early:
            cast("asyncio.Protocol", self.transport.get_protocol()).data_received(early)

    def on_message_begin(self) -> None:
        """Begin a head."""
        self._in_head = True
        self._field_bytes = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header in, or a trailer; raise ValueError, which uvicorn answers by 400."""
        self._field_bytes += len(name) + len(value)
        if self._field_bytes > HEAD_BYTES_MAX:
            message = "headers or trailers are too large"
            raise ValueError(message)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """End a head: from here the edge looks after the request."""
        self._in_head = False
        self._head_bytes = self._left_bytes = 0
        self._wait_no_more()
        super().on_headers_complete()

    def _is_serving(self) -> bool:
        """Return whether what arrives belongs to a request that has no answer yet."""
        return not self._in_head and self._is_answering()

    def _is_answering(self) -> bool:
        """Return whether a request waits for the rest of its answer; before the first none does."""
        begun = self.cycle is not None  # pyright: ignore[reportUnnecessaryComparison]
        return begun and not self.cycle.response_complete

    def _wait(self) -> None:
        self._limit = self.loop.call_later(self.head_s, self._waited)

    def _wait_no_more(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def _waited(self) -> None:
        """Close, unless a request is being answered, or rests and uvicorn looks after it."""
        self._limit = None
        if self._is_answering():
            if self._in_head:
                self._wait()
        elif self._in_head or self.timeout_keep_alive_task is None:
            self.transport.close()

"""One control request, passed to the routes as if it had its own connection.

The routes are aiohttp's, whose protocol requires a transport. This one writes to the caller's
connection and, when closed, frees the connection for the next request.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from holdfast.machine.controller.limits import LINE_BYTES_MAX
from holdfast.relay import http1
from holdfast.relay.downstream import Downstream

ROUTES_READ: Final = (
    b"host", b"authorization", b"content-type", b"content-length", b"transfer-encoding", b"expect",
    b"if-match",
)  # fmt: skip
"""The headers of a control request that the routes' own HTTP library is given: all they read."""

_METHODS: Final = frozenset(
    {b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE"}
)
_TARGET: Final = re.compile(rb"(?:[!-$&-~]|%[0-9A-Fa-f]{2})+")
_VALUE: Final = re.compile(rb"[\t -~]*")


def head_for_routes(request: http1.Request) -> tuple[bytes, str]:
    """Return the head of a control request for the routes' library, or why there is none.

    That library has a parser of its own, which writes a traceback with the request in it where
    the two do not agree. So it is given a head that both read alike, with what routes read alone.
    """
    if request.method not in _METHODS:
        return b"", "no route takes this method"
    if _TARGET.fullmatch(request.target) is None or len(request.target) > LINE_BYTES_MAX:
        return b"", f"the target must be ASCII, percent-encoded, of at most {LINE_BYTES_MAX} bytes"
    kept: http1.Headers = []
    for name in ROUTES_READ:
        given = http1.values(request.headers, name)
        if len(given) > 1 or any(len(value) > LINE_BYTES_MAX for value in given):
            return b"", f"{name.decode()} is given once, in at most {LINE_BYTES_MAX} bytes"
        for value in given:
            if name == b"authorization" and _VALUE.fullmatch(value) is None:
                continue  # it is no token of ours, and is answered like any other wrong one
            if _VALUE.fullmatch(value) is None:
                return b"", f"{name.decode()} must be ASCII"
            if name == b"expect" and value.lower() != b"100-continue":
                return b"", "expect can be 100-continue alone"
            kept.append((name, value))
    return http1.write_request(request, kept), ""


class Handler(Protocol):
    """The part of aiohttp's protocol that is used."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Attach the transport."""
        ...

    def connection_lost(self, exc: BaseException | None) -> None:
        """Cancel what is under way."""
        ...

    def data_received(self, data: bytes) -> None:
        """Receive bytes."""
        ...

    def pause_writing(self) -> None:
        """Pause writing."""
        ...

    def resume_writing(self) -> None:
        """Resume writing."""
        ...

    def close(self) -> None:
        """Close the transport once the received requests are answered."""
        ...


class Control(asyncio.Transport):
    """The transport of one control request."""

    def __init__(self, downstream: Downstream, make: Callable[[], Handler]) -> None:
        super().__init__()
        self._downstream = downstream
        self._handler = make()
        self._over = False

    def begin(self, head: bytes) -> None:
        """Pass the head on."""
        self._handler.connection_made(self)
        if self._downstream.slow:
            self._handler.pause_writing()
        self._handler.data_received(head)
        if self._downstream.asked:
            self.body_ended()

    def body(self, data: bytes) -> None:
        """Pass on a piece of the body."""
        if not self._over:
            self._handler.data_received(data)

    def body_ended(self) -> None:
        """End the body: the transport is closed after the answer."""
        if not self._over:
            self._handler.close()

    def overdue(self) -> None:
        """Abort a request whose caller stalls."""
        self._downstream.abort()

    def lost(self) -> None:
        """End, because the caller is gone."""
        if not self._over:
            self._over = True
            # Not at once: aiohttp starts in a task, which fails if the connection is lost before.
            asyncio.get_running_loop().call_soon(self._handler.connection_lost, None)

    def pause_writing(self) -> None:
        """Pass on back pressure from the caller."""
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        """Pass on the end of back pressure."""
        self._handler.resume_writing()

    # ------------------------------------------------------- what aiohttp sees of a connection

    def write(self, data: bytes | bytearray | memoryview[int]) -> None:
        """Send to the caller."""
        if not self._over:
            self._downstream.write(bytes(data))

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview[int]]) -> None:
        """Send several pieces to the caller."""
        self.write(b"".join(list_of_data))

    def close(self) -> None:
        """End the exchange; the caller's connection stays open."""
        if self._over:
            return
        self._over = True
        asyncio.get_running_loop().call_soon(self._handler.connection_lost, None)
        self._downstream.answered()

    def abort(self) -> None:
        """End the exchange and the connection."""
        self._downstream.abort()

    def is_closing(self) -> bool:
        """Return whether nothing can be sent any more."""
        return self._over or self._downstream.closing

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return information about the caller's connection."""
        return self._downstream.peer_info(name, default)

    def pause_reading(self) -> None:
        """Pause reading the body."""
        self._downstream.block()

    def resume_reading(self) -> None:
        """Resume reading the body."""
        self._downstream.unblock()

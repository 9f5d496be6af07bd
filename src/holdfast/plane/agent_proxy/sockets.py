"""WebSockets between a browser and its agent: the upgrade decided here, then raw bytes.

The server hands over the whole connection with the head it read, so no library of frames is
needed and none can differ with the agent about them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, Final, cast

from holdfast.kernel.log import Log
from holdfast.plane.agent_proxy import headers, pages
from holdfast.plane.agent_proxy.access import RESERVED, Door, Passage
from holdfast.plane.agent_proxy.open_sockets import Live, Shares, Tally
from holdfast.plane.agent_proxy.pages import Notice
from holdfast.plane.edge.auth import Network, find_caller
from holdfast.relay import http1
from holdfast.relay.tunnel import Bounds, Tunnels

BOUNDS: Final = Bounds(most=2_000, handshake_s=10.0)
SHARES: Final = Shares(each=100, account=1_000, total=BOUNDS.most)
"""WebSockets at once; an agent's controller takes no more than its hundred either."""

EARLY_BYTES_MAX: Final = 65_536
HEAD_BYTES_MAX: Final = 65_536
_BUSY: Final = Notice(503, "busy", "Too many connections", "Try again later.", again_s=5)


class AgentSockets:
    """Makes a protocol for each upgrade, and ends them all."""

    def __init__(self, door: Door, live: Live, *, trusted: Sequence[Network], log: Log) -> None:
        """Decide by `door`, and have `live` end what may not stay."""
        self.door = door
        self.live = live
        self.log = log
        self.trusted = tuple(trusted)
        self.tunnels = Tunnels(BOUNDS)
        self.tally = Tally(SHARES)
        self.asking: set[asyncio.Task[None]] = set()

    def __call__(self, config: Any, server_state: Any, app_state: Any) -> Upgrade:
        """Return the protocol of one upgrade, as uvicorn makes them."""
        del config, server_state, app_state
        return Upgrade(self)

    async def close(self, grace_s: float) -> None:
        """End every one."""
        for task in list(self.asking):
            task.cancel()
        await asyncio.gather(*self.asking, return_exceptions=True)
        await self.tunnels.close(grace_s)


class Upgrade(asyncio.Protocol):
    """One connection from its upgrade until it is refused or passed on."""

    def __init__(self, owner: AgentSockets) -> None:
        """Belong to `owner`."""
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._asked: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Ask no further."""
        del exc
        if self._asked is not None:
            self._asked.cancel()

    def data_received(self, data: bytes) -> None:
        """Take the head, then keep what comes early."""
        assert self._transport is not None
        self._received += data
        if self._asked is None:
            end = self._received.find(b"\r\n\r\n")
            if end >= 0:
                head, self._received = self._received[: end + 4], self._received[end + 4 :]
                self._asked = asyncio.ensure_future(self._ask(head))
                self._owner.asking.add(self._asked)
                self._asked.add_done_callback(self._owner.asking.discard)
            elif len(self._received) > HEAD_BYTES_MAX:
                self._transport.abort()
        if len(self._received) > EARLY_BYTES_MAX:
            self._transport.pause_reading()

    async def _ask(self, head: bytes) -> None:
        """Decide, then refuse or pass on."""
        assert self._transport is not None
        try:
            await self._decide(head)
        except http1.MalformedError as error:
            text = f"The request is malformed: {error}."
            self._refuse(Notice(400, "malformed_request", "Bad request", text))
        except Exception as error:
            self._owner.log.error("agent_door.failed", exc_info=error)  # noqa: TRY400  structlog
            self._transport.abort()

    async def _decide(self, head: bytes) -> None:
        assert self._transport is not None
        owner, request = self._owner, http1.parse_request(head)
        header = {n.decode("latin-1"): v.decode("latin-1") for n, v in request.headers}
        header["cookie"] = b"; ".join(http1.values(request.headers, b"cookie")).decode("latin-1")
        name = self._transport.get_extra_info("peername")
        scheme = "https" if self._transport.get_extra_info("sslcontext") else "http"
        caller = find_caller(str(name[0]) if name else "", scheme, header, owner.trusted)
        instance_id = owner.door.hosts.instance(caller.host)
        origin = f"{'https' if caller.secure else 'http'}://{caller.host.lower()}"
        if not instance_id or not http1.is_websocket(request):
            self._refuse(pages.missing(("", "")))
        elif request.path.startswith(RESERVED):
            self._refuse(pages.reserved())
        elif not headers.is_own(request.method.decode(), header, origin=origin, socket=True):
            self._refuse(pages.foreign())
        else:
            passage = await owner.door.admit(instance_id, header)
            if isinstance(passage, Notice):
                self._refuse(passage)
            elif owner.tunnels.full or owner.tally.full(passage):
                self._refuse(_BUSY)
            else:
                self._pass(passage, request)

    def _pass(self, passage: Passage, request: http1.Request) -> None:
        """Give the connection to a tunnel."""
        assert self._transport is not None
        if self._transport.is_closing():
            return
        host, _, port = passage.place.address.rpartition(":")
        sent = headers.to_agent(
            request.headers, host=passage.place.address.encode(), token=passage.place.token.encode()
        )
        sent += [(b"connection", b"Upgrade"), (b"upgrade", b"websocket")]
        forgets: list[Callable[[], None]] = []
        owner = self._owner

        def ended() -> None:
            owner.tally.leave(passage)
            for forget in forgets:
                forget()

        tunnel = owner.tunnels.start(
            self._transport,
            address=(host.strip("[]"), int(port)),
            head=http1.write_head(b"GET %b HTTP/1.1" % request.target, sent),
            early=self._received,
            refusal=lambda _status: _raw(pages.no_route(("", ""))),
            answer=lambda response: headers.from_agent(response.headers),
            on_end=ended,
        )
        owner.tally.enter(passage)
        forgets.append(owner.live.add(passage.signed, tunnel.close))
        if len(self._received) > EARLY_BYTES_MAX:
            self._transport.resume_reading()

    def _refuse(self, notice: Notice) -> None:
        assert self._transport is not None
        self._transport.write(_raw(notice))
        self._transport.close()


def _raw(notice: Notice) -> bytes:
    """Return a whole answer for a program, after which the connection is closed."""
    status, found, body = pages.answer(notice, {})
    line = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode()
    return http1.write_head(line, [*found, (b"connection", b"close")]) + body

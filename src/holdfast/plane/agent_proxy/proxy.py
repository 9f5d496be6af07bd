"""The proxy between browsers and agents: connections to an agent's host, HTTP and WebSocket.

The edge hands a whole connection over when a request on it is for an agent's host, and gets it back
when one is for another. So one strict parser reads requests for agents, and their bytes are passed
on unchanged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, cast

from starlette.types import Scope

from holdfast.kernel.log import Log
from holdfast.plane.agent_proxy.access import AgentAccess
from holdfast.plane.agent_proxy.open_sockets import Live, Shares, Tally
from holdfast.plane.agent_proxy.pages import Notice
from holdfast.plane.agent_proxy.request import Visit, header_of, write_notice
from holdfast.plane.edge.auth import Caller, Network, find_caller
from holdfast.plane.edge.connection import Guest
from holdfast.relay import http1
from holdfast.relay.downstream import Downstream
from holdfast.relay.limits import Limits
from holdfast.relay.peers import Peers
from holdfast.relay.server import Server
from holdfast.relay.tunnel import Bounds, Tunnels
from holdfast.relay.upstream import Pools

CONNECT_S: Final = 5.0
"""Connect timeout of a controller."""

SILENCE_S: Final = 330.0
"""Read timeout of a controller: a little longer than its own for its agent."""

SPARE_S: Final = 15.0
"""How long a connection to a controller is kept; controllers keep theirs for 75 s."""

LIMITS: Final = Limits(
    connect_s=CONNECT_S, answer_s=SILENCE_S, silence_s=SILENCE_S, spare_s=SPARE_S
)

SHARES: Final = Shares(each=64, account=256, total=512)
"""Concurrent requests."""

BOUNDS: Final = Bounds(most=2_000, handshake_s=10.0)
SOCKET_SHARES: Final = Shares(each=100, account=1_000, total=BOUNDS.most)
"""Concurrent WebSockets; an agent's controller allows a hundred."""


class AgentProxy(Server):
    """Takes over connections to agents' hosts."""

    def __init__(
        self,
        access: AgentAccess,
        live: Live,
        *,
        peers: Peers,
        trusted: Sequence[Network],
        log: Log,
    ) -> None:
        """Decide by `access`, and have `live` end what may not stay.

        `peers` counts the edge's connections too.
        """
        super().__init__(LIMITS, peers)
        self.access = access
        self.live = live
        self.log = log
        self.requests = Tally(SHARES)
        self.sockets = Tally(SOCKET_SHARES)
        self.tunnels = Tunnels(BOUNDS)
        self.pools = Pools(self.limits, self.time)
        self._trusted = tuple(trusted)
        self._domain = access.hosts.domain.encode()

    # ------------------------------------------------------------------ called by the edge

    def claims(self, head: bytes, transport: asyncio.BaseTransport) -> bool:
        """Return whether a request is for an agent's host, or is malformed and may be for one."""
        if self._domain not in head.lower():
            return False
        try:
            request = http1.parse_request(head)
        except http1.MalformedError:
            return True
        return self.access.hosts.ours(self._find_caller(header_of(request.headers), transport).host)

    def is_for_agents(self, scope: Scope) -> bool:
        """Return whether a request that reached the edge is for an agent's host."""
        headers = [(name.lower(), value) for name, value in scope["headers"]]
        if not self._trusted:  # then only `Host` counts, and every request was checked by `claims`
            return self.access.hosts.ours(http1.first(headers, b"host").decode("latin-1"))
        client = scope.get("client")
        peer, scheme = client[0] if client else "", scope.get("scheme", "http")
        caller = find_caller(peer, scheme, header_of(headers), self._trusted)
        return self.access.hosts.ours(caller.host)

    def take_over(self, guest: Guest) -> None:
        """Serve a connection until a request on it is for another host."""
        downstream = _AgentDownstream(self, guest)
        guest.transport.set_protocol(downstream)
        downstream.connection_made(guest.transport)
        downstream.slow = guest.slow
        downstream.data_received(guest.received)

    # ------------------------------------------------------------------ called by the relay

    def begin(self, downstream: Downstream, request: http1.Request) -> None:
        """Begin a request, or give the connection back to the edge."""
        downstream = cast("_AgentDownstream", downstream)
        header = header_of(request.headers)
        caller = self._find_caller(header, downstream.guest.transport)
        if self.access.hosts.ours(caller.host):
            Visit(self, downstream, request, header, caller).begin()
        else:
            transport, early = downstream.give_away()
            head = http1.write_request(request, request.headers)
            downstream.guest.back(transport, head + early)

    def problem(self, status: int, error: str, code: str, *, bare: bool = False) -> bytes:
        """Return the answer to a request that cannot be served."""
        return write_notice(Notice(status, code, error, ""), {}, close=True, bare=bare)

    def look(self) -> bool:
        """Close spare connections that were idle for too long."""
        self.pools.look()
        return len(self.pools) > 0

    async def close(self, grace_s: float) -> None:
        """End everything within `grace_s`."""
        self.closing = True
        await asyncio.gather(self.tunnels.close(grace_s), super().close(grace_s))
        self.pools.close()

    def _find_caller(self, header: Mapping[str, str], transport: asyncio.BaseTransport) -> Caller:
        name = transport.get_extra_info("peername")
        scheme = "https" if transport.get_extra_info("sslcontext") else "http"
        peer = str(name[0]) if isinstance(name, tuple) else ""
        return find_caller(peer, scheme, header, self._trusted)


class _AgentDownstream(Downstream):
    """A connection handed over by the edge."""

    def __init__(self, server: AgentProxy, guest: Guest) -> None:
        super().__init__(server)
        self.guest = guest

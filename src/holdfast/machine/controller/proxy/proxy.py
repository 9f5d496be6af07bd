"""The proxy: admission, the agent's address, open connections and shutdown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from typing import Final

from holdfast.machine.controller.health_listener import HEALTH_PATHS
from holdfast.machine.controller.proxy import answers
from holdfast.machine.controller.proxy.control import Control, Handler, head_for_routes
from holdfast.machine.controller.proxy.location import own_paths
from holdfast.machine.controller.proxy.proofs import HeldBack, Proofs
from holdfast.machine.controller.settings import Proxying
from holdfast.relay import http1
from holdfast.relay.downstream import Downstream
from holdfast.relay.exchange import Exchange, Rules
from holdfast.relay.limits import Limits
from holdfast.relay.server import Server
from holdfast.relay.tunnel import Bounds, Tunnels
from holdfast.relay.upstream import Pool
from holdfast.wire.address import Address
from holdfast.wire.controller.endpoint import PREFIXES

_PREFIXES: Final = tuple(prefix.encode() for prefix in PREFIXES)
_HEALTH: Final = frozenset(path.encode() for path in HEALTH_PATHS)
_WITHOUT: Final = http1.FORWARDED | answers.TOKEN_HEADERS


class Proxy(Server):
    """Answers control requests by the routes, and relays the rest to the agent."""

    def __init__(
        self,
        proxying: Proxying,
        *,
        agent: Address,
        ready: Callable[[], bool],
        proofs: Proofs,
        control: Callable[[], Handler],
        limits: Limits | None = None,
    ) -> None:
        """Relay to `agent` while it is `ready()`.

        `proofs` checks tokens; `control` makes the handler of control requests.
        """
        super().__init__(limits or Limits())
        self._proofs = proofs
        self.agents = Pool(agent, self.limits, self.time)
        self.tunnels = Tunnels(
            Bounds(
                most=proxying.sockets_max,
                idle_s=proxying.idle_ms / 1_000,
                handshake_s=proxying.handshake_ms / 1_000,
            )
        )
        self._ready = ready
        self._control = control
        self._agent = agent
        self._host = str(agent).encode()
        self._require_token = proxying.require_token

    def begin(self, downstream: Downstream, request: http1.Request) -> None:
        """Dispatch a request."""
        path = request.path
        is_control = path.startswith(_PREFIXES) or path in _HEALTH
        if not self._trusts(downstream, request, is_control=is_control):
            return
        if is_control:
            self._give_to_routes(downstream, request)
        elif not self._passes(downstream, request):
            return
        elif http1.is_websocket(request):
            self._open_tunnel(downstream, request)
        else:
            self._exchange(downstream, request)

    def _trusts(self, downstream: Downstream, request: http1.Request, *, is_control: bool) -> bool:
        """Return whether to look at a request; refuse one with one wrong token too many."""
        name = downstream.peer_info("peername", None)
        peer = str(name[0]) if isinstance(name, tuple) else ""
        if is_control:
            wait_s = self._proofs.doubt_control(peer, request)
        elif self._require_token:
            wait_s = self._proofs.doubt_proxied(peer, request)
        else:
            wait_s = 0
        if not wait_s:
            return True
        self.totals.refused += 1
        answer = answers.too_many_wrong_proofs(wait_s, bare=request.method == b"HEAD")
        downstream.start(HeldBack(downstream, answer, self._proofs.hold_back), request)
        downstream.block()
        return False

    def _give_to_routes(self, downstream: Downstream, request: http1.Request) -> None:
        """Have the routes answer a request, unless they could not read it."""
        head, why = head_for_routes(request)
        if why:
            self.totals.malformed += 1
            bare = request.method == b"HEAD"
            text = f"Bad Request: {why}"
            answer = answers.problem(400, text, "malformed_request", close=True, bare=bare)
            downstream.reply(answer, request, close=True)
            return
        control = Control(downstream, self._control)
        downstream.start(control, request)
        control.begin(head)

    def problem(self, status: int, error: str, code: str, *, bare: bool = False) -> bytes:
        """Return an answer for a request that cannot be served at all."""
        return answers.problem(status, error, code, close=True, bare=bare)

    def _passes(self, downstream: Downstream, request: http1.Request) -> bool:
        """Return whether a request may go to the agent; answer it if not."""
        socket, bare = http1.is_websocket(request), request.method == b"HEAD"
        close = socket or request.length != 0 or not downstream.keeps_alive
        if not self._admits(request.headers):
            answer = answers.unauthorised(close=close, bare=bare)
        elif not self._ready():
            answer = answers.not_ready(close=close, bare=bare)
        elif socket and self.tunnels.full:
            answer = answers.problem(503, "Too many WebSockets", "busy", close=True)
        elif request.length > self.limits.body_bytes:
            answer = answers.problem(413, "Request body too large", close=True)
        else:
            return True
        self.totals.refused += 1
        if socket:
            self.tunnels.totals.refused += 1
        downstream.reply(answer, request, close=close)
        return False

    def _admits(self, headers: http1.Headers) -> bool:
        """Return whether a request carries the proxy token, if it is required."""
        return not self._require_token or self._proofs.admits(headers)

    def _exchange(self, downstream: Downstream, request: http1.Request) -> None:
        """Relay a request to the agent."""
        self.totals.requests += 1
        headers = self._to_agent(request)
        if not request.minor:
            headers.append((b"connection", b"close"))
        bare = request.method == b"HEAD"
        rules = Rules(
            refusal=lambda status: answers.bad_gateway(status, bare=bare),
            answer=lambda response: own_paths(response.headers, self._agent.port),
        )
        head = http1.write_request(request, headers)
        exchange = Exchange(downstream, self.agents, request, head, rules)
        downstream.start(exchange, request)
        exchange.begin()

    def _to_agent(self, request: http1.Request) -> http1.Headers:
        return http1.move_host(http1.end_to_end(request.headers, without=_WITHOUT), self._host)

    def _open_tunnel(self, downstream: Downstream, request: http1.Request) -> None:
        """Hand over the whole connection: it is a WebSocket from here on."""
        self.totals.requests += 1
        slow = downstream.slow
        client, early, leave = self.hand_over(downstream)
        headers = self._to_agent(request)
        headers += [(b"connection", b"Upgrade"), (b"upgrade", b"websocket")]
        self.tunnels.start(
            client,
            address=self._agent,
            head=http1.write_request(request, headers),
            early=early,
            refusal=answers.bad_gateway,
            answer=lambda response: own_paths(response.headers, self._agent.port),
            on_end=leave,
            slow=slow,
        )

    def look(self) -> bool:
        """Close spare connections that were idle for too long, and log the count of refusals."""
        self._proofs.tick()
        self.agents.look()
        return self.agents.used

    def stats(self) -> dict[str, int]:
        """Return figures of connections and traffic."""
        tunnels = {f"webSocket{k.capitalize()}": v for k, v in asdict(self.tunnels.totals).items()}
        return {
            **asdict(self.totals),
            **tunnels,
            "callers": len(self),
            "agentConnections": len(self.agents),
            "webSockets": len(self.tunnels),
            "webSocketsMax": self.tunnels.bounds.most,
        }

    async def close(self, grace_s: float) -> None:
        """Close everything within `grace_s`: idle connections at once, busy ones once answered."""
        self.closing = True
        await asyncio.gather(self.tunnels.close(grace_s), super().close(grace_s))
        self.agents.close()
        self._proofs.close()

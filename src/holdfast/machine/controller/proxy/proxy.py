"""The proxy as a whole: who may pass, where the agent is, what is open, and the end of it all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict

from holdfast.machine.controller.proxy import answers, limits
from holdfast.machine.controller.proxy.control import Handler
from holdfast.machine.controller.proxy.downstream import Front
from holdfast.machine.controller.proxy.ports import Totals
from holdfast.machine.controller.proxy.upstream import AgentSides
from holdfast.machine.controller.settings import Proxying
from holdfast.relay import http1
from holdfast.relay.tunnel import Bounds, Tunnels


class Proxy:
    """Makes a protocol for each connection that comes in."""

    def __init__(
        self,
        proxying: Proxying,
        *,
        agent: tuple[str, int],
        ready: Callable[[], bool],
        knows: Callable[[bytes], bool],
        control: Callable[[], Handler],
    ) -> None:
        """Pass on to `agent` while it is `ready()`.

        `knows` says whether a proxy token is right; `control` makes what answers control requests.
        """
        self.time = asyncio.get_running_loop().time
        self.ready = ready
        self.control = control
        self.closing = False
        self.totals = Totals()
        self.host = b"%b:%d" % (agent[0].encode(), agent[1])
        self.agents = AgentSides(agent, self.time)
        self.tunnels = Tunnels(
            Bounds(
                most=proxying.sockets_max,
                idle_s=proxying.idle_ms / 1_000,
                handshake_s=proxying.handshake_ms / 1_000,
            )
        )
        self._agent = agent
        self._knows = knows
        self._require_token = proxying.require_token
        self._fronts: set[Front] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._sweep: asyncio.TimerHandle | None = None

    def __call__(self) -> Front:
        """Return the protocol of a new connection."""
        return Front(self)

    def admits(self, headers: http1.Headers) -> bool:
        """Return whether a request shows the proxy token, where that is asked for."""
        if not self._require_token:
            return True
        return any(self._knows(value) for name, value in headers if name in answers.TOKEN_HEADERS)

    def open_tunnel(
        self, client: asyncio.Transport, request: http1.Request, early: bytes, *, slow: bool
    ) -> None:
        """Pass a WebSocket on to the agent; `slow` says that the client is behind with reading."""
        headers = http1.move_host(
            http1.end_to_end(request.headers, without=http1.FORWARDED | answers.TOKEN_HEADERS),
            self.host,
        )
        headers += [(b"connection", b"Upgrade"), (b"upgrade", b"websocket")]
        line = b"%b %b HTTP/1.1" % (request.method, request.target)
        self.tunnels.start(
            client,
            address=self._agent,
            head=http1.write_head(line, headers),
            early=early,
            refusal=answers.bad_gateway,
            slow=slow,
        )

    def enter(self, front: Front) -> bool:
        """Count a connection; return False when it is one too many."""
        if self.closing or len(self._fronts) >= limits.CALLERS_MAX:
            return False
        self._fronts.add(front)
        self._empty.clear()
        if self._sweep is None:
            self._arm()
        return True

    def leave(self, front: Front) -> None:
        """Count a connection no more."""
        self._fronts.discard(front)
        if not self._fronts:
            self._empty.set()

    def stats(self) -> dict[str, int]:
        """Return what is open and what went through."""
        tunnels = {f"webSocket{k.capitalize()}": v for k, v in asdict(self.tunnels.totals).items()}
        return {
            **asdict(self.totals),
            **tunnels,
            "callers": len(self._fronts),
            "agentConnections": len(self.agents),
            "webSockets": len(self.tunnels),
            "webSocketsMax": self.tunnels.bounds.most,
        }

    async def close(self, grace_s: float) -> None:
        """End everything within `grace_s`: what rests at once, what is answered when it is."""
        self.closing = True
        for front in list(self._fronts):
            front.rest()
        await asyncio.gather(self.tunnels.close(grace_s), self._wait_for_callers(grace_s))
        self.agents.close()
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None

    async def _wait_for_callers(self, grace_s: float) -> None:
        try:
            async with asyncio.timeout(grace_s):
                await self._empty.wait()
        except TimeoutError:
            for front in list(self._fronts):
                front.abort()

    def _arm(self) -> None:
        self._sweep = asyncio.get_running_loop().call_later(limits.SWEEP_S, self._look)

    def _look(self) -> None:
        now_s = self.time()
        for front in list(self._fronts):
            front.look(now_s)
        self.agents.look()
        self._sweep = None
        if self._fronts or len(self.agents):
            self._arm()

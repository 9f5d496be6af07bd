"""The public side as a whole: what the server is given in place of the edge alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from holdfast.kernel.log import Log
from holdfast.plane.agent_proxy.access import AgentAccess
from holdfast.plane.agent_proxy.open_sockets import Live
from holdfast.plane.agent_proxy.proxy import AgentProxy
from holdfast.plane.edge.auth import Network
from holdfast.relay.peers import Peers

CLOSE_S: Final = 1.0
"""How long what is open may take to end when the plane stops."""

_ANEW: Final = [(b"content-length", b"0"), (b"connection", b"close")]


class AgentSide:
    """Agents' hosts: requests, sockets, and who may stay."""

    def __init__(
        self, access: AgentAccess, *, peers: Peers, trusted: Sequence[Network], log: Log
    ) -> None:
        """Put the parts together."""
        self.access = access
        self.live = Live(access, log=log)
        self._log = log
        self.proxy = AgentProxy(access, self.live, peers=peers, trusted=trusted, log=log)
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look at who may stay."""
        self._watching = asyncio.get_running_loop().create_task(self.live.watch())
        self._watching.add_done_callback(self._watch_ended)

    def _watch_ended(self, watching: asyncio.Task[None]) -> None:
        """End what nobody looks at any more, and look again, unless we stopped the watch."""
        if watching is not self._watching:
            return
        error = None if watching.cancelled() else watching.exception()
        self._log.error("agent_door.watch_ended", exc_info=error)
        self.live.end_all()
        self.start()

    def release(self) -> None:
        """Begin nothing more and end what is open, so that the plane can stop without waiting."""
        self.proxy.closing = True
        self.live.end_all()

    async def close(self) -> None:
        """End everything."""
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        await self.proxy.close(CLOSE_S)

    def before(self, edge: ASGIApp) -> ASGIApp:
        """Return an application that leaves what is not for agents' hosts to `edge`.

        The connection has given what is for them to the proxy. It cannot where such a request was
        sent ahead behind one for the dashboard: that is refused here (421), and may be sent again.
        """

        async def choose(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and self.proxy.is_for_agents(scope):
                await send({"type": "http.response.start", "status": 421, "headers": _ANEW})
                await send({"type": "http.response.body", "body": b""})
            else:
                await edge(scope, receive, send)

        return choose

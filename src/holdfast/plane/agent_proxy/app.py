"""The agent proxy as one object, wrapped around the edge for the server."""

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
"""How long open connections may take to end when the plane stops."""

_ANEW: Final = [(b"content-length", b"0"), (b"connection", b"close")]


class AgentSide:
    """Agents' hosts: requests, sockets, and the periodic authorisation of open ones."""

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
        """Begin to check open connections."""
        self._watching = asyncio.get_running_loop().create_task(self.live.watch())
        self._watching.add_done_callback(self._watch_ended)

    def _watch_ended(self, watching: asyncio.Task[None]) -> None:
        """End all open connections and restart the watch, unless it was stopped."""
        if watching is not self._watching:
            return
        error = None if watching.cancelled() else watching.exception()
        self._log.error("agent_door.watch_ended", exc_info=error)
        self.live.end_all()
        self.start()

    def release(self) -> None:
        """Begin nothing more and end open connections, so that the plane can stop at once."""
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
        """Return an application that passes requests for other hosts to `edge`.

        The connection has handed requests for agents' hosts to the proxy. It cannot where one was
        pipelined behind a request for the dashboard: that is refused here (421); it can be retried.
        """

        async def choose(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and self.proxy.is_for_agents(scope):
                await send({"type": "http.response.start", "status": 421, "headers": _ANEW})
                await send({"type": "http.response.body", "body": b""})
            else:
                await edge(scope, receive, send)

        return choose

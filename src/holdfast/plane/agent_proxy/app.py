"""The public side as a whole: what the server is given in place of the edge alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from holdfast.kernel.log import Log
from holdfast.plane.agent_proxy.access import Door
from holdfast.plane.agent_proxy.open_sockets import Live
from holdfast.plane.agent_proxy.sockets import AgentSockets
from holdfast.plane.agent_proxy.upstream import AgentHttp
from holdfast.plane.edge.auth import Network

CLOSE_S: Final = 1.0
"""How long WebSockets may take to end when the plane stops."""


class AgentSide:
    """Agents' hosts: requests, sockets, and who may stay."""

    def __init__(self, door: Door, *, trusted: Sequence[Network], log: Log) -> None:
        """Put the parts together."""
        self.door = door
        self.live = Live(door, log=log)
        self._log = log
        self.http = AgentHttp(door, self.live, trusted=trusted, log=log)
        self.sockets = AgentSockets(door, self.live, trusted=trusted, log=log)
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
        """End what is open, so that the server can stop without waiting for it."""
        self.live.end_all()

    async def close(self) -> None:
        """End everything."""
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        await self.sockets.close(CLOSE_S)
        await self.http.close()

    def before(self, edge: ASGIApp) -> ASGIApp:
        """Return an application that answers on agents' hosts, and leaves the rest to `edge`."""
        hosts, http = self.door.hosts, self.http

        async def choose(scope: Scope, receive: Receive, send: Send) -> None:
            ours = scope["type"] == "http" and hosts.ours(http.host_of(scope))
            chosen: ASGIApp = http if ours else edge
            await chosen(scope, receive, send)

        return choose

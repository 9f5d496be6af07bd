"""The machine's only port: the proxy in front, the control routes behind it."""

from __future__ import annotations

import asyncio
import resource
import socket
from dataclasses import replace

from aiohttp import web

from holdfast.kernel.clock import Clock
from holdfast.machine.controller import limits
from holdfast.machine.controller.api.app import PUBLIC, make_app
from holdfast.machine.controller.api.context import Context
from holdfast.machine.controller.proxy.proofs import Proofs
from holdfast.machine.controller.proxy.proxy import Proxy
from holdfast.machine.controller.settings import Proxying
from holdfast.relay.limits import Limits
from holdfast.wire.address import Address


class Doors:
    """The running server, until it is closed."""

    def __init__(self, server: asyncio.Server, proxy: Proxy, runner: web.AppRunner) -> None:
        self._server = server
        self._proxy = proxy
        self._runner = runner

    async def close(self) -> None:
        """Stop accepting and close what is open, within the time limit."""
        self._server.close()
        try:
            await self._proxy.close(limits.CLOSE_TIMEOUT_S)
        finally:
            await self._runner.cleanup()


def _limits(sockets_max: int) -> Limits:
    """Return what the proxy allows: no more callers than there are descriptors for.

    A WebSocket is a connection of its caller too, so there is room for all of them beside others.
    """
    given = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    usual = Limits()
    most = usual.callers + sockets_max
    callers = max(limits.CALLERS_MIN, min(most, given - limits.DESCRIPTORS_RESERVE))
    each = min(usual.callers_each + sockets_max, callers)
    return replace(usual, callers=callers, callers_each=each)


async def open_doors(
    context: Context, listening: socket.socket, proxying: Proxying, *, agent: Address, clock: Clock
) -> Doors:
    """Serve every route and relay everything else to `agent`; raise OSError."""
    proxies: list[Proxy] = []  # made last, because it needs the routes that report it

    def stats() -> dict[str, int]:
        return proxies[0].stats()

    told = replace(context, proxy_stats=stats)
    runner = web.AppRunner(
        make_app(told),
        access_log=None,
        handle_signals=False,
        shutdown_timeout=limits.CLOSE_TIMEOUT_S,
    )
    await runner.setup()
    assert runner.server is not None, "it was set up"
    proofs = Proofs(
        context.credentials.knows_token,
        context.credentials.knows_proxy_token,
        public=PUBLIC,
        clock=clock,
        log=context.log,
    )
    proxy = Proxy(
        proxying,
        agent=agent,
        ready=lambda: context.supervisor.state.ready,
        proofs=proofs,
        control=runner.server,
        limits=_limits(proxying.sockets_max),
    )
    proxies.append(proxy)
    server = await asyncio.get_running_loop().create_server(
        proxy, sock=listening, backlog=limits.BACKLOG
    )
    return Doors(server, proxy, runner)

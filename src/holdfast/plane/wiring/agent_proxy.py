"""Makes the agent proxy."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from holdfast.accounts.access import Access
from holdfast.plane.agent_proxy.access import AgentAccess
from holdfast.plane.agent_proxy.app import AgentSide
from holdfast.plane.agent_proxy.hosts import AgentHosts
from holdfast.plane.agent_proxy.sessions import SignOvers
from holdfast.plane.edge.auth import Network, is_near, parse_networks
from holdfast.plane.edge.limits import CONNECTIONS_EACH_MAX
from holdfast.plane.wiring.controllers import MachineControllers
from holdfast.plane.wiring.core import Core
from holdfast.plane.wiring.part import Part
from holdfast.plane.wiring.room import check_room, room_here
from holdfast.relay.peers import Peers

_SECRET_BYTES = 32


def make_agent_side(core: Core, controllers: MachineControllers, access: Access) -> AgentSide:
    """Return the agent proxy; the dashboard is at the plane's own URL."""
    agents = AgentAccess(
        AgentHosts(core.settings.agents_domain),
        SignOvers(core.clock, lambda: secrets.token_urlsafe(_SECRET_BYTES)),
        reader=core.stores.reader,
        machines=controllers,
        sessions=access.by_session_hash,
        browsers=core.browsers,
        dashboard=core.url,
    )
    trusted = parse_networks(core.settings.trusted_proxies)
    side = AgentSide(agents, peers=_make_peers(trusted), trusted=trusted, log=core.log)
    core.closing.push_async_callback(side.close)
    return side


def _make_peers(trusted: Sequence[Network]) -> Peers:
    """Return the bound of callers' connections."""
    return Peers(
        room_here().connections, CONNECTIONS_EACH_MAX, free=lambda peer: is_near(peer, trusted)
    )


def agents_part(side: AgentSide) -> Part:
    """Return the part of the agent proxy: its handler, start and release."""

    async def start() -> None:
        side.start()

    return Part(
        name="agent proxy",
        handlers={"instance.open": side.access.open},
        start=start,
        checks=(check_room,),
        release=side.release,
    )

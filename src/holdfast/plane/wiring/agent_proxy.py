"""Makes the public side of agents."""

from __future__ import annotations

import secrets

from holdfast.accounts.access import Access
from holdfast.plane.agent_proxy.access import AgentAccess
from holdfast.plane.agent_proxy.app import AgentSide
from holdfast.plane.agent_proxy.hosts import AgentHosts
from holdfast.plane.agent_proxy.sessions import SignOvers
from holdfast.plane.edge.auth import parse_networks
from holdfast.plane.wiring.controllers import MachineControllers
from holdfast.plane.wiring.core import Core
from holdfast.plane.wiring.part import Part

_SECRET_BYTES = 32


def make_agent_side(core: Core, controllers: MachineControllers, access: Access) -> AgentSide:
    """Return agents' hosts; the dashboard is where this plane is."""
    agents = AgentAccess(
        AgentHosts(core.settings.agents_domain),
        SignOvers(core.clock, lambda: secrets.token_urlsafe(_SECRET_BYTES)),
        reader=core.stores.reader,
        machines=controllers,
        sessions=access.by_session_hash,
        browsers=core.browsers,
        dashboard=core.url,
    )
    side = AgentSide(agents, trusted=parse_networks(core.settings.trusted_proxies), log=core.log)
    core.closing.push_async_callback(side.close)
    return side


def agents_part(side: AgentSide) -> Part:
    """Return what opens an agent's page, and starts and ends its connections."""

    async def start() -> None:
        side.start()

    return Part(
        name="agent proxy",
        handlers={"instance.open": side.access.open},
        start=start,
        release=side.release,
    )

"""Makes the public side of agents out of a plane's parts."""

from __future__ import annotations

import secrets
from typing import Any

from holdfast.accounts.access import Access
from holdfast.actors.ports import Reader
from holdfast.kernel.clock import Clock
from holdfast.plane.agent_proxy.access import Door
from holdfast.plane.agent_proxy.app import AgentSide
from holdfast.plane.agent_proxy.hosts import AgentHosts
from holdfast.plane.agent_proxy.sessions import SignOvers
from holdfast.plane.edge.auth import parse_networks
from holdfast.plane.settings import Settings
from holdfast.plane.wiring.controllers import MachineControllers

_SECRET_BYTES = 32


def make_agent_side(
    settings: Settings,
    *,
    reader: Reader,
    controllers: MachineControllers,
    access: Access,
    clock: Clock,
    log: Any,
    url: str,
) -> AgentSide:
    """Return agents' hosts; `url` is where the dashboard is."""
    door = Door(
        AgentHosts(settings.agents_domain),
        SignOvers(clock, lambda: secrets.token_urlsafe(_SECRET_BYTES)),
        reader=reader,
        machines=controllers,
        sessions=access.by_session_hash,
        dashboard=url,
    )
    return AgentSide(door, trusted=parse_networks(settings.trusted_proxies), log=log)

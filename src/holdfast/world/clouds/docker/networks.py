"""A network for each machine, so that none reaches another; its addresses are ours to choose.

Engines have few networks of their own choosing (Docker: 31). Each machine gets eight addresses of
one range: the host's is the first. An internal network has no way out: its machine reaches what
listens on the host at that address, and nothing else.
"""

from __future__ import annotations

import asyncio
import ipaddress
from typing import Any, Final

from aiodocker import Docker
from msgspec import Struct

from holdfast.kernel.outcome import Conflict, Ok, Outcome, Permanent, Retryable
from holdfast.world.clouds.docker.answers import SUBNET_TAKEN, EngineNetwork
from holdfast.world.clouds.docker.engine import Engine
from holdfast.world.clouds.docker.shape import LABEL_NAME, LABEL_OWNER, container_name
from holdfast.world.clouds.port import CAPACITY, NAME_TAKEN, NOT_FOUND, TRANSIENT

PREFIX_LENGTH: Final = 29
TRIES_MAX: Final = 64
"""Ranges that are tried where others hold some, before giving up."""


class Network(Struct, frozen=True, kw_only=True, gc=False):
    """One machine's network; `gateway` is the host's address in it."""

    name: str
    machine: str
    gateway: str


class Networks:
    """All networks of one plane on one engine."""

    def __init__(self, engine: Engine, *, owner: str, subnet: str, internal: bool) -> None:
        """Give addresses of `subnet`; `internal` networks have no way out."""
        self._engine = engine
        self._owner = owner
        self._range = ipaddress.IPv4Network(subnet)
        self._internal = internal
        self._lock = asyncio.Lock()

    async def ensure(self, machine: str, *, podman: bool) -> Outcome[Network]:
        """Return the network of a machine's name, made if there is none."""
        name = container_name(machine)
        found = await self._inspect(name)
        if not (isinstance(found, Permanent) and found.code == NOT_FOUND):
            return self._checked(found, machine)
        async with self._lock:
            return await self._make(name, machine, podman=podman)

    async def listed(self) -> Outcome[list[Network]]:
        """Return the networks of this plane."""
        found = await self._all()
        if not isinstance(found, Ok):
            return found
        ours = (one for one in found.value if (one.labels or {}).get(LABEL_OWNER) == self._owner)
        return Ok([network for one in ours if (network := _network(one)) is not None])

    async def remove(self, machine: str) -> Network | None:
        """Remove a machine's network; return it, None if there is none of ours."""

        async def remove(docker: Docker) -> None:
            await (await docker.networks.get(container_name(machine))).delete()

        found = await self._inspect(container_name(machine))
        ours = self._checked(found, machine)
        if not isinstance(ours, Ok):
            return None
        await self._engine.call(remove, subject="network")
        return ours.value

    async def _make(self, name: str, machine: str, *, podman: bool) -> Outcome[Network]:
        used = await self._all()
        if not isinstance(used, Ok):
            return used
        taken = [subnet for one in used.value for subnet in _subnets(one)]
        tries = 0
        for subnet in self._range.subnets(new_prefix=PREFIX_LENGTH):
            if any(subnet.overlaps(other) for other in taken):
                continue
            made = await self._create(name, machine, subnet, podman=podman)
            if isinstance(made, Conflict) and made.code == NAME_TAKEN:
                return self._checked(await self._inspect(name), machine)
            if not (isinstance(made, Conflict) and made.code == SUBNET_TAKEN):
                return made
            tries += 1
            if tries == TRIES_MAX:
                break
        text = f"no addresses are free in {self._range}; set HOLDFAST_DOCKER_SUBNET to another"
        return Retryable(CAPACITY, text)

    async def _create(
        self, name: str, machine: str, subnet: ipaddress.IPv4Network, *, podman: bool
    ) -> Outcome[Network]:
        gateway = str(subnet[1])
        config: dict[str, Any] = {
            "Name": name,
            "Driver": "bridge",
            "Internal": self._internal,
            "CheckDuplicate": True,
            "Labels": {LABEL_OWNER: self._owner, LABEL_NAME: machine},
            "IPAM": {"Config": [{"Subnet": str(subnet), "Gateway": gateway}]},
            "Options": {"isolate": "true"} if podman else {},
        }

        async def create(docker: Docker) -> None:
            await docker.networks.create(config)

        made = await self._engine.call(create, subject="network")
        if not isinstance(made, Ok):
            return made
        return Ok(Network(name=name, machine=machine, gateway=gateway))

    async def _inspect(self, name: str) -> Outcome[EngineNetwork]:
        return await self._engine.read(
            EngineNetwork,
            lambda docker: docker._query_json(f"networks/{name}"),  # noqa: SLF001  typed here
            subject="network",
        )

    async def _all(self) -> Outcome[list[EngineNetwork]]:
        return await self._engine.read(
            list[EngineNetwork], lambda docker: docker.networks.list(), subject="network"
        )

    def _checked(self, found: Outcome[EngineNetwork], machine: str) -> Outcome[Network]:
        """Return a network that exists, if it is ours and can be used."""
        if not isinstance(found, Ok):
            return found
        network = _network(found.value)
        if network is None or (found.value.labels or {}).get(LABEL_OWNER) != self._owner:
            text = f"a network {found.value.name} is there and not ours; remove it by hand"
            return Retryable(TRANSIENT, text)
        return Ok(Network(name=network.name, machine=machine, gateway=network.gateway))


def _subnets(found: EngineNetwork) -> list[ipaddress.IPv4Network]:
    texts = (one.subnet for one in found.addresses.config or ())
    return [ipaddress.IPv4Network(text, strict=False) for text in texts if _is_v4(text)]


def _is_v4(text: str) -> bool:
    try:
        return ipaddress.ip_network(text, strict=False).version == 4  # noqa: PLR2004
    except ValueError:
        return False


def _network(found: EngineNetwork) -> Network | None:
    subnets = _subnets(found)
    if not subnets:
        return None
    machine = (found.labels or {}).get(LABEL_NAME, "")
    return Network(name=found.name, machine=machine, gateway=str(subnets[0][1]))

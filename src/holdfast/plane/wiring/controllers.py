"""Calls instances' controllers: the adapter of the port `Controllers`.

A machine's address comes from its cloud and is cached for a short time; a failed call drops it,
because the machine may have moved. Capabilities come from the controller itself, once for each
incarnation, and again after a while.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple, TypeVar

from holdfast.actors.ports import Reader
from holdfast.instances.views import (
    DETAIL_VIEW,
    MACHINE_VIEW,
    DetailRow,
    decode_detail,
    decode_machine,
)
from holdfast.kernel.clock import Clock
from holdfast.kernel.outcome import Ok
from holdfast.kernel.secret import Secret
from holdfast.letters.machine import MachineFacts
from holdfast.plane.agent_proxy.access import Place
from holdfast.wire.address import Address
from holdfast.wire.controller.calls import TIMEOUT_MS, ControllerError
from holdfast.wire.controller.endpoint import A, B, ControllerEndpoint
from holdfast.wire.controller.identity import derived_token, gateway_token
from holdfast.wire.controller.machine import VERSION, ControllerVersion
from holdfast.world.clouds.port import Cloud
from holdfast.world.controllers import ControllerClient, Target

ROUTE_MS: Final = 5_000
"""How long the way to a machine is cached."""

CAPABILITIES_MS: Final = 60_000
"""How long capabilities are cached: an upgrade without a new incarnation is rare."""

KNOWN_MAX: Final = 10_000
"""Machines in each cache."""

_T = TypeVar("_T")


class _Key(NamedTuple):
    machine_id: str
    epoch: int


class _Route(NamedTuple):
    """The way to a machine, as its cloud describes it."""

    address: Address
    tls: bool
    headers: Mapping[str, str]


class MachineControllers:
    """The client of all controllers."""

    def __init__(
        self,
        reader: Reader,
        clouds: Mapping[str, Cloud],
        *,
        client: ControllerClient,
        secret: Secret,
        clock: Clock,
    ) -> None:
        """Find machines by `reader` and `clouds`; gateway tokens are derived from `secret`."""
        self._reader = reader
        self._clouds = clouds
        self._client = client
        self._secret = secret
        self._clock = clock
        self._routes: dict[_Key, tuple[_Route, float]] = {}
        self._capabilities: dict[_Key, tuple[frozenset[str], float]] = {}

    async def call(
        self,
        instance_id: str,
        endpoint: ControllerEndpoint[B, A],
        *,
        path: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        body: B | None = None,
        timeout_ms: int = TIMEOUT_MS,
    ) -> A:
        """Return the controller's decoded answer; raise ControllerError."""
        row, detail = await self._rows(instance_id)
        key = _Key(row.machine_id, row.epoch)
        route = await self._route(key, detail.provider)
        target = Target(route.address, self._token(row), route.tls, route.headers)
        try:
            return await self._client.call(
                target, endpoint, path=path, query=query, body=body, timeout_ms=timeout_ms
            )
        except ControllerError as error:
            if error.trouble == "unreachable":
                self._routes.pop(key, None)
                self._capabilities.pop(key, None)
            raise

    async def place(self, instance_id: str) -> Place:
        """Return the address of an instance's proxy and its token; raise ControllerError."""
        row, detail = await self._rows(instance_id)
        route = await self._route(_Key(row.machine_id, row.epoch), detail.provider)
        if route.tls:
            text = "Pages of agents are not passed on to machines that are reached by TLS."
            raise ControllerError("unreachable", text, arrived=False)
        token = derived_token(
            self._secret.reveal(), "proxy", row.sandbox, version=row.live_token_version
        )
        return Place(route.address, token)

    async def capabilities(self, instance_id: str) -> frozenset[str]:
        """Return the controller's capabilities; none for one too old to announce them."""
        row, _ = await self._rows(instance_id)
        key = _Key(row.machine_id, row.epoch)
        known = self._capabilities.get(key)
        if known is not None and self._clock.steady_ms() - known[1] < CAPABILITIES_MS:
            return known[0]
        try:
            answer = await self.call(instance_id, VERSION)
        except ControllerError as error:
            if error.trouble != "too_old":
                raise
            answer = ControllerVersion()
        _remember(self._capabilities, key, frozenset(answer.capabilities), self._clock)
        return frozenset(answer.capabilities)

    async def _rows(self, instance_id: str) -> tuple[MachineFacts, DetailRow]:
        found = await self._reader.view(DETAIL_VIEW, instance_id)
        detail = decode_detail(found[0]) if found is not None else None
        machine = await self._reader.view(MACHINE_VIEW, detail.sandbox_id) if detail else None
        row = decode_machine(machine[0]) if machine is not None else None
        if detail is None or row is None or not row.machine_id:
            raise ControllerError("not_running", "The instance has no machine.")
        return row, detail

    async def _route(self, key: _Key, provider: str) -> _Route:
        known = self._routes.get(key)
        if known is not None and self._clock.steady_ms() - known[1] < ROUTE_MS:
            return known[0]
        cloud = self._clouds.get(provider)
        if cloud is None:
            text = f"No cloud called {provider!r} is configured here."
            raise ControllerError("unreachable", text, arrived=False)
        outcome = await cloud.describe(key.machine_id)
        if not isinstance(outcome, Ok):
            text = f"Its cloud answered {outcome.code}."
            raise ControllerError("unreachable", text, arrived=False)
        machine = outcome.value
        if machine.state != "started":
            raise ControllerError("not_running", f"The instance's machine is {machine.state}.")
        if not machine.address:
            text = "Its cloud has no address of it."
            raise ControllerError("unreachable", text, arrived=False)
        try:
            address = Address.parse(machine.address)
        except ValueError as error:
            text = f"Its cloud returned a malformed address: {error}."
            raise ControllerError("unreachable", text, arrived=False) from None
        route = _Route(address, machine.tls, machine.headers)
        _remember(self._routes, key, route, self._clock)
        return route

    def _token(self, row: MachineFacts) -> Secret:
        version = row.live_token_version
        return Secret(gateway_token(self._secret.reveal(), row.sandbox, version=version))


def _remember(memory: dict[_Key, tuple[_T, float]], key: _Key, value: _T, clock: Clock) -> None:
    memory.pop(key, None)
    memory[key] = (value, clock.steady_ms())
    while len(memory) > KNOWN_MAX:
        memory.pop(next(iter(memory)))

"""Issues machines' API keys, and sends new secrets to running machines."""

from __future__ import annotations

from typing import Any, Final

from holdfast.instances.handlers import KEY_PREFIX
from holdfast.instances.limits import KEY_LIFE_MS
from holdfast.instances.ports import Secrets
from holdfast.kernel.chance import Chance
from holdfast.kernel.clock import Clock
from holdfast.wire.controller.calls import ControllerError, Controllers
from holdfast.wire.controller.endpoint import B, ControllerEndpoint
from holdfast.wire.controller.machine import (
    CREDENTIALS_ROTATE,
    ENV_PATCH,
    EnvOrder,
    RotateOrder,
)

_BAD_REQUEST: Final = 400
SEND_MS: Final = 15_000
"""Timeout of each of the two calls: a controller reloads its agent's secrets for a key."""


class OwnMint:
    """Issues keys: the plane both issues and checks them."""

    def __init__(self, chance: Chance, clock: Clock) -> None:
        self._chance = chance
        self._clock = clock

    async def mint(self, instance_id: str, account: str) -> tuple[str, int]:
        """Return a new key and its expiry in ms since the epoch."""
        del instance_id, account
        return self._chance.token(KEY_PREFIX), self._clock.now_ms() + KEY_LIFE_MS


class ControllersAsHolders:
    """Sends secrets to controllers; `controllers` is set after construction."""

    def __init__(self) -> None:
        self.controllers: Controllers | None = None

    async def tell(self, instance_id: str, secrets: Secrets, *, overlap_ms: int) -> str:
        """Send secrets, the key first: the token of that call may end with the old key.

        Return the error, or an empty text.
        """
        if self.controllers is None:
            return "no controller can be reached yet"
        try:
            if secrets.api_key:
                await self._send_key(instance_id, secrets.api_key)
            if secrets.gateway_token:
                tokens = RotateOrder(
                    gateway_token=secrets.gateway_token,
                    proxy_token=secrets.proxy_token,
                    overlap_ms=overlap_ms,
                )
                await self._post(instance_id, CREDENTIALS_ROTATE, tokens)
        except ControllerError as error:
            return f"{error.trouble}: {error}"
        return ""

    async def _send_key(self, instance_id: str, api_key: str) -> None:
        """Send the key to our route, which does not restart the agent, else to the older one."""
        try:
            await self._post(instance_id, ENV_PATCH, EnvOrder(ours=api_key))
        except ControllerError as error:
            if error.status != _BAD_REQUEST:
                raise
            await self._post(instance_id, ENV_PATCH, EnvOrder(agents=api_key))

    async def _post(self, instance_id: str, endpoint: ControllerEndpoint[B, Any], body: B) -> None:
        assert self.controllers is not None
        await self.controllers.call(instance_id, endpoint, body=body, timeout_ms=SEND_MS)

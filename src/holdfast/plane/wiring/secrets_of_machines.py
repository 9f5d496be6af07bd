"""Where machines' keys come from, and how machines that run are told of new secrets."""

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
TELL_MS: Final = 15_000
"""How long one of the two calls may take: a controller that takes a key reloads its agent's."""


class OwnMint:
    """Makes keys here: the plane is the issuer as well as the one that checks them."""

    def __init__(self, chance: Chance, clock: Clock) -> None:
        """Draw from `chance`."""
        self._chance = chance
        self._clock = clock

    async def mint(self, instance_id: str, account: str) -> tuple[str, int]:
        """Return a new key and its expiry in ms since the epoch."""
        del instance_id, account
        return self._chance.token(KEY_PREFIX), self._clock.now_ms() + KEY_LIFE_MS


class ControllersAsHolders:
    """Tells controllers over the wire. Which ones there are is said after it is made."""

    def __init__(self) -> None:
        """Know nobody yet."""
        self.controllers: Controllers | None = None

    async def tell(self, instance_id: str, secrets: Secrets, *, overlap_ms: int) -> str:
        """Hand secrets over, the key first: the call for it carries a token that may end with it.

        Return why not, or nothing.
        """
        if self.controllers is None:
            return "no controller can be asked yet"
        try:
            if secrets.api_key:
                await self._tell_key(instance_id, secrets.api_key)
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

    async def _tell_key(self, instance_id: str, api_key: str) -> None:
        """Tell the key by our name, which leaves the agent alone, else by the older one."""
        try:
            await self._post(instance_id, ENV_PATCH, EnvOrder(ours=api_key))
        except ControllerError as error:
            if error.status != _BAD_REQUEST:
                raise
            await self._post(instance_id, ENV_PATCH, EnvOrder(agents=api_key))

    async def _post(self, instance_id: str, endpoint: ControllerEndpoint[B, Any], body: B) -> None:
        assert self.controllers is not None
        await self.controllers.call(instance_id, endpoint, body=body, timeout_ms=TELL_MS)

"""Asks the gateway what its channels do, says which do not run, and starts those held back.

After three unclean ends within five minutes OpenClaw starts without its channels: it is ready, and
nobody can reach it for minutes (seen on 2026.9.6, which then answers `channels.status` with
`running: false` and `restart-loop breaker tripped` as the last error). Its start over the gateway
is the override that its own documentation names. A channel that somebody stopped stays so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from holdfast.kernel.failure import brief
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.pairing.openclaw.websocket import GatewayError
from holdfast.wire.limits import REASON_MAX

LOOK_S: Final = 5.0
"""Between two looks at a gateway that has just come up, or of which a channel does not run."""

CALM_S: Final = 30.0
"""Between two looks after a few in a row found all well: the gateway logs answers of 50 ms."""

CALM_AFTER: Final = 6

LOOKS: Final = 2
"""Looks in a row at which a channel did not run before that is said: channels start one by one."""

_METHOD: Final = "channels.status"
_ADMIN: Final = ("operator.read", "operator.admin")
_HELD_BACK: Final = "breaker tripped"
_ERROR_CHARS: Final = 200


class Down(NamedTuple):
    """An account of a channel that is configured and does not run, and why."""

    channel: str
    account: str
    reason: str

    @property
    def held_back(self) -> bool:
        """Return whether the gateway did not start it because of its own unclean ends."""
        return _HELD_BACK in self.reason


class Connection(Protocol):
    """An open connection to the gateway; calls raise GatewayError, OSError or TimeoutError."""

    @property
    def methods(self) -> Collection[str]:
        """Return what can be requested; empty if the gateway does not say."""
        ...

    async def request(self, method: str, params: Mapping[str, Any], /) -> Mapping[str, Any]:
        """Return the payload of the answer."""
        ...

    async def close(self) -> None:
        """Close it."""
        ...


class Connections(Protocol):
    """The standing connection, and others with more rights."""

    @property
    def gateway(self) -> Connection | None:
        """Return the standing one, None while there is none."""
        ...

    async def connect(self, scopes: Sequence[str], /) -> Connection:
        """Return another one with these scopes."""
        ...


class ChannelStates:
    """Watches the channels of one agent over its standing connection."""

    def __init__(self, link: Connections, *, on_change: Callable[[], None], log: Log) -> None:
        """`on_change` is called when what is wrong changes."""
        self._link = link
        self._on_change = on_change
        self._log = log
        self._looks = 0
        self._calm = 0
        self._looked_at: Connection | None = None
        self._trouble = ""

    @property
    def trouble(self) -> str:
        """Return which channels do not run, and why; empty while all do, or nothing is known.

        What was seen of a gateway says nothing of the next one, after a restart of the agent.
        """
        return self._trouble if self._link.gateway is self._looked_at else ""

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            gateway = self._link.gateway
            if gateway is not self._looked_at:
                self._looks = self._calm = 0
                self._say(())
                self._looked_at = gateway
            if gateway is not None and (not gateway.methods or _METHOD in gateway.methods):
                await self._look(gateway)
            await asyncio.sleep(CALM_S if self._calm >= CALM_AFTER else LOOK_S)

    async def _look(self, gateway: Connection) -> None:
        try:
            down = tuple(find_down(await gateway.request(_METHOD, {})))
        except GatewayError as error:
            if not error.is_about_rights:  # an old release, which has no such method
                self._log.emit("channels.unknown", error=str(error))
            return
        except (OSError, TimeoutError) as error:
            self._log.emit("channels.unknown", error=brief(error))
            return
        for one in down:
            if one.held_back:
                await self._start(one)
        self._looks = self._looks + 1 if down else 0
        self._calm = 0 if down else self._calm + 1
        if self._looks >= LOOKS or not down:
            self._say(down)

    async def _start(self, down: Down) -> None:
        """Start a channel that was held back; the next look shows whether it runs."""
        try:
            gateway = await self._link.connect(_ADMIN)
            try:
                given = {"channel": down.channel, "accountId": down.account}
                await gateway.request("channels.start", given)
            finally:
                await gateway.close()
        except (GatewayError, OSError, TimeoutError) as error:
            self._log.emit("channels.start_failed", channel=down.channel, error=brief(error))
        else:
            self._log.emit("channels.started", channel=down.channel, because=down.reason)

    def _say(self, down: Sequence[Down]) -> None:
        words = "; ".join(f"{one.channel} does not run: {one.reason}" for one in down)[:REASON_MAX]
        if words != self._trouble:
            self._trouble = words
            self._log.emit("channels.trouble", trouble=words)
            self._on_change()


def find_down(answer: Mapping[str, Any]) -> Iterator[Down]:
    """Yield the accounts that are enabled and configured and do not run, from a status answer."""
    channels = answer.get("channelAccounts")
    for channel, accounts in channels.items() if isinstance(channels, Mapping) else ():
        for account in accounts if isinstance(accounts, list) else ():
            if not isinstance(account, Mapping) or account.get("running") is not False:
                continue
            wanted = account.get("enabled") is True and account.get("configured") is True
            coming = account.get("restartPending") or account.get("lifecycle") == "starting"
            if wanted and not coming:
                error = account.get("lastError")
                reason = error if isinstance(error, str) and error else "it was stopped"
                name = account.get("accountId")
                yield Down(
                    str(channel), name if isinstance(name, str) else "default",
                    reason.partition(". ")[0][:_ERROR_CHARS],
                )  # fmt: skip

"""The channels of a simulated agent, watched by the controller's real code.

As OpenClaw does it: after BREAKER ends within BREAKER_MS the next start holds its channel back, and
an order starts it. A channel may also fail by itself for a while. Most orders and looks work.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from holdfast.machine.controller.log import Log
from holdfast.machine.controller.pairing.openclaw.channel_states import CALM_S, LOOK_S
from holdfast.machine.controller.pairing.openclaw.websocket import GatewayError

BREAKER: Final = 3
BREAKER_MS: Final = 300_000
KNOWN_MS: Final = round((CALM_S + LOOK_S) * 1_000)
"""A channel that does not run is known after this long at the latest: two looks."""

_HELD_BACK: Final = "restart-loop breaker tripped. It starts by itself later"
_FAILED: Final = "409: Conflict"
_LOST: Final = 0.1
"""The share of requests without an answer."""


class QuietLog(Log):
    """A log that is not kept."""

    def __init__(self) -> None:
        """Open nothing."""

    def emit(self, event: str, **fields: Any) -> None:
        """Drop it."""


class SimGateway:
    """The interface of one child; `trouble` is why its channel does not run, if it does not."""

    methods: Sequence[str] = ()

    def __init__(self, trouble: str, chance: random.Random, moved: Callable[[], None]) -> None:
        """Call `moved` when the channel begins or ends to run."""
        self.trouble = trouble
        self.was_down = bool(trouble)
        self.answers = True
        self._chance = chance
        self._moved = moved

    async def request(self, method: str, _params: Mapping[str, Any], /) -> Mapping[str, Any]:
        """Answer, or not."""
        if not self.answers or self._chance.random() < _LOST:
            raise TimeoutError
        if method == "channels.start":
            if self._chance.random() < 0.5:  # noqa: PLR2004
                raise GatewayError("UNAVAILABLE", "not now")
            self.set("")
        account = {
            "accountId": "default", "enabled": True, "configured": True,
            "running": not self.trouble, "lastError": self.trouble or None,
        }  # fmt: skip
        return {"channelAccounts": {"chat": [account]}}

    def set(self, trouble: str) -> None:
        """Let the channel run, or not."""
        self.trouble = trouble
        self.was_down = self.was_down or bool(trouble)
        self._moved()

    def fail(self) -> None:
        """Let the channel fail by itself."""
        self.set(_FAILED)

    async def close(self) -> None:
        """Do nothing: it is the child's."""


class SimLink:
    """The connection to the gateway of the child that is ready."""

    def __init__(self, chance: random.Random, moved: Callable[[], None]) -> None:
        """Open none yet."""
        self.gateway: SimGateway | None = None
        self._chance = chance
        self._moved = moved
        self._ends_ms: list[int] = []

    async def connect(self, _scopes: Sequence[str], /) -> SimGateway:
        """Return one with other scopes."""
        if self.gateway is None:
            raise TimeoutError
        return self.gateway

    def open(self, now_ms: int) -> None:
        """Open the one of a child that has become ready."""
        self._ends_ms = [end for end in self._ends_ms if now_ms - end < BREAKER_MS]
        trouble = _HELD_BACK if len(self._ends_ms) >= BREAKER else ""
        self.gateway = SimGateway(trouble, self._chance, self._moved)

    def end(self, now_ms: int) -> None:
        """Close it, because its child ended."""
        self.gateway = None
        self._ends_ms.append(now_ms)

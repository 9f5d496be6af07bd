"""Approves the agent's own client, where the owner of the machine enabled that.

On some set-ups the agent's tools connect to its gateway as a device that was never approved. A
client's own claims prove nothing, so it is identified by its key: a device's id is the hash of its
public key, and the gateway has verified possession of the private one. Only the key in this agent's
own folder counts, only for the scopes its tools need, and the requested scopes are never changed.
Any other request waits for a person.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from holdfast.kernel.clock import Clock
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.pairing import limits
from holdfast.machine.controller.pairing.decisions import Order
from holdfast.machine.controller.pairing.files import read_json
from holdfast.machine.controller.pairing.state import Row
from holdfast.wire.controller.pairing import PairingAnswer

LEAST: Final = frozenset(
    {"operator.approvals", "operator.pairing", "operator.read", "operator.write"}
)
"""Scopes that the agent's own client may get; administration must be granted by a person."""

_CLIENT: Final = ("gateway-client", "backend")
_KEY_BYTES: Final = 32


def device_id(identity: object) -> str:
    """Return the device id for an identity file; raise ValueError."""
    pem = str(identity.get("publicKeyPem", "")) if isinstance(identity, Mapping) else ""
    text = "".join(line for line in pem.splitlines() if not line.startswith("-----"))
    try:
        key = base64.b64decode(text, validate=True)[-_KEY_BYTES:]
    except binascii.Error:
        message = "its public key is no base64"
        raise ValueError(message) from None
    if len(key) != _KEY_BYTES:
        message = "its public key is too short"
        raise ValueError(message)
    return hashlib.sha256(key).hexdigest()


def is_own(row: Row, own: str) -> bool:
    """Return whether a request is from this device and for no more than it needs."""
    entry = row.entry
    roles = {entry.get("role", ""), *entry.get("roles", ())} - {""}
    return (
        entry.get("deviceId") == own
        and (entry.get("clientId"), entry.get("clientMode")) == _CLIENT
        and roles == {"operator"}
        and LEAST.issuperset(entry.get("scopes", ()))
        and bool(entry.get("scopes"))
    )


class OwnClient:
    """Approves its requests; one attempt at a time, with a wait after a failure."""

    def __init__(
        self,
        path: str,
        below: str = "",
        *,
        decide: Callable[[Order], Awaitable[PairingAnswer]],
        hint: Callable[[], None],
        clock: Clock,
        log: Log,
    ) -> None:
        """Identify it by the identity file at `path`, in a folder at or below `below`."""
        self._path = path
        self._below = below
        self._decide = decide
        self._hint = hint
        self._clock = clock
        self._log = log
        self._barred_ms: dict[str, float] = {}
        self._trying: asyncio.Task[None] | None = None
        self._later: asyncio.TimerHandle | None = None

    def see(self, rows: Sequence[Row]) -> None:
        """Start to approve pending requests that are our own."""
        listed = {row.key for row in rows}
        self._barred_ms = {key: at for key, at in self._barred_ms.items() if key in listed}
        if self._trying is not None and not self._trying.done():
            return
        now_ms = self._clock.steady_ms()
        due = [row for row in rows if self._barred_ms.get(row.key, 0) <= now_ms]
        if due:
            self._trying = asyncio.create_task(self._approve(due), name="pairing-own")

    def close(self) -> None:
        """Cancel and try no more."""
        if self._later is not None:
            self._later.cancel()
        if self._trying is not None:
            self._trying.cancel()

    async def _approve(self, rows: Sequence[Row]) -> None:
        try:
            own = device_id(await asyncio.to_thread(read_json, self._path, below=self._below))
        except (OSError, ValueError, RecursionError):
            return  # this agent has no identity of its own, so no device matches
        for row in rows:
            if is_own(row, own):
                await self._try(row)

    async def _try(self, row: Row) -> None:
        order = Order("devices", "approved", request_id=row.key, fingerprint=row.fingerprint)
        answer = await self._decide(order)
        self._log.emit("pairing.own_client", request=row.key, done=answer.success, code=answer.code)
        if answer.success:
            return
        self._barred_ms[row.key] = self._clock.steady_ms() + limits.OWN_RETRY_S * 1_000
        loop = asyncio.get_running_loop()
        self._later = loop.call_later(limits.OWN_RETRY_S, self._hint)

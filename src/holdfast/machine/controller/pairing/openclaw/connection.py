"""The standing connection to the agent's gateway: its events, and cheap queries.

Its scopes are reading and pairing. A single approval that needs more uses a connection of its own,
which ends with it. It must never delay the agent's start, nor retry faster than the backoff.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import aiohttp

from holdfast.kernel.backoff import Backoff
from holdfast.kernel.failure import OperationError, brief
from holdfast.machine.agents.pairing import Place
from holdfast.machine.controller.agent.version import parse_version
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.pairing.openclaw.device_key import open_identity
from holdfast.machine.controller.pairing.openclaw.websocket import (
    Gateway,
    GatewayError,
    Sign,
    connect,
)

PAIRING: Final = "operator.pairing"
_SCOPES: Final = ("operator.read", PAIRING)
_RETRY: Final = Backoff(first_ms=500, cap_ms=60_000)
_FROM_HERE: Final = {"X-Forwarded-For": "::1"}
"""The header by which an old release recognises a local client although it trusts proxies here.

It then takes loopback itself for a proxy, and a request that names no client behind it for a
foreign one. It must not be sent to newer ones, which refuse a proxy that they do not trust.
"""

_NEWS: Final = frozenset(
    {"device.pair.requested", "device.pair.resolved", "device.pair.changed", "node.pair.requested"}
)


class Link:
    """Keeps one connection open while the agent is ready."""

    def __init__(
        self,
        place: Place,
        session: aiohttp.ClientSession,
        *,
        key_path: Path,
        on_open: Callable[[], None],
        on_news: Callable[[], None],
        log: Log,
    ) -> None:
        """Connect to the agent at `place`.

        `on_open` is called for each new connection, `on_news` when something about devices changed.
        """
        self._place = place
        self._session = session
        self._key_path = key_path
        self._on_open = on_open
        self._on_news = on_news
        self._log = log
        self._sign: Sign | None = None
        self._open: Gateway | None = None
        self._wanted = asyncio.Event()
        self._opened = asyncio.Event()
        self._failed = ""

    @property
    def gateway(self) -> Gateway | None:
        """Return the open connection, None if there is none."""
        return self._open

    @property
    def end(self) -> asyncio.Future[Any] | None:
        """Return a future that is done when the open connection ends, None if there is none."""
        return None if self._open is None else self._open.closed

    @property
    def version(self) -> str | None:
        """Return the version the agent reports, None if it reports none."""
        return None if self._open is None else parse_version(self._open.version).version

    def want(self, *, ready: bool) -> None:
        """Set whether the agent is ready for a connection."""
        if ready:
            self._wanted.set()
        else:
            self._wanted.clear()

    async def run(self) -> None:
        """Keep the connection open, while it is wanted, until cancelled."""
        failures = 0
        while True:
            await self._wanted.wait()
            try:
                self._open = await self.connect(_SCOPES, on_event=self._on_event)
            except (OSError, TimeoutError, GatewayError) as error:
                failures += 1
                self._log_once(type(error).__name__, brief(error))
            else:
                failures = 0
                self._log_once("", "")
                await self._stay(self._open)
            await asyncio.sleep(_RETRY.delay_ms(max(failures, 1), self._place.home) / 1_000)

    async def connect(
        self, scopes: Sequence[str], *, on_event: Callable[[str], None] = lambda _name: None
    ) -> Gateway:
        """Return another connection with these scopes, signed by a device key if required.

        Raise GatewayError, OSError or TimeoutError.
        """
        if self._sign is None:
            gateway = await self._connect(scopes, on_event, {})
            try:
                if await _may_pair(gateway):
                    return gateway
            except BaseException:
                await gateway.close()
                raise
            await gateway.close()
            try:
                self._sign = open_identity(self._key_path)
            except (ImportError, OSError, ValueError) as error:
                raise OperationError(f"no device identity: {type(error).__name__}") from error
        try:
            return await self._connect(scopes, on_event, _FROM_HERE)
        except GatewayError as error:
            if not error.is_about_us:
                raise
        return await self._connect(scopes, on_event, {})

    async def _connect(
        self, scopes: Sequence[str], on_event: Callable[[str], None], headers: Mapping[str, str]
    ) -> Gateway:
        return await connect(
            self._session, self._place.port, self._place.token, scopes,
            sign=self._sign, on_event=on_event, headers=headers,
        )  # fmt: skip

    async def _stay(self, gateway: Gateway) -> None:
        """Return when the connection has ended."""
        try:
            self._on_open()
            if gateway.closed is not None:
                await asyncio.wait({gateway.closed})
        finally:
            self._open = None
            await gateway.close()

    def _on_event(self, event: str) -> None:
        if event in _NEWS:
            self._on_news()

    def _log_once(self, code: str, detail: str) -> None:
        """Log a failure once, and its end."""
        if code != self._failed:
            self._failed = code
            name = "pairing.link_failed" if code else "pairing.link_open"
            self._log.emit(name, error=code, detail=detail)


async def _may_pair(gateway: Gateway) -> bool:
    """Return whether the scopes were granted: old releases withhold them without a device."""
    if PAIRING in gateway.scopes:
        return True
    try:
        await gateway.request("device.pair.list", {})
    except GatewayError as error:
        if error.is_about_rights:
            return False
        raise
    return True

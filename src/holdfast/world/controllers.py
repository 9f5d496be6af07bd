"""The plane's only client of controllers: a request, limited in time and size.

It depends on neither instances nor capabilities; the caller passes the controller's address and the
token. Connections are kept, because a page queries the same machine again and again.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

import aiohttp
import msgspec

from holdfast.kernel.secret import Secret
from holdfast.relay.urls import http_url
from holdfast.wire.address import Address
from holdfast.wire.controller.calls import TIMEOUT_MS, ControllerError, understand
from holdfast.wire.controller.endpoint import A, B, ControllerEndpoint

CONNECT_S: Final = 5.0
"""Time limit for connecting."""

ANSWER_BYTES_MAX: Final = 8 * 1_048_576
"""Bytes of an answer: a file or a job's output of 1 MiB, escaped as JSON."""

CONNECTIONS_MAX: Final = 256
PER_MACHINE_MAX: Final = 8

_NOT_CONNECTED: Final = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
"""Errors before a connection: not a byte of the request was sent."""


class Target(NamedTuple):
    """Where a controller listens, the token that it accepts, and what its cloud needs besides."""

    address: Address
    token: Secret
    tls: bool = False
    headers: Mapping[str, str] = MappingProxyType({})


class ControllerClient:
    """Calls controllers over HTTP."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def call(
        self,
        target: Target,
        endpoint: ControllerEndpoint[B, A],
        *,
        path: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        body: B | None = None,
        timeout_ms: int = TIMEOUT_MS,
    ) -> A:
        """Return the answer in the row's type; raise ControllerError."""
        headers = {
            **target.headers,
            "Authorization": f"Bearer {target.token.reveal()}",
            "Accept": "application/json",
        }
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = msgspec.json.encode(body)
        scheme = "https" if target.tls else "http"
        url = http_url(target.address, endpoint.target(path), scheme=scheme)
        timeout = aiohttp.ClientTimeout(total=timeout_ms / 1_000, sock_connect=CONNECT_S)
        try:
            async with self._open().request(
                endpoint.method, url, params=dict(query or {}), data=data,
                headers=headers, timeout=timeout, allow_redirects=False,
            ) as answer:  # fmt: skip
                status, content = answer.status, await _read(answer)
        except TimeoutError as error:
            text = f"The controller did not answer within {timeout_ms / 1_000:g} s."
            arrived = not isinstance(error, _NOT_CONNECTED)
            raise ControllerError("timeout", text, arrived=arrived) from error
        except (aiohttp.ClientError, OSError) as error:
            text = f"The controller cannot be reached ({type(error).__name__})."
            arrived = not isinstance(error, _NOT_CONNECTED)
            raise ControllerError("unreachable", text, arrived=arrived) from error
        return understand(status, content, endpoint.response)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=CONNECTIONS_MAX, limit_per_host=PER_MACHINE_MAX
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    parts: list[bytes] = []
    left = ANSWER_BYTES_MAX
    while part := await answer.content.read(65_536):
        left -= len(part)
        if left < 0:
            text = f"The controller's answer is longer than {ANSWER_BYTES_MAX} bytes."
            raise ControllerError("broken", text, status=answer.status)
        parts.append(part)
    return b"".join(parts)

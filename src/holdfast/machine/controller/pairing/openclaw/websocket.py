"""One connection to the agent's own WebSocket interface, in OpenClaw's gateway protocol.

The gateway sends a nonce, the client sends its identity and the scopes it requests; from then on
answers carry the ids of requests, with events in between. It must only be used over loopback: it
authenticates with the agent's own token.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import aiohttp
import msgspec

from holdfast.kernel.failure import OperationError, brief
from holdfast.machine.controller.pairing import limits
from holdfast.relay.urls import http_url
from holdfast.wire import parsers
from holdfast.wire.address import LOOPBACK, Address

_ANY: Final = msgspec.json.Decoder()
_PROTOCOLS: Final = {"minProtocol": 3, "maxProtocol": 4}
CLIENT: Final = {
    "id": "gateway-client", "version": "0.0.1", "platform": "linux", "mode": "backend",
}  # fmt: skip
"""Our client name: the gateway has an allow-list, and this is the entry for programs."""

_CLOSING: Final = aiohttp.ClientWSTimeout(ws_close=limits.CLOSE_S)  # pyright: ignore[reportCallIssue]
"""Its fields are declared in a way that pyright does not follow."""


class GatewayError(Exception):
    """The gateway refused a request: `code` and `reason` are its own, for the log."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason

    @property
    def is_about_rights(self) -> bool:
        """Return whether a scope was missing; an unknown method gets the same error."""
        return "missing scope" in self.reason

    @property
    def is_about_us(self) -> bool:
        """Return whether it requires our own device to be approved first."""
        return self.code == "NOT_PAIRED"


class Sign(Protocol):
    """Signs as a device of ours, if the gateway requires one."""

    def __call__(self, scopes: Sequence[str], token: str, nonce: str, at_ms: int) -> dict[str, Any]:
        """Return the `device` block of a connect request."""
        ...


class Gateway:
    """An open connection, made by `connect`."""

    def __init__(
        self,
        socket: aiohttp.ClientWebSocketResponse,
        on_event: Callable[[str], None] = lambda _name: None,
    ) -> None:
        """Use `socket`; `on_event` gets the name of each event."""
        self._socket = socket
        self._on_event = on_event
        self._numbers = itertools.count(1)
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._reading: asyncio.Task[None] | None = None
        self.methods: frozenset[str] = frozenset()
        self.scopes: frozenset[str] = frozenset()
        self.version = ""

    @property
    def closed(self) -> asyncio.Task[None] | None:
        """Return the task that ends with the connection."""
        return self._reading

    async def greet(self, token: str, scopes: Sequence[str], sign: Sign | None) -> None:
        """Authenticate; raise GatewayError, OSError or TimeoutError."""
        challenge = await self._receive()
        if challenge.get("event") != "connect.challenge":
            raise OperationError("the agent did not ask who we are")
        payload = challenge.get("payload")
        nonce, at_ms = _challenge(payload if isinstance(payload, dict) else {})
        device = {} if sign is None else {"device": sign(scopes, token, nonce, at_ms)}
        params = {
            **_PROTOCOLS, "client": CLIENT, "role": "operator", "scopes": list(scopes),
            "caps": [], "auth": {"token": token}, **device,
        }  # fmt: skip
        self._reading = asyncio.create_task(self._read(), name="pairing-gateway")
        hello = await self.request("connect", params)
        self.methods = frozenset(_texts(hello, "features", "methods"))
        self.scopes = frozenset(_texts(hello, "auth", "scopes"))
        server = hello.get("server")
        self.version = str(server.get("version", "")) if isinstance(server, Mapping) else ""

    async def request(self, method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the payload of the answer; raise GatewayError, OSError or TimeoutError."""
        number = f"holdfast-{next(self._numbers)}"
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        frame = {"type": "req", "id": number, "method": method, "params": params}
        try:
            async with asyncio.timeout(limits.RPC_TIMEOUT_S):
                await self._socket.send_str(json.dumps(frame))
                answer = await future
        finally:
            self._waiting.pop(number, None)
        if answer.get("ok") is True:
            payload = answer.get("payload")
            return payload if isinstance(payload, dict) else {}
        error = answer.get("error")
        error = error if isinstance(error, dict) else {}
        raise GatewayError(str(error.get("code", "")), str(error.get("message", "")))

    async def close(self) -> None:
        """Close the connection."""
        try:
            if self._reading is not None:
                self._reading.cancel()
                await asyncio.gather(self._reading, return_exceptions=True)
        finally:
            await self._socket.close()

    async def _read(self) -> None:
        """Dispatch answers and events until the connection ends."""
        try:
            while True:
                frame = await self._receive()
                if frame.get("type") == "event":
                    self._on_event(str(frame.get("event", "")))
                    continue
                future = self._waiting.get(str(frame.get("id", "")))
                if future is not None and not future.done():
                    future.set_result(frame)
        except OSError as error:
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(OperationError(brief(error)))

    async def _receive(self) -> dict[str, Any]:
        """Return the next frame; raise OSError at the end."""
        message = await self._socket.receive()
        if message.type != aiohttp.WSMsgType.TEXT:
            raise OperationError(f"the connection ended ({self._socket.close_code})")
        try:
            frame = parsers.from_json(_ANY, message.data.encode())
        except msgspec.DecodeError:
            raise OperationError("the agent sent what is no JSON") from None
        return frame if isinstance(frame, dict) else {}


async def connect(
    session: aiohttp.ClientSession,
    port: int,
    token: str,
    scopes: Sequence[str],
    *,
    sign: Sign | None = None,
    on_event: Callable[[str], None] = lambda _name: None,
    headers: Mapping[str, str] | None = None,
) -> Gateway:
    """Return an open connection to the agent on this port of loopback.

    `headers` are sent with the upgrade. Raise GatewayError if it refuses us, OSError or
    TimeoutError if it cannot be reached.
    """
    try:
        async with asyncio.timeout(limits.RPC_TIMEOUT_S):
            socket = await session.ws_connect(
                http_url(Address(LOOPBACK, port), "/", scheme="ws"),
                max_msg_size=limits.RPC_BYTES_MAX,
                headers=headers,
                timeout=_CLOSING,
            )
            return await _greeted(Gateway(socket, on_event), token, scopes, sign)
    except aiohttp.ClientError as error:
        raise OperationError(brief(error)) from error


async def _greeted(
    gateway: Gateway, token: str, scopes: Sequence[str], sign: Sign | None
) -> Gateway:
    try:
        await gateway.greet(token, scopes, sign)
    except BaseException:
        await gateway.close()
        raise
    return gateway


def _challenge(payload: Mapping[str, Any]) -> tuple[str, int]:
    nonce, at_ms = payload.get("nonce"), payload.get("ts")
    if not isinstance(nonce, str) or not isinstance(at_ms, int):
        raise OperationError("the agent's question has a form that is not known")
    return nonce, at_ms


def _texts(payload: Mapping[str, Any], *path: str) -> list[str]:
    found: Any = payload
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return [item for item in found if isinstance(item, str)] if isinstance(found, list) else []

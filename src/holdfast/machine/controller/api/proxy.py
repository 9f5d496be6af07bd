"""The control routes about the proxy and the secrets that guard it."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from holdfast.kernel.secret import Secret
from holdfast.machine.controller import limits
from holdfast.machine.controller.api.context import Desk, Route
from holdfast.machine.controller.api.reply import answer, read_object, take_text, wrong


async def _stats(desk: Desk, _request: web.Request) -> web.Response:
    return answer(desk.proxy_stats())


async def _agent_token(desk: Desk, _request: web.Request) -> web.Response:
    return answer({"token": desk.agent.place.token})


async def _rotate(desk: Desk, request: web.Request) -> web.Response:
    body = await read_object(request)
    gateway, proxy = (
        Secret(take_text(body, name, most=limits.TOKEN_CHARS_MAX))
        for name in ("gatewayToken", "proxyToken")
    )
    for name, token in (("gatewayToken", gateway), ("proxyToken", proxy)):
        if len(token.reveal()) < limits.TOKEN_CHARS_MIN or not token.reveal().isalnum():
            wrong(name, f"want {limits.TOKEN_CHARS_MIN} letters and digits at least")
    overlap = body.get("overlapMs")
    if type(overlap) is not int or not 0 <= overlap <= limits.OVERLAP_MS_MAX:
        wrong("overlapMs", f"want milliseconds, 0 to {limits.OVERLAP_MS_MAX}")
    desk.credentials.rotate(gateway, proxy, overlap_ms=overlap)
    return answer({"ok": True})


PROXY: Final = (
    Route("GET", "proxy/stats", _stats, "proxy.stats"),
    Route("GET", "agent/token", _agent_token, "agent.token"),
    Route("POST", "credentials/rotate", _rotate, "credentials.rotate"),
)

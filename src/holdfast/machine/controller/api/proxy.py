"""Control routes of the proxy and its secrets."""

from __future__ import annotations

from typing import Final

from holdfast.kernel.secret import Secret
from holdfast.machine.controller.api.binder import Call, bind
from holdfast.machine.controller.api.context import Context
from holdfast.wire.controller import machine as wire
from holdfast.wire.controller.doctor import OkAnswer
from holdfast.wire.controller.machine import RotateOrder, TokenAnswer


async def _stats(context: Context, _call: Call[None]) -> dict[str, int]:
    return context.proxy_stats()


async def _agent_token(context: Context, _call: Call[None]) -> TokenAnswer:
    return TokenAnswer(token=context.agent.place.token)


async def _rotate(context: Context, call: Call[RotateOrder]) -> OkAnswer:
    gateway, proxy = Secret(call.body.gateway_token), Secret(call.body.proxy_token)
    context.credentials.rotate(gateway, proxy, overlap_ms=call.body.overlap_ms)
    return OkAnswer(ok=True)


PROXY: Final = (
    bind(wire.PROXY_STATS, _stats),
    bind(wire.AGENT_TOKEN, _agent_token),
    bind(wire.CREDENTIALS_ROTATE, _rotate),
)

"""The routes about the observer: two that existing dashboards call, and enrolling a browser."""

from __future__ import annotations

from typing import Final

from holdfast.machine.controller.api.binder import Call, bind
from holdfast.machine.controller.api.context import Context
from holdfast.wire.controller import observing as wire
from holdfast.wire.controller.observing import (
    DashboardUrl,
    EnrolAnswer,
    EnrolOrder,
    SyncStarted,
)


async def _start_sync(context: Context, _call: Call[None]) -> SyncStarted:
    return await context.owner_calls.start_sync()


async def _dashboard_url(context: Context, _call: Call[None]) -> DashboardUrl:
    return await context.owner_calls.dashboard_url()


async def _enrol(context: Context, call: Call[EnrolOrder]) -> EnrolAnswer:
    return await context.owner_calls.enrol(call.body)


OBSERVING: Final = (
    bind(wire.START_SYNC, _start_sync),
    bind(wire.DASHBOARD_URL, _dashboard_url),
    bind(wire.ENROL, _enrol),
)

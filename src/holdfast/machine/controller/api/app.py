"""The control API: one table of routes, served under `/_kilo/` and `/_holdfast/` alike.

Health needs no credential; all else requires the machine's token, checked before the route, so that
callers without it cannot learn which routes exist. Errors are `{error, code}`; the code
`controller_route_unavailable` means that this controller is too old for the request. All other
paths belong to the agent and are handled by `proxy`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from aiohttp import web

from holdfast.kernel.failure import brief
from holdfast.machine.controller.api.agent import GATEWAY, describe
from holdfast.machine.controller.api.binder import Answer, Call, Route, Serve, bind, encode, problem
from holdfast.machine.controller.api.config import CONFIG
from holdfast.machine.controller.api.context import Context
from holdfast.machine.controller.api.doctor import DOCTOR
from holdfast.machine.controller.api.environment import ENVIRONMENT
from holdfast.machine.controller.api.files import FILES
from holdfast.machine.controller.api.observing import OBSERVING
from holdfast.machine.controller.api.pairing import PAIRING
from holdfast.machine.controller.api.proxy import PROXY
from holdfast.machine.controller.api.work import WORK
from holdfast.machine.controller.credentials import bearer
from holdfast.machine.controller.errors import RefusedError
from holdfast.machine.controller.limits import BODY_BYTES_MAX
from holdfast.wire.controller import machine as wire
from holdfast.wire.controller.calls import ROUTE_UNAVAILABLE
from holdfast.wire.controller.endpoint import PREFIXES
from holdfast.wire.controller.machine import ControllerVersion, HealthAnswer, RetryAnswer
from holdfast.wire.controller.table import CAPABILITIES

NOT_OFFERED: Final = "not_offered"

_ABSENT: Final = (
    "config/tools-md/{rest:.*}",
    "config/agents",
    "config/agents/{rest:.*}",
    "files/import-openclaw-workspace",
    "bot-identity",
    "user-profile",
    "cli-run/{rest:.*}",
    "morning-briefing/{rest:.*}",
    "google-oauth/{rest:.*}",
    "hooks/{rest:.*}",
    "gmail-pubsub",
    "kilo-chat/{rest:.*}",
)
"""Routes of another product, for any method."""


API_VERSION: Final = 1


async def _health(context: Context, _call: Call[None]) -> HealthAnswer:
    body = {**context.lifecycle.health(""), "agentReady": context.supervisor.state.ready}
    if context.observer.told.state == "failing":
        body["observer"] = context.observer.told.state
    return msgspec.convert(body, HealthAnswer)


async def _platform_health(_context: Context, _call: Call[None]) -> HealthAnswer:
    return HealthAnswer()


async def _version(context: Context, _call: Call[None]) -> ControllerVersion:
    found = await context.version.find()
    repaired = None if context.device_repair is None else context.device_repair.last
    return ControllerVersion(
        version=context.identity.version,
        commit=context.identity.reporting.commit,
        api_version=API_VERSION,
        capabilities=CAPABILITIES,
        openclaw_version=found.version,
        openclaw_commit=found.commit,
        agent=context.agent.profile.name,
        gateway=describe(context.supervisor.stats()),
        controller_state=context.lifecycle.stage,
        device_pairing_repair=None if repaired is None else repaired.describe(),
    )


async def _retry(context: Context, _call: Call[None]) -> RetryAnswer:
    return RetryAnswer(ok=True, phase=context.bootstrap.retry().name)


BOUND: Final[tuple[Route, ...]] = (
    bind(wire.HEALTH, _health),
    bind(wire.VERSION, _version),
    *GATEWAY,
    bind(wire.BOOTSTRAP_RETRY, _retry),
    *CONFIG,
    *PAIRING,
    *PROXY,
    *DOCTOR,
    *FILES,
    *ENVIRONMENT,
    *OBSERVING,
    *WORK,
)
"""Every control route, one for each row of the wire's table."""

_PLATFORM: Final = bind(wire.PLATFORM_HEALTH, _platform_health)
PUBLIC: Final = frozenset(
    {
        wire.PLATFORM_HEALTH.path,
        *(prefix + bound.row.tail for bound in BOUND for prefix in PREFIXES
          if bound.row.scope == "public"),
    }
)  # fmt: skip
"""Paths that need no token."""


async def _not_offered(_context: Context, _request: web.Request) -> web.Response:
    return problem(404, "This controller does not offer that", NOT_OFFERED)


def make_app(context: Context) -> web.Application:
    """Return the application that serves the table."""
    app = web.Application(client_max_size=BODY_BYTES_MAX, middlewares=[_guard(context)])
    add = app.router.add_route
    add(_PLATFORM.row.method, _PLATFORM.row.path, _with(context, _PLATFORM.serve))
    for prefix in PREFIXES:
        for bound in BOUND:
            add(bound.row.method, prefix + bound.row.tail, _with(context, bound.serve))
        for path in _ABSENT:
            add("*", prefix + path, _with(context, _not_offered))
    return app


def authorised(header: str, knows: Callable[[bytes], bool]) -> bool:
    """Return whether a header carries a bearer token that is known."""
    return knows(bearer(header.encode("utf-8", "surrogateescape")))  # aiohttp's decoding


def _with(context: Context, serve: Serve) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        return await serve(context, request)

    return handle


def _guard(context: Context) -> Any:
    """Return the middleware that authenticates, and answers unknown routes."""

    @web.middleware
    async def guard(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        known = request.match_info.http_exception is None
        if request.path.startswith(PREFIXES) and request.path not in PUBLIC:
            header = request.headers.get("Authorization", "")
            if not authorised(header, context.credentials.knows_token):
                return problem(401, "Unauthorized", "" if known else ROUTE_UNAVAILABLE)
        if not known:
            return _unclaimed(request)
        try:
            return await handler(request)
        except RefusedError as refused:
            return encode(Answer(refused.body, refused.status))
        except web.HTTPException:
            raise
        except Exception as error:  # noqa: BLE001  every request gets an answer
            if request.transport is None:  # the caller has gone, and with it the rest of the body
                return problem(408, "The request did not arrive whole", "incomplete_request")
            context.log.emit("route.failed", path=request.path, error=brief(error))
            return problem(500, "Internal Server Error", "internal")

    return guard


def _unclaimed(request: web.Request) -> web.Response:
    wrong = request.match_info.http_exception
    if isinstance(wrong, web.HTTPMethodNotAllowed):
        refusal = problem(405, "Method Not Allowed", "method_not_allowed")
        refusal.headers["Allow"] = ", ".join(sorted(wrong.allowed_methods))
        return refusal
    if request.raw_path.startswith(PREFIXES):
        return problem(404, "Not Found", ROUTE_UNAVAILABLE)
    return problem(404, "Not Found", "not_found")

"""The control API: one table of routes, served under `/_kilo/` and `/_holdfast/` alike.

Health is for anybody; everything else wants the machine's token, looked at before the route, so
that nobody learns what exists without it. Errors are `{error, code}`; the code
`controller_route_unavailable` tells a control plane that this controller is too old for what it
asked. Whatever is no control route belongs to the agent and never comes here: see `proxy`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web

from holdfast.machine.controller.api.agent import GATEWAY, describe
from holdfast.machine.controller.api.config import CONFIG
from holdfast.machine.controller.api.context import Desk, Handler, Route
from holdfast.machine.controller.api.doctor import DOCTOR
from holdfast.machine.controller.api.environment import ENVIRONMENT
from holdfast.machine.controller.api.files import FILE_CAPABILITIES, FILES
from holdfast.machine.controller.api.pairing import PAIRING
from holdfast.machine.controller.api.proxy import PROXY
from holdfast.machine.controller.api.reply import answer, problem
from holdfast.machine.controller.errors import RefusedError
from holdfast.machine.controller.limits import BODY_BYTES_MAX

NOT_OFFERED: Final = "not_offered"

_PATHS: Final = (
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
    "clawmetry-dashboard-url",
    "clawmetry-start-sync",
    "kilo-chat/{rest:.*}",
)


async def _refuse(_desk: Desk, _request: web.Request) -> web.Response:
    return problem(404, "This controller does not offer that", NOT_OFFERED)


ABSENT: Final = tuple(Route("*", path, _refuse) for path in _PATHS)
"""One row for each, whatever the method."""


PREFIXES: Final = ("/_kilo/", "/_holdfast/")
API_VERSION: Final = 1
ROUTE_UNAVAILABLE: Final = "controller_route_unavailable"


async def _health(desk: Desk, request: web.Request) -> web.Response:
    body = desk.lifecycle.health(request.path)
    if request.path != "/health":
        body["agentReady"] = desk.supervisor.state.ready
    return answer(body)


async def _version(desk: Desk, _request: web.Request) -> web.Response:
    found = await desk.version.find()
    repaired = None if desk.device_repair is None else desk.device_repair.last
    return answer(
        {
            "version": desk.identity.version,
            "commit": desk.identity.reporting.commit,
            "apiVersion": API_VERSION,
            "capabilities": list(CAPABILITIES),
            "openclawVersion": found.version,
            "openclawCommit": found.commit,
            "agent": desk.agent.profile.name,
            "gateway": describe(desk.supervisor.stats()),
            "controllerState": desk.lifecycle.stage,
            "devicePairingRepair": None if repaired is None else repaired.describe(),
        }
    )


async def _retry(desk: Desk, _request: web.Request) -> web.Response:
    phase = desk.bootstrap.retry()
    return answer({"ok": True, "phase": phase.name})


TABLE: Final = (
    Route("GET", "health", _health),
    Route("GET", "version", _version),
    *GATEWAY,
    Route("POST", "bootstrap/retry", _retry, "bootstrap.retry"),
    *CONFIG,
    *PAIRING,
    *PROXY,
    *DOCTOR,
    *FILES,
    *ENVIRONMENT,
)
"""Every control route, below either prefix."""

CAPABILITIES: Final = tuple(
    sorted(
        {row.capability for row in TABLE if row.capability}
        | FILE_CAPABILITIES
        | {"controller.directive"}
    )
)
"""What this controller can do, as the contract names it, and our own."""

_OPEN: Final = frozenset({"/health", *(f"{prefix}health" for prefix in PREFIXES)})


def make_app(desk: Desk) -> web.Application:
    """Return the application that serves the table."""
    app = web.Application(client_max_size=BODY_BYTES_MAX, middlewares=[_guard(desk)])
    app.router.add_route("GET", "/health", _bind(desk, _health))
    for row in (*TABLE, *ABSENT):
        for prefix in PREFIXES:
            app.router.add_route(row.method, prefix + row.path, _bind(desk, row.handler))
    return app


def authorised(header: str, knows: Callable[[bytes], bool]) -> bool:
    """Return whether a header carries a bearer token that is known."""
    words = header.split()
    if len(words) != 2 or words[0].lower() != "bearer":  # noqa: PLR2004  scheme and token
        return False
    return knows(words[1].encode("utf-8", "surrogateescape"))  # as aiohttp reads what is not UTF-8


def _bind(desk: Desk, handler: Handler) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        return await handler(desk, request)

    return handle


def _guard(desk: Desk) -> Any:
    """Return the middleware that authenticates, and answers what no route does."""

    @web.middleware
    async def guard(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        known = request.match_info.http_exception is None
        if request.path.startswith(PREFIXES) and request.path not in _OPEN:
            header = request.headers.get("Authorization", "")
            if not authorised(header, desk.credentials.knows_token):
                return problem(401, "Unauthorized", "" if known else ROUTE_UNAVAILABLE)
        if not known:
            return _unclaimed(request)
        try:
            return await handler(request)
        except RefusedError as refused:
            return answer(refused.body, refused.status)
        except web.HTTPException:
            raise
        except Exception as error:  # noqa: BLE001  the edge: whoever asked gets an answer
            desk.log.emit("route.failed", path=request.path, error=repr(error))
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

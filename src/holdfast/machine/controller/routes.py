"""The control API: one table of routes, served under `/_kilo/` and `/_holdfast/` alike.

Health is for anybody; everything else wants the machine's token, looked at before the route, so
that nobody learns what exists without it. Errors are `{error, code}`; the code
`controller_route_unavailable` tells a control plane that this controller is too old for what it
asked. Whatever is no control route belongs to the agent.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from aiohttp import web

from holdfast.machine.controller.agent import AgentProcesses
from holdfast.machine.controller.credentials import Credentials
from holdfast.machine.controller.lifecycle import Lifecycle
from holdfast.machine.controller.limits import BODY_BYTES_MAX, SETTLED_LOAD
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.report import Identity
from holdfast.machine.controller.sampler import load_average
from holdfast.machine.controller.supervisor import Stats, Supervisor
from holdfast.machine.controller.version import VersionProbe

PREFIXES: Final = ("/_kilo/", "/_holdfast/")
API_VERSION: Final = 1
ROUTE_UNAVAILABLE: Final = "controller_route_unavailable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What the handlers have at hand."""

    identity: Identity
    lifecycle: Lifecycle
    credentials: Credentials
    supervisor: Supervisor
    agent: AgentProcesses
    version: VersionProbe
    shared_cpu: bool
    log: Log


Handler = Callable[[Desk, web.Request], Awaitable[web.Response]]


class Route(NamedTuple):
    """One row: `capability` is the name that announces it, if it is one of those announced."""

    method: str
    path: str
    handler: Handler
    capability: str = ""


async def _health(desk: Desk, request: web.Request) -> web.Response:
    body = desk.lifecycle.health(request.path)
    if request.path != "/health":
        body["agentReady"] = desk.supervisor.state.ready
    return _answer(body)


async def _version(desk: Desk, _request: web.Request) -> web.Response:
    found = await desk.version.find()
    return _answer(
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
        }
    )


async def _status(desk: Desk, _request: web.Request) -> web.Response:
    return _answer(describe(desk.supervisor.stats()))


async def _start(desk: Desk, _request: web.Request) -> web.Response:
    if desk.supervisor.start():
        return _answer({"ok": True})
    return _problem(409, "Gateway already running or starting", "gateway_busy")


async def _stop(desk: Desk, _request: web.Request) -> web.Response:
    await desk.supervisor.stop()
    return _answer({"ok": True})


async def _restart(desk: Desk, _request: web.Request) -> web.Response:
    if await desk.supervisor.restart():
        return _answer({"ok": True})
    return _problem(409, "Controller is shutting down", "shutting_down")


async def _ready(desk: Desk, _request: web.Request) -> web.Response:
    load = load_average()
    settled = not desk.shared_cpu or load[0] < SETTLED_LOAD
    machine = {"loadAverage": list(load), "settled": settled}
    if desk.supervisor.state.status != "running":
        body = {"ready": False, "error": "Gateway not running", "code": "gateway_not_running"}
        return _answer({**body, **machine}, status=503)
    try:
        status, content = await desk.agent.ask_status()
    except (OSError, TimeoutError):
        body = {"ready": False, "error": "Gateway unreachable", "code": "gateway_unreachable"}
        return _answer({**body, **machine}, status=502)
    return _answer({**_decode(content), **machine}, status=status if status == 200 else 503)  # noqa: PLR2004


TABLE: Final = (
    Route("GET", "health", _health),
    Route("GET", "version", _version),
    Route("GET", "gateway/status", _status, "gateway.lifecycle"),
    Route("POST", "gateway/start", _start, "gateway.lifecycle"),
    Route("POST", "gateway/stop", _stop, "gateway.lifecycle"),
    Route("POST", "gateway/restart", _restart, "gateway.lifecycle"),
    Route("GET", "gateway/ready", _ready, "gateway.ready"),
)
"""Every control route, below either prefix."""

CAPABILITIES: Final = tuple(
    sorted({row.capability for row in TABLE if row.capability} | {"controller.directive"})
)
"""What this controller can do, as the contract names it, and our own."""

_OPEN: Final = frozenset({"/health", *(f"{prefix}health" for prefix in PREFIXES)})


def make_app(desk: Desk) -> web.Application:
    """Return the application that serves the table."""
    app = web.Application(client_max_size=BODY_BYTES_MAX, middlewares=[_guard(desk)])
    app.router.add_route("GET", "/health", _bind(desk, _health))
    for row in TABLE:
        for prefix in PREFIXES:
            app.router.add_route(row.method, prefix + row.path, _bind(desk, row.handler))
    return app


def describe(stats: Stats) -> dict[str, object]:
    """Return the supervisor's figures in the contract's words, with ours beside them."""
    state, last = stats.state, stats.state.last_exit
    return {
        "state": state.status,
        "pid": stats.pid,
        "uptime": stats.uptime_s,
        "restarts": state.restarts,
        "lastExit": None
        if last is None
        else {
            "code": last.code,
            "signal": last.signal,
            "at": _timestamp(last.at_ms),
            "requested": last.requested,
        },
        "ready": state.ready,
        "crashes": state.crashes,
        "cleanExits": state.clean_exits,
        "misconfigurations": state.misconfigurations,
        "parked": state.parked or None,
    }


def authorised(header: str, token: str) -> bool:
    """Return whether a header carries this bearer token; no token means nobody is."""
    words = header.split()
    if len(words) != 2 or words[0].lower() != "bearer":  # noqa: PLR2004  scheme and token
        return False
    given = words[1].encode("utf-8", "surrogateescape")  # as aiohttp reads what is not UTF-8
    return bool(token) and hmac.compare_digest(given, token.encode())


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
            token = desk.credentials.current().gateway_token.reveal()
            if not authorised(request.headers.get("Authorization", ""), token):
                return _problem(401, "Unauthorized", "" if known else ROUTE_UNAVAILABLE)
        if not known:
            return _unclaimed(desk, request)
        try:
            return await handler(request)
        except web.HTTPException:
            raise
        except Exception as error:  # noqa: BLE001  the edge: whoever asked gets an answer
            desk.log.emit("route.failed", path=request.path, error=repr(error))
            return _problem(500, "Internal Server Error", "internal")

    return guard


def _unclaimed(desk: Desk, request: web.Request) -> web.Response:
    wrong = request.match_info.http_exception
    if isinstance(wrong, web.HTTPMethodNotAllowed):
        answer = _problem(405, "Method Not Allowed", "method_not_allowed")
        answer.headers["Allow"] = ", ".join(sorted(wrong.allowed_methods))
        return answer
    if request.path.startswith(PREFIXES):
        return _problem(404, "Not Found", ROUTE_UNAVAILABLE)
    if not desk.supervisor.state.ready:
        answer = _problem(503, "Gateway not ready", "gateway_not_ready")
        answer.headers["Retry-After"] = "5"
        return answer
    return _problem(404, "Not Found", "proxy_unavailable")


def _decode(content: bytes) -> dict[str, object]:
    try:
        found = json.loads(content)
    except ValueError:
        return {"raw": content.decode("utf-8", "replace")}
    return found if isinstance(found, dict) else {"raw": found}


def _timestamp(at_ms: int) -> str:
    moment = datetime.fromtimestamp(at_ms / 1_000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _answer(body: dict[str, object], status: int = 200) -> web.Response:
    return web.json_response(body, status=status)


def _problem(status: int, error: str, code: str) -> web.Response:
    body = {"error": error, "code": code} if code else {"error": error}
    return web.json_response(body, status=status)

"""The servers that are fuzzed: a whole plane, its agents' hosts, and a machine's controller.

Each runs in this process with its own protocols and stores; the agent behind the controller is a
process of its own, as it always is.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
from uvicorn.server import ServerState

from holdfast.accounts.browser import AGENT_COOKIE
from holdfast.accounts.rules import secret_hash
from holdfast.machine.controller import health_listener
from holdfast.machine.controller.boot import Boot
from holdfast.machine.controller.settings import Listening
from holdfast.plane import serve
from holdfast.wire.api.endpoint import Endpoint, Param, look
from holdfast.wire.api.table import ENDPOINTS
from holdfast.wire.controller.endpoint import PREFIXES, ControllerEndpoint
from holdfast.wire.controller.table import ROUTES
from tests.fuzz.generator import Door
from tests.support.asgi import call, json_headers
from tests.support.real_plane import Made, end, make

Headers = list[tuple[bytes, bytes]]

TOKEN = "token-of-the-machine"
COSTLY = frozenset(
    {row.name for row in ENDPOINTS if 201 in row.statuses}
    | {"instance.destroy", "session.set-password", "session.password", "session.sign-out"}
    | {"audit.verify", "token.revoke", "brain-key.revoke", "plane.doctor"}
)
"""Rows of the plane whose success makes something that stays, ends the caller, or reads it all."""

STARTS = frozenset(
    {"gateway.start", "gateway.stop", "gateway.restart", "doctor.start", "bootstrap.retry"}
    | {"credentials.rotate", "env.patch", "gateway.ladder.retry"}
)
"""Rows of the controller that start processes, or change its credentials."""

AGENTS_ROWS: Sequence[Endpoint] = (
    look("agent.root", "/", None, "", scope="public"),
    look("agent.page", "/chat/{id}", None, "", Param("id", r".*", ""), scope="public"),
    look("agent.enter", "/_holdfast/enter", None, "", Param("code", r".*", ""), scope="public"),
    look("agent.again", "/_holdfast/again", None, "", scope="public"),
    look("agent.reserved", "/_kilo/health", None, "", scope="public"),
)


def _nobody(_draw: random.Random, _row: Endpoint) -> Headers:
    return []


PLANE_DOOR = Door("plane", b"plane.test", ENDPOINTS, _nobody, {}, weighty=COSTLY)
AGENTS_DOOR = Door("agents", b"agents.localhost", AGENTS_ROWS, _nobody, {"id": ("a", "é")})
"""The doors before it is known who may pass."""


@dataclass
class Faults(logging.Handler):
    """Every line of a log that tells of a fault, from whichever log it came."""

    lines: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(logging.WARNING)

    __hash__ = object.__hash__

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR or record.exc_info:
            self.lines.append(self.format(record)[-2_000:])

    def note(self, event: str, **told: Any) -> None:
        if event in {"route.failed", "task.failed"}:
            self.lines.append(f"{event} {told}")


@dataclass(frozen=True)
class Servers:
    """What is fuzzed: the doors, and what makes the protocol of a connection behind each."""

    doors: Sequence[Door]
    protocols: Mapping[str, Callable[[], asyncio.BaseProtocol]]
    faults: Faults


@asynccontextmanager
async def run_plane(home: Path) -> AsyncIterator[Servers]:
    """Run a plane, with the hosts of its agents, in `home`."""
    with _listening() as faults:
        made = await make(home)
        made.log.only_errors = True
        made.log.lines = faults.lines
        try:
            protocol = _plane_protocol(made)
            doors = [await _plane_door(made), _agents_door(made)]
            yield Servers(doors, {"plane": protocol, "agents": protocol}, faults)
        finally:
            await end(made)


@asynccontextmanager
async def run_controller(home: Path) -> AsyncIterator[Servers]:
    """Run a controller in `home`. It ends every child of its process that it does not know."""
    with _listening() as faults:
        boot = await _start_controller(home, faults)
        controller = boot._controller
        assert controller is not None
        assert controller._server is not None
        try:
            yield Servers(
                [_controller_door(boot)], {"controller": controller._server._proxy}, faults
            )
        finally:
            await boot._stop(15)


@contextmanager
def _listening() -> Iterator[Faults]:
    """Hear every log of the standard library."""
    faults = Faults()
    logging.getLogger().addHandler(faults)
    try:
        yield faults
    finally:
        logging.getLogger().removeHandler(faults)


def _plane_protocol(made: Made) -> Callable[[], asyncio.BaseProtocol]:
    config = serve._config(made.plane)
    config.load()
    state, protocol = ServerState(), config.http_protocol_class

    def connect() -> asyncio.BaseProtocol:
        return protocol(config=config, server_state=state, app_state={})  # type: ignore[call-arg]

    return connect


async def _plane_door(made: Made) -> Door:
    cookie, csrf = await _session(made)
    tokens = {
        "owner": made.tokens.owner, "operator": made.tokens.operator, "brain": made.tokens.brain,
        "node": made.tokens.node,
        "machine": "hfm_wrong", "public": made.tokens.owner,
    }  # fmt: skip

    def credentials(draw: random.Random, row: Endpoint) -> Headers:
        kind = draw.random()
        if kind < 0.05:
            return []
        if kind < 0.2 and row.scope in {"owner", "operator", "public"}:
            found = [(b"cookie", cookie)]
            if draw.random() < 0.8:
                found.append((b"x-csrf-token", csrf))
            return found
        token = tokens["operator"] if row.scope == "owner" and kind < 0.6 else tokens[row.scope]
        found = [(b"authorization", f"Bearer {token}".encode())]
        if row.scope == "machine":
            found.append((b"x-holdfast-gateway-token", b"0" * 64))
        return found

    values = {"id": (made.instance,), "kind": ("instance",), "instance": (made.instance,)}
    return replace(PLANE_DOOR, credentials=credentials, values=values)


async def _session(made: Made) -> tuple[bytes, bytes]:
    """Return the cookie of an operator's session, and what its changes repeat."""
    headers = json_headers(made.tokens.operator)
    people = await call(made.plane.app, "GET", "/api/people", headers=headers)
    name = next(one["name"] for one in people.json()["items"] if one["scope"] == "operator")
    body = msgspec.json.encode({"person": name})
    link = await call(made.plane.app, "POST", "/api/links", headers=headers, body=body)
    body = msgspec.json.encode({"link": link.json()["link"]})
    signed = await call(
        made.plane.app, "POST", "/api/session/link", headers=json_headers(), body=body
    )
    assert signed.status == 200, signed.body
    cookie = signed.header("set-cookie").partition(";")[0]
    return cookie.encode(), signed.json()["csrf"].encode()


def _agents_door(made: Made) -> Door:
    access = made.plane.subjects.agents.access
    code = access.signovers.offer(made.instance, secret_hash("none"), "http://plane.test")
    browsers = made.plane.core.browsers
    name = browsers.cookie_name(AGENT_COOKIE, secure=False).encode()
    secret = access.signovers.redeem(code, made.instance, browsers.bound("", secure=False))

    def credentials(draw: random.Random, row: Endpoint) -> Headers:
        del row
        found = [(b"cookie", name + b"=" + secret.encode())] if draw.random() < 0.8 else []
        if draw.random() < 0.2:
            found += [(b"connection", b"Upgrade"), (b"upgrade", b"websocket")]
            found.append((b"origin", b"http://" + host))
        return found

    host = access.hosts.host(made.instance, beside="").encode()
    return replace(AGENTS_DOOR, host=host, credentials=credentials)


def _controller_door(boot: Boot) -> Door:
    assert boot._controller is not None
    known = boot._controller.credentials

    def credentials(draw: random.Random, row: Endpoint) -> Headers:
        del row
        token = known.current().gateway_token.reveal() if draw.random() < 0.85 else "wrong"
        return [(b"authorization", f"Bearer {token}".encode("utf-8", "surrogatepass"))]

    def path_of(draw: random.Random, row: Endpoint) -> str:
        assert isinstance(row, ControllerEndpoint)
        return draw.choice(PREFIXES) + row.tail

    rows = (*ROUTES, look("agent.chat", "/chat", None, "", scope="public"))
    return Door(
        "controller", b"machine.test", [row for row in rows if isinstance(row, ControllerEndpoint)],
        credentials, {"path": ("openclaw.json", "a/b")}, weighty=STARTS, path_of=path_of,
    )  # fmt: skip


async def _start_controller(home: Path, faults: Faults) -> Boot:
    environ = {
        "PATH": os.environ["PATH"], "HOLDFAST_MACHINE_HOME": str(home),
        "HOLDFAST_AGENT_PORT": "0", "HOLDFAST_AGENT": "demo", "HOLDFAST_SANDBOX_ID": "sandbox-1",
        "HOLDFAST_API_KEY": "hfm_key-of-the-owner", "HOLDFAST_GATEWAY_TOKEN": TOKEN,
    }  # fmt: skip
    draw = random.Random(1)
    boot = Boot(environ, lambda size: draw.randbytes(size).hex())
    boot._log.emit = faults.note  # type: ignore[method-assign]
    boot._listening = Listening(host="127.0.0.1", port=0, home=home)
    boot._socket = health_listener.open_socket("127.0.0.1", 0)
    await boot._bootstrap.run()
    assert boot._controller is not None
    return boot

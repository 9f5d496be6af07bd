"""The servers that are fuzzed: a whole plane, its agents' hosts, and a machine's controller.

Each runs in this process with its own protocols and stores; the agent behind the controller is a
process of its own, as it always is.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from uvicorn.server import ServerState

from holdfast.machine.controller import health_listener
from holdfast.machine.controller.boot import Boot
from holdfast.machine.controller.credentials import Credentials
from holdfast.machine.controller.proxy.proxy import Proxy
from holdfast.machine.controller.settings import Listening, Proxying
from holdfast.plane import serve
from holdfast.plane.agent_proxy.headers import PROXY_TOKEN
from holdfast.relay.rate import Rate
from holdfast.relay.wrong_proofs import WrongProofs
from holdfast.wire.address import Address
from holdfast.wire.api.endpoint import Endpoint, Param, look
from holdfast.wire.api.table import ENDPOINTS
from holdfast.wire.controller.endpoint import PREFIXES, ControllerEndpoint
from holdfast.wire.controller.table import ROUTES
from tests.fuzz.agent import PLANES_COOKIE, SMUGGLED, Heard, run_agent
from tests.fuzz.agents_hosts import Guest, Headers, Held, hostile_place
from tests.fuzz.generator import Door, relayed
from tests.support.real_plane import Made, end, make

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
    look("agent.echo", "/echo", None, "", scope="public"),
    look("agent.say", "/say", None, "", Param("q", r".*", ""), scope="public"),
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
    renew: Callable[[], Awaitable[None]]
    """Makes anew what cases have ended and others need."""
    heard: Heard
    """What reached the hostile agent."""
    open_now: Callable[[], Counter[str]]
    """What is held for callers, by name; all of it is given back after the last."""
    never: Sequence[bytes]
    """What no head of an answer may have in it."""
    logs: Path
    """The folder whose logs may have no traceback."""


@asynccontextmanager
async def run_plane(home: Path) -> AsyncIterator[Servers]:
    """Run a plane, with the hosts of its agents, in `home`."""
    with _listening() as faults:
        made = await make(home)
        made.log.only_errors = True
        made.log.lines = faults.lines
        heard = Heard()
        try:
            async with run_agent(heard) as port:
                held = Held(made, hostile_place(port), stopped=[made.instance])
                heard.never = held.secrets
                await held.renew()
                protocol = _plane_protocol(made)
                plane, real = _plane_door(held), _guests_door(held.real, "agents")
                hostile = _guests_door(held.bad, "hostile")
                yield Servers(
                    (plane, plane, real, hostile),
                    dict.fromkeys(("plane", "agents", "hostile"), protocol),
                    faults, held.renew, heard, partial(_open_now, made),
                    (SMUGGLED, PLANES_COOKIE), home,
                )  # fmt: skip
        finally:
            await end(made)


@asynccontextmanager
async def run_controller(home: Path) -> AsyncIterator[Servers]:
    """Run a controller in `home`. It ends every child of its process that it does not know."""
    with _listening() as faults:
        boot = await _start_controller(home, faults)
        controller, heard = boot._controller, Heard()
        assert controller is not None
        assert controller._server is not None
        own, known = controller._server._proxy, controller.credentials
        try:
            async with run_agent(heard) as port:
                behind = Proxy(
                    Proxying(require_token=True), agent=Address("127.0.0.1", port),
                    ready=lambda: True, proofs=own._proofs, control=own._control,
                )  # fmt: skip
                heard.never = lambda: [TOKEN.encode()]
                yield Servers(
                    [_controller_door(boot), _behind_door(known)],
                    {"controller": own, "hostile": behind},
                    faults, _nothing_ends, heard, partial(_relayed_now, own, behind),
                    (SMUGGLED,), home,
                )  # fmt: skip
                await behind.close(1)
        finally:
            await boot._stop(15)


async def _nothing_ends() -> None:
    """Do nothing: no case of a controller ends what others need."""


def _relayed_now(*proxies: Proxy) -> Counter[str]:
    """Return what controllers' proxies hold open."""
    found: Counter[str] = Counter()
    for proxy in proxies:
        found.update(callers=len(proxy), tunnels=len(proxy.tunnels))
    return found


def _behind_door(known: Credentials) -> Door:
    """Return the way through a controller to a hostile agent."""

    def credentials(draw: random.Random, row: Endpoint) -> Headers:
        del row
        token = known._tokens().proxy.reveal().encode("utf-8", "surrogatepass")
        return [(PROXY_TOKEN, token)] if draw.random() < 0.9 else []

    return replace(
        AGENTS_DOOR, name="hostile", host=b"machine.test", credentials=credentials, finish=relayed
    )


def without_rights(servers: Servers) -> Servers:
    """Return the same servers for callers without credentials."""
    return replace(servers, doors=[replace(door, credentials=_nobody) for door in servers.doors])


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


def _plane_door(held: Held) -> Door:
    made = held.made
    tokens = {
        "owner": made.tokens.owner, "operator": made.tokens.operator, "brain": made.tokens.brain,
        "node": made.tokens.node, "attempt": made.tokens.attempt,
        "machine": "hfm_wrong", "public": made.tokens.owner,
    }  # fmt: skip

    def credentials(draw: random.Random, row: Endpoint) -> Headers:
        kind = draw.random()
        if kind < 0.05:
            return []
        if kind < 0.2 and row.scope in {"owner", "operator", "public"}:
            found = [(b"cookie", held.session.cookie)]
            if draw.random() < 0.8:
                found.append((b"x-csrf-token", held.session.csrf))
            return found
        token = tokens["operator"] if row.scope == "owner" and kind < 0.6 else tokens[row.scope]
        found = [(b"authorization", f"Bearer {token}".encode())]
        if row.scope == "machine":
            found.append((b"x-holdfast-gateway-token", b"0" * 64))
        return found

    values = {"id": held.stopped, "kind": ("instance",), "instance": held.stopped}
    return replace(PLANE_DOOR, credentials=credentials, values=values)


def _guests_door(guest: Guest, name: str) -> Door:
    return replace(AGENTS_DOOR, name=name, credentials=guest.credentials, finish=guest.finish)


def _open_now(made: Made) -> Counter[str]:
    """Return what the agent proxy holds open."""
    proxy = made.plane.subjects.agents.proxy
    return Counter(
        requests=proxy.requests.total, sockets=proxy.sockets.total, tunnels=len(proxy.tunnels),
        callers=len(proxy), connections=len(proxy.peers), watched=len(proxy.live._open),
    )  # fmt: skip


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
    assert boot._controller._server is not None
    endless = Rate(burst=2**40, per_s=2**20)  # a refusal beyond the limit takes a second
    boot._controller._server._proxy._proofs._wrong = WrongProofs(boot._clock, endless)
    return boot

"""Agents of towns in tests: hosts that start nothing, tokens, calls of tools, a plane on a port."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import msgspec
import uvicorn

from holdfast.kernel.outcome import Ok, Outcome
from holdfast.plane.edge.connection import BoundedConnection
from holdfast.towns import ports
from holdfast.towns.state import Agent, State
from tests.integration.towns.test_api import order
from tests.support.asgi import Answer, call, json_headers
from tests.support.patience import patience
from tests.support.real_plane import Made
from tests.support.town_outside import NoOutside


class Outside(NoOutside):
    """Hosts that start whatever they are asked to, and are told nothing else."""

    async def start(self, town: str, call: ports.StartCall) -> Outcome[ports.Begun]:
        """Start it."""
        del town, call
        return Ok(ports.Begun())


async def until(found: Callable[[], Any]) -> Any:
    """Return what is found once it is true."""
    async with asyncio.timeout(patience(20)):
        while not (value := found()):  # noqa: ASYNC110  commits have no event to wait for
            await asyncio.sleep(0.02)
    return value


def state_of(made: Made, town: str) -> State | None:
    return made.plane.subjects.tools.watch.state(town)


async def working(made: Made, town: str, *, but: tuple[str, ...] = ()) -> Agent:
    """Return an agent that has been handed a bead."""

    def look() -> Agent | None:
        state = state_of(made, town)
        known = () if state is None else state.agents.values()
        return next((one for one in known if one.attempt and one.attempt not in but), None)

    agent: Agent = await until(look)
    return agent


async def token_for(made: Made, town: str, agent: Agent) -> str:
    return await made.plane.subjects.tools.attempts.issue(town, agent.id, agent.attempt)


async def tool(
    made: Made, town: str, token: str, name: str, body: Any = None, *, key: str = ""
) -> Answer:
    """Call a tool; send it again while a busy machine has not taken it."""
    headers = {**json_headers(token), "idempotency-key": key or str(uuid.uuid4())}
    if body is None:
        del headers["idempotency-key"]
    raw = b"" if body is None else msgspec.json.encode(body)
    method, path = "GET" if body is None else "POST", f"/api/towns/{town}/tools/{name}"
    async with asyncio.timeout(patience(20)):
        while True:
            answer = await call(made.plane.app, method, path, headers=headers, body=raw)
            if answer.status != 202:
                return answer
            await asyncio.sleep(0.05)


async def make_town(made: Made, name: str = "elm", *, beads: int = 1) -> str:
    """Make a town with a rig and beads to work on; reviews are on."""
    town: str = (await order(made, "/api/towns", {"name": name}))["id"]
    await order(
        made,
        f"/api/towns/{town}/rigs",
        {
            "name": "web",
            "gates": {"test": {"command": ["make", "test"]}, "lint": {"command": ["make", "lint"]}},
        },
    )
    for number in range(beads):
        body = {"rig": "web", "title": f"Mend {number}", "body": "It is broken."}
        await order(made, f"/api/towns/{town}/beads", body)
    return town


@asynccontextmanager
async def served(made: Made) -> AsyncIterator[str]:
    """Serve a plane on a port of its own; yield its address."""
    config = uvicorn.Config(
        made.plane.app, port=0, log_level="critical", lifespan="off", ws="none",
        http=cast("Any", BoundedConnection), proxy_headers=False,
    )  # fmt: skip
    server = uvicorn.Server(config)
    serving = asyncio.ensure_future(server._serve())
    await until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await serving

"""The proxy on a real port, and an agent with scripted behaviour."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeAlias

from aiohttp import web

from holdfast.kernel.clock import ManualClock, SystemClock
from holdfast.machine.controller.log import Field, Log
from holdfast.machine.controller.proxy.proofs import Proofs
from holdfast.machine.controller.proxy.proxy import Proxy
from holdfast.machine.controller.settings import Proxying
from holdfast.relay.limits import Limits
from holdfast.wire.address import Address
from tests.integration.machine.rig import DEADLINE_S, until
from tests.support.patience import patience

Reader: TypeAlias = asyncio.StreamReader
Writer: TypeAlias = asyncio.StreamWriter
TOKEN_LINE = b"X-Holdfast-Proxy-Token: right\r\n"
UPGRADE = (
    b"GET /ws?a=1 HTTP/1.1\r\nHost: agent.example\r\nOrigin: http://agent.example\r\n"
    b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-Forwarded-For: 6.6.6.6\r\n"
    b"X-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n"
)
SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: x\r\n\r\n"
)


@dataclass
class Agent:
    """Each connection is answered by `script`, which receives the head of the request."""

    script: Callable[[Rig, Reader, Writer], Awaitable[None]]
    heads: list[bytes] = field(default_factory=list)
    connections: int = 0


class Rig:
    """The proxy under test; `ready` stands for the supervisor's state."""

    def __init__(self) -> None:
        self.ready = True
        self.log = Written()
        self.controls = 0
        self.port = self.agent_port = 0
        self.agent = Agent(silent)
        self.writers: list[Writer] = []
        self.proxy: Proxy

    async def head(self, reader: Reader) -> bytes:
        """Read a head at the agent, and keep it."""
        head = await reader.readuntil(b"\r\n\r\n")
        self.agent.heads.append(head)
        return head

    async def connect(self) -> tuple[Reader, Writer]:
        """Return a caller's connection, closed at the end at the latest."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(writer)
        return reader, writer

    async def hang_up(self) -> None:
        """Close the callers' connections."""
        for writer in self.writers:
            _abort(writer.transport)
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def ask(self, *pieces: bytes) -> bytes:
        """Send a request on a connection of its own; return all bytes until it is closed."""
        reader, writer = await self.connect()
        writer.writelines(pieces)
        try:
            async with asyncio.timeout(patience(DEADLINE_S)):
                return await reader.read()
        finally:
            writer.close()


class Written(Log):
    """Keeps the events instead of writing them."""

    def __init__(self) -> None:
        super().__init__(SystemClock())
        self.lines: list[dict[str, Field]] = []

    def emit(self, event: str, **fields: Field) -> None:
        self.lines.append({"event": event, **fields})


def right(token: bytes) -> bool:
    return token == b"right"


async def silent(_rig: Rig, reader: Reader, _writer: Writer) -> None:
    await reader.read()


def answers(*answer: bytes) -> Callable[[Rig, Reader, Writer], Awaitable[None]]:
    """Answer each request of a connection with the next of these, the last one repeatedly."""

    async def script(rig: Rig, reader: Reader, writer: Writer) -> None:
        left = list(answer)
        while True:
            await rig.head(reader)
            writer.write(left.pop(0) if len(left) > 1 else left[0])

    return script


async def steady(count: Callable[[], int]) -> int:
    """Return a count once it has not changed for a fifth of a second."""
    loop = asyncio.get_running_loop()
    last, since = count(), loop.time()

    def rests() -> bool:
        nonlocal last, since
        if count() != last:
            last, since = count(), loop.time()
        return loop.time() - since > 0.2

    await until(rests, "nothing moves any more")
    return last


@asynccontextmanager
async def run_proxy(
    proxying: Proxying | None = None, limits: Limits | None = None
) -> AsyncIterator[Rig]:
    """Run the proxy before an agent; everything is closed and nothing leaked afterwards."""
    rig = Rig()

    async def serve(reader: Reader, writer: Writer) -> None:
        rig.agent.connections += 1
        rig.writers.append(writer)
        try:
            await rig.agent.script(rig, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def hello(request: web.Request) -> web.Response:
        rig.controls += 1
        return web.json_response({"control": request.path, "size": len(await request.read())})

    agent = await asyncio.start_server(serve, "127.0.0.1", 0)
    rig.agent_port = agent.sockets[0].getsockname()[1]
    app = web.Application(client_max_size=2**24)
    app.router.add_route("*", "/{path:.*}", hello)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    assert runner.server is not None
    rig.proxy = Proxy(
        proxying or Proxying(),
        agent=Address("127.0.0.1", rig.agent_port),
        ready=lambda: rig.ready,
        proofs=Proofs(
            right, right, public=frozenset({"/health"}), clock=ManualClock(), log=rig.log
        ),
        control=runner.server,
        limits=limits,
    )
    server = await asyncio.get_running_loop().create_server(rig.proxy, "127.0.0.1", 0)
    rig.port = server.sockets[0].getsockname()[1]
    try:
        yield rig
    finally:
        server.close()
        await rig.proxy.close(0.5)
        await rig.hang_up()
        await runner.cleanup()
        agent.close()
        stats = rig.proxy.stats()
        assert (stats["callers"], stats["webSockets"]) == (0, 0), "what was open is closed"


def _abort(transport: asyncio.WriteTransport) -> None:
    """Reset a connection; ignore one that has ended already."""
    if not transport.is_closing() or transport.get_write_buffer_size():
        transport.abort()

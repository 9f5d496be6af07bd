"""A tunnel between real sockets, on each loop that runs one: asyncio's and uvloop's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from holdfast.relay.tunnel import Bounds, Tunnels
from holdfast.wire.address import Address
from tests.integration.machine.proxy_rig import SWITCHED, Reader, Writer, steady
from tests.integration.machine.rig import until

HEAD = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


class Caller(asyncio.Transport):
    """A client's connection that reads slowly until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.written = 0
        self.protocol: asyncio.Protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self.protocol = protocol

    def write(self, data: bytes | bytearray | memoryview[int]) -> None:
        self.written += len(data)

    def is_closing(self) -> bool:
        return False

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None:
        pass

    resume_reading = close = abort = pause_reading


async def flood(reader: Reader, writer: Writer) -> None:
    """Switch, then send without end."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(SWITCHED)
    try:
        while True:
            writer.write(bytes(65_536))
            await writer.drain()
    except ConnectionError:
        writer.close()


async def serve(scenario: Callable[[Tunnels, tuple[str, int]], Awaitable[None]]) -> None:
    server = await asyncio.start_server(flood, "127.0.0.1", 0)
    tunnels = Tunnels(Bounds(handshake_s=60.0))
    try:
        await scenario(tunnels, server.sockets[0].getsockname())
    finally:
        await tunnels.close(0.1)
        server.close()


async def behind_before(tunnels: Tunnels, address: tuple[str, int]) -> None:
    caller = Caller()
    tunnels.start(
        caller, address=Address(*address), head=HEAD, early=b"", refusal=_refuse, slow=True
    )
    await held_back(tunnels, caller)


async def behind_while_dialling(tunnels: Tunnels, address: tuple[str, int]) -> None:
    caller = Caller()
    tunnels.start(caller, address=Address(*address), head=HEAD, early=b"", refusal=_refuse)
    caller.protocol.pause_writing()
    await held_back(tunnels, caller)


async def held_back(tunnels: Tunnels, caller: Caller) -> None:
    (tunnel,) = tunnels._open
    await until(lambda: tunnel.server.begun, "the connection to the server")
    assert await steady(lambda: caller.written) == 0, "not even the switch is read for it"
    caller.protocol.resume_writing()
    await until(lambda: caller.written > 2**20, "it is read for again")
    caller.protocol.connection_lost(None)
    await until(lambda: not len(tunnels), "the slot is free")


def _refuse(status: int) -> bytes:
    return b"HTTP/1.1 %d No\r\n\r\n" % status


@pytest.mark.parametrize("scenario", [behind_before, behind_while_dialling])
@pytest.mark.parametrize(
    "loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
def test_a_server_is_not_read_for_a_client_that_is_behind(
    loop: Callable[[], asyncio.AbstractEventLoop],
    scenario: Callable[[Tunnels, tuple[str, int]], Awaitable[None]],
) -> None:
    # uvloop, and asyncio before 3.11.4, begin to read after connection_made whatever it paused.
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(serve(scenario))

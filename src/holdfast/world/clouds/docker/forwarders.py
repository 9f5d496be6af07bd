"""Listeners on the host's addresses in machines' networks, each passing bytes on to one service.

A machine in a network without a way out reaches the host there alone: the plane, and a proxy if the
operator names one. The addresses may not exist yet when a listener is made (an engine makes them
with the first container), so binding asks for none.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from contextlib import suppress
from typing import Final

from holdfast.kernel.failure import brief
from holdfast.wire.address import Address

CONNECTIONS_MAX: Final = 64
"""Connections of one machine to one service at the same time; more wait in the kernel's queue."""
CONNECT_S: Final = 10.0
_CHUNK: Final = 65_536
_IP_FREEBIND: Final = 15
_log: Final = logging.getLogger("holdfast.clouds.docker")


class Forwarders:
    """The listeners of all machines: one for each service and address."""

    def __init__(self, services: tuple[Address, ...]) -> None:
        """Pass on to `services`; each is reached at its own port on the machine's side."""
        self._services = services
        self._open: dict[tuple[str, int], asyncio.Server] = {}
        self._flows: set[asyncio.Task[None]] = set()

    async def ensure(self, gateway: str) -> None:
        """Listen at a host's address in a network, if nothing does; a failure is logged."""
        for service in self._services:
            key = (gateway, service.port)
            if key in self._open:
                continue
            try:
                listener = _listener(gateway, service.port)
            except OSError as error:
                # The plane itself, where it listens on every address, is there already.
                level = logging.DEBUG if error.errno == errno.EADDRINUSE else logging.WARNING
                _log.log(level, "cannot listen at %s:%s: %s", *key, brief(error))
                continue
            self._open[key] = await asyncio.start_server(
                _Forwarder(service, self._flows), sock=listener
            )

    def close_at(self, gateway: str) -> None:
        """Stop listening at an address."""
        for service in self._services:
            server = self._open.pop((gateway, service.port), None)
            if server is not None:
                server.close()

    async def close(self) -> None:
        """Stop listening, and end every connection."""
        for server in self._open.values():
            server.close()
        self._open.clear()
        for flow in list(self._flows):
            flow.cancel()
        await asyncio.gather(*self._flows, return_exceptions=True)


class _Forwarder:
    """Handles the connections of one listener."""

    def __init__(self, service: Address, flows: set[asyncio.Task[None]]) -> None:
        self._service = service
        self._flows = flows
        self._room = asyncio.Semaphore(CONNECTIONS_MAX)

    def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        flow = asyncio.get_running_loop().create_task(self._pass(reader, writer))
        self._flows.add(flow)
        flow.add_done_callback(self._flows.discard)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with self._room:
                await self._join(reader, writer)
        except (OSError, TimeoutError):
            _log.debug("a connection to %s ended", self._service)
        finally:
            writer.close()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(CONNECT_S):
            up_reader, up_writer = await asyncio.open_connection(*self._service)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_flow(reader, up_writer))
                both.create_task(_flow(up_reader, writer))
        except* OSError:
            pass
        finally:
            up_writer.close()


async def _flow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass bytes on until the end, and the end too."""
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
    with suppress(OSError):
        writer.write_eof()


def _listener(host: str, port: int) -> socket.socket:
    """Return a listening socket at an address that need not exist yet; raise OSError."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        listener.bind((host, port))
        listener.setblocking(False)  # noqa: FBT003  the socket's own signature
    except OSError:
        listener.close()
        raise
    return listener

"""Listeners in machines' networks; another address of the loopback stands for one."""

from __future__ import annotations

import asyncio

import pytest

from holdfast.wire.address import Address
from holdfast.world.clouds.docker.forwarders import Forwarders


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Return what comes, in capitals, when it has ended."""
    writer.write((await reader.read()).upper())
    writer.write_eof()
    writer.close()


async def test_bytes_are_passed_on_until_both_ends_are_done() -> None:
    service = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = service.sockets[0].getsockname()[1]
    forwarders = Forwarders((Address("127.0.0.1", port),))
    await forwarders.ensure("127.0.0.2")
    await forwarders.ensure("127.0.0.2")
    try:
        reader, writer = await asyncio.open_connection("127.0.0.2", port)
        writer.write(b"hello " * 100_000)
        writer.write_eof()
        assert await reader.read() == b"HELLO " * 100_000
        writer.close()
        forwarders.close_at("127.0.0.2")
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.2", port)
    finally:
        await forwarders.close()
        service.close()


async def test_an_address_that_is_not_there_yet_can_be_listened_at() -> None:
    forwarders = Forwarders((Address("127.0.0.1", 18_000),))
    await forwarders.ensure("198.51.100.7")
    await forwarders.close()

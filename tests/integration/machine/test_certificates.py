"""The host's certificates: not read at a start, and read before anybody is trusted."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from holdfast.machine.controller.certificates import HostCertificates, unread
from tests.support.certificates import NAME, write_certificate

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    """Serve by TLS with a certificate below `tmp_path`; yield the address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*write_certificate(tmp_path))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ANSWER)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as server:
        yield f"https://{NAME}:{server.sockets[0].getsockname()[1]}/"


async def get(url: str, context: ssl.SSLContext) -> str:
    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(connector=connector) as session, session.get(url) as answer:
        return await answer.text()


async def test_a_server_is_trusted_by_what_the_host_has(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = HostCertificates()
    assert context.cert_store_stats()["x509"] == 0
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    assert await get(url, context) == "ok"
    assert await get(url, context) == "ok"
    assert context.cert_store_stats()["x509"] == 1


async def test_a_server_that_the_host_does_not_know_is_refused(url: str) -> None:
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        await get(url, HostCertificates())


async def test_a_context_made_without_certificates_trusts_nobody(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    with unread():
        context = ssl.create_default_context()
    assert context.cert_store_stats()["x509"] == 0
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        await get(url, context)
    assert ssl.create_default_context().cert_store_stats()["x509"] == 1

"""Callers of a machine's port without a right: what they may ask, hold, and leave in the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from holdfast.machine.controller.settings import Proxying
from holdfast.relay.limits import Limits
from holdfast.relay.refusal_lines import REFUSAL_LINES_EACH
from holdfast.relay.wrong_proofs import WRONG_PROOFS_BURST
from tests.integration.machine.proxy_rig import (
    SWITCHED,
    TOKEN_LINE,
    UPGRADE,
    Reader,
    Rig,
    Writer,
    answers,
    run_proxy,
)
from tests.integration.machine.rig import until
from tests.support.patience import patience

SETTINGS = Proxying(require_token=True, sockets_max=8)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
WRONG = "X-Holdfast-Proxy-Token: {}\r\n"


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with run_proxy(SETTINGS, Limits(callers=6, callers_each=4)) as found:
        found.agent.script = answers(OK)
        yield found


def request(path: str, *lines: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{''.join(lines)}\r\n".encode()


async def status(rig: Rig, asked: bytes) -> int:
    return int((await rig.ask(asked)).split()[1])


async def guess(rig: Rig, kind: str, number: int) -> int:
    if kind == "control":
        return await status(rig, request("/_kilo/x", f"Authorization: Bearer wrong{number}\r\n"))
    return await status(rig, request("/x", WRONG.format(f"wrong{number}")))


@pytest.mark.parametrize("kind", ["control", "proxied"])
async def test_beyond_the_limit_a_wrong_token_is_refused_before_the_routes(
    rig: Rig, kind: str
) -> None:
    statuses = [await guess(rig, kind, number) for number in range(WRONG_PROOFS_BURST)]
    looked_at = rig.controls
    late = await asyncio.gather(*(guess(rig, kind, number) for number in range(3)))
    assert 429 not in statuses
    assert late == [429] * 3
    assert rig.controls == looked_at == (WRONG_PROOFS_BURST if kind == "control" else 0)
    assert not rig.agent.heads


async def test_a_right_token_passes_from_an_address_that_guesses(rig: Rig) -> None:
    """An agent on the plane's own host has the plane's address."""
    for number in range(WRONG_PROOFS_BURST):
        await guess(rig, "proxied", number)
    # Never shown before, so that nothing is remembered of them.
    assert await status(rig, request("/x", TOKEN_LINE.decode())) == 200
    assert await status(rig, request("/_kilo/x", "Authorization: Bearer right\r\n")) == 200
    assert await status(rig, request("/health", "Authorization: Bearer wrong\r\n")) == 200
    refused = await rig.ask(request("/x", WRONG.format("wrong")))
    assert refused.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
    assert b"Retry-After: 1\r\n" in refused
    assert b"Connection: close\r\n" in refused
    assert refused.endswith(b'"code": "too_many_wrong_proofs"}')


async def test_a_request_without_a_token_is_refused_and_counts_as_no_guess(rig: Rig) -> None:
    for _ in range(2 * WRONG_PROOFS_BURST):
        assert await status(rig, request("/x")) == 401
    assert await guess(rig, "proxied", 1) == 401


async def test_the_log_has_the_first_wrong_tokens_and_the_number_of_the_rest(rig: Rig) -> None:
    for number in range(WRONG_PROOFS_BURST):
        await guess(rig, "proxied", number)
    lines = [line for line in rig.log.lines if line["event"] == "call.refused"]
    assert (
        lines
        == [{"event": "call.refused", "peer": "127.0.0.1", "code": "unauthorised"}]
        * REFUSAL_LINES_EACH
    )
    await rig.proxy.close(0.1)
    assert rig.log.lines[-1] == {
        "event": "calls.refused",
        "peer": "127.0.0.1",
        "without_a_line": WRONG_PROOFS_BURST - REFUSAL_LINES_EACH,
        "codes": f"unauthorised {WRONG_PROOFS_BURST}",
    }


async def echo(rig: Rig, reader: Reader, writer: Writer) -> None:
    await rig.head(reader)
    writer.write(SWITCHED)
    await reader.read()


async def test_a_websocket_counts_as_a_connection_of_its_caller(rig: Rig) -> None:
    rig.agent.script = echo
    for _ in range(4):
        reader, writer = await rig.connect()
        writer.write(UPGRADE + TOKEN_LINE + b"\r\n")
        async with asyncio.timeout(patience(10)):
            assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    assert len(rig.proxy.peers) == 4
    assert len(rig.proxy) == 0, "the tunnels have them"
    assert await status(rig, request("/health")) == 503, "none of them gives way"
    rig.writers[0].close()
    await until(lambda: len(rig.proxy.peers) < 4, "its place is free")
    assert await status(rig, request("/health")) == 200
    for writer in rig.writers:
        writer.close()
    await until(lambda: len(rig.proxy.peers) == 0, "all places are free")


async def test_a_refused_request_whose_body_does_not_come_gives_way(rig: Rig) -> None:
    for _ in range(4):
        reader, writer = await rig.connect()
        writer.write(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
        async with asyncio.timeout(patience(10)):
            assert b" 401 " in await reader.readuntil(b"\r\n\r\n")
    assert await status(rig, request("/health")) == 200

"""HTTP through the proxy, over real sockets, byte for byte."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from holdfast.machine.controller.settings import Proxying
from holdfast.relay.limits import Limits
from holdfast.wire.address import Address
from tests.integration.machine.proxy_rig import (
    Reader,
    Rig,
    Writer,
    answers,
    run_proxy,
    silent,
    steady,
)
from tests.integration.machine.rig import until
from tests.support.patience import patience

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET /a?b=%20c HTTP/1.1\r\nHost: agent.example\r\n"
LAST = b"Connection: close\r\n\r\n"


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with run_proxy() as found:
        found.agent.script = answers(OK)
        yield found


def split(answer: bytes) -> tuple[int, list[bytes], bytes]:
    """Return status, header lines and body."""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    return int(first.split()[1]), [line.lower() for line in lines], body


async def test_a_request_goes_through_without_what_is_not_the_agents(rig: Rig) -> None:
    answer = await rig.ask(
        GET, b"X-Kiloclaw-Proxy-Token: secret\r\nx-holdfast-proxy-token: secret\r\n",
        b"X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n",
        b"X-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nTE: trailers\r\nX-Mine: 1\r\n",
        b"Accept-Encoding: gzip\r\nAuthorization: Bearer agents-own\r\nConnection: X-Mine\r\n",
        b"Origin: http://agent.example\r\nConnection: close\r\n\r\n",
    )  # fmt: skip
    assert split(answer)[0] == 200
    lines = rig.agent.heads[0].lower().split(b"\r\n")
    assert lines[0] == b"get /a?b=%20c http/1.1"
    host = b"127.0.0.1:%d" % rig.agent_port
    assert sorted(line for line in lines[1:] if line) == [
        b"accept-encoding: gzip",
        b"authorization: bearer agents-own",
        b"host: " + host,
        b"origin: http://" + host,
    ]


async def test_an_answer_comes_back_as_it_is(rig: Rig) -> None:
    packed = bytes(range(256))
    rig.agent.script = answers(
        b"HTTP/1.1 302 Found\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2; Path=/\r\nLocation: /x\r\n"
        b"Content-Encoding: gzip\r\nKeep-Alive: timeout=5\r\nContent-Length: 256\r\n\r\n" + packed
    )
    status, lines, body = split(await rig.ask(GET, LAST))
    assert status == 302, "redirects are the caller's to follow"
    assert [line for line in lines if line.startswith(b"set-cookie")] == [
        b"set-cookie: a=1", b"set-cookie: b=2; path=/",
    ]  # fmt: skip
    assert b"content-encoding: gzip" in lines
    assert b"content-length: 256" in lines
    assert not any(line.startswith(b"keep-alive") for line in lines)
    assert body == packed, "nothing is unpacked on the way"


async def test_connections_are_kept_on_both_sides(rig: Rig) -> None:
    reader, writer = await rig.connect()
    for _ in range(5):
        writer.write(GET + b"\r\n")
        await reader.readuntil(b"ok")
    assert rig.agent.connections == 1
    writer.write(GET + b"\r\n" + GET + b"\r\n" + GET + LAST)
    assert (await reader.read()).count(b"HTTP/1.1 200 OK") == 3, "pipelined ones come in order"


async def test_a_spare_connection_that_died_is_replaced_and_nothing_is_sent_twice(
    rig: Rig,
) -> None:
    async def once(rig: Rig, reader: Reader, writer: Writer) -> None:
        await rig.head(reader)
        writer.write(OK)
        if rig.agent.connections == 1:
            await rig.head(reader)  # and no answer: the connection is closed
        else:
            await rig.head(reader)
            writer.write(OK)

    rig.agent.script = once
    assert split(await rig.ask(GET, LAST))[0] == 200
    assert split(await rig.ask(GET, LAST))[0] == 200, "asked again over another connection"
    assert rig.agent.connections == 2
    post = b"POST /pay HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n"
    assert split(await rig.ask(post, LAST))[0] == 200
    assert rig.agent.connections == 3, "what must not be repeated has a connection of its own"


async def test_bodies_stream_both_ways(rig: Rig) -> None:
    told = asyncio.Event()

    async def echo(rig: Rig, reader: Reader, writer: Writer) -> None:
        await rig.head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(3):
            piece = await reader.readexactly(len(b"3\r\nabc\r\n"))
            told.set()
            writer.write(piece)
        writer.write(await reader.readexactly(5))

    rig.agent.script = echo
    reader, writer = await rig.connect()
    writer.write(b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n" + LAST)
    for _ in range(3):
        told.clear()
        writer.write(b"3\r\nabc\r\n")
        async with asyncio.timeout(patience(5)):
            await told.wait()
            await reader.readuntil(b"abc\r\n")
    writer.write(b"0\r\n\r\n")
    assert await reader.read() == b"0\r\n\r\n"


async def test_a_slow_caller_slows_the_agent_and_nothing_is_kept_whole(rig: Rig) -> None:
    size, sent = 64 * 2**20, 0

    async def flood(rig: Rig, reader: Reader, writer: Writer) -> None:
        nonlocal sent
        await rig.head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while sent < size:
            writer.write(bytes(65_536))
            await writer.drain()
            sent += 65_536

    rig.agent.script = flood
    reader, writer = await rig.connect()
    writer.write(GET + LAST)
    await until(lambda: sent, "the first bytes")
    assert await steady(lambda: sent) < size // 2, "the agent was held back"
    whole = 0
    while piece := await reader.read(2**20):
        whole += len(piece)
    assert whole > size


async def test_a_caller_that_asks_ahead_and_reads_nothing_slows_the_agent(rig: Rig) -> None:
    size, asked = 32_768, 1_500
    rig.agent.script = answers(
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size)
    )
    reader, writer = await rig.connect()
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * (asked - 1))
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n" + LAST)
    await until(lambda: len(rig.agent.heads), "the first request")
    assert await steady(lambda: len(rig.agent.heads)) < asked - 100, "the agent was held back"
    whole = 0
    while piece := await reader.read(2**20):
        whole += len(piece)
    assert whole > size * asked


async def test_a_slow_agent_slows_the_caller(rig: Rig) -> None:
    size, taken, go = 64 * 2**20, 0, asyncio.Event()

    async def slow(rig: Rig, reader: Reader, writer: Writer) -> None:
        await rig.head(reader)
        await go.wait()
        await reader.readexactly(size)
        writer.write(OK)

    async def send(writer: Writer) -> None:
        nonlocal taken
        while taken < size:
            writer.write(bytes(65_536))
            await writer.drain()
            taken += 65_536

    rig.agent.script = slow
    reader, writer = await rig.connect()
    writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n" % size + LAST)
    sending = asyncio.create_task(send(writer))
    await until(lambda: taken, "the first bytes")
    assert await steady(lambda: taken) < size // 2, "the caller was held back"
    go.set()
    await sending
    assert split(await reader.read())[0] == 200


async def test_without_a_length_the_end_of_the_connection_is_the_end(rig: Rig) -> None:
    async def old(rig: Rig, reader: Reader, writer: Writer) -> None:
        await rig.head(reader)
        writer.write(b"HTTP/1.0 200 OK\r\n\r\nall of it")

    rig.agent.script = old
    status, lines, body = split(await rig.ask(GET, b"\r\n"))
    assert (status, body) == (200, b"all of it")
    assert b"connection: close" in lines


async def test_a_cut_answer_is_never_taken_for_a_whole_one(rig: Rig) -> None:
    async def cut(rig: Rig, reader: Reader, writer: Writer) -> None:
        await rig.head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

    rig.agent.script = cut
    reader, writer = await rig.connect()
    writer.write(GET + b"\r\n")
    with pytest.raises(ConnectionResetError):
        await reader.read()


async def test_interim_answers_and_expectations_pass(rig: Rig) -> None:
    async def careful(rig: Rig, reader: Reader, writer: Writer) -> None:
        await rig.head(reader)
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert await reader.readexactly(4) == b"body"
        writer.write(OK)

    rig.agent.script = careful
    reader, writer = await rig.connect()
    writer.write(
        b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n" + LAST
    )
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"body")
    assert split(await reader.read())[0] == 200


async def test_an_answer_before_the_body_ends_is_delivered(rig: Rig) -> None:
    async def early(rig: Rig, reader: Reader, writer: Writer) -> None:
        await rig.head(reader)
        writer.write(b"HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno")
        await reader.read()

    rig.agent.script = early
    reader, writer = await rig.connect()
    writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n")
    assert (await reader.readuntil(b"no"))[9:12] == b"413"
    writer.write(bytes(200_000) + GET + LAST)
    rig.agent.script = answers(OK)
    assert split(await reader.read())[0] == 200, (
        "the rest was thrown away, the next one is answered"
    )


async def test_a_caller_that_leaves_stops_the_agents_work(rig: Rig) -> None:
    ended = asyncio.Event()

    async def working(rig: Rig, reader: Reader, _writer: Writer) -> None:
        await rig.head(reader)
        await reader.read()
        ended.set()

    rig.agent.script = working
    _, writer = await rig.connect()
    writer.write(GET + b"\r\n")
    await until(lambda: rig.agent.heads, "the request at the agent")
    writer.close()
    async with asyncio.timeout(patience(5)):
        await ended.wait()


async def test_an_agent_that_cannot_be_had_is_a_502(rig: Rig) -> None:
    async def slam(rig: Rig, reader: Reader, writer: Writer) -> None:
        await rig.head(reader)

    async def babble(rig: Rig, reader: Reader, writer: Writer) -> None:
        await rig.head(reader)
        writer.write(b"I am no web server\r\n\r\n")

    async def both(rig: Rig, reader: Reader, writer: Writer) -> None:
        await rig.head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n")

    for script in (slam, babble, both):
        rig.agent.script = script
        status, _, body = split(await rig.ask(GET, b"\r\n"))
        assert (status, json.loads(body)["error"]) == (502, "Bad Gateway")
    rig.proxy.agents._address = Address("127.0.0.1", 1)  # no listener there
    assert split(await rig.ask(GET, b"\r\n"))[0] == 502


async def test_an_agent_that_takes_too_long_is_a_504() -> None:
    async with run_proxy(limits=Limits(answer_s=0.05, sweep_s=0.02)) as rig:
        rig.agent.script = silent
        status, _, body = split(await rig.ask(GET, b"\r\n"))
    assert (status, json.loads(body)["code"]) == (504, "agent_timeout")


async def test_who_says_nothing_or_half_a_head_is_not_waited_for() -> None:
    async with run_proxy(limits=Limits(head_s=0.05, sweep_s=0.02)) as rig:
        assert await rig.ask() == b""
        assert split(await rig.ask(b"GET / HTTP/1.1\r\nHo"))[0] == 408
        assert split(await rig.ask(b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000))[0] == 431


async def test_the_token_comes_before_readiness() -> None:
    async with run_proxy(Proxying(require_token=True)) as rig:
        rig.agent.script, rig.ready = answers(OK), False
        for header in (b"", b"X-Holdfast-Proxy-Token: wrong\r\n", b"X-Kiloclaw-Proxy-Token: \r\n"):
            status, _, body = split(await rig.ask(GET, header, LAST))
            assert (status, json.loads(body)) == (401, {"error": "Unauthorized"})
        for name in (b"x-kiloclaw-proxy-token", b"X-Holdfast-Proxy-Token"):
            status, lines, body = split(await rig.ask(GET, name + b": right\r\n", LAST))
            assert (status, json.loads(body)["error"]) == (503, "Gateway not ready")
            assert b"retry-after: 5" in lines
        rig.ready = True
        assert split(await rig.ask(GET, b"x-kiloclaw-proxy-token: right\r\n", LAST))[0] == 200
        assert b"proxy-token" not in rig.agent.heads[0].lower()
        assert rig.agent.connections == 1, "the refused never reached the agent"


async def test_control_requests_and_others_share_a_connection(rig: Rig) -> None:
    rig.ready = False  # control routes answer all the same
    reader, writer = await rig.connect()

    async def control(request: bytes) -> dict[str, object]:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 200 OK" in head, head
        length = next(line for line in head.lower().split(b"\r\n") if b"content-length" in line)
        found: dict[str, object] = json.loads(await reader.readexactly(int(length.split()[1])))
        return found

    for path in ("/_kilo/version", "/_holdfast/x?y=1", "/health"):
        asked = await control(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path.encode())
        assert asked == {"control": path.partition("?")[0], "size": 0}
    body = bytes(100_000)
    big = b"POST /_kilo/x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body)
    assert await control(big + body) == {"control": "/_kilo/x", "size": len(body)}
    chunked = b"POST /_kilo/y HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunked += b"3\r\nabc\r\n0\r\n\r\n"
    assert await control(chunked) == {"control": "/_kilo/y", "size": 3}
    rig.ready = True
    writer.write(GET + b"\r\n")
    assert (await reader.readuntil(b"ok"))[9:12] == b"200"
    assert await control(b"GET /_kilo/z HTTP/1.1\r\nHost: a\r\n\r\n") == {
        "control": "/_kilo/z", "size": 0,
    }  # fmt: skip
    assert len(rig.agent.heads) == 1, "control requests never reach the agent"


SMUGGLED = b"GET /_kilo/secret HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 90\r\n\r\nabcd",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n , identity\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: y\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/0.9\r\n\r\n",
    ],
)
async def test_nothing_is_smuggled(rig: Rig, request_bytes: bytes) -> None:
    answer = await rig.ask(request_bytes, SMUGGLED)
    status, lines, body = split(answer)
    assert (status, json.loads(body)["code"]) == (400, "malformed_request")
    assert b"connection: close" in lines
    assert answer.count(b"HTTP/1.1") == 1, "what came after it was not answered"
    assert rig.agent.connections == 0


async def test_a_bad_chunk_ends_both_connections(rig: Rig) -> None:
    lost = asyncio.Event()

    async def reading(rig: Rig, reader: Reader, _writer: Writer) -> None:
        await rig.head(reader)
        await reader.read()
        lost.set()

    rig.agent.script = reading
    reader, writer = await rig.connect()
    writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    await until(lambda: rig.agent.heads, "the request at the agent")
    writer.write(b"zz\r\n" + SMUGGLED)
    with pytest.raises(ConnectionResetError):
        await reader.read()
    async with asyncio.timeout(patience(5)):
        await lost.wait()


async def test_the_end_is_bounded_and_lets_an_answer_finish(rig: Rig) -> None:
    go = asyncio.Event()

    async def late(rig: Rig, reader: Reader, writer: Writer) -> None:
        await rig.head(reader)
        await go.wait()
        writer.write(OK)

    rig.agent.script = late
    resting, rest_writer = await rig.connect()
    reader, writer = await rig.connect()
    writer.write(GET + b"\r\n")
    stuck = await rig.connect()
    stuck[1].write(GET + b"\r\n")
    await until(lambda: len(rig.agent.heads) == 2, "both at the agent")
    closing = asyncio.create_task(rig.proxy.close(0.5))
    assert await resting.read() == b"", "who rests is closed at once"
    go.set()
    status, lines, body = split(await reader.read())
    assert (status, body) == (200, b"ok")
    assert b"connection: close" in lines
    async with asyncio.timeout(patience(5)):
        await closing
    for each in (rest_writer, writer, stuck[1]):
        each.close()


async def test_it_counts_what_went_through(rig: Rig) -> None:
    for _ in range(3):
        await rig.ask(GET, LAST)
    await rig.ask(b"nonsense\r\n\r\n")
    rig.ready = False
    await rig.ask(GET, LAST)
    stats = rig.proxy.stats()
    assert (stats["requests"], stats["refused"], stats["malformed"]) == (3, 1, 1)
    assert stats["received"] > 0
    assert stats["sent"] > 0


async def test_an_answer_without_a_body_may_say_how_long_it_would_be(rig: Rig) -> None:
    async def script(rig: Rig, reader: Reader, writer: Writer) -> None:
        while True:
            status = (await rig.head(reader)).split()[1].removeprefix(b"/")
            writer.write(b"HTTP/1.1 %b So\r\nContent-Length: 12\r\n\r\n" % status)

    rig.agent.script = script
    reader, writer = await rig.connect()
    for method, status, kept in ((b"HEAD", 200, True), (b"GET", 304, True), (b"GET", 204, False)):
        for _ in range(2):
            writer.write(b"%b /%d HTTP/1.1\r\nHost: a\r\n\r\n" % (method, status))
            found, lines, _ = split(await reader.readuntil(b"\r\n\r\n"))
            assert found == status
            assert (b"content-length: 12" in lines) is kept, "one that has no content has no length"
    assert rig.agent.connections == 1


async def test_trailers_pass_both_ways(rig: Rig) -> None:
    body = b"3;note=1\r\nabc\r\n0\r\nX-Sum: 1\r\nX-Two: 2\r\n\r\n"
    asked = bytearray()

    async def script(rig: Rig, reader: Reader, writer: Writer) -> None:
        await rig.head(reader)
        asked.extend(await reader.readexactly(len(body)))
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)

    rig.agent.script = script
    answer = await rig.ask(
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n" + LAST + body
    )
    assert split(answer)[2] == body == bytes(asked)


@pytest.mark.parametrize(
    ("location", "passed"),
    [
        (b"http://127.0.0.1:PORT/next?x=1#y", b"/next?x=1#y"),
        (b"HTTP://LocalHost:PORT", b"/"),
        (b"http://[::1]:PORT?x", b"/?x"),
        (b"//127.9.9.9:PORT/x", b"/x"),
        (b"http://127.0.0.1:PORT//evil.example/x", b"/.//evil.example/x"),
        (b"http://127.0.0.1:PORT/\\evil.example/x", b"/./\\evil.example/x"),
        (b"http://127.0.0.1:PORT/\t/evil.example/x", b"/./\t/evil.example/x"),
        *[
            (same, same)
            for same in (
                b"/x", b"x", b"https://elsewhere.example/", b"http://127.0.0.1/x",
                b"http://127.0.0.1:PORT0/", b"http://127.0.0.1:PORT.evil.example/",
                b"http://127.0.0.1:PORT@evil.example/", b"https://127.0.0.1:PORT/",
                b"http://10.0.0.1:PORT/", b"http://u@127.0.0.1:PORT/",
            )
        ],
    ],
)  # fmt: skip
async def test_a_location_at_the_agents_own_loopback_is_a_path(
    rig: Rig, location: bytes, passed: bytes
) -> None:
    port = b"%d" % rig.agent_port
    location, passed = location.replace(b"PORT", port), passed.replace(b"PORT", port)
    rig.agent.script = answers(
        b"HTTP/1.1 302 Found\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % location
    )
    assert b"location: " + passed.lower() in split(await rig.ask(GET, LAST))[1]


async def test_what_comes_before_a_request_or_an_answer_is_bounded(rig: Rig) -> None:
    assert split(await rig.ask(b"\r\n" * 4, GET, LAST))[0] == 200
    for lines in (5, 1_000):
        status, _, body = split(await rig.ask(b"\r\n" * lines, GET, LAST))
        assert (status, b"empty lines" in body) == (400, True)
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    post = GET.replace(b"GET", b"POST")  # which takes no connection that an older script serves
    rig.agent.script = answers(interim * 3 + OK)
    assert (await rig.ask(post, LAST)).count(b"HTTP/1.1 103 Early Hints") == 3
    rig.agent.script = answers(interim * 10_000 + OK)
    assert b"HTTP/1.1 502 " in await rig.ask(post, LAST)


async def test_a_body_behind_a_refusal_is_drained_after_the_end_is_told(rig: Rig) -> None:
    async def old(rig: Rig, reader: Reader, writer: Writer) -> None:
        await rig.head(reader)
        writer.write(b"HTTP/1.0 413 No\r\n\r\nno")

    rig.agent.script = old
    reader, writer = await rig.connect()
    writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n")
    assert (await reader.read()).endswith(b"no"), "the end of the answer, before the body's"
    writer.write(bytes(500_000))
    await writer.drain()
    await until(lambda: rig.proxy.stats()["callers"] == 0, "the connection's end")


async def test_targets_of_every_form_reach_the_agent_as_bytes_or_not_at_all(rig: Rig) -> None:
    for target, sent in (
        (b"*@127.0.0.1:1/x", b""), (b"@127.0.0.1:1", b""), (b"?x", b""), (b"/a#b", b""),
        (b"127.0.0.1:1", b""), (b"\\\\127.0.0.1:1", b""), (b"//127.0.0.1:1/x", b"//127.0.0.1:1/x"),
        (b"http://127.0.0.1:1/x?y", b"/x?y"), (b"/%2e%2e/%40", b"/%2e%2e/%40"),
        (b"/\xc3\xa9\xff", b"/\xc3\xa9\xff"), (b"/..//127.0.0.1:1", b"/..//127.0.0.1:1"),
    ):  # fmt: skip
        before = len(rig.agent.heads)
        status, _, _ = split(await rig.ask(b"GET %b HTTP/1.1\r\nHost: a\r\n" % target, LAST))
        assert status == (200 if sent else 400), target
        lines = [head.partition(b"\r\n")[0] for head in rig.agent.heads[before:]]
        assert lines == ([b"GET %b HTTP/1.1" % sent] if sent else [])
    status, _, _ = split(await rig.ask(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n", LAST))
    assert (status, rig.agent.heads[-1][:19]) == (200, b"OPTIONS * HTTP/1.1\r")

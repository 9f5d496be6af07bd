"""An agent that means harm: what it answers is drawn from the request, and malformed half the time.

It stands where the plane expects a machine's controller, or the controller its agent. A request
names the draw of its answer (`ANSWER`), so one seed is one exchange; it ends its connection
wherever it leaves an answer incomplete, since who answers nothing is bounded by minutes.
"""

from __future__ import annotations

import asyncio
import random
import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import cast

ANSWER = b"x-fuzz-answer"
"""The header of a request that is the seed of its answer."""

SMUGGLED = b"x-fuzz-smuggled"
"""A header of a second answer behind the first, which no caller may ever see."""

PLANES_COOKIE = b"evil-plane-cookie"
"""The value of a cookie under a plane's name, which agents may not set."""

STATUS_LINES: Sequence[bytes] = (
    b"HTTP/1.0 200 OK", b"HTTP/1.1 204 No Content", b"HTTP/1.1 304 Not Modified", b"HTTP/1.1 205",
    b"HTTP/1.1 101 Switching Protocols", b"HTTP/1.1 100 Continue", b"HTTP/1.1 103 Early Hints",
    b"HTTP/1.1 199 x", b"HTTP/1.1 999 x", b"HTTP/1.1 099 x", b"HTTP/1.1 1000 x", b"HTTP/1.1 200",
    b"HTTP/1.1 401 Unauthorized", b"HTTP/1.1 503 Service Unavailable", b"HTTP/1.1 302 Found",
    b"HTTP/2 200 OK", b"HTTP/1.2 200 OK", b"http/1.1 200 OK", b"HTTP/1.1  200 OK", b"ICY 200 OK",
    b"HTTP/1.1 2x0 OK", b"HTTP/1.1 -20 OK", b"HTTP/1.1", b"", b"\x16\x03\x01\x02\x00", b"\x00" * 9,
    b"HTTP/1.1 200 \xff\xfe", b"HTTP/1.1 200 a\x00b", b"HTTP/1.1 200 a\rb", b"GET / HTTP/1.1",
    b"HTTP/1.1 200 " + b"a" * 9_000, b"HTTP/1.1 200 OK" + b" " * 70_000,
)  # fmt: skip

FIELDS: Sequence[bytes] = (
    b"content-length: 5", b"content-length: 5, 5", b"content-length: -1", b"content-length: +5",
    b"content-length: " + b"9" * 30, b"content-length: 0x5", b"content-length:", b"a",
    b"transfer-encoding: chunked", b"transfer-encoding: gzip, chunked", b"transfer-encoding: x",
    b"transfer-encoding : chunked", b"transfer-encoding: chunked\r\n folded", b" a: b", b": b",
    b"connection: close", b"connection: keep-alive", b"connection: upgrade", b"upgrade: h2c",
    b"connection: content-length, transfer-encoding, set-cookie, host", b"keep-alive: timeout=x",
    b"set-cookie: hf_session_0a1b2c3d4e5f=" + PLANES_COOKIE, b"set-cookie: a=b; Domain=localhost",
    b"set-cookie: __Host-hf_agent_0a=" + PLANES_COOKIE + b"; Path=/", b"set-cookie: ;;==;",
    b"set-cookie: \xff=\xfe", b"location: //\xbd[", b"location: http://[::1", b"location: /a\tb",
    b"location: http://127.0.0.1:99999/", b"location:", b"trailer: content-length", b"a: \x00",
    b"a: b\nc: d", b"a\x00b: c", b"a" * 9_000 + b": b", b"a: " + b"b" * 70_000, b"\xc3\xa9: a",
    b"content-encoding: gzip", b"content-type: application/json", b"content-type: \xff/\x80",
    b"content-type: text/event-stream", b"refresh: 0;url=//[", b"a: b\r\n" * 1_500 + b"a: b",
)  # fmt: skip

CHUNKS: Sequence[bytes] = (
    b"5\r\nhello\r\n0\r\n\r\n", b"5;a=b\r\nhello\r\n0\r\na: b\r\nc: d\r\n\r\n",
    b"5\r\nhello\r\n" * 300 + b"0\r\n\r\n", b"00005\r\nhello\r\n000\r\n\r\n",
)  # fmt: skip
"""Bodies in chunks as they may be."""

BAD_CHUNKS: Sequence[bytes] = (
    b"", b"\r\n", b"5\r\nhel", b"5\r\nhelloXX0\r\n\r\n", b"5\nhello\n0\n\n", b"-5\r\nhello\r\n",
    b"z\r\n", b"f" * 20 + b"\r\n", b"7fffffffffffffff\r\na", b"5;" + b"a" * 2_000 + b"\r\nhello",
    b"5;\x00\r\nhello\r\n0\r\n\r\n", b" 5\r\nhello\r\n0\r\n\r\n", b"0\r\n" + b"a: b\r\n" * 2_000,
    b"0\r\n bad: fold\r\n\r\n", b"0\r\na\x00: b\r\n\r\n", b"0\r\nno colon\r\n\r\n", b"0x5\r\nhello",
)  # fmt: skip

NOT_READY = b'{"code":"gateway_not_ready","message":"x"}'
JSONS: Sequence[bytes] = (
    NOT_READY, b'{"error": "Unauthorized"}', b"", b"[]", b"null", b'{"code":[]}', b"[" * 4_000,
    b'{"code":{"a":1}}', b'{"code":"\\ud800"}', b'{"code":"<b>\xff"}', b'{"code":1e999}', b"{" * 99,
)  # fmt: skip
"""Bodies of the refusals that the plane replaces by a page of its own."""

FRAMES: Sequence[bytes] = (
    b"\x81\x05hello", b"\x81\x85\x00\x00\x00\x00hello", b"\x88\x02\x03\xe8", b"\x89\x00",
    b"\x8a\x00", b"\xff\xff", b"\x81\x7f" + b"\xff" * 8, b"\x82\x7e\xff\xff" + b"a" * 65_535,
    b"\x00" * 99,
    b"\x01\x01a\x80\x01b", b"\xc1\x01a", b"GET / HTTP/1.1\r\n\r\n", b"a" * 200_000,
)  # fmt: skip
"""What is said over a WebSocket by either side: nobody between the two reads it."""


@dataclass
class Answer:
    """What is sent in answer, in pieces, and what becomes of the connection then."""

    pieces: list[bytes]
    end: str = ""
    """Empty for a connection that stays open, or `eof`, `close`, `abort`."""


@dataclass
class Heard:
    """What an agent was asked, and what it was told that it should never be."""

    requests: int = 0
    upgrades: int = 0
    never: Callable[[], Sequence[bytes]] = tuple
    wrong: list[str] = field(default_factory=list)


def answer(draw: random.Random, *, upgrade: bool, bare: bool) -> Answer:
    """Return the answer of a draw to a request; `bare` to HEAD."""
    if upgrade and draw.random() < 0.7:
        made = _switch(draw)
    elif draw.random() < 0.15:
        made = _refusal(draw)
    else:
        made = _whole(draw, bare=bare)
    if SMUGGLED in made.pieces[0]:
        return made  # whole: no other request may come between the two
    if draw.random() < 0.5:
        made = _bend(draw, made)
    raw = b"".join(made.pieces)
    step = max(1, -(-len(raw) // draw.choice((1, 1, 2, 7, 40))))
    return Answer([raw[at : at + step] for at in range(0, len(raw), step)], made.end)


def _switch(draw: random.Random) -> Answer:
    head = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\r\n"
    said = [draw.choice(FRAMES) for _ in range(draw.randrange(4))]
    return Answer([head, *said], draw.choice(("", "", "eof", "close", "abort")))


def _refusal(draw: random.Random) -> Answer:
    line = draw.choice((b"HTTP/1.1 503 x", b"HTTP/1.1 401 x"))
    body = draw.choice(JSONS)
    head = b"%b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (line, len(body))
    return Answer([head, body])


def _whole(draw: random.Random, *, bare: bool) -> Answer:
    before = b"HTTP/1.1 103 Early Hints\r\nlink: <a>\r\n\r\n" * draw.choice((0, 0, 0, 1, 3, 40))
    if draw.random() < 0.1:
        again = b"HTTP/1.1 200 OK\r\n%b: 1\r\ncontent-length: 0\r\n\r\n" % SMUGGLED
        first = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n" + (b"" if bare else b"ok")
        return Answer([first + again])
    body = draw.choice((b"hello", b"a" * 70_000, b"a" * 300_000, b"\x00\xff" * 99))
    kind = draw.random()
    if kind < 0.5:
        framing, end = b"content-length: %d" % len(body), ""
    elif kind < 0.8:
        framing, body, end = b"transfer-encoding: chunked", draw.choice(CHUNKS), ""
    else:
        framing, end = b"content-type: text/html", draw.choice(("eof", "close"))
    head = b"%bHTTP/1.1 200 OK\r\nset-cookie: sid=1\r\n%b\r\n\r\n" % (before, framing)
    return Answer([head, b"" if bare else body], end)


def _bend(draw: random.Random, made: Answer) -> Answer:
    """Return an answer with something wrong, after which the connection ends."""
    line, _, rest = b"".join(made.pieces).partition(b"\r\n")
    match draw.randrange(6):
        case 0:
            line = draw.choice(STATUS_LINES)
        case 1 | 2:
            rest = draw.choice(FIELDS) + b"\r\n" + rest
        case 3:
            line, rest = (
                b"HTTP/1.1 200 OK",
                b"transfer-encoding: chunked\r\n\r\n" + draw.choice(BAD_CHUNKS),
            )
        case 4:
            rest = rest[: draw.randrange(len(rest) + 1)]
        case _:
            at = draw.randrange(len(rest) + 1)
            rest = rest[:at] + bytes([draw.randrange(256)]) + rest[at + draw.randrange(2) :]
    return Answer([line + b"\r\n" + rest], draw.choice(("eof", "close", "abort")))


class _Connection(asyncio.Protocol):
    """One connection to the agent."""

    def __init__(self, heard: Heard) -> None:
        self._heard = heard
        self._read = b""
        self._answered = False
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer as soon as there is a head, without waiting for a body, as a hostile agent may."""
        if self._answered:
            self._listen(data)
            return
        self._read += data
        end = self._read.find(b"\r\n\r\n")
        if end < 0:
            return
        head, self._read = self._read[: end + 4].lower(), b""
        self._listen(head)
        self._heard.requests += 1
        upgrade = b"\r\nupgrade: websocket\r\n" in head
        self._heard.upgrades += upgrade
        _, named, told = head.partition(b"\r\n" + ANSWER + b": ")
        seed = told.partition(b"\r\n")[0] if named else b"%d" % zlib.crc32(head)
        made = answer(random.Random(seed), upgrade=upgrade, bare=head[:5] == b"head ")
        self._answered = upgrade or bool(made.end)
        self._say(made.pieces, made.end)

    def _listen(self, data: bytes) -> None:
        for secret in self._heard.never():
            if secret.lower() in data.lower():
                self._heard.wrong.append(f"an agent was told {secret!r}: {data[:400]!r}")

    def _say(self, pieces: Sequence[bytes], end: str) -> None:
        """Send the pieces, each in a turn of its own, so those of two answers may mix."""
        if self._ended or self._transport.is_closing():
            return
        if pieces:
            self._transport.write(pieces[0])
            asyncio.get_running_loop().call_soon(self._say, pieces[1:], end)
        elif end == "abort":
            self._transport.abort()
        elif end == "eof":
            self._ended = True
            with suppress(OSError):  # it was reset already
                self._transport.write_eof()
            asyncio.get_running_loop().call_later(0.05, self._transport.close)
        elif end == "close":
            self._transport.close()


@asynccontextmanager
async def run_agent(heard: Heard) -> AsyncIterator[int]:
    """Listen on a free port of this machine; yield the port."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(partial(_Connection, heard), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()

"""Hostile request targets, over raw sockets to a real plane: nothing else is ever connected to."""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Iterator
from contextlib import closing
from typing import NamedTuple

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.relay import http1
from tests.integration.plane.agent_browser import Browser, demo
from tests.support.planes import DEADLINE_S, PlaneProcess
from tests.support.slices import slice_of

METHODS = (b"GET", b"HEAD", b"OPTIONS", b"POST", b"CONNECT", b"DELETE")


class Hosts(NamedTuple):
    """The two kinds of host of one plane, a session, and a port that must get no connection."""

    plane: PlaneProcess
    agent: str
    cookie: str
    decoy: socket.socket

    @property
    def trap(self) -> bytes:
        return b"127.0.0.1:%d" % self.decoy.getsockname()[1]

    def untouched(self) -> bool:
        return not select.select([self.decoy], [], [], 0)[0]


@pytest.fixture(scope="module")
def hosts(shared: PlaneProcess) -> Iterator[Hosts]:
    async def sign_in() -> tuple[str, str]:
        async with aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(), skip_auto_headers=["User-Agent"]
        ) as session:
            browser = Browser(shared, session)
            await browser.sign_in()
            host = await browser.open(demo(browser))
            return host, browser.cookies[host]

    shared.ready("demo")
    host, cookie = asyncio.run(sign_in())
    with closing(socket.create_server(("127.0.0.1", 0))) as decoy:
        yield Hosts(shared, host, cookie, decoy)


def answer_to(hosts: Hosts, sent: bytes, method: bytes) -> tuple[http1.Response, bytes]:
    """Return the one whole answer to what is sent on a connection of its own."""
    with socket.create_connection(("127.0.0.1", hosts.plane.port), timeout=DEADLINE_S) as raw:
        raw.sendall(sent)
        said = b""
        while piece := raw.recv(65_536):
            said += piece
    head, end, rest = said.partition(b"\r\n\r\n")
    assert end, (sent, said)
    response = http1.parse_response(head + end, method=method)
    body = http1.Body(response.length)
    used = 0 if body.ended else body.take(rest)
    assert body.ended or body.until_close, (sent, said)
    unread = method == b"HEAD" and response.status == 400  # its method was not read either
    assert used == len(rest) or unread, (sent, said)
    return response, http1.payload(response.length, rest)


def request(hosts: Hosts, method: bytes, target: bytes, *, at_agent: bool) -> bytes:
    host = hosts.agent.encode() if at_agent else b"127.0.0.1:%d" % hosts.plane.port
    head = b"%b %b HTTP/1.1\r\nHost: %b\r\nOrigin: http://%b\r\nAccept: text/html\r\n" % (
        method, target, host, host,
    )  # fmt: skip
    return head + b"Cookie: %b\r\nConnection: close\r\n\r\n" % hosts.cookie.encode()


def check(hosts: Hosts, method: bytes, target: bytes, *, at_agent: bool) -> http1.Response:
    sent = request(hosts, method, target, at_agent=at_agent)
    response, body = answer_to(hosts, sent, method)
    by_agent = at_agent and b"Demo agent" in body
    assert response.status < 500 or by_agent, (sent, response, body)
    assert hosts.untouched(), (sent, "another port was connected to")
    return response


SHAPES = (
    b"*@TRAP/x", b"@TRAP/x", b"//TRAP/x", b"///TRAP", b"http://TRAP/x", b"HTTPS://TRAP",
    b"http:TRAP", b"http://u@TRAP/", b"http://a@b@TRAP/", b"ws://TRAP/x", b"ftp://TRAP/x", b"TRAP",
    b"TRAP/x", b":80@TRAP/", b"\\\\TRAP\\x", b"/\\TRAP/x", b"/..//TRAP/x", b"/x/../../TRAP",
    b"/%2e%2e//TRAP", b"/%40TRAP/", b"?TRAP", b"#@TRAP", b"/x#@TRAP", b"/x?@TRAP", b".TRAP",
    b";@TRAP/", b"\xc0\xafTRAP", b"/\xff\xfe@TRAP", b"\x01@TRAP", b"/\x7fTRAP", b"/\t@TRAP",
    b"/a b@TRAP", b"[::1]@TRAP/", b"%00@TRAP", b"&@TRAP", b"*", b"?x", b"#f", b"", b"/", b"//",
    b".",
)  # fmt: skip


@pytest.mark.parametrize("at_agent", [True, False], ids=["agent", "dashboard"])
def test_no_target_leads_elsewhere_or_breaks_anything(hosts: Hosts, *, at_agent: bool) -> None:
    for target in (shape.replace(b"TRAP", hosts.trap) for shape in SHAPES):
        for method in METHODS:
            response = check(hosts, method, target, at_agent=at_agent)
            if target[:1] in {b"@", b":", b"\\", b"?", b"#", b"&", b";", b"."}:
                assert 400 <= response.status < 500, target


@settings(
    max_examples=slice_of(150, here=75), deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(
    parts=st.lists(
        st.sampled_from([
            b"TRAP", b"*", b"@", b"/", b"//", b"\\", b"..", b"?", b"#", b":", b"http:", b"https://",
            b"%40", b"%2f", b"%", b"%00", b"\xff", b"\xc3\xa9", b"\x01", b"\t", b"\r", b"\n", b" ",
            b"[", b"]", b";", b"&", b"x", b"_holdfast", b"_kilo",
        ]),
        max_size=8,
    ),
    method=st.sampled_from(METHODS),
    at_agent=st.booleans(),
)  # fmt: skip
def test_no_target_of_any_parts_leads_elsewhere(
    hosts: Hosts,
    parts: list[bytes],
    method: bytes,
    at_agent: bool,  # noqa: FBT001
) -> None:
    target = b"".join(parts).replace(b"TRAP", hosts.trap)
    if target.count(b"\n") > 1:
        target = target.replace(b"\n", b"")  # it would be the end of the head
    check(hosts, method, target, at_agent=at_agent)


class Answers:
    """The answers that come over one connection, one after the other."""

    def __init__(self, stream: socket.socket) -> None:
        self.stream = stream
        self.said = b""

    def next(self) -> tuple[int, bytes]:
        while b"\r\n\r\n" not in self.said:
            self.said += self._more()
        head, _, self.said = self.said.partition(b"\r\n\r\n")
        response = http1.parse_response(head + b"\r\n\r\n", method=b"GET")
        body, content = http1.Body(response.length), b""
        while not body.ended:
            self.said = self.said or self._more()
            used = body.take(self.said)
            content, self.said = content + self.said[:used], self.said[used:]
        return response.status, http1.payload(response.length, content)

    def _more(self) -> bytes:
        piece = self.stream.recv(65_536)
        assert piece, (self.said, "cut off")
        return piece


def test_one_connection_may_ask_both_kinds_of_host_in_turn(hosts: Hosts) -> None:
    ours = request(hosts, b"GET", b"/health", at_agent=False).replace(b"Connection: close\r\n", b"")
    theirs = request(hosts, b"GET", b"/", at_agent=True).replace(b"Connection: close\r\n", b"")
    with socket.create_connection(("127.0.0.1", hosts.plane.port), timeout=DEADLINE_S) as raw:
        answers = Answers(raw)
        for _ in range(3):
            for sent, word in ((ours, b"status"), (theirs, b"Demo agent"), (theirs, b"Demo agent")):
                for piece in (sent[:20], sent[20:]):
                    raw.sendall(piece)
                status, body = answers.next()
                assert (status, word in body) == (200, True), body
        raw.sendall(theirs + ours + ours)
        assert b"Demo agent" in answers.next()[1]
        assert [b"status" in answers.next()[1] for _ in range(2)] == [True, True]
        raw.sendall(ours + theirs)
        assert answers.next()[0] == 200
        assert answers.next()[0] == 421, "what was sent ahead for another host may be sent again"
        assert raw.recv(1) == b""


def test_an_upgrade_at_the_dashboard_is_refused_whole(hosts: Hosts) -> None:
    sent = request(hosts, b"GET", b"/", at_agent=False).replace(
        b"Connection: close", b"Connection: Upgrade\r\nUpgrade: websocket"
    )
    response, body = answer_to(hosts, sent + b"early", b"GET")
    assert (response.status, b"no_websocket" in body) == (404, True)


def test_empty_lines_before_a_request_are_taken_up_to_a_few(hosts: Hosts) -> None:
    for at_agent in (True, False):
        sent = request(hosts, b"GET", b"/health", at_agent=at_agent)
        assert answer_to(hosts, b"\r\n" * 2 + sent, b"GET")[0].status == 200
        assert answer_to(hosts, b"\r\n" * 1_000 + sent, b"GET")[0].status == 400

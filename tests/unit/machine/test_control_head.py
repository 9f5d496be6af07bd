"""What the routes' own HTTP library is given of a request: nothing that it would raise at."""

from __future__ import annotations

import pytest

from holdfast.machine.controller.limits import LINE_BYTES_MAX
from holdfast.machine.controller.proxy.control import head_for_routes
from holdfast.relay.http1 import parse_request


def told(line: bytes = b"GET /_kilo/version HTTP/1.1", *headers: bytes) -> tuple[bytes, str]:
    head = b"\r\n".join([line, b"Host: a", *headers, b"", b""])
    return head_for_routes(parse_request(head))


def test_only_what_routes_read_is_passed_on() -> None:
    head, why = told(
        b"GET /_kilo/version?a=%20 HTTP/1.1", b"Authorization: Bearer x", b"Cookie: a=\xff",
        b"Content-Encoding: gzip", b"If-Match: abc", b"Upgrade: websocket", b"Connection: upgrade",
    )  # fmt: skip
    assert not why
    assert head == (
        b"GET /_kilo/version?a=%20 HTTP/1.1\r\nhost: a\r\nauthorization: Bearer x\r\n"
        b"if-match: abc\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("line", "header", "why"),
    [
        (b"FROB /_kilo/version HTTP/1.1", b"A: b", "no route takes this method"),
        (b"GET /_kilo/\xff HTTP/1.1", b"A: b", "the target must be ASCII"),
        (b"GET /_kilo/%zz HTTP/1.1", b"A: b", "the target must be ASCII"),
        (b"GET /" + b"a" * LINE_BYTES_MAX + b" HTTP/1.1", b"A: b", "the target must be"),
        (b"GET / HTTP/1.1", b"If-Match: \xe9", "if-match must be ASCII"),
        (b"GET / HTTP/1.1", b"If-Match: " + b"a" * (LINE_BYTES_MAX + 1), "if-match is given once"),
        (b"GET / HTTP/1.1", b"Content-Type: a\r\nContent-Type: b", "content-type is given once"),
        (b"GET / HTTP/1.1", b"Expect: \xe3\xf8", "expect must be ASCII"),
        (b"GET / HTTP/1.1", b"Expect: 200-ok", "expect can be 100-continue alone"),
    ],
)
def test_what_it_would_raise_at_is_refused_with_a_reason(
    line: bytes, header: bytes, why: str
) -> None:
    head, said = told(line, header)
    assert head == b""
    assert said.startswith(why)


def test_a_token_that_is_no_text_is_a_wrong_token() -> None:
    head, why = told(b"GET /_kilo/version HTTP/1.1", b"Authorization: Bearer \xff")
    assert not why
    assert b"authorization" not in head

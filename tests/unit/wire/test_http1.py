"""Heads and bodies: what is read, what is refused because two readers might differ."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.relay import http1
from holdfast.relay.http1 import Body, MalformedError, parse_request, parse_response


def head(*lines: str, first: str = "POST /a?b=1 HTTP/1.1") -> bytes:
    return "\r\n".join([first, *lines, "", ""]).encode("latin-1")


def test_a_request_is_read_as_it_is_meant() -> None:
    request = parse_request(
        head(
            "Host: a", "X-Two:  1 ", "x-two:2", "Content-Length: 5", "Connection: keep-alive, X-Hop"
        )
    )
    assert (request.method, request.target, request.path) == (b"POST", b"/a?b=1", b"/a")
    assert request.length == 5
    assert http1.values(request.headers, b"x-two") == [b"1", b"2"]
    assert http1.tokens(request.headers, b"connection") == {b"keep-alive", b"x-hop"}
    assert parse_request(b"GET / HTTP/1.0\r\n\r\n").headers == []


def test_an_absolute_target_is_brought_into_the_form_of_a_path() -> None:
    for target, path in (
        ("http://a.example/_kilo/x?y", b"/_kilo/x?y"),
        ("HTTPS://a.example", b"/"),
        ("http://a.example?y", b"/?y"),
    ):
        assert parse_request(head("Host: a", first=f"GET {target} HTTP/1.1")).target == path


@pytest.mark.parametrize(
    "lines",
    [
        ("Host: a", "Content-Length: 5", "Transfer-Encoding: chunked"),
        ("Host: a", "Content-Length: 5", "Content-Length: 6"),
        ("Host: a", "Content-Length: 5", "Content-Length: 5"),
        ("Host: a", "Content-Length: 5, 5"),
        ("Host: a", "Content-Length: +5"),
        ("Host: a", "Content-Length: 0x5"),
        ("Host: a", "Content-Length:"),
        ("Host: a", "Content-Length: " + "9" * 19),
        ("Host: a", "Transfer-Encoding: gzip, chunked"),
        ("Host: a", "Transfer-Encoding: chunked", "Transfer-Encoding: identity"),
        ("Host: a", "Transfer-Encoding: xchunked"),
        ("Host: a", "Transfer-Encoding : chunked"),
        ("Host: a", "X-Folded: 1", " Transfer-Encoding: chunked"),
        ("Host: a", "\tContent-Length: 5"),
        ("Host: a", "Name only"),
        ("Host: a", ": no name"),
        ("Host: a", "X: a\rContent-Length: 5"),
        ("Host: a", "X: a\nContent-Length: 5"),
        ("Host: a", "X: a\x00b"),
        ("Host: a", "Host: b"),
        ("X: no host",),
    ],
)
def test_what_two_readers_may_read_differently_is_refused(lines: tuple[str, ...]) -> None:
    with pytest.raises(MalformedError):
        parse_request(head(*lines))


@pytest.mark.parametrize(
    "line",
    [
        "GET / HTTP/1.1 ", "GET  / HTTP/1.1", "GET / HTTP/2.0", "GET /a b HTTP/1.1", "GET /",
        "G(T / HTTP/1.1", "GET a HTTP/1.1", "GET * HTTP/1.1", "CONNECT a:443 HTTP/1.1",
        "GET /\x01 HTTP/1.1", " GET / HTTP/1.1", "GET /a#b HTTP/1.1", "GET *@a:1/x HTTP/1.1",
        "GET @a:1 HTTP/1.1", "GET a:1 HTTP/1.1", "GET ?a HTTP/1.1", "GET \\\\a HTTP/1.1",
    ],
)  # fmt: skip
def test_a_malformed_first_line_is_refused(line: str) -> None:
    with pytest.raises(MalformedError):
        parse_request(head("Host: a", first=line))


def test_chunked_is_not_for_the_old_version() -> None:
    with pytest.raises(MalformedError):
        parse_request(head("Transfer-Encoding: chunked", first="POST / HTTP/1.0"))


def test_the_length_of_an_answer_follows_from_status_and_method() -> None:
    def length(first: str, *lines: str, method: bytes = b"GET") -> int:
        return parse_response(head(*lines, first=first), method=method).length

    assert length("HTTP/1.1 200 OK", "Content-Length: 3") == 3
    assert length("HTTP/1.1 200", "Transfer-Encoding: Chunked") == http1.CHUNKED
    assert length("HTTP/1.0 200 OK") == http1.UNTIL_CLOSE
    assert length("HTTP/1.1 200 OK", "Content-Length: 3", method=b"HEAD") == 0
    assert length("HTTP/1.1 304 Not Modified", "Content-Length: 3") == 0
    assert length("HTTP/1.1 204 No Content") == 0
    for first in ("HTTP/1.1 20 OK", "HTTP/1.1 2000 OK", "ICY 200 OK", "HTTP/1.1 099 No"):
        with pytest.raises(MalformedError):
            length(first)


def test_only_what_goes_further_than_one_connection_goes_further() -> None:
    headers = [
        (b"connection", b"close, X-Mine, Content-Length, Host"), (b"x-mine", b"1"),
        (b"keep-alive", b"5"), (b"te", b"trailers"), (b"upgrade", b"h2c"), (b"host", b"a"),
        (b"proxy-authorization", b"x"), (b"content-length", b"3"), (b"x-forwarded-for", b"6.6.6.6"),
        (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"),
    ]  # fmt: skip
    kept = http1.end_to_end(headers, without=http1.FORWARDED)
    assert kept == [
        (b"host", b"a"),
        (b"content-length", b"3"),
        (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
    ]


def test_an_origin_of_its_own_moves_with_the_host_and_a_foreign_one_does_not() -> None:
    def moved(origin: bytes) -> bytes:
        headers = [(b"host", b"a.example:1"), (b"origin", origin)]
        return http1.first(http1.move_host(headers, b"127.0.0.1:3001"), b"origin")

    assert moved(b"http://a.example:1") == b"http://127.0.0.1:3001"
    assert moved(b"https://A.example:1") == b"http://127.0.0.1:3001"
    for foreign in (b"http://a.example", b"http://evil.example:1", b"null", b"http://a.example:12"):
        assert moved(foreign) == foreign


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=40), max_size=6),
    cuts=st.lists(st.integers(0, 400), max_size=12),
    trailers=st.sampled_from([b"", b"X-Sum: 1\r\n", b"A: 1\r\nB: 2\r\n"]),
)
def test_the_end_of_a_chunked_body_is_found_however_it_is_cut(
    chunks: list[bytes], cuts: list[int], trailers: bytes
) -> None:
    whole = b"".join(b"%x;note=1\r\n%b\r\n" % (len(c), c) for c in chunks)
    whole += b"0\r\n" + trailers + b"\r\n"
    sent, body, taken, at = whole + b"GET / HTTP/1.1", Body(http1.CHUNKED), b"", 0
    for cut in [*sorted(cuts), len(sent)]:
        piece = sent[at : max(at, cut)]
        used = body.take(piece)
        taken += piece[:used]
        assert used == len(piece) or body.ended, "all is taken until the end"
        at = max(at, cut)
        if body.ended:
            break
    assert body.ended
    assert taken == whole
    assert http1.payload(http1.CHUNKED, whole) == b"".join(chunks)
    for cut in cuts:
        cut_off = http1.payload(http1.CHUNKED, whole[:cut])
        assert b"".join(chunks).startswith(cut_off)


@pytest.mark.parametrize(
    "data",
    [
        b"z\r\n", b"-1\r\n", b"0x5\r\n", b"5\nabcde", b"3\r\nabcd\r\n", b"3\r\nabc\n0\r\n\r\n",
        b"\r\n", b"1" * 16 + b"\r\n", b"5;" + b"x" * 2_000, b"5 5\r\n",
        b"0\r\nX: 1\r\n folded: 2\r\n\r\n", b"0\r\nno name\r\n\r\n", b"0\r\n" + b"A: b\r\n" * 2_000,
    ],
)  # fmt: skip
def test_a_malformed_chunk_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        Body(http1.CHUNKED).take(data)


def test_bodies_of_the_other_kinds() -> None:
    fixed = Body(5)
    assert fixed.take(b"abc") == 3
    assert not fixed.ended
    assert fixed.take(b"defg") == 2
    assert fixed.ended
    assert Body(0).ended
    for length in (http1.UNTIL_CLOSE,):
        body = Body(length)
        assert body.take(b"x" * 9) == 9
        assert body.until_close
        assert not body.ended

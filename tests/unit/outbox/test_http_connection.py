"""Parsing HTTP/1.1 answers of servers, proxies and portals."""

from __future__ import annotations

import io

import pytest

from holdfast.outbox import http_connection
from holdfast.outbox.http_connection import HttpConnection, _read, address_of


def read(raw: bytes) -> http_connection.Response:
    return _read(io.BytesIO(raw))


def test_a_body_of_known_length_leaves_the_connection_usable() -> None:
    found = read(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A:  b \r\n\r\n{}next")
    assert found == (200, {"content-length": "2", "x-a": "b"}, b"{}", True)


def test_pieces_are_put_together() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    raw = head + b"2;x=1\r\nab\r\n1\r\nc\r\n0\r\nT: 1\r\n\r\n"
    assert read(raw)[2:] == (b"abc", True)


def test_what_ends_with_the_connection_is_read_and_not_kept() -> None:
    assert read(b"HTTP/1.0 503 no\r\n\r\nall of it")[2:] == (b"all of it", False)
    closing = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    assert not read(closing).reusable


def test_interim_answers_and_empty_ones() -> None:
    raw = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"
    assert read(raw) == (204, {}, b"", True)


@pytest.mark.parametrize(
    "raw",
    [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"],
)
def test_a_hang_up_is_told_as_one(raw: bytes) -> None:
    with pytest.raises(ConnectionResetError):
        read(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"220 mail.example ESMTP\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 500 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * 70_000,
    ],
)
def test_what_is_no_http_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"not|more than"):
        read(raw)


def test_an_endless_answer_is_cut_and_the_connection_with_it() -> None:
    huge = http_connection.ANSWER_BYTES_MAX + 10
    found = read(f"HTTP/1.1 200 OK\r\nContent-Length: {huge}\r\n\r\n".encode() + b"x" * huge)
    assert len(found.body) == http_connection.ANSWER_BYTES_MAX
    assert not found.reusable


@pytest.mark.parametrize("key", ["a\r\nX-Evil: 1", "a\x00", "schlüssel€"])
def test_a_key_cannot_write_headers(key: str) -> None:
    connection = HttpConnection("http", "127.0.0.1", 9, timeout_s=1)
    with pytest.raises(ValueError):
        connection.post("/", b"", {"Authorization": f"Bearer {key}"})


@pytest.mark.parametrize(
    ("url", "want"),
    [
        ("https://Plane.Example", ("https", "plane.example", None, "/")),
        ("http://127.0.0.1:80/a/b?c=d#e", ("http", "127.0.0.1", 80, "/a/b?c=d")),
        ("https://u:p@host:8443?x=1", ("https", "host", 8443, "/?x=1")),
        ("http://[::1]:9/x", ("http", "::1", 9, "/x")),
        ("http://[::1]", ("http", "::1", None, "/")),
    ],
)
def test_the_parts_of_an_address(url: str, want: tuple[object, ...]) -> None:
    assert address_of(url) == want


@pytest.mark.parametrize(
    "url",
    [
        "", "plane.example", "https://", "https://:80", "http://a:b", "http://a:0", "http://a:99999",
        "https://good.example\\@evil.example/", "https://a b/", "https://a/b c",
        "https://a/\r\nX: 1", "https://a\r\n/", "https://[a]/", "https://a/\xe9", "https://a:٣/",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="address"):
        address_of(url)

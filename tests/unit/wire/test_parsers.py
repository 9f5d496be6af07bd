"""Parsers of what somebody sent: total on every text, and exact on what they take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.wire import parsers
from holdfast.wire.times import TIME_MS_MAX, parse_time, time_text

ODD = (
    "", " ", "5 ", " 5", "+5", "-5", "1_0", "5\n", "٣", "²", "9" * 20, "9" * 5_000, "0x1", "1e3",
    "http://[::1", "http://a:b", "//", "[", "]", "%ff", "%", "\ud800", "\x00", "a" * 10_000,
    "http://a.test:99999", "http://\u2100.test", "fe80::1%a/b", "::ffff:1.2.3.4", "1-2", "1-",
)  # fmt: skip


def whole_cursor(text: str) -> object:
    return parsers.wholes(text, 2)


def fields(text: str) -> object:
    return parsers.pairs(text, most=3)


TOTAL: tuple[Callable[[str], Any], ...] = (
    parsers.whole, whole_cursor, parsers.ip, parsers.host, parsers.origin, fields, parse_time,
)  # fmt: skip


@pytest.mark.parametrize("parse", TOTAL)
@given(st.one_of(st.sampled_from(ODD), st.text(), st.text("0123456789-:.[]%/@ho&=")))
def test_no_text_raises(parse: Callable[[str], Any], text: str) -> None:
    parse(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("5", 5), ("0005", 5), (str(2**63 - 1), 2**63 - 1), (str(2**63), None)]
    + [(text, None) for text in ODD],
)
def test_whole_numbers_are_digits_that_a_store_can_keep(text: str, number: int | None) -> None:
    assert parsers.whole(text) == number


def test_a_whole_number_has_a_largest() -> None:
    assert parsers.whole("65535", most=65_535) == 65_535
    assert parsers.whole("65536", most=65_535) is None


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("1-2", (1, 2)), ("1", None), ("1-2-3", None), ("1-", None), ("-1-2", None), ("a-b", None)],
)
def test_cursors(text: str, numbers: object) -> None:
    assert parsers.wholes(text, 2) == numbers


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("Plane.test", ("plane.test", None)), ("plane.test:80", ("plane.test", 80)),
        ("[::1]:8700", ("::1", 8_700)), ("1.2.3.4", ("1.2.3.4", None)), ("a@b", None),
        ("a:99999", None), ("a:", None), ("[::1", None), ("a b", None), ("a/b", None), ("", None),
        ("a" * 256, None),
    ],
)  # fmt: skip
def test_hosts(text: str, host: object) -> None:
    assert parsers.host(text) == host


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("http://plane.test:80", "plane.test:80"), ("https://[::1]", "[::1]"), ("null", None),
        ("http://[::1", None), ("ftp://a", None), ("http://a/b", None), ("//a", None),
    ],
)  # fmt: skip
def test_origins(text: str, named: str | None) -> None:
    assert parsers.origin(text) == named


def test_an_ipv4_address_is_one_peer_however_it_is_written() -> None:
    assert parsers.ip("::ffff:1.2.3.4") == parsers.ip("1.2.3.4")


@pytest.mark.parametrize("text", ["a=%ff", "a=1&b=2&c=3&d=4"])
def test_fields_that_are_not_utf8_or_too_many(text: str) -> None:
    assert parsers.pairs(text, most=3) is None
    assert parsers.pairs("a=%C3%A9&b=", most=3) == [("a", "é"), ("b", "")]


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"\xff", b'"\\ud800"', b"[" * 100_000, b'{"a":' * 100_000, b"1e999", b"NaN"]
)
def test_json_that_cannot_be_read_is_one_error(raw: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        parsers.from_json(msgspec.json.Decoder(), raw)


def test_depth_is_counted_without_a_stack() -> None:
    value: Any = 0
    for _ in range(parsers.JSON_DEPTH_MAX):
        value = [value]
    assert not parsers.is_deep(value)
    assert parsers.is_deep([value])
    for _ in range(100_000):
        value = {"a": value}
    assert parsers.is_deep(value)


@pytest.mark.parametrize("at_ms", [TIME_MS_MAX + 1, 2**63 - 1, 10**400, -(10**400)])
def test_a_time_that_nobody_can_write_is_shown_as_the_last_that_can_be(at_ms: int) -> None:
    shown = parse_time(time_text(at_ms))
    assert (shown == TIME_MS_MAX) == (at_ms > 0)


@pytest.mark.parametrize("raw", [b"{", b'"\xff"', b"[" * 100_000, b"1"])
def test_what_is_no_json_of_a_type_is_one_error(raw: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        parsers.json_as(dict[str, list[object]], raw)
    assert parsers.json_as(dict[str, int], b'{"a": 1}') == {"a": 1}

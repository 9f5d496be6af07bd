"""Hosts, ports and targets: what is taken, and that no target can say where it goes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.relay.urls import http_url, whole_url
from holdfast.wire.address import Address, Base, Place, origin_form

HOSTILE = (
    "*@evil:1/x", "@evil:1", "?x", "#f", "\\\\evil", "x", "", "http://evil/", "/a b", "/a\r\nX: 1",
    "/a#b", "/\x00", "/é", "/\x7f",
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:80", "127.0.0.1", 80),
        ("a:1", "a", 1),
        ("machine-1.internal:65535", "machine-1.internal", 65_535),
        ("[fdaa::3]:18789", "fdaa::3", 18_789),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, host: str, port: int) -> None:
    assert Address.parse(text) == (host, port)
    assert str(Address(host, port)) == text


@pytest.mark.parametrize(
    "text",
    [
        "", "a", ":80", "a:", "a:0", "a:65536", "a:+1", "a:1x", "u@a:80", "a/b:80", "a b:80",
        "[a]:80", "::1:80", "[::1]80", "a\n:80", "a:80\n", "-a:80", "a:٣", "http://a:80",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="address"):
        Address.parse(text)


@pytest.mark.parametrize("target", HOSTILE)
def test_a_target_that_is_no_path_is_refused(target: str) -> None:
    with pytest.raises(ValueError, match="request target"):
        origin_form(target)
    with pytest.raises(ValueError, match="request target"):
        http_url(Address("a", 1), target)
    with pytest.raises(ValueError, match="request target"):
        Base.parse("http://a:1/below").target(target)


@given(rest=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=30))
def test_no_path_changes_where_it_goes(rest: str) -> None:
    target = "/" + rest.replace("#", "")
    for url in (http_url(Address("meant", 81), target), whole_url("http://meant:81" + target)):
        assert (url.scheme, url.host, url.port) == ("http", "meant", 81)
        assert url.user is url.password is None
        assert url.raw_path_qs in {target, target.removesuffix("?")}


@pytest.mark.parametrize(
    ("url", "scheme", "address", "target"),
    [
        ("http://a", "http", ("a", 80), "/"),
        ("https://A.example/b?c=d", "https", ("a.example", 443), "/b?c=d"),
        ("http://[::1]:9/x", "http", ("::1", 9), "/x"),
        ("http://a:1?x", "http", ("a", 1), "/?x"),
    ],
)
def test_the_parts_of_a_url(url: str, scheme: str, address: tuple[str, int], target: str) -> None:
    assert Place.parse(url) == (scheme, address, target)


@pytest.mark.parametrize(
    "url",
    [
        "", "a:80", "//a", "ftp://a/", "http://", "http:///x", "http://u@a/", "http://u:p@a/",
        "http://a\\@b/", "http://a:0/", "http://a:99999/", "http://a:b/", "http://a/#f",
        "http://a b/", "http://a/b c", "http://a/\r\nX: 1", "http://a\n/", "ht\ntp://a/",
        "http://[a]/", "http://é/",
    ],
)  # fmt: skip
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="want a"):
        Place.parse(url)


def test_a_base_has_paths_below_it_and_no_query() -> None:
    base = Base.parse("https://plane.example/holdfast/")
    assert base.url() == "https://plane.example/holdfast"
    assert base.url("/api/x?y=1") == "https://plane.example/holdfast/api/x?y=1"
    assert Base.parse("http://127.0.0.1:8700").url("/x") == "http://127.0.0.1:8700/x"
    with pytest.raises(ValueError, match="want a URL"):
        Base.parse("http://a/?x")

from __future__ import annotations

import pytest

from holdfast.plane.edge.auth import (
    HOPS_MAX,
    bearer,
    check_host,
    find_caller,
    known_hosts,
    parse_networks,
)
from holdfast.wire.api.call import Refusal

TRUSTED = parse_networks("10.0.0.0/8, 192.0.2.7,2001:db8::/32")


@pytest.mark.parametrize(
    ("forwarded", "peer"),
    [
        ("", "10.0.0.1"),
        ("203.0.113.5", "203.0.113.5"),
        ("6.6.6.6, 203.0.113.5", "203.0.113.5"),
        ("6.6.6.6, 203.0.113.5, 10.2.2.2, 2001:db8::1", "203.0.113.5"),
        ("10.3.3.3, 10.2.2.2", "10.0.0.1"),
        ("203.0.113.5, nonsense", "nonsense"),
        ("6.6.6.6:1, 203.0.113.5:50123, 10.2.2.2:443", "203.0.113.5"),
        ("[2001:db9::7]:50123, [2001:db8::1]", "2001:db9::7"),
        ("2001:db9::7", "2001:db9::7"),
        ("203.0.113.5" + ",10.1.1.1" * HOPS_MAX, "10.0.0.1"),
        ("," * 60_000 + "203.0.113.5", "203.0.113.5"),
    ],
)
def test_the_client_is_the_last_hop_that_is_no_proxy_of_ours(forwarded: str, peer: str) -> None:
    header = {"x-forwarded-for": forwarded, "host": "inside"}
    assert find_caller("10.0.0.1", "http", header, TRUSTED).peer == peer


def test_a_stranger_says_nothing_about_itself() -> None:
    header = {
        "x-forwarded-for": "203.0.113.5",
        "x-forwarded-proto": "https",
        "x-forwarded-host": "evil.example",
        "host": "plane.test",
    }
    for trusted in (TRUSTED, ()):
        caller = find_caller("198.51.100.1", "http", header, trusted)
        assert (caller.peer, caller.host, caller.secure, caller.trusted_proxy) == (
            "198.51.100.1", "plane.test", False, False,
        )  # fmt: skip
    believed = find_caller("192.0.2.7", "http", header, TRUSTED)
    assert (believed.host, believed.secure, believed.trusted_proxy) == ("evil.example", True, True)


def test_a_malformed_proxy_in_the_settings_is_named() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        parse_networks("10.0.0.1,nonsense")
    assert parse_networks(" , ") == ()


@pytest.mark.parametrize(
    ("given", "token"),
    [
        ("Bearer hf_x", "hf_x"),
        ("bEARER  hf_x ", "hf_x"),
        ("Basic hf_x", ""),
        ("Bearer", ""),
        ("hf_x", ""),
        ("", ""),
    ],
)
def test_a_bearer_token_is_read_whatever_the_case_of_its_scheme(given: str, token: str) -> None:
    assert bearer({"authorization": given}) == token
    assert bearer({}) == ""


@pytest.mark.parametrize(
    "host",
    ["", "localhost:8700", "LOCALHOST", "demo.localhost:8700", "127.0.0.1:8700", "[::1]:8700",
     "192.0.2.1", "plane.example", "plane.example:443"],
)  # fmt: skip
def test_a_plane_on_this_machine_answers_to_its_names_and_to_any_address(host: str) -> None:
    check_host({"host": host}, known_hosts("127.0.0.1", "https://plane.example"))


@pytest.mark.parametrize(
    "host", ["evil.example:8700", "127.0.0.1.evil.example", "localhost.evil.example", "[", "a@b:c"]
)
def test_a_name_that_was_led_to_this_machine_is_refused(host: str) -> None:
    header = {"host": host, "x-forwarded-host": "localhost:8700"}
    with pytest.raises(Refusal, match="421 unknown_host"):
        check_host(header, known_hosts("::1", ""))


def test_a_plane_on_the_network_may_be_called_anything() -> None:
    assert known_hosts("0.0.0.0", "") is None
    assert known_hosts("box.lan", "https://plane.example") is None
    check_host({"host": "box.lan:8700"}, None)

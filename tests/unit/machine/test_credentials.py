"""Which tokens are accepted, and for how long after they were replaced."""

from __future__ import annotations

from holdfast.kernel.clock import ManualClock
from holdfast.kernel.secret import Secret
from holdfast.machine.controller.credentials import Credentials, Pair
from holdfast.machine.controller.log import Log


def made(clock: ManualClock, proxy: str = "") -> Credentials:
    pair = Pair(Secret("key-1"), Secret("api-1"))
    return Credentials(pair, None, Log(clock), proxy_token=Secret(proxy), clock=clock)


def test_one_token_serves_both_where_the_proxy_has_none_of_its_own() -> None:
    one = made(ManualClock(0))
    assert one.knows_token(b"api-1")
    assert one.knows_proxy_token(b"api-1")
    two = made(ManualClock(0), proxy="proxy-1")
    assert two.knows_proxy_token(b"proxy-1")
    assert not two.knows_proxy_token(b"api-1"), "a secret of its own is the only one"
    assert not two.knows_token(b"proxy-1")
    assert not two.knows_token(b"")


def test_replaced_tokens_are_known_through_the_overlap_and_no_longer() -> None:
    clock = ManualClock(0)
    found = made(clock, proxy="proxy-1")
    found.rotate(Secret("api-2"), Secret("proxy-2"), overlap_ms=1_000)
    assert found.current().gateway_token.reveal() == "api-2", "we show the new one at once"
    for token in (b"api-1", b"api-2"):
        assert found.knows_token(token)
    for token in (b"proxy-1", b"proxy-2"):
        assert found.knows_proxy_token(token)
    clock.advance(999)
    found.rotate(Secret("api-2"), Secret("proxy-2"), overlap_ms=1_000)  # sent again
    clock.advance(1)
    assert not found.knows_token(b"api-1"), "being told again lengthens nothing"
    assert not found.knows_proxy_token(b"proxy-1")
    assert found.knows_token(b"api-2")


def test_a_new_key_is_used_from_the_next_request_on() -> None:
    found = made(ManualClock(0))
    found.renew(Secret("key-2"))
    assert found.current().api_key.reveal() == "key-2"
    assert found.current().gateway_token.reveal() == "api-1"

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.accounts import rules
from holdfast.accounts.limits import (
    ATTEMPT_FIRST_WAIT_MS,
    ATTEMPT_LONGEST_WAIT_MS,
    ATTEMPTS_FORGOTTEN_MS,
    ATTEMPTS_FREE,
)
from holdfast.accounts.records import Attempts

NOW = 1_700_000_000_000


@given(st.binary(min_size=32, max_size=32))
def test_a_secret_looks_like_ours_and_like_no_other_kind(entropy: bytes) -> None:
    for prefix in (rules.TOKEN_PREFIX, rules.LINK_PREFIX, rules.SESSION_PREFIX):
        secret = rules.secret_text(prefix, entropy)
        others = {rules.TOKEN_PREFIX, rules.LINK_PREFIX, rules.SESSION_PREFIX} - {prefix}
        assert rules.looks_right(secret, prefix)
        assert not any(rules.looks_right(secret, other) for other in others)
        assert not rules.looks_right(secret + "A", prefix)
        assert not rules.looks_right(secret[:-1], prefix)


def test_what_is_kept_or_shown_of_a_secret_is_not_the_secret() -> None:
    secret = rules.secret_text(rules.SESSION_PREFIX, bytes(32))
    hashed = rules.secret_hash(secret)
    shown = {hashed, rules.token_id(hashed)}
    assert len(shown) == 2
    assert all(secret not in text and text not in secret for text in shown)
    assert hashed[:8] not in rules.token_id(hashed)


def test_waits_begin_after_the_free_attempts_and_double_up_to_the_longest() -> None:
    attempts, waits = Attempts(), []
    for _ in range(ATTEMPTS_FREE + 20):
        waits.append(rules.wait_ms(attempts, NOW))
        attempts = rules.after_attempt(attempts, NOW)
    assert waits[:ATTEMPTS_FREE] == [0] * ATTEMPTS_FREE
    assert waits[ATTEMPTS_FREE : ATTEMPTS_FREE + 3] == [
        ATTEMPT_FIRST_WAIT_MS,
        2 * ATTEMPT_FIRST_WAIT_MS,
        4 * ATTEMPT_FIRST_WAIT_MS,
    ]
    assert waits[-1] == ATTEMPT_LONGEST_WAIT_MS


def test_failures_are_forgotten_after_a_day() -> None:
    attempts = Attempts(failures=50, last_at_ms=NOW)
    later = NOW + ATTEMPTS_FORGOTTEN_MS
    assert rules.wait_ms(attempts, later) == 0
    assert rules.after_attempt(attempts, later).failures == 1
    assert rules.after_attempt(attempts, later - 1).failures == 51


@given(st.integers(0, 10_000), st.integers(0, 2**50), st.integers(0, 2**50))
def test_a_wait_is_bounded_even_when_the_clock_jumps(failures: int, last: int, now: int) -> None:
    wait = rules.wait_ms(Attempts(failures=failures, last_at_ms=last), now)
    assert 0 <= wait <= ATTEMPT_LONGEST_WAIT_MS


def test_addresses_of_one_ipv6_network_count_as_one_peer() -> None:
    assert rules.peer_key("2001:db8:1:2::1") == rules.peer_key("2001:db8:1:2:ffff::9")
    assert rules.peer_key("2001:db8:1:2::1") != rules.peer_key("2001:db8:1:3::1")
    assert rules.peer_key("192.0.2.1") != rules.peer_key("192.0.2.2")
    assert rules.peer_key("") == "peer:"


def test_an_owner_sees_their_account_and_an_operator_every_one() -> None:
    assert rules.sees("a", "a")
    assert not rules.sees("a", "b")
    assert rules.sees(None, "b")

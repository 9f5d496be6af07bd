"""When to send how much, in virtual time: the window, the rate, waits, a week of outage."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.outbox import limits, retry_policy
from holdfast.outbox.retry_policy import Send, SendState, Wait, decide

FRESH = SendState(seed="s")


def test_nothing_pending_waits() -> None:
    assert isinstance(decide(FRESH, pending=0, now_ms=0), Wait)


def test_the_first_after_a_quiet_second_leaves_at_once_and_others_share() -> None:
    assert isinstance(decide(FRESH, pending=1, now_ms=0), Send)
    state = retry_policy.succeeded(retry_policy.begun(FRESH, 0), rows=1, now_ms=5)
    assert decide(state, pending=3, now_ms=400) == Wait(600, "batching")
    assert isinstance(decide(state, pending=3, now_ms=1_000), Send)
    assert isinstance(decide(state, pending=limits.BATCH_ROWS_MAX, now_ms=400), Send)
    assert isinstance(decide(state, pending=3, now_ms=400, hurry_since_ms=300), Send)


def test_waits_grow_and_stay_short_for_ten_minutes() -> None:
    state, now_ms, waits = FRESH, 0.0, []
    while now_ms < limits.LONG_OUTAGE_MS + 120_000:
        state = retry_policy.failed(state, now_ms=now_ms)
        waits.append((now_ms, state.retry_at_ms - now_ms))
        now_ms = state.retry_at_ms
    assert waits[0][1] <= limits.RETRY_FIRST_MS
    early = [wait for at, wait in waits if at < limits.LONG_OUTAGE_MS]
    late = [wait for at, wait in waits if at >= limits.LONG_OUTAGE_MS]
    assert max(early) <= limits.RETRY_CAP_MS < max(late) <= limits.RETRY_LONG_CAP_MS
    assert len(set(early)) > len(early) // 2, "jitter"


def test_a_flush_may_try_once_before_a_backoff_ends_but_not_before_retry_after() -> None:
    failed = retry_policy.failed(retry_policy.begun(FRESH, 0), now_ms=10)
    assert isinstance(decide(failed, pending=1, now_ms=50), Wait)
    assert isinstance(decide(failed, pending=1, now_ms=50, hurry_since_ms=40), Send)
    again = retry_policy.begun(failed, 50)
    assert isinstance(decide(again, pending=1, now_ms=60, hurry_since_ms=40), Wait)
    told = retry_policy.failed(retry_policy.begun(FRESH, 0), now_ms=10, retry_after_ms=5_000)
    assert decide(told, pending=1, now_ms=50, hurry_since_ms=40).for_ms >= 4_960  # type: ignore[union-attr]


def test_a_refused_key_holds_until_it_is_another() -> None:
    state = retry_policy.unauthorized(FRESH, mark="old", now_ms=0)
    assert decide(state, pending=9, now_ms=10, mark="old") == Wait(limits.HOLD_LOOK_MS, "auth")
    assert isinstance(decide(state, pending=9, now_ms=10, mark="new"), Send)
    assert isinstance(decide(state, pending=9, now_ms=limits.HOLD_RETRY_MS, mark="old"), Send)


def test_413_halves_once_and_is_forgotten_slowly() -> None:
    state = retry_policy.narrowed(FRESH, sent_bytes=100_000, now_ms=0)
    assert state.bytes_max == 50_000
    state = retry_policy.succeeded(state, rows=5, now_ms=1_000)
    assert state.bytes_max == 50_000
    state = retry_policy.succeeded(state, rows=5, now_ms=limits.BATCH_BYTES_TRUST_MS)
    assert state.bytes_max == 100_000


@given(
    arrivals=st.lists(st.tuples(st.integers(0, 30_000), st.integers(1, 700)), max_size=30),
    fails=st.sets(st.integers(0, 60)),
)
def test_never_over_the_rate_in_any_minute(
    arrivals: list[tuple[int, int]], fails: set[int]
) -> None:
    state, now_ms, pending, sends, tries = FRESH, 0.0, 0, [], 0
    queue = list(arrivals)
    while queue or pending:
        if not pending:
            wait_ms, rows = queue.pop(0)
            now_ms += wait_ms
            pending += rows
        decision = decide(state, pending=pending, now_ms=now_ms)
        if isinstance(decision, Wait):
            assert decision.for_ms > 0
            now_ms += decision.for_ms
            continue
        state = retry_policy.begun(state, now_ms)
        tries += 1
        if tries in fails:
            state = retry_policy.failed(state, now_ms=now_ms)
            continue
        rows = min(decision.rows, pending)
        pending -= rows
        sends.append((now_ms, rows))
        state = retry_policy.succeeded(state, rows=rows, now_ms=now_ms)
    for at, _ in sends:
        assert sum(rows for when, rows in sends if at <= when < at + 60_000) <= limits.RATE_ROWS


def test_a_full_window_waits_for_the_oldest_send_that_counts() -> None:
    half = limits.RATE_ROWS // 2
    rest = limits.RATE_ROWS - half
    now_ms = 2.0 * limits.RATE_WINDOW_MS
    sent = ((now_ms - 30_000, half), (now_ms - 10_000, rest))
    state = SendState(sent=sent)
    wait = decide(state, now_ms=now_ms, pending=1)
    assert wait == Wait(limits.RATE_WINDOW_MS - 30_000, "rate")


def test_what_is_refused_counts_on_and_a_success_begins_anew() -> None:
    once = retry_policy.unauthorized(SendState(), mark="k", now_ms=5.0)
    twice = retry_policy.unauthorized(once, mark="k", now_ms=9.0)
    assert (once.failures, once.failing_since_ms) == (1, 5.0)
    assert (twice.failures, twice.failing_since_ms) == (2, 5.0)
    assert retry_policy.succeeded(twice, rows=1, now_ms=11.0).failures == 0


def test_a_flush_counts_only_after_the_last_send() -> None:
    held = retry_policy.failed(retry_policy.begun(FRESH, 100), now_ms=100)
    for asked_ms, allowed in ((99, False), (100, False), (101, True)):
        found = decide(held, pending=1, now_ms=101, hurry_since_ms=asked_ms)
        assert isinstance(found, Send) is allowed


def test_what_the_other_side_told_to_wait_is_a_minimum_and_has_a_most() -> None:
    for told_ms in (-5, 0, 60_000, limits.RETRY_AFTER_MAX_MS, limits.RETRY_AFTER_MAX_MS + 1):
        state = retry_policy.failed(FRESH, now_ms=7.0, retry_after_ms=told_ms)
        after_ms = min(max(told_ms, 0), limits.RETRY_AFTER_MAX_MS)
        waits_ms = state.retry_at_ms - 7.0
        assert after_ms < waits_ms <= after_ms + limits.RETRY_FIRST_MS
        assert state.hold == retry_policy.TOLD


def test_senders_that_were_told_the_same_time_come_back_apart() -> None:
    states = [
        retry_policy.failed(SendState(seed=f"s{number}"), now_ms=0, retry_after_ms=60_000)
        for number in range(20)
    ]
    assert len({state.retry_at_ms for state in states}) > 10
    again = retry_policy.failed(states[0], now_ms=0, retry_after_ms=60_000)
    assert again.retry_at_ms != states[0].retry_at_ms


def test_without_a_key_or_an_address_it_looks_again_soon() -> None:
    state = retry_policy.unready(FRESH, now_ms=5.0)
    assert decide(state, pending=1, now_ms=5.0) == Wait(limits.HOLD_LOOK_MS, retry_policy.UNREADY)
    assert isinstance(decide(state, pending=1, now_ms=5.0 + limits.HOLD_LOOK_MS), Send)
    assert isinstance(decide(state, pending=1, now_ms=5.0, hurry_since_ms=5.0), Send)


def test_a_send_has_at_most_what_the_minute_leaves_and_what_was_learned() -> None:
    sent = ((0.0, limits.RATE_ROWS - 3),)
    state = SendState(sent=sent, bytes_max=limits.BATCH_BYTES_MIN)
    assert decide(state, pending=9, now_ms=10.0) == Send(rows=3, bytes=limits.BATCH_BYTES_MIN)
    later = decide(state, pending=9, now_ms=limits.RATE_WINDOW_MS)
    assert later == Send(rows=limits.BATCH_ROWS_MAX, bytes=limits.BATCH_BYTES_MIN)


def test_what_413_taught_doubles_back_once_it_is_old() -> None:
    state = retry_policy.narrowed(FRESH, sent_bytes=limits.BATCH_BYTES_MAX, now_ms=0)
    half = limits.BATCH_BYTES_MAX // 2
    assert state.bytes_max == half
    early = retry_policy.succeeded(state, rows=1, now_ms=limits.BATCH_BYTES_TRUST_MS - 1)
    assert (early.bytes_max, early.bytes_learned_ms) == (half, 0)
    late = retry_policy.succeeded(state, rows=1, now_ms=limits.BATCH_BYTES_TRUST_MS)
    assert late.bytes_max == limits.BATCH_BYTES_MAX
    assert late.bytes_learned_ms == limits.BATCH_BYTES_TRUST_MS
    least = retry_policy.narrowed(state, sent_bytes=1, now_ms=0)
    assert least.bytes_max == limits.BATCH_BYTES_MIN

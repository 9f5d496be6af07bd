"""The limit of a minute: never exceeded, and a returned wait is long enough."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.corrections.limits import CORRECTIONS_PER_MINUTE, WINDOW_MS
from holdfast.corrections.window import WINDOWS_SWEPT, Window, Windows
from holdfast.outbox.limits import RATE_ROWS

MOST = 10


@given(st.lists(st.tuples(st.integers(0, 20_000), st.integers(1, MOST)), max_size=60))
def test_no_minute_ever_has_more_and_a_told_wait_is_enough(
    steps: list[tuple[int, int]],
) -> None:
    window, now_ms, taken = Window(MOST), 1_000_000, list[tuple[int, int]]()
    for gap_ms, rows in steps:
        now_ms += gap_ms
        wait_ms = window.take(rows, now_ms)
        if wait_ms:
            recent = sum(n for at, n in taken if at > now_ms - WINDOW_MS - 1_000)
            assert recent + rows > MOST, "told to wait although there was room"
            now_ms += wait_ms
            assert window.take(rows, now_ms) == 0, "the wait that was told was too short"
        taken.append((now_ms, rows))
    for at, _ in taken:
        assert sum(n for other, n in taken if at - WINDOW_MS < other <= at) <= MOST


def test_a_burst_of_2000_corrections_and_its_lessons_leaves_and_is_taken_within_a_minute() -> None:
    window = Window(CORRECTIONS_PER_MINUTE)
    assert [window.take(200, 1_000 * second) for second in range(10)] == [0] * 10
    assert 2 * 2_000 <= RATE_ROWS <= CORRECTIONS_PER_MINUTE


def test_what_is_refused_counts_for_nothing() -> None:
    window = Window(MOST)
    assert window.take(8, 5_000) == 0
    assert all(window.take(3, 5_000 + n) > 0 for n in range(100))
    assert window.take(2, 6_000) == 0


def test_brains_do_not_share_a_minute_and_quiet_ones_are_dropped() -> None:
    windows = Windows(MOST)
    assert windows.take(1, MOST, 1_000) == 0
    assert windows.take(1, 1, 1_000) > 0
    for brain in range(2, WINDOWS_SWEPT + 1):
        assert windows.take(brain, 1, 1_000) == 0
    later = 1_000 + 3 * WINDOW_MS
    assert windows.take(WINDOWS_SWEPT + 5, 1, later) == 0
    assert len(windows._each) == 1

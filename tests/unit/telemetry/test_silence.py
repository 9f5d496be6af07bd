"""Silence is noticed in time, never falsely, and the clock's steps cannot be seen."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.telemetry.contact import silence_levels
from holdfast.telemetry.limits import GRACE_MS, WHEEL_GAP_MAX_MS, WHEEL_STEP_MS
from holdfast.telemetry.silence import Silent, Wheel

LEVELS = (90_000, 900_000, 3_600_000)


def advance(wheel: Wheel, now_ms: float, until_ms: float) -> list[tuple[float, Silent]]:
    """Let time pass in the steps in which the loop turns the wheel."""
    found = []
    while now_ms < until_ms:
        now_ms = min(until_ms, now_ms + WHEEL_STEP_MS)
        found += [(now_ms, silent) for silent in wheel.advance(now_ms)]
    return found


@pytest.mark.parametrize("interval_ms", [1_000, 60_000, 300_000])
def test_silence_is_noticed_within_three_intervals_and_ten_seconds(interval_ms: int) -> None:
    wheel = Wheel(0)
    wheel.watch("a", silence_levels(interval_ms))
    ((at_ms, silent),) = advance(wheel, 0, 4 * interval_ms + 20_000)
    assert silent == Silent("a", 1)
    assert 3 * interval_ms + GRACE_MS <= at_ms <= 3 * interval_ms + 10_000


def test_every_level_is_told_once_and_in_order() -> None:
    wheel = Wheel(0)
    wheel.watch("a", LEVELS)
    found = advance(wheel, 0, 5_000_000)
    assert [silent.level for _, silent in found] == [1, 2, 3]
    for (at_ms, _), level_ms in zip(found, LEVELS, strict=True):
        assert 0 <= at_ms - level_ms <= 2 * WHEEL_STEP_MS


def test_a_machine_heard_again_begins_anew() -> None:
    wheel = Wheel(0)
    watch = wheel.watch("a", LEVELS)
    assert wheel.hear(watch, LEVELS) == 0
    assert len(advance(wheel, 0, 100_000)) == 1
    assert wheel.hear(watch, LEVELS) == 1
    found = advance(wheel, 100_000, 200_000)
    assert [silent for _, silent in found] == [Silent("a", 1)]


def test_a_level_told_before_the_start_is_not_told_again() -> None:
    wheel = Wheel(0)
    wheel.watch("a", LEVELS, level=1)
    assert [s.level for _, s in advance(wheel, 0, 1_000_000)] == [2]


def test_a_shorter_interval_counts_at_once() -> None:
    wheel = Wheel(0)
    watch = wheel.watch("a", (900_000,))
    wheel.hear(watch, (6_000,))
    ((at_ms, _),) = advance(wheel, 0, 60_000)
    assert at_ms <= 7_000


def test_a_forgotten_machine_is_never_silent() -> None:
    wheel = Wheel(0)
    wheel.watch("a", LEVELS)
    wheel.forget("a")
    wheel.forget("never there")
    assert advance(wheel, 0, 1_000_000) == []
    assert len(wheel) == 0


def test_a_machine_watched_again_counts_from_then() -> None:
    wheel = Wheel(0)
    wheel.watch("a", (10_000,))
    advance(wheel, 0, 5_000)
    wheel.forget("a")
    wheel.watch("a", (10_000,))
    ((at_ms, _),) = advance(wheel, 5_000, 60_000)
    assert at_ms >= 15_000


def test_a_pause_of_the_plane_is_nobodys_silence() -> None:
    wheel = Wheel(0)
    wheel.watch("a", (90_000,))
    assert list(wheel.advance(3_600_000)) == []
    ((at_ms, _),) = advance(wheel, 3_600_000, 3_800_000)
    assert at_ms >= 3_600_000 + 90_000 - WHEEL_GAP_MAX_MS


def test_time_that_goes_back_changes_nothing() -> None:
    wheel = Wheel(1_000_000)
    wheel.watch("a", (10_000,))
    assert list(wheel.advance(0)) == []
    assert advance(wheel, 1_000_000, 1_009_000) == []


@given(st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_the_wheel_agrees_with_looking_at_everybody(seed: int) -> None:
    """Against a model that scans all machines each step."""
    chance = random.Random(seed)
    wheel = Wheel(0)
    watches = {key: wheel.watch(key, LEVELS) for key in "abcdefgh"}
    heard = dict.fromkeys(watches, 0.0)
    level = dict.fromkeys(watches, 0)
    now_ms = 0.0
    for _ in range(600):
        now_ms += chance.choice([500, 1_000, 2_000, 1_999])
        fired = {(silent.key, silent.level) for silent in wheel.advance(now_ms)}
        for key, reached in fired:
            assert now_ms - heard[key] >= LEVELS[reached - 1]
            assert reached == level[key] + 1
            level[key] = reached
        for key, at_ms in heard.items():
            due = sum(1 for ms in LEVELS if now_ms - at_ms >= ms + 2 * WHEEL_STEP_MS)
            assert level[key] >= due
        for key in chance.sample(sorted(watches), chance.randrange(2)):
            if chance.random() < 0.2:
                assert wheel.hear(watches[key], LEVELS) == level[key]
                heard[key], level[key] = now_ms, 0

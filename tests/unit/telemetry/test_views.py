"""Charts: the steps of a window, and one value a step."""

from __future__ import annotations

import pytest

from holdfast.telemetry.views import span

NOW_MS = 1_700_000_123_456


@pytest.mark.parametrize(
    ("window", "interval_ms", "step_s"),
    [
        ("15m", 1_000, 60),
        ("15m", 300_000, 60),  # three steps of 300 s would be fewer than four
        ("1h", 60_000, 60),
        ("1h", 60_001, 300),
        ("1h", 900_000, 60),
        ("24h", 1_000, 300),  # 1,440 steps of 60 s would be too many
        ("24h", 900_000, 3_600),
        ("7d", 1_000, 3_600),
    ],
)
def test_a_window_ends_after_now_on_a_step_no_shorter_than_the_interval(
    window: str, interval_ms: int, step_s: int
) -> None:
    width_s = {"15m": 900, "1h": 3_600, "24h": 86_400, "7d": 604_800}[window]
    found = span(window, now_ms=NOW_MS, interval_ms=interval_ms)
    assert found.step_s == step_s
    assert found.until_s - found.since_s == width_s
    assert found.until_s % step_s == 0
    assert NOW_MS // 1_000 < found.until_s <= NOW_MS // 1_000 + step_s

"""An alert of a brain begins at its bound, and not before."""

from __future__ import annotations

from holdfast.corrections import limits
from holdfast.corrections.alerts import find_wrong
from holdfast.corrections.gaps import Numbers
from holdfast.corrections.records import Standing
from tests.support.toys.brains import NOW

HOUR = NOW // limits.REFUSALS_SPAN_MS


def sender(depth: int, ago_ms: int = 0) -> Standing:
    return Standing(1, "s", "sdk", Numbers(), depth, 0, NOW - ago_ms)


def codes(*senders: Standing, refused: dict[int, int] | None = None) -> list[str]:
    return [wrong.code for wrong in find_wrong(senders, refused or {}, NOW)]


def test_a_backlog_is_one_row_more_than_a_thousand_over_all_senders() -> None:
    assert codes(sender(600), sender(400)) == []
    assert codes(sender(600), sender(401)) == ["backlog"]


def test_silence_counts_only_where_rows_wait() -> None:
    long = limits.SILENCE_ALERT_MS + 1
    assert codes(sender(0, long)) == []
    assert codes(sender(1, limits.SILENCE_ALERT_MS)) == []
    assert codes(sender(1, long)) == ["silent"]
    assert codes(sender(0), sender(1, long)) == ["silent"]


def test_refusals_rise_when_they_are_many_and_twice_as_many() -> None:
    assert codes(refused={HOUR: limits.REFUSALS_ALERT_ROWS - 1}) == []
    assert codes(refused={HOUR: limits.REFUSALS_ALERT_ROWS}) == ["refusals"]
    assert codes(refused={HOUR: 6, HOUR - 1: 6}) == ["refusals"]
    assert codes(refused={HOUR: 15, HOUR - 2: 8}) == []
    assert codes(refused={HOUR: 16, HOUR - 2: 8}) == ["refusals"]
    assert codes(refused={HOUR - 2: 100}) == []

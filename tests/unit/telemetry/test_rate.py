"""The two allowances of one machine."""

from __future__ import annotations

from holdfast.telemetry.rate import Allowance, take

GAP = 30_000


def test_the_cadence_of_the_contract_is_never_refused() -> None:
    used = Allowance()
    for beat in range(1_000):
        assert take(used, beat * 300_000, interval_ms=300_000, prompt=False) == 0


def test_a_contract_machine_that_hammers_gets_one_each_gap() -> None:
    used = Allowance()
    taken = [take(used, s * 1_000, interval_ms=300_000, prompt=False) == 0 for s in range(600)]
    assert 600 / 30 <= sum(taken) <= 600 / 27 + 2


def test_a_refusal_says_how_long_to_wait() -> None:
    used = Allowance()
    while not (wait_ms := take(used, 0, interval_ms=300_000, prompt=False)):
        pass
    assert 0 < wait_ms <= GAP
    assert take(used, wait_ms - 2, interval_ms=300_000, prompt=False) > 0
    assert take(used, wait_ms, interval_ms=300_000, prompt=False) == 0


def test_changes_each_second_are_taken_and_leave_the_cadence_alone() -> None:
    used = Allowance()
    refused = 0
    for tick in range(1_000):
        at_ms = tick * 1_000
        refused += take(used, at_ms, interval_ms=300_000, prompt=True) > 0
        if tick % 150 == 149:
            refused += take(used, at_ms + 500, interval_ms=300_000, prompt=True) > 0
    assert refused == 0


def test_changes_more_often_than_that_are_refused() -> None:
    used = Allowance()
    taken = sum(
        take(used, tick * 100, interval_ms=300_000, prompt=True) == 0 for tick in range(600)
    )
    assert 60 <= taken <= 60 / 0.9 + 2 + 3 + 3


def test_a_machine_with_a_short_interval_may_keep_to_it() -> None:
    used = Allowance()
    for beat in range(100):
        assert take(used, beat * 1_000, interval_ms=1_000, prompt=False) == 0

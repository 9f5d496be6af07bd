from __future__ import annotations

import itertools
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from holdfast.machine.controller.report import cadence
from holdfast.machine.controller.report.cadence import Cadence
from holdfast.telemetry.rate import Allowance, take

MINUTE = 60_000


def begin(seed: str = "s") -> Cadence:
    return cadence.begin(0, first_ms=2 * MINUTE, interval_ms=5 * MINUTE, seed=seed)


def test_the_first_comes_early_and_the_next_follow_the_interval() -> None:
    made = begin()
    assert 108_000 <= made.next_ms <= 120_000
    made = cadence.succeed(cadence.send(made, made.next_ms))
    assert made.sent_ms is not None
    assert 270_000 <= made.next_ms - made.sent_ms <= 300_000


def test_a_fleet_that_starts_together_spreads_out() -> None:
    assert len({begin(str(n)).next_ms for n in range(100)}) > 90


def test_a_change_is_due_at_once_and_a_second_soon_after_it() -> None:
    changed = cadence.change(begin())
    assert changed.next_ms == 0
    sent = cadence.succeed(cadence.send(changed, 10_000))
    second = cadence.change(sent)
    assert second.next_ms == 10_250
    third = cadence.change(cadence.succeed(cadence.send(second, 10_250)))
    assert third.next_ms == 11_250, "the free one is spent"
    later = cadence.change(cadence.succeed(cadence.send(third, 39_000)))
    assert later.next_ms == 40_000
    again = cadence.change(cadence.succeed(cadence.send(later, 41_000)))
    assert again.next_ms == 41_250, "30 s after the last there is another"


def test_a_machine_that_changes_all_the_time_stays_within_its_allowance() -> None:
    made, used, now = cadence.change(begin()), Allowance(), 10_000
    for _ in range(2_000):
        waited = take(used, now, interval_ms=5 * MINUTE, prompt=True)
        assert waited == 0, f"refused after {now} ms"
        made = cadence.change(cadence.succeed(cadence.send(made, now)))
        now = made.next_ms


def test_a_change_during_a_send_is_sent_after_it() -> None:
    sending = cadence.send(cadence.change(begin()), 10_000)
    assert not sending.unsent
    done = cadence.succeed(cadence.change(sending))
    assert done.unsent
    assert done.next_ms == 10_250


def test_a_change_that_failed_is_tried_again_with_growing_waits() -> None:
    made, now, gaps = cadence.change(begin()), 10_000, []
    for _ in range(5):
        made = cadence.fail(cadence.send(made, now), unsent=True)
        made = replace(made, regular_ms=10**9)
        gaps.append(made.next_ms - now)
        now = made.next_ms
    assert all(after > before for before, after in itertools.pairwise(gaps))
    assert gaps[0] == 1_000


def test_a_plain_report_that_failed_waits_for_the_next() -> None:
    made = begin()
    failed = cadence.fail(cadence.send(made, made.next_ms), unsent=False)
    assert failed.next_ms - made.next_ms >= 270_000


def test_a_new_change_does_not_wait_for_the_backoff_of_an_old_one() -> None:
    made, now = cadence.change(begin()), 10_000
    for _ in range(6):
        made = cadence.fail(cadence.send(made, now), unsent=True)
        now = made.next_ms
    assert made.sent_ms is not None
    assert cadence.change(made).next_ms == made.sent_ms + 1_000


def test_a_directive_may_change_the_interval_within_limits() -> None:
    made = begin()
    for odd in (0, 999, 3_600_001):
        assert cadence.set_interval(made, odd, 1_000) is made
    assert cadence.set_interval(made, 1_000, 50_000).next_ms <= 51_000
    assert cadence.set_interval(made, made.interval_ms, 50_000) is made


@given(st.lists(st.sampled_from(["change", "ok", "fail"]), max_size=60))
def test_a_second_lies_between_any_two_but_the_free_one(
    happenings: list[str],
) -> None:
    made, now, sends = begin(), 0, []
    for happening in happenings:
        if happening == "change":
            made = cadence.change(made)
            continue
        now = max(now, made.next_ms)
        sends.append(now)
        unsent = made.unsent
        made = cadence.send(made, now)
        made = cadence.succeed(made) if happening == "ok" else cadence.fail(made, unsent=unsent)
    early = [after for before, after in itertools.pairwise(sends) if after - before < 1_000]
    assert all(after - before >= 250 for before, after in itertools.pairwise(sends))
    assert all(after - before >= 30_000 for before, after in itertools.pairwise(early))

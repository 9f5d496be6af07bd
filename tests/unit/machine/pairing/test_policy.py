"""When to read: at once, on hints, periodically, and with backoff after failures."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.machine.controller.pairing import schedule as policy
from holdfast.machine.controller.pairing.apply import Outcome
from holdfast.machine.controller.pairing.schedule import Schedule

SECOND = 1_000
OUTCOMES: dict[str, Outcome] = {"read": "read", "failed": "failed", "again": "again"}


def look(schedule: Schedule, now_ms: float, outcome: Outcome = "read") -> Schedule:
    return policy.finish(policy.start(schedule), now_ms, outcome, forced=False)


def test_the_first_look_is_at_once_and_the_next_after_two_minutes() -> None:
    schedule = policy.begin(5_000)
    assert schedule.next_ms == 5_000
    assert look(schedule, 6_000).next_ms == 126_000


def test_failures_wait_30_60_120_240_and_then_300_seconds() -> None:
    schedule, now_ms, waits = policy.begin(0), 0.0, []
    for _ in range(6):
        schedule = look(schedule, now_ms, "failed")
        assert schedule.next_ms is not None
        waits.append((schedule.next_ms - now_ms) / SECOND)
        now_ms = schedule.next_ms
    assert waits == [30, 60, 120, 240, 300, 300]
    assert look(schedule, now_ms).next_ms == now_ms + 120 * SECOND
    assert look(schedule, now_ms).failures == 0


def test_hints_do_not_prolong_the_wait_of_the_first() -> None:
    schedule = look(policy.begin(0), 0)
    for now_ms in (1_000, 1_500, 2_500):
        schedule = policy.hint(schedule, now_ms, 2_000)
    assert schedule.next_ms == 3_000
    schedule = look(schedule, 3_000)
    assert policy.hint(schedule, 4_000, 2_000).next_ms == 6_000, "it arms again"
    assert schedule.next_ms == 123_000, "and the periodic look is pushed out"


def test_an_agent_that_became_another_is_looked_at_without_waiting() -> None:
    schedule = policy.allow(look(policy.begin(0), 0, "failed"), 5 * SECOND)
    assert (schedule.next_ms, schedule.failures) == (5 * SECOND, 0)
    during = policy.allow(policy.start(policy.begin(0)), 5 * SECOND)
    after = policy.finish(during, 6 * SECOND, "failed", forced=False)
    assert (after.next_ms, after.failures) == (0, 0), "at once"
    assert look(after, 7 * SECOND, "failed").next_ms == 37 * SECOND, "but only once"
    unseen = policy.finish(during, 6 * SECOND, "read", forced=False)
    assert unseen.next_ms == 5 * SECOND, "what it read may be from before"


def test_a_hint_during_a_look_makes_another_look() -> None:
    looking = policy.start(policy.begin(0))
    assert looking.next_ms is None
    looking = policy.hint(looking, 10, 50)
    assert policy.finish(looking, 20, "read", forced=False).next_ms == 60


def test_a_hint_during_the_wait_after_a_failure_is_remembered() -> None:
    schedule = look(policy.begin(0), 0, "failed")
    schedule = policy.hint(schedule, 10 * SECOND, 50)
    assert schedule.next_ms == 30 * SECOND
    assert schedule.hinted_ms == 30 * SECOND
    failing = policy.hint(policy.start(schedule), 31 * SECOND, 50)
    failing = policy.finish(failing, 32 * SECOND, "failed", forced=False)
    assert failing.next_ms == 92 * SECOND, "the second failure bars for a minute"


def test_a_look_that_was_asked_for_is_no_evidence() -> None:
    failed = look(policy.begin(0), 0, "failed")
    for outcome in ("read", "failed"):
        after = policy.finish(policy.start(failed), 5 * SECOND, outcome, forced=True)
        assert (after.failures, after.next_ms) == (1, 30 * SECOND)


def test_a_file_that_is_gone_is_looked_for_again_soon() -> None:
    schedule = look(policy.begin(0), 10 * SECOND, "again")
    assert schedule.next_ms == 11 * SECOND
    assert schedule.failures == 0


@given(st.lists(st.tuples(st.sampled_from(["hint", "read", "failed", "again"]),
                          st.integers(0, 400_000)), max_size=40))  # fmt: skip
def test_a_hint_always_leads_to_a_look(steps: list[tuple[str, int]]) -> None:
    schedule, now_ms, hinted = policy.begin(0), 0.0, False
    for what, passed in steps:
        now_ms += passed
        if what == "hint":
            schedule, hinted = policy.hint(schedule, now_ms, 50), True
        elif schedule.next_ms is not None and now_ms >= schedule.next_ms:
            schedule, hinted = look(schedule, now_ms, OUTCOMES[what]), False
        assert schedule.next_ms is not None
        if hinted:
            assert schedule.hinted_ms is not None
            assert schedule.hinted_ms <= max(now_ms + 50, schedule.barred_ms)

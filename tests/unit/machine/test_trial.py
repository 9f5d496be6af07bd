"""A changed configuration on trial: it proves itself, or the last healthy one comes back."""

from __future__ import annotations

import pytest

from holdfast.machine.controller import supervise
from holdfast.machine.controller.supervise import Kill, Policy, Terminate, Trial
from tests.unit.machine.supervision import PLAIN, Bench


def on_trial(policy: Policy = PLAIN, *, works: bool = True) -> Bench:
    """Return a bench whose agent has just been started with a changed configuration."""
    bench = Bench(policy, works=("roll_back",) if works else ())
    bench.start()
    bench.ready()
    bench.wait(60_000)
    bench.feed(supervise.ConfigChanged("new"))
    assert bench.issued() == (Terminate(1, 15),)
    bench.exit(0, after_ms=500)
    assert (bench.status(), bench.state.child) == ("running", 2)
    return bench


def test_one_that_stays_ready_for_the_window_is_the_healthy_one_from_then_on() -> None:
    bench = on_trial()
    bench.wait(39_000)
    bench.ready()
    bench.wait(29_999)
    assert bench.state.trial is not None
    assert bench.healthy == [1]
    bench.wait(1)
    assert bench.state.trial is None
    assert bench.healthy == [1, 2]
    verdict = bench.state.verdict
    assert verdict is not None
    assert (verdict.etag, verdict.healthy) == ("new", True)
    assert bench.repairs == []


@pytest.mark.parametrize(
    ("code", "name", "reason"),
    [
        (78, None, "exit code 78: the agent's configuration is wrong"),
        (1, None, "exit code 1"),
        (None, "SIGSEGV", "ended by SIGSEGV"),
    ],
)
def test_one_failure_rolls_it_back_without_the_ladder(
    code: int | None, name: str | None, reason: str
) -> None:
    bench = on_trial(Policy(can_repair=True))
    bench.ready()
    bench.exit(code, name, after_ms=29_000)
    assert bench.repairs == [("roll_back", reason)]
    assert (bench.status(), bench.state.child) == ("running", 3), "at once"
    assert bench.state.trial is None
    assert bench.state.verdict is not None
    assert not bench.state.verdict.healthy
    assert (bench.state.ladder.tries, bench.state.failures) == (0, 0)
    assert bench.state.restarts == 1


def test_one_that_is_not_ready_in_time_is_ended_and_rolled_back_within_a_minute() -> None:
    bench = on_trial()
    began_ms = bench.now_ms
    bench.wait(39_999)
    assert bench.status() == "running"
    bench.wait(1)
    assert bench.issued() == (Terminate(2, 15),)
    bench.wait(3_000)
    assert bench.issued() == (Kill(2),), "a failed trial has a short grace"
    bench.exit(None, "SIGKILL")
    assert bench.repairs == [("roll_back", "it was not ready within 40 s")]
    assert bench.status() == "running"
    assert bench.now_ms - began_ms <= 45_000
    assert (bench.state.slow, bench.state.crashes) == (1, 0)
    last = bench.state.last_exit
    assert last is not None
    assert (last.cause, last.requested) == ("slow", False)


def test_one_that_gets_stuck_is_rolled_back() -> None:
    bench = on_trial()
    bench.ready()
    bench.probe(answered=False, times=3, each_ms=2_000)
    assert not bench.state.ready
    bench.wait(40_000)
    bench.exit(0)
    assert [repair for repair, _ in bench.repairs] == ["roll_back"]


def test_one_clean_exit_is_the_agent_taking_it_on_a_second_is_a_failure() -> None:
    bench = on_trial()
    bench.exit(0, after_ms=2_000)
    assert (bench.status(), bench.repairs) == ("running", [])
    bench.exit(0, after_ms=2_000)
    assert bench.repairs == [("roll_back", "it ended by itself again")]


def test_what_somebody_asks_for_is_no_failure_and_the_trial_goes_on() -> None:
    bench = on_trial()
    bench.feed(supervise.Restart())
    bench.exit(1, after_ms=2_000)
    assert (bench.status(), bench.repairs) == ("running", [])
    assert bench.state.trial is not None
    bench.exit(1, after_ms=2_000)
    assert len(bench.repairs) == 1


def test_without_anything_to_roll_back_to_the_ladder_takes_over() -> None:
    bench = on_trial(works=False)
    bench.exit(1, after_ms=2_000)
    assert bench.state.trial is None
    assert (bench.status(), bench.state.failures, bench.state.ladder.tries) == ("crashed", 1, 1)
    bench.wait(1_000)
    assert bench.status() == "running"


def test_a_change_without_a_restart_is_on_trial_from_the_next_start() -> None:
    bench = Bench(works=("roll_back",))
    bench.start()
    bench.ready()
    bench.feed(supervise.ConfigChanged("new", restart=False))
    bench.wait(600_000)
    assert bench.state.trial is not None, "the one that runs proves nothing"
    bench.feed(supervise.Restart())
    bench.exit(0)
    bench.ready()
    bench.wait(30_000)
    assert bench.state.trial is None


def test_a_change_while_it_is_parked_starts_it_and_while_stopped_does_not() -> None:
    bench = Bench(works=("roll_back",))
    bench.start()
    bench.exit(78, after_ms=2_000)
    assert bench.state.parked
    bench.feed(supervise.ConfigChanged("new"))
    assert (bench.status(), bench.state.parked) == ("running", "")
    bench.feed(supervise.Stop())
    bench.exit(0)
    bench.feed(supervise.ConfigChanged("newer"))
    assert bench.status() == "stopped"
    assert bench.state.trial is not None
    assert bench.state.trial.etag == "newer"


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize("restart", [True, False])
def test_a_change_during_the_roll_back_is_started_on_a_trial_of_its_own(
    *, done: bool, restart: bool
) -> None:
    bench = on_trial()
    bench.slow = ("roll_back",)
    bench.exit(1, after_ms=2_000)
    assert bench.state.repair == "roll_back"
    bench.feed(supervise.ConfigChanged("fix", restart=restart))
    bench.repaired("roll_back", done=done)
    assert (bench.status(), bench.state.child) == ("running", 3)
    assert bench.state.verdict is None, "nothing is known of the fix"
    assert bench.state.trial == Trial("fix", after=2)
    assert bench.state.deadline_ms == bench.now_ms + PLAIN.trial_ready_ms
    bench.exit(1, after_ms=2_000)
    bench.repaired("roll_back")
    assert [repair for repair, _ in bench.repairs] == ["roll_back", "roll_back"]
    assert bench.state.verdict is not None
    assert (bench.state.verdict.etag, bench.state.trial) == ("fix", None)


def test_the_roll_back_names_the_one_that_failed_whatever_is_on_trial_by_then() -> None:
    bench = on_trial()
    etag = bench.state.trial.etag if bench.state.trial is not None else ""
    bench.slow = ("roll_back",)
    bench.exit(1, after_ms=2_000)
    assert etag
    assert bench.issued() == (supervise.BeginRepair("roll_back", "exit code 1", etag),)


@pytest.mark.parametrize("code", [0, 1, 78])
def test_what_ended_before_a_change_was_tried_is_not_held_against_it(code: int) -> None:
    bench = Bench(works=("roll_back",))
    bench.start()
    bench.exit(0, after_ms=2_000)
    bench.feed(supervise.ConfigChanged("new", restart=False))
    bench.exit(code, after_ms=2_000)
    assert "roll_back" not in [repair for repair, _ in bench.repairs]
    assert (bench.state.trial, bench.state.verdict) == (Trial("new", after=2), None)

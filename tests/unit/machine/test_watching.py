"""What is seen of a living child: the progress watchdog, and the drain before an end."""

from __future__ import annotations

import signal

from holdfast.machine.controller import supervise
from holdfast.machine.controller.supervise import Drain, Kill, Policy, Terminate
from tests.unit.machine.supervision import Bench

DRAINS = Policy(drain_ms=60_000)


def ready(policy: Policy | None = None) -> Bench:
    bench = Bench(policy or DRAINS)
    bench.start()
    bench.ready()
    return bench


# ------------------------------------------------------------------------------- watchdog


def test_one_that_was_ready_and_answers_nothing_any_more_is_ended_and_replaced() -> None:
    bench = ready()
    bench.probe(answered=False, times=15, each_ms=2_000)
    assert (bench.status(), bench.state.ready) == ("running", False)
    bench.probe(answered=False, each_ms=2_000)
    assert bench.issued() == (Terminate(1, signal.SIGTERM),)
    bench.wait(10_000)
    assert bench.issued() == (Kill(1),)
    bench.exit(None, "SIGKILL")
    assert (bench.state.stuck, bench.state.crashes, bench.state.restarts) == (1, 0, 1)
    last = bench.state.last_exit
    assert last is not None
    assert (last.cause, last.requested, last.signal) == ("stuck", False, "SIGKILL")
    assert bench.state.goodbye is not None
    assert bench.state.goodbye.reason == "it did not answer for 30 s"
    bench.wait(1_000)
    assert (bench.status(), bench.state.child) == ("running", 2)


def test_few_long_silences_are_not_enough_it_may_be_us_who_slept() -> None:
    bench = ready()
    bench.probe(answered=False, times=2, each_ms=600_000)
    assert bench.status() == "running"
    bench.ready()
    assert bench.state.silences == 0


def test_an_answer_of_any_kind_is_progress() -> None:
    bench = ready()
    for _ in range(20):
        bench.probe(answered=False, times=5, each_ms=5_000)
        bench.probe(answered=True, each_ms=5_000)
    assert (bench.status(), bench.state.stuck) == ("running", 0)


def test_getting_stuck_again_and_again_climbs_the_ladder_although_runs_are_long() -> None:
    bench = ready()
    for number in range(1, 7):
        bench.wait(60_000)
        bench.probe(answered=False, times=16, each_ms=2_000)
        bench.exit(None, "SIGKILL")
        assert bench.state.stuck == bench.state.failures == number
        while bench.status() != "running":
            bench.wait(1_000)
        bench.ready()
    assert bench.repairs[0][0] == "last_healthy_config"


def test_ten_calm_minutes_forgive_it() -> None:
    bench = ready()
    bench.probe(answered=False, times=16, each_ms=2_000)
    bench.exit(None, "SIGKILL")
    bench.wait(1_000)
    bench.ready()
    bench.wait(599_999)
    assert bench.state.failures == 1
    bench.wait(1)
    assert bench.state.failures == 0


def test_one_that_never_becomes_ready_has_two_minutes() -> None:
    bench = Bench()
    bench.start()
    bench.probe(answered=False, times=10, each_ms=10_000)
    assert bench.status() == "running"
    bench.wait(20_000)
    assert bench.issued() == (Terminate(1, signal.SIGTERM),)
    bench.exit(0)
    assert (bench.state.slow, bench.state.failures, bench.state.clean_exits) == (1, 1, 0)


def test_a_stop_while_a_stuck_one_is_ended_is_a_stop() -> None:
    bench = ready()
    bench.probe(answered=False, times=16, each_ms=2_000)
    bench.feed(supervise.Stop())
    bench.exit(None, "SIGKILL")
    assert (bench.status(), bench.state.restarts, bench.state.stuck) == ("stopped", 0, 0)
    assert bench.state.last_exit is not None
    assert bench.state.last_exit.requested


def test_a_few_misses_make_it_not_ready_and_one_answer_ready_again() -> None:
    bench = ready()
    bench.probe(answered=True, times=2)
    assert bench.state.ready
    bench.probe(answered=True)
    assert not bench.state.ready
    bench.ready()
    assert bench.state.ready


# ---------------------------------------------------------------------------------- drain


def test_a_restart_waits_for_running_work_and_says_that_none_was_cut() -> None:
    bench = ready()
    bench.feed(supervise.Restart("a new key"))
    assert bench.issued() == (Drain(1),)
    assert (bench.status(), bench.state.draining) == ("stopping", True)
    bench.wait(40_000)
    assert bench.state.draining
    bench.exit(0)
    goodbye = bench.state.goodbye
    assert goodbye is not None
    assert (goodbye.reason, goodbye.cut, goodbye.waited_ms) == ("a new key", False, 40_000)
    assert (bench.status(), bench.state.cuts) == ("running", 0)


def test_work_that_does_not_end_in_time_is_cut_and_that_is_told() -> None:
    bench = ready()
    bench.feed(supervise.Restart())
    bench.wait(60_000)
    assert bench.issued() == (Terminate(1, signal.SIGTERM),)
    bench.wait(10_000)
    assert bench.issued() == (Kill(1),)
    bench.exit(None, "SIGKILL")
    assert bench.state.goodbye is not None
    assert (bench.state.goodbye.cut, bench.state.cuts) == (True, 1)
    assert bench.status() == "running"


def test_one_that_ends_soon_after_the_deadline_has_cut_its_work_too() -> None:
    bench = ready()
    bench.feed(supervise.Stop())
    bench.wait(61_000)
    bench.exit(0)
    assert bench.state.goodbye is not None
    assert bench.state.goodbye.cut is True


def test_the_end_of_its_work_ends_the_wait() -> None:
    bench = ready()
    bench.feed(supervise.Restart())
    bench.wait(5_000)
    bench.feed(supervise.WorkEnded(1))
    assert bench.issued() == (Terminate(1, signal.SIGTERM),)
    bench.wait(10_000)
    bench.exit(None, "SIGKILL")
    assert bench.state.goodbye is not None
    assert bench.state.goodbye.cut is False, "its work was over before it was killed"


def test_what_it_says_about_cut_work_is_believed() -> None:
    bench = ready()
    bench.feed(supervise.Restart())
    bench.feed(supervise.WorkEnded(1, cut=True))
    bench.exit(0)
    assert bench.state.goodbye is not None
    assert (bench.state.goodbye.cut, bench.state.cuts) == (True, 1)


def test_nobody_is_waited_for_who_is_not_ready_or_cannot_drain() -> None:
    starting = Bench(DRAINS)
    starting.start()
    starting.feed(supervise.Restart())
    assert starting.issued() == (Terminate(1, signal.SIGTERM),)
    starting.exit(0)
    assert starting.state.goodbye is not None
    assert starting.state.goodbye.cut is False, "it had no work yet"

    plain = ready(Policy())
    plain.feed(supervise.Restart())
    assert plain.issued() == (Terminate(1, signal.SIGTERM),)
    plain.exit(0)
    assert plain.state.goodbye is not None
    assert plain.state.goodbye.cut is None, "it cannot tell"

    forced = ready()
    forced.feed(supervise.Restart(drain_ms=0))
    assert forced.issued() == (Terminate(1, signal.SIGTERM),)


def test_the_work_of_one_that_answers_nothing_any_more_is_not_waited_for() -> None:
    bench = ready()
    bench.feed(supervise.Restart())
    bench.probe(answered=False, times=15, each_ms=2_000)
    assert bench.state.draining
    bench.probe(answered=False, each_ms=2_000)
    assert bench.issued() == (Terminate(1, signal.SIGTERM),)
    bench.exit(0)
    assert bench.state.goodbye is not None
    assert bench.state.goodbye.cut is True


def test_a_shutdown_overtakes_the_wait() -> None:
    bench = ready()
    bench.feed(supervise.Restart())
    bench.wait(5_000)
    bench.feed(supervise.Shutdown(signal.SIGTERM))
    assert bench.issued() == (Terminate(1, signal.SIGTERM),)
    assert bench.state.kill_at_ms == bench.now_ms + 10_000

"""The policy of supervision: each rule by itself, then any sequence of events."""

from __future__ import annotations

import signal

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from holdfast.machine.controller import supervise
from holdfast.machine.controller.supervise import (
    BeginRepair,
    BeHealthy,
    CancelRepair,
    Command,
    Drain,
    Event,
    Kill,
    Policy,
    Repair,
    Spawn,
    State,
    Terminate,
)
from tests.support.slices import slice_of
from tests.unit.machine.supervision import PLAIN, WALL_MS, Bench


def test_crashes_wait_twice_as_long_each_time_up_to_the_cap() -> None:
    bench = Bench()
    bench.start()
    waits = []
    for _ in range(12):
        bench.exit(1, after_ms=1)
        assert bench.state.retry_at_ms is not None
        waits.append(bench.state.retry_at_ms - bench.now_ms)
        bench.wait(waits[-1])
        assert bench.status() == "running"
    assert waits == [*(1_000 * 2**n for n in range(9)), 300_000, 300_000, 300_000]
    assert bench.state.crashes == bench.state.restarts == 12


def test_news_of_no_child_starts_none_beside_a_repair() -> None:
    policy = Policy(can_repair=True)
    state, _ = supervise.step(policy, State(), supervise.Start(), 0)
    state, commands = supervise.step(policy, state, supervise.Exited(1, 78, None, WALL_MS), 10)
    assert commands == (BeginRepair("mend", state.repair_reason),)
    for news in (supervise.PortTaken(0, "somebody"), supervise.Spawned(0)):
        assert supervise.step(policy, state, news, 20) == (state, ())


def test_a_healthy_run_resets_the_backoff_to_the_millisecond() -> None:
    bench = Bench()
    bench.start()
    for _ in range(3):
        bench.exit(1)
        bench.wait(4_000)
    bench.exit(1, after_ms=30_000)
    bench.wait(999)
    assert bench.status() == "crashed"
    bench.wait(1)
    assert bench.status() == "running"


def test_a_run_just_too_short_does_not_reset_it() -> None:
    bench = Bench()
    bench.start()
    bench.exit(1)
    bench.wait(1_000)
    bench.exit(1, after_ms=29_999)
    bench.wait(1_999)
    assert bench.status() == "crashed"


def test_jitter_shortens_later_waits_but_never_the_first() -> None:
    delays = []
    for seed in range(50):
        bench = Bench(Policy(seed=str(seed)))
        bench.start()
        bench.exit(1)
        assert bench.state.retry_at_ms == 1_000
        bench.wait(1_000)
        bench.exit(1)
        assert bench.state.retry_at_ms is not None
        delays.append(bench.state.retry_at_ms - bench.now_ms)
    assert all(1_600 <= delay <= 2_000 for delay in delays)
    assert len(set(delays)) > 20


def test_a_clean_exit_starts_it_again_at_once_and_the_next_crash_waits_the_first_wait() -> None:
    bench = Bench()
    bench.start()
    bench.exit(1, after_ms=10)
    bench.wait(1_000)
    bench.exit(1, after_ms=10)
    bench.wait(2_000)
    bench.exit(0, after_ms=1_000)
    assert bench.status() == "running"
    assert (bench.state.clean_exits, bench.state.crashes, bench.state.restarts) == (1, 2, 3)
    bench.exit(1, after_ms=1_000)
    assert bench.state.retry_at_ms == bench.now_ms + 1_000


def test_a_clean_exit_within_the_first_second_waits_for_the_second_to_pass() -> None:
    bench = Bench()
    bench.start()
    bench.exit(0, after_ms=300)
    assert bench.state.retry_at_ms == 1_000


def test_clean_exits_of_short_runs_are_no_hot_loop() -> None:
    bench = Bench()
    bench.start()
    waits = []
    for _ in range(6):
        bench.exit(0, after_ms=1_000)
        due_ms = bench.state.retry_at_ms
        waits.append(0 if due_ms is None else due_ms - bench.now_ms)
        bench.wait(waits[-1])
        assert bench.status() == "running"
    assert waits == [0, 1_000, 2_000, 4_000, 8_000, 16_000]
    assert (bench.state.clean_exits, bench.state.crashes) == (6, 0)


def test_a_clean_exit_after_a_healthy_run_is_always_at_once() -> None:
    bench = Bench()
    bench.start()
    for _ in range(5):
        bench.exit(0, after_ms=30_000)
        assert bench.status() == "running"


def test_code_0_by_a_signal_is_a_crash() -> None:
    bench = Bench()
    bench.start()
    bench.exit(0, "SIGTERM", after_ms=5_000)
    assert (bench.status(), bench.state.crashes) == ("crashed", 1)


def test_a_failed_spawn_is_a_crash_with_code_1() -> None:
    state, _ = supervise.step(PLAIN, State(), supervise.Start(), 0)
    state, _ = supervise.step(PLAIN, state, supervise.SpawnFailed(1, WALL_MS), 0)
    assert (state.status, state.crashes, state.retry_at_ms) == ("crashed", 1, 1_000)
    assert state.last_exit == supervise.Exit(1, None, WALL_MS, requested=False)


def test_stop_in_a_crash_loop_cancels_the_start_that_was_due() -> None:
    bench = Bench()
    bench.start()
    bench.exit(1)
    bench.feed(supervise.Stop())
    bench.wait(600_000)
    assert (bench.status(), len(bench.spawns)) == ("stopped", 1)


def test_stop_asks_then_kills_until_it_has_ended() -> None:
    bench = Bench()
    bench.start()
    bench.feed(supervise.Stop())
    assert bench.issued() == (Terminate(1, signal.SIGTERM),)
    bench.wait(9_999)
    assert Kill(1) not in bench.issued()
    bench.wait(1)
    assert bench.issued() == (Kill(1),)
    bench.commands = ()
    bench.wait(1_000)
    assert bench.issued() == (Kill(1),)
    bench.exit(None, "SIGKILL")
    assert (bench.status(), bench.state.restarts) == ("stopped", 0)
    assert bench.state.last_exit is not None
    assert bench.state.last_exit.requested


def test_what_is_asked_while_stopping_is_remembered() -> None:
    bench = Bench()
    bench.start()
    bench.feed(supervise.Stop())
    bench.feed(supervise.Start())
    assert not bench.state.again, "a start while stopping is refused, not remembered"
    bench.feed(supervise.Restart())
    bench.exit(0, after_ms=1_000)
    assert (bench.status(), bench.state.child) == ("running", 2)
    bench.feed(supervise.Restart())
    bench.feed(supervise.Stop())
    bench.exit(0)
    assert bench.status() == "stopped"


@pytest.mark.parametrize("before", ["stopped", "crashed"])
def test_restart_works_without_a_child(before: str) -> None:
    bench = Bench()
    if before == "crashed":
        bench.start()
        bench.exit(1, after_ms=1_000)
    bench.feed(supervise.Restart())
    assert bench.status() == "running"


def test_whoever_asks_there_is_a_second_between_two_starts() -> None:
    bench = Bench()
    bench.start()
    bench.feed(supervise.Restart())
    bench.exit(0, after_ms=400)
    assert (bench.status(), bench.state.retry_at_ms) == ("starting", 1_000)
    bench.feed(supervise.Restart())
    bench.wait(599)
    assert bench.spawns == [0]
    bench.wait(1)
    assert (bench.status(), bench.spawns) == ("running", [0, 1_000])


def test_a_stop_in_the_wait_before_a_start_cancels_it() -> None:
    bench = Bench()
    bench.start()
    bench.feed(supervise.Restart())
    bench.exit(0, after_ms=400)
    bench.feed(supervise.Stop())
    bench.wait(60_000)
    assert (bench.status(), bench.spawns) == ("stopped", [0])


def test_a_second_start_does_nothing() -> None:
    bench = Bench()
    bench.start()
    before = bench.state
    bench.start()
    assert bench.state is before


def test_late_news_of_an_older_child_is_ignored() -> None:
    bench = Bench()
    bench.start()
    bench.exit(1)
    bench.wait(1_000)
    before = bench.state
    for event in (
        supervise.Exited(1, 0, None, WALL_MS),
        supervise.SpawnFailed(1, WALL_MS),
        supervise.Probed(1, ready=True),
        supervise.Probed(1, ready=False, answered=False),
        supervise.PortTaken(1, "somebody"),
        supervise.WorkEnded(1),
        supervise.Spawned(1),
    ):
        bench.feed(event)
    assert bench.state is before


def test_spawned_is_not_ready() -> None:
    bench = Bench()
    bench.start()
    assert (bench.status(), bench.state.ready) == ("running", False)
    bench.ready()
    assert bench.state.ready
    bench.exit(1)
    assert not bench.state.ready


def test_shutdown_hands_on_the_signal_is_bounded_and_final() -> None:
    bench = Bench()
    bench.start()
    bench.feed(supervise.Shutdown(signal.SIGINT))
    assert bench.issued() == (Terminate(1, signal.SIGINT),)
    bench.wait(10_000)
    assert bench.issued() == (Kill(1),)
    bench.exit(None, "SIGKILL")
    assert (bench.status(), bench.state.idle) == ("shutting_down", True)
    for event in (supervise.Start(), supervise.Restart(), supervise.Stop(), supervise.Due()):
        bench.feed(event)
    assert (bench.status(), len(bench.spawns)) == ("shutting_down", 1)


def test_shutdown_overtakes_a_stop_that_hangs() -> None:
    bench = Bench()
    bench.start()
    bench.feed(supervise.Stop())
    bench.wait(9_000)
    bench.feed(supervise.Shutdown(signal.SIGTERM))
    bench.wait(1_000)
    assert bench.issued() == (Kill(1),), "the earlier deadline stays"


def test_a_wrong_configuration_is_repaired_once_tried_once_and_then_left() -> None:
    bench = Bench(Policy(can_repair=True))
    bench.start()
    bench.exit(78, after_ms=2_000)
    assert bench.repairs == [("mend", "exit code 78: the agent's configuration is wrong")]
    assert (bench.status(), bench.state.crashes) == ("starting", 0)
    bench.repaired("mend")
    assert bench.status() == "running"
    bench.exit(78, after_ms=2_000)
    assert bench.state.parked == "exit code 78 after its own repair: its configuration is wrong"
    bench.wait(600_000)
    assert (bench.status(), len(bench.spawns)) == ("crashed", 2)
    assert (bench.state.misconfigurations, bench.state.crashes) == (2, 0)
    bench.start()
    assert (bench.status(), bench.state.parked) == ("running", "")


def test_without_a_repair_a_wrong_configuration_is_left_at_once() -> None:
    bench = Bench()
    bench.start()
    bench.exit(78)
    assert bench.state.parked == "exit code 78: the agent's configuration is wrong"
    assert bench.state.deadline_ms is None


def test_a_stop_during_the_repair_ends_it_and_starts_nothing() -> None:
    bench = Bench(Policy(can_repair=True))
    bench.start()
    bench.exit(78, after_ms=2_000)
    bench.feed(supervise.Stop())
    assert bench.issued() == (CancelRepair(),)
    assert bench.status() == "stopping"
    bench.repaired("mend", done=False)
    assert (bench.status(), len(bench.spawns)) == ("stopped", 1)


class AnySequence(RuleBasedStateMachine):
    """Any events in any order: one child, no hot loop, every stop ends."""

    def __init__(self) -> None:
        super().__init__()
        self.policy = Policy(can_repair=True, drain_ms=20_000)
        self.state = State()
        self.now_ms = 0
        self.living: set[int] = set()
        self.pending: list[int] = []
        self.repair: Repair | None = None
        self.last_start_ms: int | None = None

    def feed(self, event: Event) -> None:
        before = self.state
        self.state, commands = supervise.step(self.policy, self.state, event, self.now_ms)
        if self.state.verdict is not before.verdict:
            assert before.tried is not None, "a verdict on what was never run"
        elif before.trial is not None:
            assert self.state.trial is not None, "a trial that ends without a verdict"
        for command in commands:
            self.obey(command)

    def obey(self, command: Command) -> None:
        match command:
            case Spawn(child):
                assert not self.living, "a second child"
                assert self.repair is None, "a child beside the repair"
                assert self.state.status == "starting"
                if self.last_start_ms is not None:
                    assert self.now_ms - self.last_start_ms >= 1_000, "two starts in a second"
                self.last_start_ms = self.now_ms
                self.living.add(child)
                self.pending.append(child)
            case Kill(child):
                self.living_ends(child, None, "SIGKILL")
            case Drain(child) | Terminate(child) | BeHealthy(child):
                assert {child} == self.living
            case BeginRepair(repair):
                assert not self.living
                if repair == "roll_back":
                    assert self.state.tried is not None, "what was never run is rolled back"
                self.repair = repair
            case CancelRepair():
                self.repair_ends(done=False)

    def living_ends(self, child: int, code: int | None, name: str | None) -> None:
        self.living.discard(child)
        self.pending = [number for number in self.pending if number != child]
        self.feed(supervise.Exited(child, code, name, WALL_MS))

    def repair_ends(self, *, done: bool) -> None:
        repair, self.repair = self.repair, None
        assert repair is not None
        self.feed(supervise.Repaired(repair, done, WALL_MS))

    @rule(ms=st.one_of(st.integers(0, 3_000), st.integers(0, 400_000)))
    def time_passes(self, ms: int) -> None:
        until = self.now_ms + ms
        while (deadline := self.state.deadline_ms) is not None and deadline <= until:
            self.now_ms = max(deadline, self.now_ms)
            self.feed(supervise.Due(WALL_MS + self.now_ms))
        self.now_ms = until

    @rule(
        event=st.sampled_from(
            [
                supervise.Start(),
                supervise.Restart(),
                supervise.Restart(drain_ms=0),
                supervise.Stop(),
                supervise.ConfigChanged("e1"),
                supervise.ConfigChanged("e2", restart=False),
                supervise.HoldLadder(),
                supervise.RetryLadder(),
            ]
        )
    )
    def somebody_asks(self, event: Event) -> None:
        self.feed(event)

    @precondition(lambda self: self.pending)
    @rule(how=st.sampled_from(["works", "fails", "taken", "freed"]))
    def the_spawn_is_reported(self, how: str) -> None:
        child = self.pending.pop()
        if how == "works":
            self.feed(supervise.Spawned(child))
            return
        self.living.discard(child)
        if how == "fails":
            self.feed(supervise.SpawnFailed(child, WALL_MS))
        else:
            self.feed(supervise.PortTaken(child, "somebody", freed=how == "freed"))

    @precondition(lambda self: self.living)
    @rule(code=st.sampled_from([0, 0, 1, 78, None]))
    def the_child_ends(self, code: int | None) -> None:
        (child,) = self.living
        self.living_ends(child, code, "SIGSEGV" if code is None else None)

    @precondition(lambda self: self.living and not self.pending)
    @rule(ready=st.booleans(), answered=st.booleans(), times=st.integers(1, 8))
    def the_child_is_probed(self, ready: bool, answered: bool, times: int) -> None:  # noqa: FBT001
        for _ in range(times):
            for child in tuple(self.living):
                self.feed(supervise.Probed(child, ready=ready, answered=answered))
            self.time_passes(5_000)

    @precondition(lambda self: self.living)
    @rule(cut=st.booleans())
    def the_child_says_that_its_work_is_over(self, cut: bool) -> None:  # noqa: FBT001
        (child,) = self.living
        self.feed(supervise.WorkEnded(child, cut))

    @rule(child=st.integers(0, 5))
    def old_news_arrives(self, child: int) -> None:
        if child not in self.living:
            self.feed(supervise.Exited(child, 1, None, WALL_MS))
            self.feed(supervise.Probed(child, ready=True))
            self.feed(supervise.PortTaken(child, "somebody"))

    @precondition(lambda self: self.repair)
    @rule(done=st.booleans())
    def the_repair_ends(self, done: bool) -> None:  # noqa: FBT001
        self.repair_ends(done=done)

    @rule()
    def a_stop_ends(self) -> None:
        self.feed(supervise.Stop())
        self.time_passes(self.policy.drain_ms + self.policy.stop_grace_ms)
        assert self.state.status == "stopped"
        assert not self.living

    @invariant()
    def the_state_knows_its_child(self) -> None:
        assert self.state.idle == (not self.living and self.repair is None)
        assert self.state.repair == self.repair
        assert len(self.living) <= 1

    @invariant()
    def nothing_waits_without_an_end(self) -> None:
        state = self.state
        if state.status == "crashed":
            assert state.retry_at_ms is not None or state.parked
        if state.status == "stopping":
            assert state.kill_at_ms is not None or state.draining
        if state.status == "starting" and not state.child:
            assert state.retry_at_ms is not None or state.repair is not None
        if state.status == "running":
            assert state.ready_by_ms is not None or state.spawned_ms is not None

    @invariant()
    def only_unasked_exits_count(self) -> None:
        last = self.state.last_exit
        if self.state.restarts == 0 and last is not None:
            assert last.requested


TestAnySequence = AnySequence.TestCase
TestAnySequence.settings = settings(
    max_examples=slice_of(200, here=80), stateful_step_count=40, deadline=None
)

"""Who is silent and who does no work, on a clock that the test moves."""

from __future__ import annotations

import random
import tracemalloc

import pytest
from msgspec.structs import replace

from holdfast.kernel.clock import HOUR_MS, MINUTE_MS, SECOND_MS
from holdfast.towns import events
from holdfast.towns.policy import Policy
from holdfast.towns.silence import JUDGED_MAX, STALLED_MS, Silence
from holdfast.towns.state import Agent

POLICY = Policy()
WAIT_MS = POLICY.silent_ms
WARN_MS, ASK_MS, STOP_MS = POLICY.inactive_ms
LATE_MS = 2 * SECOND_MS
"""The wheel's own lateness."""

BEAT_MS = 30 * SECOND_MS
STEP_MS = 970.0
"""The wheel is looked at about each second."""
HEARD = events.AgentHeard("a", "e1")
SILENT = events.AgentSilent("a", "e1")
RUN = Agent(id="a", role="polecat", status="working", hook="b", attempt="e1", contact="heard")


class Wheel:
    """A wheel of one town, whose clock goes on second by second."""

    def __init__(self, *runs: Agent) -> None:
        self.now_ms = self.worked_ms = 5_000_250.0
        self.silence = Silence(POLICY, self.now_ms)
        for run in runs:
            self.put(run)

    def put(self, run: Agent) -> None:
        self.silence.put("t", run, self.now_ms)

    def work(self) -> None:
        """Do something, which the next heartbeats tell the age of."""
        self.worked_ms = self.now_ms

    def beat(self, *, tools: bool = False, attempt: str = "e1", aged: bool = True) -> None:
        """Send a heartbeat, with the age of the last work in whole seconds."""
        ago_ms = (self.now_ms - self.worked_ms) // SECOND_MS * SECOND_MS if aged else None
        self.silence.beat("t", "a", attempt, self.now_ms, worked_ago_ms=ago_ms, tools=tools)

    def go(self, for_ms: float, *, beats: bool = False, tools: bool = False) -> list[events.Report]:
        """Let time pass, with a heartbeat each half minute or without; return what is said."""
        until_ms, said = self.now_ms + for_ms, list[events.Report]()
        beat_ms = self.now_ms if beats else until_ms + 1
        while self.now_ms < until_ms:
            if self.now_ms >= beat_ms:
                beat_ms += BEAT_MS
                self.beat(tools=tools)
            self.now_ms = min(self.now_ms + STEP_MS, until_ms)
            self.silence.advance(self.now_ms)
            said += self.taken()
        return said

    def taken(self) -> list[events.Report]:
        return [event for _town, event in self.silence.take()]


def level(one: int, *, tools: bool = False) -> events.AgentInactive:
    number = {1: 1, 2: 2, 3: 3}[one]
    return events.AgentInactive(agent="a", attempt="e1", level=number, tools=tools)  # type: ignore[arg-type]


def test_the_first_sign_is_said_once() -> None:
    wheel = Wheel(replace(RUN, contact="unheard"))
    assert wheel.go(10 * MINUTE_MS) == []  # the town itself gives up what is never heard
    wheel.beat()
    assert wheel.taken() == [HEARD]
    wheel.beat()
    assert wheel.go(MINUTE_MS, beats=True) == []


def test_silence_is_said_after_the_whole_wait_and_once() -> None:
    wheel = Wheel(RUN)
    wheel.beat()
    assert wheel.go(WAIT_MS) == []
    assert wheel.go(LATE_MS) == [SILENT]
    assert wheel.go(HOUR_MS) == []
    wheel.work()
    wheel.beat()
    assert wheel.taken() == [HEARD]
    assert wheel.go(WAIT_MS) == []
    assert wheel.go(LATE_MS) == [SILENT]


def test_an_hour_of_steady_work_says_nothing() -> None:
    wheel = Wheel(RUN)
    for _ in range(120):
        wheel.now_ms += 30 * SECOND_MS
        wheel.work()
        wheel.beat()
        wheel.silence.advance(wheel.now_ms)
    assert wheel.taken() == []


def test_three_levels_of_no_work_each_once_at_its_age() -> None:
    wheel = Wheel(RUN)
    wheel.beat()
    assert wheel.go(WARN_MS, beats=True) == []
    assert wheel.go(LATE_MS) == [level(1)]
    rest_ms = ASK_MS - WARN_MS - LATE_MS
    assert wheel.go(rest_ms, beats=True) == []
    assert wheel.go(LATE_MS) == [level(2)]
    assert wheel.go(STOP_MS - ASK_MS - LATE_MS, beats=True) == []
    assert wheel.go(LATE_MS) == [level(3)]
    assert wheel.go(HOUR_MS, beats=True) == []


def test_new_work_after_a_warning_clears_it_and_old_work_does_not() -> None:
    wheel = Wheel(RUN)
    wheel.beat()
    assert wheel.go(WARN_MS + LATE_MS, beats=True) == [level(1)]
    wheel.beat()
    assert wheel.taken() == []
    wheel.silence.worked("t", "a", "e1", wheel.now_ms)
    assert wheel.taken() == [HEARD]
    assert wheel.go(WARN_MS, beats=True) == []


@pytest.mark.parametrize("aged", [True, False])
def test_a_call_of_a_tool_is_work_and_says_nothing_of_what_runs(*, aged: bool) -> None:
    wheel = Wheel(RUN)
    wheel.beat(tools=True, aged=aged)
    for _ in range(2):
        assert wheel.go(WARN_MS + LATE_MS, beats=True, tools=True) == [level(1, tools=True)]
        wheel.silence.worked("t", "a", "e1", wheel.now_ms)
        assert wheel.taken() == [HEARD]
        wheel.work()


def test_tools_that_run_are_said_with_a_level_and_when_they_end() -> None:
    wheel = Wheel(RUN)
    wheel.beat(tools=True)
    said = wheel.go(WARN_MS + LATE_MS, beats=True, tools=True)
    assert said == [level(1, tools=True)]
    wheel.beat(tools=True)
    assert wheel.taken() == []
    wheel.beat()
    assert wheel.taken() == [level(1)]


def test_an_attempt_that_never_says_when_it_worked_works_while_it_beats() -> None:
    wheel = Wheel(RUN)
    for _ in range(300):
        wheel.now_ms += MINUTE_MS
        wheel.beat(aged=False)
        wheel.silence.advance(wheel.now_ms)
    assert wheel.taken() == []


def test_after_a_restart_nobody_is_silent_or_inactive_before_a_full_wait() -> None:
    wheel = Wheel()
    assert wheel.go(10 * SECOND_MS) == []
    wheel.put(RUN)  # the town's first tick tells of it
    assert wheel.go(WAIT_MS) == []
    assert wheel.go(LATE_MS) == [SILENT]

    wheel = Wheel(RUN)
    wheel.worked_ms -= 3 * HOUR_MS  # what it did before does not count against it
    wheel.beat()
    assert wheel.go(WARN_MS - MINUTE_MS) == [SILENT]
    wheel.beat()
    assert wheel.taken() == [HEARD]
    assert wheel.go(MINUTE_MS) == []


def test_a_process_that_stood_still_counts_anew() -> None:
    wheel = Wheel(RUN)
    wheel.beat()
    wheel.now_ms += 10 * HOUR_MS
    wheel.silence.advance(wheel.now_ms)
    assert wheel.taken() == []
    assert wheel.go(WAIT_MS - LATE_MS) == []
    assert wheel.go(2 * LATE_MS) == [SILENT]
    assert STALLED_MS < WAIT_MS


def test_a_level_that_the_town_knows_is_not_said_again() -> None:
    wheel = Wheel(replace(RUN, inactive=2))
    assert wheel.go(STOP_MS, beats=True) == []
    assert wheel.go(LATE_MS) == [level(3)]


def test_another_attempt_begins_anew_and_one_that_ended_is_forgotten() -> None:
    wheel = Wheel(RUN)
    assert wheel.go(MINUTE_MS) == []
    wheel.put(replace(RUN, attempt="e2", contact="unheard"))
    assert wheel.go(HOUR_MS) == []
    wheel.beat(attempt="e2")
    assert wheel.taken() == [events.AgentHeard("a", "e2")]
    wheel.silence.drop("t", "a")
    wheel.silence.drop("t", "a")
    assert wheel.go(HOUR_MS) == []
    assert len(wheel.silence) == 0


def test_a_mayor_is_heard_and_silent_and_says_when_it_waits() -> None:
    wheel = Wheel()
    wheel.beat(attempt="x")
    assert wheel.taken() == [events.AgentHeard("a", "x")]
    wheel.put(Agent(id="a", role="mayor", status="working", contact="heard", attempt="x"))
    wheel.silence.beat("t", "a", "x", wheel.now_ms, waits=True)
    wheel.silence.beat("t", "a", "x", wheel.now_ms, waits=True)
    assert wheel.taken() == [events.MayorWaits("a", waits=True, attempt="x")]
    assert wheel.go(WAIT_MS) == []
    assert wheel.go(3 * HOUR_MS) == [events.AgentSilent("a", "x")]


def test_a_mayor_that_its_host_sees_run_is_silent_about_work_but_not_while_it_waits() -> None:
    """Seen by its host it lives; that it waits for its person is said by its own heartbeats."""
    wheel = Wheel(Agent(id="a", role="mayor", status="working", contact="heard", attempt="x"))

    def go(for_ms: float, *, waits: bool) -> list[events.Report]:
        until_ms, said = wheel.now_ms + for_ms, list[events.Report]()
        while wheel.now_ms < until_ms:
            if waits:
                wheel.silence.beat("t", "a", "x", wheel.now_ms, worked_ago_ms=HOUR_MS, waits=True)
            else:
                wheel.silence.beat("t", "a", "x", wheel.now_ms, works=False)
            said += wheel.go(BEAT_MS)
        return said

    assert go(HOUR_MS, waits=True) == [events.MayorWaits("a", waits=True, attempt="x")]
    assert go(WARN_MS - MINUTE_MS, waits=False) == []
    (said,) = go(2 * MINUTE_MS, waits=False)
    assert said == events.AgentInactive(agent="a", attempt="x", level=1)


@pytest.mark.parametrize("happened", ["heard", "silent", "inactive"])
def test_what_could_not_be_accepted_is_said_again(happened: str) -> None:
    wheel = Wheel(replace(RUN, contact="unheard") if happened == "heard" else RUN)
    wheel.beat()
    if happened == "heard":
        wheel.silence.unsaid(wheel.silence.take())
        wheel.beat()
        assert wheel.taken() == [HEARD]
        return
    said = wheel.go(WARN_MS + LATE_MS, beats=happened == "inactive")
    wheel.silence.unsaid([("t", said[0]), ("gone", said[0])])
    assert wheel.go(LATE_MS) == said


def test_ten_thousand_agents_hold_in_bounded_memory_and_leave_nothing() -> None:
    chance = random.Random(7)
    runs = [replace(RUN, id=f"a{number}") for number in range(10_000)]
    now_ms = 1_000_000.0
    silence = Silence(POLICY, now_ms)
    tracemalloc.start()
    for run in runs:
        silence.put("t", run, now_ms)
    for _ in range(90):  # each heard about every thirty seconds
        now_ms += SECOND_MS
        for run in chance.choices(runs, k=333):
            silence.beat("t", run.id, "e1", now_ms, worked_ago_ms=0)
        while silence.advance(now_ms):
            pass
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 10_000 * 1_024
    for run in runs:
        silence.drop("t", run.id)
    for _ in range(3 * WAIT_MS // SECOND_MS):
        now_ms += SECOND_MS
        silence.advance(now_ms)
    assert len(silence) == 0
    assert not silence._slots  # places that nobody is in


def test_many_that_fall_due_at_once_are_looked_at_in_parts() -> None:
    silence = Silence(POLICY, 0.0)
    for number in range(3 * JUDGED_MAX):
        silence.put("t", replace(RUN, id=f"a{number}"), 0.0)
    said, now_ms = list[int](), 0.0
    while now_ms < WAIT_MS + LATE_MS:
        now_ms += SECOND_MS
        more = True
        while more:
            more = silence.advance(now_ms)
            said.append(len(silence.take()))
    assert max(said) == JUDGED_MAX
    assert sum(said) == 3 * JUDGED_MAX

"""A mayor is started when something waits for it, again when it dies, and stopped when idle."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec.structs import replace

from holdfast.kernel.outcome import Ok, Permanent
from holdfast.towns import board, events, ports
from holdfast.towns.definition import TOWN
from holdfast.towns.invariants import INVARIANTS
from holdfast.towns.policy import Policy, decode_policy, encode_policy
from holdfast.towns.rules import mayors
from holdfast.towns.state import Agent
from holdfast.wire.times import time_text
from tests.unit.towns.rig import HOUR_MS, MINUTE_MS, Town, before

ASKED = events.Escalated(escalation="esc1", severity="high", category="c", about="b/x")
SECOND_MS = 1_000


def with_mayor(policy: Policy | None = None, *, budget_day: int = 0) -> Town:
    town = Town(policy, budget_day=budget_day)
    town.do(events.AgentAdded(agent="m", role="mayor"))
    return town


def mayor(town: Town) -> Agent:
    return town.agent("m")


def why(town: Town) -> list[str]:
    assert TOWN.explain is not None
    held = TOWN.explain(town.state, town.policy, town.now_ms, "a/m")
    return [one.because for one in held if one.rule.startswith("mayor.")]


def start(town: Town) -> ports.StartCall:
    """Return the start that is asked for, and have it heard."""
    body = town.call(ports.StartCall).body
    assert isinstance(body, ports.StartCall)
    town.calls.clear()
    town.do(events.AgentStarted("m", body.attempt), events.AgentHeard("m", body.attempt))
    return body


def test_an_escalation_starts_the_mayor_once() -> None:
    town = with_mayor()
    assert town.calls_of(ports.StartCall) == []
    assert why(town) == ["nothing waits for it"]
    town.do(ASKED)
    body = town.call(ports.StartCall).body
    assert isinstance(body, ports.StartCall)
    assert (body.role, body.rig, body.bead, body.branch) == ("mayor", "r", "", "mayor/1")
    start(town)
    town.do(events.MailSent(message="m1", to="m"))
    assert town.calls_of(ports.StartCall) == []
    assert mayor(town).status == "working"


def test_mail_and_nudges_start_it_too() -> None:
    for event in (events.MailSent(message="m1", to="m"), events.NudgeSent(nudge="n1", agent="m")):
        town = with_mayor()
        town.do(event)
        assert len(town.calls_of(ports.StartCall)) == 1


def test_it_waits_while_the_town_drains_has_no_money_or_no_rig() -> None:
    town = with_mayor()
    town.do(events.DrainStarted("n", town.now_ms + MINUTE_MS), ASKED)
    assert why(town) == ["the agents' host is going away"]
    town.do(events.DrainEnded("n"), events.RigRemoved("r"))
    # It was started in the moment between the two events' effects: both are of one tick.
    assert why(town) == ["the town has no rig whose clone and command it could have"]
    town.do(events.RigAdded(rig="r", name="r"))
    assert len(town.calls_of(ports.StartCall)) == 1


def test_the_days_money_holds_it_back() -> None:
    town = with_mayor(budget_day=10)
    town.do(ASKED)
    body = start(town)
    town.do(events.CostReported(agent="m", attempt=body.attempt, microdollars=11))
    assert town.state.town.exhausted
    town.do(events.AgentExited(agent="m", attempt=body.attempt, status="failed"))
    assert why(town) == ["the day's money is used up"]


def test_one_that_dies_is_started_again_after_longer_and_longer_waits() -> None:
    town = with_mayor()
    town.do(ASKED)
    waits = []
    for _ in range(8):
        body = start(town)
        town.do(events.AgentExited(agent="m", attempt=body.attempt, status="failed", code="exit_1"))
        assert why(town) == ["its last attempt ended a moment ago, and what it was for still waits"]
        since_ms = town.now_ms
        while not town.calls_of(ports.StartCall):
            town.wait(10 * SECOND_MS)
        waits.append((town.now_ms - since_ms) // SECOND_MS)
    assert waits == [30, 60, 120, 240, 480, 960, 1800, 1800]
    assert town.state.town.breaker.ends == ()
    body = start(town)
    town.do(events.EscalationAcknowledged("esc1", "m"))
    town.do(events.AgentExited(agent="m", attempt=body.attempt, status="completed"))
    assert (mayor(town).tries, mayor(town).due_ms) == (0, 0)


def test_a_start_that_is_refused_or_never_heard_waits_as_well() -> None:
    town = with_mayor()
    town.do(ASKED)
    town.answer(town.call(ports.StartCall), Permanent("no_command", "none"))
    assert (mayor(town).status, mayor(town).tries) == ("idle", 1)
    town.wait(30 * SECOND_MS)
    assert len(town.calls_of(ports.StartCall)) == 1
    town.wait(town.policy.unheard_ms)
    assert mayor(town).tries == 2
    assert [call.body.agent for call in town.calls_of(ports.StopCall)] == ["m"]


def test_a_silent_one_is_stopped_and_started_again() -> None:
    town = with_mayor()
    town.do(ASKED)
    body = start(town)
    town.do(events.AgentSilent("m", "another"))
    assert mayor(town).contact == "heard"
    town.do(events.AgentSilent("m", body.attempt))
    assert mayor(town).status == "idle"
    assert len(town.calls_of(ports.StopCall)) == 1
    town.wait(30 * SECOND_MS)
    assert mayor(town).status == "working"


def test_one_for_which_nothing_waits_for_long_is_stopped() -> None:
    town = with_mayor()
    town.do(ASKED)
    start(town)
    town.do(events.EscalationAcknowledged("esc1", "m"))
    assert why(town) == ["something waited for it lately"]
    town.wait(29 * MINUTE_MS)
    town.do(events.Escalated(escalation="esc2", severity="low", category="c"))
    town.wait(HOUR_MS)
    assert mayor(town).status == "working"
    town.do(events.EscalationAcknowledged("esc2", "m"))
    town.wait(30 * MINUTE_MS)
    assert mayor(town).status == "idle"
    assert len(town.calls_of(ports.StopCall)) == 1
    assert why(town) == ["nothing waits for it"]


def test_one_that_says_it_is_done_rests() -> None:
    town = with_mayor()
    town.do(events.MailSent(message="m1", to="m"))
    body = start(town)
    town.do(events.MailDelivered("m1"), events.AgentDone(agent="m", attempt=body.attempt))
    assert (mayor(town).status, mayor(town).attempt) == ("idle", "")


def test_one_that_is_removed_while_it_runs_is_stopped_first() -> None:
    town = with_mayor()
    town.do(ASKED)
    start(town)
    town.do(events.AgentRemoved("m"))
    assert len(town.calls_of(ports.StopCall)) == 1
    assert "m" not in town.state.agents


def test_a_closed_town_stops_it_and_starts_none() -> None:
    town = with_mayor()
    town.do(ASKED)
    start(town)
    town.do(events.TownClosed("ann"))
    assert len(town.calls_of(ports.StopCall)) == 1
    assert (mayor(town).status, mayor(town).due_ms) == ("idle", 0)


def test_the_breaker_does_not_hold_it_back() -> None:
    town = with_mayor(msgspec.structs.replace(Policy(), breaker_failures=1))
    town.sling("b1")
    town.answer(town.call(ports.StartCall), Permanent("host_full", "full"))
    assert town.state.town.breaker.state == "open"
    town.do(ASKED)
    assert [call.body.agent for call in town.calls_of(ports.StartCall)] == ["m"]


def test_a_policy_of_before_starts_none() -> None:
    old = before(1)
    assert old.mayor_first_ms == 0
    town = with_mayor(old)
    town.do(ASKED)
    assert (town.calls_of(ports.StartCall), why(town)) == ([], [])
    assert decode_policy(encode_policy(Policy())) == Policy()


def quiet(town: Town, level: Literal[1, 2, 3] = 1, *, tools: bool = False) -> None:
    """Have it be said that the present attempt lives and reports no work."""
    attempt = mayor(town).attempt
    town.do(events.AgentInactive(agent="m", attempt=attempt, level=level, tools=tools))


def exit_well(town: Town) -> None:
    town.do(events.AgentExited(agent="m", attempt=mayor(town).attempt, status="completed"))


# ---------------------------------------------------------------------------------- one that hangs


def test_one_that_hangs_is_poked_and_then_started_again() -> None:
    town = with_mayor()
    town.do(ASKED)
    body = start(town)
    quiet(town)
    (nudge,) = town.calls_of(ports.NudgeCall)
    assert (nudge.body.agent, nudge.body.attempt) == ("m", body.attempt)
    town.answer(nudge, Ok(ports.Delivered()))
    assert why(town) == ["it was asked for a sign of work, and is started again if there is none"]
    sight = board.Sight(town.state, town.policy, town.now_ms)
    sight.ask(())
    shown = sight.agent(mayor(town))
    assert shown.does.startswith("works, but no work reported for long: it was asked")
    assert shown.until == time_text(town.now_ms + town.policy.mayor_hung_ms)
    town.wait(town.policy.mayor_hung_ms - 1)
    assert mayor(town).attempt == body.attempt
    town.wait(1)
    assert [call.body.agent for call in town.calls_of(ports.StopCall)] == ["m"]
    assert (mayor(town).status, mayor(town).tries) == ("idle", 1)
    assert town.state.town.breaker.ends == ()
    town.wait(30 * SECOND_MS)
    assert mayor(town).epoch == 2


def test_one_that_works_after_it_was_poked_goes_on_and_has_looked_at_what_waited() -> None:
    town = with_mayor()
    town.do(ASKED)
    body = start(town)
    town.wait(MINUTE_MS)
    quiet(town)
    town.wait(MINUTE_MS)
    town.do(events.AgentHeard("m", body.attempt))
    assert why(town) == ["something waited for it lately"]  # only a person can decide it
    town.wait(20 * MINUTE_MS)
    assert mayor(town).attempt == body.attempt
    town.do(events.MailSent(message="m1", to="m"))
    quiet(town)
    assert mayor(town).handled == 1


def test_one_that_hangs_while_nothing_waits_is_left_to_rest() -> None:
    town = with_mayor()
    town.do(ASKED)
    start(town)
    quiet(town)
    town.do(events.EscalationAcknowledged("esc1", "ann"))
    assert (mayor(town).handled, why(town)) == (0, ["something waited for it lately"])
    town.wait(10 * MINUTE_MS)
    assert town.calls_of(ports.StopCall) == []
    town.calls.clear()
    town.do(replace(ASKED, escalation="esc2"))  # it is asked anew, with all of its time
    assert len(town.calls_of(ports.NudgeCall)) == 1
    town.wait(town.policy.mayor_hung_ms - 1)
    assert mayor(town).status == "working"


def test_one_whose_tools_run_is_not_poked_until_the_next_level() -> None:
    town = with_mayor()
    town.do(ASKED)
    start(town)
    quiet(town, tools=True)
    assert town.calls_of(ports.NudgeCall) == []
    quiet(town, 2, tools=True)
    assert len(town.calls_of(ports.NudgeCall)) == 1
    town.do(events.AgentHeard("m", mayor(town).attempt))
    town.wait(MINUTE_MS)
    town.do(replace(ASKED, escalation="esc2", about="b/y"))
    quiet(town)
    assert mayor(town).handled == 1
    town.wait(MINUTE_MS)
    quiet(town, tools=True)  # it does something after all
    town.wait(HOUR_MS)
    assert (mayor(town).epoch, mayor(town).status) == (1, "working")


def test_a_drain_keeps_it_from_being_started_again() -> None:
    town = with_mayor()
    town.do(ASKED)
    start(town)
    quiet(town)
    town.do(events.DrainStarted("n", town.now_ms + HOUR_MS))
    town.wait(20 * MINUTE_MS)
    assert why(town) == ["the agents' host is going away"]
    town.do(events.DrainEnded("n"))
    assert mayor(town).status == "idle"


def test_a_pause_of_the_plane_gives_it_its_time_anew() -> None:
    town = with_mayor()
    town.do(ASKED)
    start(town)
    quiet(town)
    town.now_ms += 5 * HOUR_MS
    town.do(events.LoopResumed())
    assert mayor(town).status == "working"
    assert mayor(town).due_ms == town.now_ms + town.policy.mayor_hung_ms


# ------------------------------------------------------------------- what only a person can decide


def test_what_a_run_that_ended_well_looked_at_starts_no_other() -> None:
    town = with_mayor()
    town.do(ASKED)
    start(town)
    town.wait(MINUTE_MS)
    exit_well(town)
    assert why(town) == ["it has looked at what waits, which is for a person to decide now"]
    assert mayor(town).due_ms == 0
    town.wait(town.policy.bump_ms - 2 * MINUTE_MS)
    assert mayor(town).epoch == 1
    town.wait(2 * MINUTE_MS)  # it was made more severe
    assert mayor(town).epoch == 2
    start(town)
    town.wait(MINUTE_MS)
    exit_well(town)
    town.do(replace(ASKED, escalation="esc2", about="b/y"))
    assert mayor(town).epoch == 3


def test_what_came_while_it_ran_starts_it_again() -> None:
    town = with_mayor()
    town.do(ASKED)
    start(town)
    town.wait(MINUTE_MS)
    town.do(replace(ASKED, escalation="esc2", about="b/y"))
    exit_well(town)
    assert (mayor(town).status, mayor(town).epoch) == ("working", 2)


def test_what_is_new_ends_the_wait_of_one_that_died() -> None:
    town = with_mayor()
    town.do(ASKED)
    for _ in range(6):
        start(town)
        town.do(events.AgentExited(agent="m", attempt=mayor(town).attempt, status="failed"))
        town.wait(mayor(town).due_ms - town.now_ms)
    start(town)
    town.wait(SECOND_MS)
    town.do(events.AgentExited(agent="m", attempt=mayor(town).attempt, status="failed"))
    assert mayor(town).due_ms == town.now_ms + 30 * MINUTE_MS
    town.wait(SECOND_MS)
    epoch = mayor(town).epoch
    town.do(replace(ASKED, escalation="esc2", about="b/y"))
    assert mayor(town).epoch == epoch + 1
    town.answer(town.call(ports.StartCall), Permanent("host_full", "full"))
    town.wait(SECOND_MS)
    town.do(replace(ASKED, escalation="esc3", about="b/y"))  # about the same: it is no other
    assert mayor(town).epoch == epoch + 1


def test_a_clock_that_was_set_back_hides_nothing_new() -> None:
    town = with_mayor()
    town.do(ASKED)
    start(town)
    town.wait(2 * HOUR_MS)
    exit_well(town)
    town.do(events.EscalationAcknowledged("esc1", "ann"))
    town.now_ms -= 3 * HOUR_MS
    town.do(events.LoopResumed())
    town.wait(MINUTE_MS)
    town.do(replace(ASKED, escalation="esc2", about="b/y"))
    assert mayor(town).epoch == 2


# ------------------------------------------------------------------------------------ late reports


def test_what_an_earlier_attempt_waits_for_changes_nothing_of_the_present_one() -> None:
    town = with_mayor()
    town.do(ASKED)
    first = start(town).attempt
    town.do(events.AgentExited(agent="m", attempt=first, status="failed"))
    town.wait(30 * SECOND_MS)
    (stamp,) = town.do(events.MayorWaits("m", waits=True, attempt=first))
    assert (stamp.outcome, mayor(town).status) == ("ignored", "working")
    second = mayor(town).attempt
    (stamp,) = town.do(events.MayorWaits("m", waits=True, attempt=second))
    assert (stamp.outcome, mayor(town).status) == ("applied", "waiting")


def test_one_that_was_never_heard_is_given_up_also_if_it_is_said_to_wait() -> None:
    town = with_mayor()
    town.do(ASKED)
    town.do(events.MayorWaits("m", waits=True))  # of a log from before: of which attempt?
    assert (mayor(town).status, mayor(town).contact) == ("waiting", "unheard")
    unended = town.folded.state
    town.wait(town.policy.unheard_ms)
    assert mayor(town).status == "idle"
    late = replace(unended.agents["m"], due_ms=0)
    (ends,) = (one for one in INVARIANTS if (one.number, one.of) == (13, "a/"))
    assert ends.check(unended, late) == "it was never heard, and nothing ends that"


# --------------------------------------------------------------------------------- logs of before


def test_a_policy_of_version_two_decides_as_it_did() -> None:
    town = with_mayor(before(2))
    town.do(ASKED)
    body = start(town)
    quiet(town)
    assert town.calls_of(ports.NudgeCall) == []
    town.wait(HOUR_MS)
    assert (mayor(town).attempt, mayor(town).due_ms) == (body.attempt, 0)
    exit_well(town)
    assert (mayor(town).looked_ms, why(town)) == (0, [mayors.AGAIN])
    town.do(replace(ASKED, escalation="esc2", about="b/y"))
    assert mayor(town).epoch == 1
    town.wait(30 * SECOND_MS)
    assert mayor(town).epoch == 2
    town.do(events.MayorWaits("m", waits=True))
    town.wait(town.policy.unheard_ms)
    assert mayor(town).status == "waiting"

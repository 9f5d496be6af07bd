"""Agents and beads: who gets what, what counts as a failure, and what a late report changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import pytest
from msgspec.structs import replace as changed

from holdfast.kernel.outcome import Ok, Outcome, Permanent, Retryable
from holdfast.towns import events, ports
from holdfast.towns.limits import ATTEMPTS_MAX
from holdfast.towns.policy import EARLIER, Policy
from holdfast.towns.state import NewBead
from tests.unit.towns.rig import HOUR_MS, MINUTE_MS, Town


def test_an_open_bead_gets_an_agent_of_its_rig() -> None:
    town = Town()
    town.sling("b1")
    start = town.start_of("b1")
    agent = town.agent(start.agent)
    assert (agent.status, agent.hook, agent.rig, agent.role) == ("working", "b1", "r", "polecat")
    assert (town.bead("b1").status, town.bead("b1").assignee) == ("in_progress", agent.id)
    assert (start.target, start.branch) == ("main", "bead/b1/1")


def test_an_idle_agent_is_taken_before_another_is_made() -> None:
    town = Town()
    town.sling("b1")
    town.finish("b1")
    town.sling("b2")
    assert town.start_of("b2").agent == town.start_of("b1").agent
    town.sling("b3")
    assert town.start_of("b3").agent != town.start_of("b2").agent


def test_priority_goes_before_age() -> None:
    town = Town(town_agents_max=1)
    town.sling("busy")
    town.sling("old")
    town.wait(MINUTE_MS)
    town.sling("urgent", priority=0)
    assert (
        town.held("urgent") == town.held("old") == {"the town has as many agents at work as it may"}
    )
    town.fail("busy")
    assert town.bead("urgent").status == "in_progress"
    assert town.bead("old").status == "open"


@pytest.mark.parametrize(
    ("config", "because"),
    [
        ({"town_agents_max": 2}, "the town has as many agents at work as it may"),
        ({"rig_agents_max": 2}, "its rig has as many agents at work as it may"),
        ({"polecats_max": 2}, "as many polecats work as may"),
    ],
)
def test_caps_of_town_rig_and_role(config: dict[str, Any], because: str) -> None:
    town = Town(**config)
    town.sling("b1", "b2", "b3")
    assert [town.bead(one).status for one in ("b1", "b2", "b3")] == [
        "in_progress", "in_progress", "open",
    ]  # fmt: skip
    assert town.held("b3") == {because}


def test_rigs_take_turns() -> None:
    town = Town(town_agents_max=4)
    town.do(events.RigAdded(rig="s", name="s"), events.DrainStarted("n", town.now_ms + HOUR_MS))
    town.sling(*(f"b{number}" for number in range(10)))
    town.do(events.BeadCreated(bead=NewBead(id="s1", rig="s")),
            events.BeadCreated(bead=NewBead(id="s2", rig="s")))  # fmt: skip
    town.do(events.DrainEnded("n"))
    working = [agent for agent in town.state.agents.values() if agent.status == "working"]
    assert sorted(agent.rig for agent in working) == ["r", "r", "s", "s"]


# ------------------------------------------------------------------------------------- failures


@pytest.mark.parametrize("policy", [Policy(), EARLIER])
def test_a_bead_that_fails_waits_by_its_attempts_and_is_given_up(policy: Policy) -> None:
    town = Town(policy)
    town.sling("b1")
    for failed in range(1, 6):
        town.fail("b1")
        assert town.bead("b1").charged == failed
        assert town.held("b1") == {"its last attempt failed a moment ago"}
        wait_ms = policy.cooldowns_ms[failed - 1]
        town.wait(wait_ms - 1)
        assert town.bead("b1").status == "open"
        town.wait(1)
        expected = "failed" if failed == 5 else "in_progress"
        assert town.bead("b1").status == expected
    assert town.bead("b1").failure == "attempts_exhausted"
    (escalation,) = [one for one in town.state.beads.values() if one.type == "escalation"]
    assert escalation.escalation is not None
    assert escalation.escalation.category == "bead_failed"


def test_a_start_that_is_refused_frees_its_agent_at_once() -> None:
    town = Town()
    town.sling("b1")
    call = town.call(ports.StartCall)
    town.answer(call, Permanent("host_full", "no room"))
    assert town.agent(call.body.agent).status == "idle"
    bead = town.bead("b1")
    assert (bead.status, bead.charged, bead.refused) == ("open", 0, 1)


@pytest.mark.parametrize("code", sorted(ports.CHARGED))
def test_a_start_that_the_rig_prevents_counts_against_the_bead(code: str) -> None:
    town = Town()
    town.sling("b1")
    town.answer(town.call(ports.StartCall), Permanent(code, "no"))
    assert town.bead("b1").charged == 1


@pytest.mark.parametrize(
    ("outcome", "attempt", "event"),
    [
        (Ok(ports.Begun()), 1, "TownAgentStarted"),
        (Permanent("host_full", ""), 1, "TownStartRefused"),
        (Retryable("expired", ""), 1, "TownStartRefused"),
        (Retryable("expired", ""), 2, "TownStartDoubted"),
        (Retryable("timeout", ""), 1, "TownStartDoubted"),
        (Permanent("bug", ""), 1, "TownStartDoubted"),
    ],
)
def test_only_what_is_certain_is_a_refusal(outcome: Outcome[Any], attempt: int, event: str) -> None:
    from holdfast.towns.definition import TOWN  # noqa: PLC0415  the definition under test

    town = Town()
    town.sling("b1")
    call = town.call(ports.StartCall)._replace(attempt=attempt)
    assert type(TOWN.settle(call, outcome)).__struct_config__.tag == event


def test_an_agent_that_is_never_heard_is_given_up() -> None:
    town = Town()
    town.sling("b1")
    call = town.call(ports.StartCall)
    town.answer(call, Retryable("timeout", "lost"))
    town.wait(town.policy.unheard_ms - 1)
    assert town.bead("b1").attempt == call.body.attempt
    town.wait(1)
    assert town.bead("b1").status == "open"
    assert town.bead("b1").charged == 0
    assert town.call(ports.StopCall).body.agent == call.body.agent


def test_what_the_host_refuses_waits_longer_each_time_up_to_a_cap() -> None:
    town = Town()
    town.sling("b1")
    waits = []
    for _ in range(12):
        town.answer(town.call(ports.StartCall), Permanent("host_full", "no room"))
        waits.append(town.bead("b1").due_ms - town.now_ms)
        town.wait(waits[-1])
    assert waits[:4] == [30_000, 60_000, 120_000, 240_000]
    assert waits[-1] == town.policy.refused_cap_ms
    assert all(one <= town.policy.refused_cap_ms for one in waits)


def test_no_bead_is_tried_more_often_than_may_be() -> None:
    town = Town(replace_refused())
    town.sling("b1")
    for _ in range(ATTEMPTS_MAX):
        town.answer(town.call(ports.StartCall), Retryable("timeout", "lost"))
        town.wait(town.policy.unheard_ms)
        town.wait(town.bead("b1").due_ms - town.now_ms)
    assert town.bead("b1").status == "failed"
    assert town.bead("b1").attempts == ATTEMPTS_MAX


def test_what_never_started_is_no_attempt() -> None:
    town = Town(replace_refused())
    town.sling("b1")
    for _ in range(ATTEMPTS_MAX + 5):
        town.answer(town.call(ports.StartCall), Permanent("no_host", "nowhere to run it"))
        town.wait(town.bead("b1").due_ms - town.now_ms)
    assert (town.bead("b1").status, town.bead("b1").attempts) == ("in_progress", 1)


def replace_refused() -> Policy:
    return changed(Policy(), breaker_failures=1_000)


def test_refusals_that_waited_go_on_as_soon_as_a_start_works() -> None:
    town = Town()
    town.sling("b1", "b2")
    for call in town.calls_of(ports.StartCall):
        town.answer(call, Permanent("host_full", "no room"))
    town.sling("b3")
    town.answer(town.call(ports.StartCall), Ok(ports.Begun()))
    assert town.bead("b1").status == town.bead("b2").status == "in_progress"


# -------------------------------------------------------------------------------- reports of agents


@pytest.mark.parametrize("status", ["completed", "failed", "gone", "evicted"])
def test_a_report_of_an_earlier_attempt_changes_nothing(
    status: Literal["completed", "failed", "gone", "evicted"],
) -> None:
    town = Town()
    town.sling("b1")
    first = town.start_of("b1")
    town.fail("b1")
    town.wait(town.policy.cooldowns_ms[0])
    late: dict[str, Any] = {"agent": first.agent, "attempt": first.attempt}
    before = town.state
    stamps = town.do(
        events.AgentDone(**late, branch="evil"),
        events.AgentExited(**late, status=status),
        events.AgentSilent(first.agent, first.attempt),
        events.AgentInactive(**late, level=3),
        events.CostReported(**late, microdollars=5),
        events.AgentHeard(first.agent, first.attempt),
    )
    assert {stamp.outcome for stamp in stamps} == {"ignored"}
    assert town.state == before


def test_nobody_finishes_the_work_of_another() -> None:
    town = Town()
    town.sling("b1", "b2")
    one, other = town.start_of("b1"), town.start_of("b2")
    (stamp,) = town.do(events.AgentDone(agent=other.agent, attempt=one.attempt, branch="x"))
    assert (stamp.outcome, stamp.code) == ("refused", "other_agent")


def test_one_that_ended_may_still_say_that_it_is_done() -> None:
    town = Town()
    town.sling("b1")
    start = town.start_of("b1")
    town.do(events.AgentExited(agent=start.agent, attempt=start.attempt, status="completed"))
    assert town.bead("b1").status == "in_progress"
    assert town.agent(start.agent).status == "idle"
    town.wait(town.policy.stale_ms - 1)
    town.finish("b1")
    assert town.bead("b1").status == "in_review"


def test_one_that_ended_without_a_result_is_a_failed_attempt() -> None:
    town = Town()
    town.sling("b1")
    start = town.start_of("b1")
    town.do(events.AgentExited(agent=start.agent, attempt=start.attempt, status="completed"))
    town.wait(town.policy.stale_ms)
    assert (town.bead("b1").charged, town.bead("b1").failure) == (1, "no_result")


def test_eviction_gives_the_bead_back_without_blame() -> None:
    town = Town()
    town.sling("b1")
    start = town.start_of("b1")
    town.do(events.DrainStarted("n", town.now_ms + HOUR_MS))
    town.do(events.AgentExited(agent=start.agent, attempt=start.attempt, status="evicted"))
    bead = town.bead("b1")
    assert (bead.status, bead.charged, bead.refused, bead.due_ms) == ("open", 0, 0, 0)
    assert town.state.town.breaker.ends == ()


def test_a_silent_agent_is_stopped_and_its_bead_handed_out_in_one_step() -> None:
    town = Town()
    town.sling("b1")
    town.heard("b1")
    start = town.start_of("b1")
    town.do(events.AgentSilent(start.agent, start.attempt))
    assert town.rules()[-1] == "agents.silent"
    assert town.call(ports.StopCall).body.epoch == 1
    assert town.agent(start.agent).hook == ""
    town.wait(HOUR_MS)
    assert town.start_of("b1").attempt != start.attempt


def test_nobody_is_recovered_while_the_host_goes_away() -> None:
    town = Town()
    town.sling("b1")
    town.heard("b1")
    start = town.start_of("b1")
    town.do(events.DrainStarted("n", town.now_ms + town.policy.drain_ms))
    town.do(events.AgentSilent(start.agent, start.attempt))
    assert town.bead("b1").attempt == start.attempt
    town.wait(town.policy.drain_ms - 1)
    assert town.bead("b1").attempt == start.attempt
    town.wait(1)
    assert town.bead("b1").attempt == ""


def test_a_cancelled_beads_agent_is_stopped_once() -> None:
    town = Town()
    town.sling("b1")
    start = town.start_of("b1")
    town.do(events.BeadCancelled("b1", "closed"))
    assert [call.body.agent for call in town.calls_of(ports.StopCall)] == [start.agent]
    assert town.agent(start.agent).status == "idle"
    town.sling("b2")
    town.heard("b2")
    town.wait(HOUR_MS)
    assert len(town.calls_of(ports.StopCall)) == 1


# -------------------------------------------------------------------------------------- inactivity


def test_an_inactive_agent_is_nudged_then_escalated_then_stopped() -> None:
    town = Town()
    town.sling("b1")
    town.heard("b1")
    start = town.start_of("b1")
    said: dict[str, Any] = {"agent": start.agent, "attempt": start.attempt}
    town.do(events.AgentInactive(**said, level=1))
    assert len(town.calls_of(ports.NudgeCall)) == 1
    town.do(events.AgentInactive(**said, level=1))
    assert len(town.calls_of(ports.NudgeCall)) == 1
    town.do(events.AgentInactive(**said, level=2))
    assert [one.escalation.category for one in town.state.beads.values() if one.escalation] == [
        "stuck_agent"
    ]
    town.do(events.AgentInactive(**said, level=3))
    assert town.agent(start.agent).status == "stalled"
    assert len(town.calls_of(ports.StopCall)) == 1
    town.wait(town.policy.stalled_ms - 1)
    assert town.bead("b1").attempt == start.attempt
    town.wait(1)
    assert (town.bead("b1").status, town.bead("b1").failure) == ("open", "stalled")


def test_an_agent_whose_tools_run_is_not_nudged() -> None:
    town = Town()
    town.sling("b1")
    town.heard("b1")
    start = town.start_of("b1")
    town.do(events.AgentInactive(agent=start.agent, attempt=start.attempt, level=1, tools=True))
    assert town.calls_of(ports.NudgeCall) == []


def test_one_that_works_again_is_nudged_again_only_after_an_hour() -> None:
    town = Town()
    town.sling("b1")
    town.heard("b1")
    start = town.start_of("b1")
    nudges = []
    for _ in range(5):
        town.do(events.AgentInactive(agent=start.agent, attempt=start.attempt, level=1))
        nudges.append(len({call.body.nudge for call in town.calls_of(ports.NudgeCall)}))
        town.heard("b1")
        town.wait(20 * MINUTE_MS)
    assert nudges == [1, 1, 1, 2, 2]


def test_a_mayor_of_others_is_never_nudged_and_waits_for_its_person() -> None:
    town = Town()
    town.do(events.AgentAdded(agent="mayor", role="mayor"))
    town.do(events.AgentHeard("mayor", ""))
    assert town.agent("mayor").status == "working"
    town.do(events.AgentInactive(agent="mayor", attempt="", level=3))
    assert town.calls_of(ports.NudgeCall) == []
    (stamp,) = town.do(events.MayorWaits("mayor", waits=True))
    assert (stamp.outcome, town.agent("mayor").status) == ("applied", "waiting")
    (stamp,) = town.do(events.MayorWaits("mayor", waits=True))
    assert stamp.outcome == "ignored"


def test_decision_values_are_replaced_not_shared() -> None:
    # A replacement makes another policy, and so another hash in every tick record.
    from holdfast.actors.kinds import make_kind  # noqa: PLC0415
    from holdfast.towns.definition import TOWN  # noqa: PLC0415

    one, other = make_kind(TOWN, Policy()), make_kind(TOWN, EARLIER)
    assert one.policy_hash != other.policy_hash
    assert TOWN.decode_policy(other.policy_body) == EARLIER
    assert replace(one, policy=EARLIER).policy == EARLIER


def test_what_a_host_says_of_an_attempt_that_is_over_counts_for_its_bead_and_the_day() -> None:
    town = Town(budget_day=1_000)
    town.sling("b1")
    start = town.start_of("b1")
    town.finish("b1")
    said = events.CostReported(agent=start.agent, attempt=start.attempt, microdollars=400, id="run")
    (stamp,) = town.do(said)
    assert (stamp.outcome, town.bead("b1").cost) == ("ignored", 0)
    (stamp,) = town.do(changed(said, late=True, bead="b1"))
    assert (stamp.outcome, town.bead("b1").cost, town.state.town.spent) == ("applied", 400, 400)
    town.do(events.BeadCancelled("b1", "closed"))
    ended = town.bead("b1")
    town.do(changed(said, late=True, bead="b1"))
    town.do(changed(said, late=True, agent="m"))
    assert (town.bead("b1"), town.state.town.spent) == (ended, 1_200)
    assert town.state.town.exhausted

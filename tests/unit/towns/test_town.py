"""The town itself: breaker, budget, drain, what is due after a pause, and violations."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from holdfast.actors.definition import At
from holdfast.actors.kinds import make_kind
from holdfast.actors.rehearse import dry_run, explain
from holdfast.actors.tick import begin, tick
from holdfast.kernel.ids import EventId, address
from holdfast.kernel.outcome import Ok, Permanent
from holdfast.towns import events, intents, ports
from holdfast.towns.apply import apply
from holdfast.towns.definition import KIND, TOWN
from holdfast.towns.draft import TRANSITIONS, Draft, build, statuses
from holdfast.towns.limits import BEAD_KEPT_MS, FREED_MAX, RETIRED_MAX, WAITERS_MAX
from holdfast.towns.policy import Policy
from holdfast.towns.reconcile import cadence, reconcile
from holdfast.towns.state import TERMINAL, Agent, Bead, NewBead, keys
from holdfast.towns.views import views
from tests.unit.towns.rig import HOUR_MS, MINUTE_MS, NOW_MS, Town, before

DAY_MS = 24 * HOUR_MS
SECOND_MS = 1_000


# ---------------------------------------------------------------------------- the breaker


def broken_host(count: int = 25, **config: Any) -> Town:
    """Return a town whose host refused every start until the breaker opened."""
    town = Town(town_agents_max=50, **config)
    town.sling(*(f"b{number}" for number in range(count)))
    refuse_all(town)
    return town


def refuse_all(town: Town) -> None:
    while calls := town.calls_of(ports.StartCall):
        town.answer(calls[0], Permanent("host_full", "no room"))


def breaker(town: Town) -> str:
    return town.state.town.breaker.state


def notices(town: Town, code: str) -> int:
    return sum(call.body.code == code for call in town.calls_of(ports.NoticeCall))


def test_twenty_failures_cut_dispatching_off_and_are_told_once() -> None:
    town = Town(town_agents_max=50)
    town.sling(*(f"b{number}" for number in range(25)))
    for number in range(19):
        town.answer(town.calls_of(ports.StartCall)[0], Permanent("host_full", ""))
        assert breaker(town) == "closed", number
    town.answer(town.calls_of(ports.StartCall)[0], Permanent("host_full", ""))
    assert breaker(town) == "open"
    assert notices(town, "breaker_opened") == 1
    town.sling("late")
    assert town.held("late") == {"too many attempts failed lately"}


def test_healthy_work_beside_failures_does_not_open_it() -> None:
    town = Town(town_agents_max=50, code_review=False)
    for number in range(50):
        town.sling(f"good{number}")
        town.finish(f"good{number}")
    town.sling(*(f"b{number}" for number in range(20)))
    refuse_all(town)
    assert breaker(town) == "closed"


def test_failures_of_long_ago_do_not_count() -> None:
    town = Town(replace(Policy(), refused_first_ms=HOUR_MS), town_agents_max=50)
    town.sling(*(f"b{number}" for number in range(19)))
    refuse_all(town)
    town.wait(town.policy.breaker_window_ms)
    town.sling("one")
    refuse_all(town)
    assert breaker(town) == "closed"


def test_half_open_lets_one_attempt_through() -> None:
    town = broken_host()
    town.wait(town.policy.breaker_first_ms)
    assert breaker(town) == "half_open"
    assert len(town.calls_of(ports.StartCall)) == 1
    refuse_all(town)
    assert breaker(town) == "open"
    assert notices(town, "breaker_opened") == 1
    town.wait(2 * town.policy.breaker_first_ms)
    town.heard(town.call(ports.StartCall).body.bead)
    assert breaker(town) == "closed"
    assert notices(town, "breaker_closed") == 1
    working = [one for one in town.state.beads.values() if one.status == "in_progress"]
    assert len(working) == 25


def test_a_review_may_be_the_attempt_that_is_let_through() -> None:
    town = Town(town_agents_max=50)
    town.do(events.RigAdded(rig="s", name="s"))
    for rig in ("r", "s"):
        town.do(events.BeadCreated(bead=NewBead(id=f"work-{rig}", rig=rig)))
    town.sling(*(f"b{number}" for number in range(18)))
    for rig in ("r", "s"):
        town.finish(f"work-{rig}")
    refuse_all(town)
    assert breaker(town) == "open"
    for number in range(18):
        town.do(events.BeadCancelled(f"b{number}"))
    town.calls.clear()
    town.wait(town.policy.breaker_first_ms)
    assert breaker(town) == "half_open"
    assert [call.body.role for call in town.calls_of(ports.StartCall)] == ["refinery"]


# --------------------------------------------------------------------------------------- budget


def test_money_of_a_day_and_of_a_bead() -> None:
    town = Town(budget_day=100, budget_bead=150)
    town.sling("b1")
    start = town.start_of("b1")
    said: dict[str, Any] = {"agent": start.agent, "attempt": start.attempt}
    town.do(events.CostReported(**said, microdollars=60))
    town.do(
        events.CostReported(**said, microdollars=60), events.CostReported(**said, microdollars=5)
    )
    assert (town.state.town.spent, town.bead("b1").cost) == (60, 60)
    town.sling("b2")
    assert town.bead("b2").status == "in_progress"
    town.do(events.CostReported(**said, microdollars=100))
    town.sling("b3")
    assert town.held("b3") == {"the day's money is used up"}
    assert notices(town, "budget_exhausted") == 1
    town.heard("b1")
    town.heard("b2")
    town.wait(DAY_MS)
    assert town.bead("b3").attempts > 0
    assert notices(town, "budget_restored") == 1
    town.do(events.CostReported(**said, microdollars=200))
    town.fail("b1")
    town.wait(town.bead("b1").due_ms - town.now_ms)
    assert (town.bead("b1").status, town.bead("b1").failure) == ("failed", "budget_exhausted")


def test_a_higher_limit_lets_work_go_on() -> None:
    town = Town(budget_day=100)
    town.sling("b1")
    start = town.start_of("b1")
    town.do(events.CostReported(agent=start.agent, attempt=start.attempt, microdollars=100))
    town.sling("b2")
    config = replace(town.state.town.config, budget_day=1_000)
    town.do(events.TownConfigured(config=config, by="ann"))
    assert town.bead("b2").status == "in_progress"


# ----------------------------------------------------------------------------- pauses and drains


def test_nothing_that_lives_fails_after_an_outage() -> None:
    town = Town()
    town.sling("b1", "b2")
    town.heard("b1")
    town.now_ms += 10 * HOUR_MS  # nobody ticked
    town.do(events.LoopResumed())
    assert town.bead("b1").attempt
    assert town.bead("b2").attempt
    town.wait(town.policy.unheard_ms - 1)
    assert town.bead("b2").attempt
    town.wait(1)
    assert not town.bead("b2").attempt


def test_a_clock_that_was_set_back_delays_no_next_attempt() -> None:
    town = Town()
    town.sling("b1")
    town.fail("b1")
    town.now_ms -= 5 * HOUR_MS
    town.do(events.LoopResumed())
    town.wait(town.policy.cooldowns_ms[0])
    assert town.bead("b1").status == "in_progress"


def test_nothing_is_started_while_it_drains() -> None:
    town = Town()
    town.do(events.DrainStarted("n1", town.now_ms + town.policy.drain_ms))
    town.sling("b1")
    assert town.held("b1") == {"the agents' host is going away"}
    (stamp,) = town.do(events.DrainEnded("other"))
    assert stamp.outcome == "ignored"
    town.do(events.DrainEnded("n1"))
    assert town.bead("b1").status == "in_progress"


def test_a_drain_ends_by_itself() -> None:
    town = Town()
    town.do(events.DrainStarted("n1", town.now_ms + town.policy.drain_ms))
    town.sling("b1")
    town.wait(town.policy.drain_ms - 1)
    assert town.bead("b1").status == "open"
    town.wait(1)
    assert town.bead("b1").status == "in_progress"


def test_a_working_agent_writes_nothing_for_an_hour() -> None:
    town = Town()
    town.sling("b1")
    town.heard("b1")
    seq = town.folded.seq
    town.wait(HOUR_MS)  # its heartbeats are contact, and no events
    assert town.folded.seq == seq


# ------------------------------------------------------------------------ retention and closing


def test_what_ended_leaves_the_state_after_a_week_and_keeps_its_row() -> None:
    town = Town()
    town.sling("b1")
    town.do(events.BeadCancelled("b1", "closed"))
    town.wait(BEAD_KEPT_MS - 1)
    assert "b1" in town.state.beads
    town.wait(HOUR_MS + 1)
    assert "b1" not in town.state.beads
    assert town.last is not None
    rows = views(town.last.before.state, town.state, ["b/b1"])
    assert [row for row in rows if row.key == "t:b1"] == []


@pytest.mark.parametrize(("version", "times"), [(3, 3), (2, 1)])
def test_what_ended_leaves_the_state_in_parts_with_time_between_them(
    version: int, times: int
) -> None:
    town = Town(before(version))
    many = [NewBead(id=f"b{number}", rig="r", held=True) for number in range(2 * RETIRED_MAX + 1)]
    town.do(*(events.BeadCreated(bead=bead) for bead in many))
    town.do(*(events.BeadCancelled(bead.id, "closed") for bead in many))
    (due_ms,) = {bead.due_ms for bead in town.state.beads.values()}
    assert (len(town.state.due), len(town.state.ended)) == (0, len(many))
    town.now_ms = due_ms
    left, at = [len(many)], set[int]()
    while left[-1]:
        assert len(town.tick([]).touched) <= RETIRED_MAX + 1
        at.add(town.now_ms)
        left.append(len(town.state.beads))
        town.now_ms = max(town.now_ms, min(town.folded.alarm_ms or 0, due_ms + SECOND_MS))
    assert (left, len(at)) == ([201, 101, 1, 0], times)
    assert not town.state.ended


def test_an_agent_that_is_given_work_as_it_would_leave_the_state_stays() -> None:
    town = Town(code_review=False, town_agents_max=1)
    town.sling("b1")
    town.do(events.BeadCancelled("b1", "closed"))
    town.answer(town.call(ports.StartCall), Ok(ports.Begun()))
    town.answer(town.call(ports.StopCall), Ok(ports.Ended()))
    (agent,) = town.state.agents.values()
    assert (agent.status, agent.hook) == ("idle", "")
    town.now_ms = agent.due_ms
    town.sling("b2")
    assert town.rules()[-2:] == ["beads.assign", "retention"]
    assert town.agent(agent.id).hook == town.bead("b2").id


def waiting(count: int, **fields: Any) -> tuple[events.BeadCreated, ...]:
    """Return issues that wait for the bead x."""
    many = (NewBead(id=f"b{one}", rig="r", blocked_by=("x",)) for one in range(count))
    return tuple(events.BeadCreated(bead=bead, **fields) for bead in many)


def test_so_many_may_wait_for_one_bead_and_logs_of_before_may_have_more() -> None:
    town = Town()
    town.sling("x", held=True)
    stamps = town.do(*waiting(WAITERS_MAX + 1, bounded=True))
    assert Counter(stamp.code for stamp in stamps) == {"": WAITERS_MAX, "too_many_waiters": 1}
    assert "put one between" in stamps[-1].message
    new = NewBead(id="c", rig="r", blocked_by=("x",))
    (stamp,) = town.do(events.ConvoyCreated(convoy="cv", beads=(new,), branch="b", bounded=True))
    assert stamp.code == "too_many_waiters"
    (stamp,) = town.do(events.BeadCreated(bead=new))
    assert stamp.outcome == "applied"
    town.do(events.BeadCancelled("x", "closed"))
    assert not any(bead.blocked_by for bead in town.state.beads.values())


@pytest.mark.parametrize("steps", [True, False])
def test_what_waits_for_failed_beads_is_freed_in_steps_once_that_is_set(*, steps: bool) -> None:
    town = Town(failures_hold=True)
    town.sling("x", held=True)
    town.do(*waiting(FREED_MAX + 10))
    town.do(events.BeadCancelled("x", "failed"))
    assert town.held("b0") == {"a bead that it waits for failed", "it waits for other beads"}
    plan = reconcile(town.state, town.policy, town.now_ms, 0)
    counted = [one.entities for one in plan.counted if one.rule == "beads.blocked_by_failed"]
    assert counted == [FREED_MAX + 10]
    config = replace(town.state.town.config, failures_hold=False)
    set_so = events.TownConfigured(config=config, by="ann", steps=steps)
    wrote = len(town.tick(town.rows(set_so)).touched)
    town.do()
    assert (wrote > FREED_MAX + 10) != steps
    assert not any(bead.blocked_by for bead in town.state.beads.values())
    assert ("beads.free" in town.rules()) == steps


def test_a_policy_of_before_names_each_bead_that_waits_for_a_failed_one() -> None:
    town = Town(before(2), failures_hold=True)
    town.sling("x", held=True)
    town.do(*waiting(2))
    town.do(events.BeadCancelled("x", "failed"))
    plan = reconcile(town.state, town.policy, town.now_ms, 0)
    named = [one.entity for one in plan.suppressed if one.rule == "beads.blocked_by_failed"]
    assert named == ["b/b0", "b/b1"]


def test_an_idle_agent_is_let_go_after_a_day() -> None:
    town = Town()
    town.sling("b1")
    agent = town.start_of("b1").agent
    town.finish("b1")
    town.wait(DAY_MS + HOUR_MS)
    assert agent not in town.state.agents
    assert "refinery-r" in town.state.agents  # it works


def test_a_closed_town_stops_who_works_and_begins_nothing() -> None:
    town = Town()
    town.sling("b1")
    town.do(events.TownClosed("ann"))
    assert len(town.calls_of(ports.StopCall)) == 1
    assert all(bead.status in TERMINAL for bead in town.state.beads.values())
    (stamp,) = town.do(events.BeadCreated(bead=NewBead(id="b2", rig="r")))
    assert stamp.code == "town_closed"
    town.wait(10 * DAY_MS)
    assert len(town.state.beads) == 0
    assert town.folded.alarm_ms is None


# ------------------------------------------------------------------------------------ violations


def broken_town(config: dict[str, Any] | None = None, count: int = 1) -> Town:
    """Return a town with agents that work on nothing, which no event can bring about."""
    town = Town(**(config or {}))
    agents = [
        Agent(
            id=f"x{number}",
            role="polecat",
            rig="r",
            status="working",
            contact="heard",
            attempt="old",
        )
        for number in range(count)
    ]
    entities = [*town.state.rigs.values(), *agents]
    state = build(town.state.town, entities)
    from holdfast.actors.tick import full_digest  # noqa: PLC0415  of this state

    town.folded = replace(town.folded, state=state, digest=full_digest(TOWN, state))
    return town


def touch(town: Town, agent: str, level: int) -> Any:
    """Touch an agent so that its invariants are looked at."""
    at: Any = level
    return town.tick(
        town.rows(events.AgentInactive(agent=agent, attempt="old", level=at),
                  events.AgentHeard(agent, "old"))
    )  # fmt: skip


def test_an_agent_that_works_on_nothing_is_repaired_in_one_step() -> None:
    town = broken_town()
    town.do()
    assert town.agent("x0").status == "idle"
    assert town.rules() == ["agents.repair"]
    assert len(town.calls_of(ports.StopCall)) == 1


def test_repairs_can_be_switched_off_and_the_violation_is_announced_once() -> None:
    town = broken_town({"repair": False})
    for _ in range(1_000):
        result = touch(town, "x0", 1)
        assert [note.number for note in result.notes] == [7]
    (violation,) = town.state.violations.values()
    assert (violation.number, violation.entity, violation.status) == (7, "a/x0", "open")
    assert notices(town, "invariant_7") == 1
    assert town.rules().count("invariants.alert") == 1


def test_a_violation_that_comes_again_is_announced_again() -> None:
    town = broken_town({"repair": False})
    touch(town, "x0", 1)
    town.tick([])
    town.do(events.TownConfigured(config=replace(town.state.town.config, repair=True), by="ann"))
    (violation,) = town.state.violations.values()
    assert violation.status == "resolved"
    assert town.rules().count("invariants.alert") == 1
    at = At(town.now_ms, 99, EventId("e"))
    again = intents.ViolationOpened(number=7, entity="a/x0", text="again")
    verdict: Any = apply(town.state, again, at)
    reopened = verdict.state.violations[violation.id]
    assert (reopened.status, reopened.opened, reopened.alerted) == ("open", 2, False)


def test_repairs_have_a_budget() -> None:
    town = broken_town(count=15)
    for _ in range(5):
        town.tick([])
    left = [one for one in town.state.agents.values() if one.status == "working"]
    assert len(left) == 5


def test_one_that_may_pass_by_itself_is_announced_after_its_grace() -> None:
    town = Town()
    at = At(town.now_ms, 99, EventId("e"))
    bead = Bead(id="b9", type="issue", status="in_review", rig="r", created_ms=1)
    draft = Draft(town.state, town.now_ms)
    draft.put(bead)
    state = draft.close()
    opened = intents.ViolationOpened(number=4, entity="b/b9", text="no request")
    verdict: Any = apply(state, opened, at)
    plan = TOWN.reconcile(verdict.state, Policy(), town.now_ms, 1)
    assert [action.rule for action in plan.actions] == ["invariants.wait"]


def test_all_numbers_are_declared_and_one_is_the_engines() -> None:
    assert sorted({one.number for one in TOWN.invariants} | {12}) == list(range(1, 15))


# ----------------------------------------------------------- transitions, names, the definition


ANY_STATUS = st.sampled_from(["open", "in_progress", "in_review", "closed", "failed"])


@given(of=st.sampled_from(sorted(TRANSITIONS)), old=ANY_STATUS, new=ANY_STATUS)
def test_only_steps_of_the_table_are_taken(of: Any, old: Any, new: Any) -> None:
    town = Town()
    draft = Draft(town.state, NOW_MS)
    bead = draft.put(Bead(id="b", type=of, status=old))
    if new in TRANSITIONS[of].get(old, ()):
        assert draft.move(bead, new).status == new
    else:
        with pytest.raises(ValueError, match="cannot go from"):
            draft.move(bead, new)


def test_what_ended_never_changes() -> None:
    for of, table in TRANSITIONS.items():
        assert TERMINAL.isdisjoint(table)
        assert statuses(of) & TERMINAL


def test_a_bead_that_was_changed_since_is_not_written_over() -> None:
    town = Town()
    draft = Draft(town.state, NOW_MS)
    old = draft.put(Bead(id="b", type="issue"))
    draft.edit(old, held=True)
    with pytest.raises(ValueError, match="was changed since"):
        draft.edit(old, priority=1)


def test_before_it_is_created_a_town_refuses_everything() -> None:
    folded = begin(TOWN, address(KIND, "t"))
    town = Town()
    result = tick(TOWN, Policy(), folded, town.rows(events.RigAdded(rig="r", name="r")), NOW_MS, 1)
    assert (result.stamps[0].outcome, result.stamps[0].code) == ("refused", "no_such_town")
    assert result.deadline_ms is None


def test_one_name_is_one_town_of_an_account() -> None:
    town = Town()
    (claim,) = TOWN.claims(town.state)
    assert (claim.scope, claim.key) == ("town-name", "acme/t")
    town.do(events.TownClosed("ann"))
    assert TOWN.claims(town.state) == frozenset()


def test_a_stored_town_is_the_same_with_its_indexes() -> None:
    town = broken_host()
    again = TOWN.decode_state(TOWN.encode_state(town.state), TOWN.version)
    assert again == town.state
    assert list(keys(again)) == list(keys(town.state))


def test_a_state_of_newer_code_is_not_read() -> None:
    with pytest.raises(ValueError, match="this code knows"):
        TOWN.decode_state(TOWN.encode_state(Town().state), TOWN.version + 1)


def test_an_explanation_names_what_a_plan_only_counts() -> None:
    town = Town(town_agents_max=1)
    town.sling("b1", "b2", "b3")
    kind = make_kind(TOWN, town.policy)
    result = town.tick([])
    assert (
        Counter({one.because: one.count for one in result.withheld})[
            "the town has as many agents at work as it may"
        ]
        == 2
    )
    said = explain(kind, town.folded, "b/b2", now_ms=town.now_ms)
    assert [one.because for one in said.suppressed] == [
        "the town has as many agents at work as it may"
    ]


def test_a_dry_run_with_a_torn_event_is_the_next_tick() -> None:
    town = Town()
    rows = town.rows(events.BeadCreated(bead=NewBead(id="b1", rig="r")))
    torn = [replace(rows[0], id=EventId("torn"), body=b'{"type":"Nope"'), *rows]
    kind = make_kind(TOWN, town.policy)
    ahead = dry_run(kind, town.folded, torn, now_ms=town.now_ms).steps[0]
    result = town.tick(torn)
    assert [stamp.outcome for stamp in result.stamps] == ["quarantined", "applied"]
    assert ahead.decisions == result.decisions
    assert ahead.inputs == result.inputs


def test_mail_is_delivered_while_its_agent_works() -> None:
    town = Town()
    town.sling("b1")
    agent = town.start_of("b1").agent
    town.do(events.MailSent(message="m1", to=agent))
    assert town.held("m1") == {"its agent does not work now"}
    town.heard("b1")
    call = town.call(ports.MailCall)
    town.answer(call, Permanent("not_running", ""))
    town.wait(MINUTE_MS)
    town.answer(town.calls_of(ports.MailCall)[-1], Ok(ports.Delivered()))
    assert town.bead("m1").status == "closed"


def test_an_escalation_that_nobody_takes_on_grows_and_stops_growing() -> None:
    town = Town()
    town.do(events.Escalated(escalation="e1", severity="low", category="help"))
    grown = []
    for _ in range(6):
        town.wait(24 * HOUR_MS)
        known = town.bead("e1").escalation
        assert known is not None
        grown.append(known.severity)
    assert grown[-1] == "critical"
    assert notices(town, "escalation_waits") == town.policy.bumps_max
    town.do(events.EscalationAcknowledged("e1", "ann"))
    assert town.bead("e1").status == "closed"


def test_an_hour_of_a_working_agent_is_looked_at_720_times_and_writes_nothing() -> None:
    town = Town()
    town.sling("b1")
    town.heard("b1")
    for _ in range(720):
        assert cadence(town.state, town.policy) == 5_000
        town.now_ms += 5_000
        folded = town.folded
        assert tick(TOWN, town.policy, folded, (), town.now_ms, folded.number + 1).silent
    town.finish("b1")


def test_a_town_is_looked_at_often_while_something_is_under_way() -> None:
    town = Town()
    assert cadence(begin(TOWN, address(KIND, "t")).state, town.policy) == 0
    assert cadence(town.state, town.policy) == 5 * MINUTE_MS
    town.do(events.BeadCreated(bead=NewBead(id="b0", rig="r", held=True), by="ann"))
    assert cadence(town.state, town.policy) == 5 * MINUTE_MS
    town.sling("b1")
    assert cadence(town.state, town.policy) == 5_000
    town.finish("b1")
    assert cadence(town.state, town.policy) == 5_000, "its merge request is under way"
    town.do(events.TownClosed("ann"))
    assert cadence(town.state, town.policy) == 5 * MINUTE_MS, "what it keeps for days is due"
    town.wait(8 * 24 * HOUR_MS)
    assert cadence(town.state, town.policy) == 0

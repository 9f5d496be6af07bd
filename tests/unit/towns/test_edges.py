"""What once waited without end, was counted wrong or ended too early, by rule and fold."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from holdfast.actors.definition import At, broken
from holdfast.actors.tick import begin, tick
from holdfast.kernel.ids import EventId, address
from holdfast.kernel.outcome import Ok, Permanent
from holdfast.towns import events, intents, ports
from holdfast.towns.apply import apply
from holdfast.towns.definition import KIND, TOWN
from holdfast.towns.limits import BEAD_KEPT_MS, NUDGE_KEPT_MS, NUDGES_MAX, UNREADABLE_MS
from holdfast.towns.policy import Policy, cooldown_ms
from holdfast.towns.state import (
    TERMINAL,
    Config,
    NewBead,
    Nudge,
    PullRequest,
    Review,
    busy,
    found,
)
from holdfast.towns.views import views
from tests.unit.towns.rig import HOUR_MS, MINUTE_MS, NOW_MS, Town

DAY_MS = 24 * HOUR_MS
READY = PullRequest(commit="c2")


def review_of(town: Town, mr: str) -> Review:
    review = town.bead(mr).review
    assert review is not None
    return review


def gating(**config: Any) -> tuple[Town, str]:
    """Return a town that waits for the gates of a merge request."""
    town = Town(code_review=False, **config)
    town.sling("b1")
    town.finish("b1")
    return town, town.mr_of("b1")


def watching(**config: Any) -> tuple[Town, str]:
    """Return a town that watches a pull request."""
    town = Town(merge_strategy="pr", **config)
    town.do(events.PullRequestAdopted(bead="p", rig="r", branch="b", pr_url="https://forge/1"))
    return town, "p"


def configure(town: Town, **changes: Any) -> None:
    config = replace(town.state.town.config, **changes)
    town.do(events.TownConfigured(config=config, by="ann"))


# -------------------------------------------------------------------------------------- blockers


def test_a_blocker_that_is_named_twice_is_waited_for_once() -> None:
    town = Town(town_agents_max=1)
    town.sling("a")
    town.sling("b", blocked_by=("a", "a"))
    town.do(events.BeadCancelled("a", "closed"))
    assert town.bead("b").status == "in_progress"
    town.sling("c", blocked_by=("b", "b"))
    town.do(events.TownClosed("ann"))
    assert town.bead("c").status == "failed"


def test_a_waiver_of_what_counts_as_done_changes_no_count() -> None:
    town = Town(failures_hold=False)
    town.sling("a", "c")
    town.sling("b", blocked_by=("a", "c"))
    town.do(events.BeadCancelled("a", "failed"))
    (stamp,) = town.do(events.BlockerWaived("b", "a"))
    assert stamp.code == "no_such_blocker"
    assert town.bead("b").blockers == 1
    assert town.held("b") == {"it waits for other beads"}
    town.do(events.BeadCancelled("c", "failed"))
    assert town.bead("b").status == "in_progress"


def test_a_failed_blocker_that_left_the_state_can_be_waived() -> None:
    town = Town()
    town.sling("a")
    town.sling("b", blocked_by=("a",))
    town.do(events.BeadCancelled("a", "failed"))
    town.wait(BEAD_KEPT_MS + HOUR_MS)
    assert "a" not in town.state.beads
    town.do(events.BlockerWaived("b", "a"))
    assert (town.bead("b").failed_blockers, town.bead("b").status) == (0, "in_progress")


# ------------------------------------------------------------------------------ names, and closing


def test_a_town_whose_name_is_taken_is_refused_and_comes_to_rest() -> None:
    town = Town()
    made = events.TownCreated(account="acme", name="t", by="ann")
    (claim,) = TOWN.claims(town.state)
    assert TOWN.claim_lost is not None
    rows = town.rows(TOWN.claim_lost(claim), made)
    result = tick(TOWN, Policy(), begin(TOWN, address(KIND, "u")), rows, NOW_MS, 1)
    assert [stamp.code for stamp in result.stamps] == ["", "name_taken"]
    assert TOWN.claims(result.after.state) == frozenset()
    assert result.deadline_ms is None


def test_a_closed_town_keeps_no_nudge_and_stops_its_mayor() -> None:
    town = Town()
    town.do(events.AgentAdded(agent="mayor", role="mayor"))
    town.do(events.AgentHeard("mayor", ""))
    town.do(events.NudgeSent(nudge="n1", agent="mayor", again_ms=MINUTE_MS))
    town.do(events.TownClosed("ann"))
    assert [call.body.agent for call in town.calls_of(ports.StopCall)] == ["mayor"]
    (stamp,) = town.do(events.NudgeSent(nudge="n2", agent="mayor"))
    assert stamp.outcome == "ignored"
    assert len(town.state.nudges) == 0
    assert town.folded.alarm_ms is None


# ------------------------------------------------------------------------------------- the breaker


@pytest.mark.parametrize("end", ["cancelled", "evicted"])
def test_a_probe_that_is_never_heard_gives_way_to_another(end: str) -> None:
    town = Town(town_agents_max=50)
    town.sling(*(f"b{number}" for number in range(22)))
    while calls := town.calls_of(ports.StartCall):
        town.answer(calls[0], Permanent("host_full", ""))
    town.wait(town.policy.breaker_first_ms)
    probe = town.call(ports.StartCall).body
    assert town.state.town.breaker.probe == probe.attempt
    town.calls.clear()
    if end == "cancelled":
        town.do(events.BeadCancelled(probe.bead))
    else:
        town.do(events.AgentExited(agent=probe.agent, attempt=probe.attempt, status="evicted"))
    other = town.call(ports.StartCall).body
    assert other.attempt != probe.attempt
    town.do(events.AgentHeard(other.agent, other.attempt))
    assert town.state.town.breaker.state == "closed"


# -------------------------------------------------------------------------------- gates and reviews


def test_gates_that_refuse_for_certain_end_the_request() -> None:
    town, mr = gating()
    town.answer(town.call(ports.GatesCall), Permanent("no_branch", "it is not there"))
    assert (town.bead(mr).status, town.bead(mr).failure) == ("failed", "no_branch")
    assert (town.bead("b1").status, town.bead("b1").charged) == ("open", 1)


def test_a_request_that_cools_goes_on_when_reviews_are_switched_off() -> None:
    town = Town()
    town.sling("b1")
    town.finish("b1")
    mr = town.mr_of("b1")
    town.fail(mr)
    configure(town, code_review=False)
    town.wait(town.bead(mr).due_ms - town.now_ms)
    assert (review_of(town, mr).stage, town.rules()[-1]) == ("gating", "reviews.gates")


# ------------------------------------------------------------------------------------------ convoys


def new(one: str, rig: str = "r") -> NewBead:
    return NewBead(id=one, rig=rig)


def landing(town: Town) -> str:
    """Bring a convoy of one issue to its landing request."""
    made = events.ConvoyCreated(convoy="cv", beads=(new("a"),), branch="convoy/x/1/head")
    town.do(made)
    town.finish("a")
    town.finish(town.mr_of("a"), branch="")
    town.answer(town.call(ports.GatesCall), Ok(ports.GatesRan(commit="c1")))
    town.answer(town.call(ports.LandCall), Ok(ports.Merged("m")))
    return town.mr_of("cv")


def test_a_convoy_is_of_one_rig() -> None:
    town = Town()
    town.do(events.RigAdded(rig="s", name="s"))
    both = (new("a"), new("b", "s"))
    (stamp,) = town.do(events.ConvoyCreated(convoy="cv", beads=both, branch="convoy/x/1/head"))
    assert (stamp.outcome, stamp.code) == ("refused", "one_rig")


def test_a_convoy_whose_beads_left_the_state_still_lands() -> None:
    town = Town()
    mr = landing(town)
    town.do(events.DrainStarted("n", town.now_ms + 30 * DAY_MS))
    town.wait(BEAD_KEPT_MS + HOUR_MS)
    assert "a" not in town.state.beads
    town.do(intents.ReviewFailed(mr, "x"))
    town.wait(town.bead("cv").due_ms - town.now_ms)
    assert town.bead("cv").status == "open"
    assert review_of(town, town.mr_of("cv")).landing


def test_the_wait_between_landings_is_not_that_of_a_review() -> None:
    town = Town()
    waits: list[int] = []
    for _ in range(town.policy.landings_max - 1):
        mr = landing(town) if not waits else town.mr_of("cv")
        town.finish(mr, branch="")
        town.answer(town.call(ports.GatesCall), Ok(ports.GatesRan(commit="c1")))
        town.answer(town.call(ports.LandCall), Permanent("branch_gone", ""))
        waits.append(town.bead("cv").due_ms - town.now_ms)
        town.wait(waits[-1])
    assert waits == [60_000, 120_000, 240_000, 480_000]
    landing_mr = town.mr_of("cv")
    assert town.bead(landing_mr).cooldown_ms == cooldown_ms(town.policy, 0)


# ----------------------------------------------------------------------------------- pull requests


def test_a_pull_request_stays_unreadable_through_a_merge_that_is_refused() -> None:
    town, mr = watching(auto_merge_delay_ms=0)
    town.do(events.PullRequestSeen(mr, READY))
    call = town.call(ports.MergeCall)
    town.do(events.PullRequestUnreadable(mr=mr, code="gone", lasting=False))
    since_ms = town.now_ms
    town.wait(MINUTE_MS)
    town.answer(call, Permanent("protected", ""))
    town.do(events.PullRequestUnreadable(mr=mr, code="gone", lasting=False))
    town.wait(since_ms + UNREADABLE_MS - town.now_ms)
    assert (town.bead(mr).status, town.bead(mr).failure) == ("failed", "gone")


def test_a_pull_request_stays_unreadable_through_a_merge_without_an_answer() -> None:
    town, mr = watching(auto_merge_delay_ms=0)
    town.do(events.PullRequestSeen(mr, READY))
    town.do(events.PullRequestUnreadable(mr=mr, code="gone", lasting=False))
    town.wait(town.policy.land_ms + UNREADABLE_MS)
    assert (town.bead(mr).status, town.bead(mr).failure) == ("failed", "gone")


def test_a_merge_has_its_own_wait_while_its_pull_request_is_unreadable() -> None:
    town, mr = watching(auto_merge_delay_ms=0)
    town.do(events.PullRequestSeen(mr, READY))
    due_ms = town.bead(mr).due_ms
    town.wait(MINUTE_MS)
    town.do(events.PullRequestUnreadable(mr=mr, code="gone", lasting=False))
    assert town.bead(mr).due_ms == due_ms


# ------------------------------------------------------------------------------------------- agents


def test_one_that_was_stopped_is_silent_and_waits_for_somebody_to_look() -> None:
    town = Town()
    town.sling("b1")
    town.heard("b1")
    start = town.start_of("b1")
    town.do(events.AgentInactive(agent=start.agent, attempt=start.attempt, level=3))
    town.do(events.AgentSilent(start.agent, start.attempt))
    town.wait(town.policy.stalled_ms - 1)
    assert town.bead("b1").attempt == start.attempt
    town.wait(1)
    assert (town.bead("b1").failure, town.bead("b1").charged) == ("stalled", 1)


def test_a_mayor_takes_no_slot_and_rests_when_it_ends() -> None:
    town = Town(town_agents_max=1)
    town.do(events.AgentAdded(agent="mayor", role="mayor"))
    town.do(events.AgentHeard("mayor", ""))
    town.sling("b1")
    assert town.bead("b1").status == "in_progress"
    town.do(events.AgentExited(agent="mayor", attempt="", status="failed"))
    assert (town.agent("mayor").status, town.state.town.breaker.ends) == ("idle", ())
    town.do(events.AgentHeard("mayor", ""))
    town.do(events.AgentSilent("mayor", ""))
    assert town.agent("mayor").status == "idle"
    town.do(events.AgentHeard("mayor", ""))
    town.do(events.AgentRemoved("mayor"))
    assert "mayor" not in town.state.agents


# ------------------------------------------------------------------------------------------- nudges


def test_a_nudge_that_waits_may_be_sent_again_though_no_other_may() -> None:
    town = Town()
    town.sling("b1")
    agent = town.start_of("b1").agent
    waiting = {str(one): Nudge(id=str(one), agent=agent) for one in range(NUDGES_MAX)}
    state = replace(town.state, nudges=town.state.nudges.update(waiting))
    at = At(town.now_ms, 99, EventId("e"))
    again: Any = apply(state, events.NudgeSent(nudge="7", agent=agent, again_ms=5), at)
    assert again.state.nudges["7"].due_ms == town.now_ms + 5
    other: Any = apply(state, events.NudgeSent(nudge="x", agent=agent), at)
    assert other.code == "nudges_full"


def test_a_nudge_about_an_attempt_is_not_sent_to_the_next_one() -> None:
    town = Town()
    town.sling("b1")
    town.heard("b1")
    start = town.start_of("b1")
    town.do(events.AgentInactive(agent=start.agent, attempt=start.attempt, level=1))
    town.do(events.NudgeSent(nudge="person", agent=start.agent))
    assert {call.body.attempt for call in town.calls_of(ports.NudgeCall)} == {start.attempt}
    town.finish("b1")
    town.calls.clear()
    town.sling("b2")
    town.heard("b2")
    assert town.start_of("b2").agent == start.agent
    town.wait(MINUTE_MS)
    assert {call.body.nudge for call in town.calls_of(ports.NudgeCall)} == {"person"}
    town.wait(NUDGE_KEPT_MS)
    assert not found(town.state, "nudges", start.agent)


def test_a_nudge_and_a_violation_wait_anew_after_a_pause() -> None:
    town = Town()
    town.sling("b1")
    town.heard("b1")
    agent = town.start_of("b1").agent
    town.do(events.NudgeSent(nudge="n1", agent=agent, again_ms=MINUTE_MS))
    town.do(intents.ViolationOpened(number=4, entity="b/b1", text="made up"))
    at = At(town.now_ms, 99, EventId("e"))
    waits = intents.ViolationWaits(number=4, entity="b/b1", after_ms=MINUTE_MS)
    opened = intents.ViolationOpened(number=4, entity="b/b1", text="made up")
    state = town.state
    for event in (opened, waits):
        verdict: Any = apply(state, event, at)
        state = verdict.state
    later = at._replace(now_ms=town.now_ms + HOUR_MS)
    resumed: Any = apply(state, events.LoopResumed(), later)
    due_ms = later.now_ms + MINUTE_MS
    (violation,) = resumed.state.violations.values()
    assert (resumed.state.nudges["n1"].due_ms, violation.due_ms) == (due_ms, due_ms)


# ------------------------------------------------------------------------- what the page promises


def test_a_review_whose_start_was_refused_is_tried_when_another_start_works() -> None:
    town = Town()
    town.sling("b1")
    town.finish("b1")
    mr = town.mr_of("b1")
    town.answer(town.calls_of(ports.StartCall)[-1], Permanent("host_full", ""))
    assert town.bead(mr).status == "open"
    town.sling("b2")
    start = town.start_of("b2")
    town.do(events.AgentStarted(start.agent, start.attempt))
    assert review_of(town, mr).stage == "reviewing"


def test_a_convoys_counts_are_looked_at_beside_its_merge_requests() -> None:
    town = Town()
    made = events.ConvoyCreated(convoy="cv", beads=(new("a"),), branch="convoy/x/1/head")
    town.do(made)
    town.finish("a")
    convoy = town.bead("cv")
    assert convoy.convoy_of is not None
    wrong = replace(convoy, convoy_of=replace(convoy.convoy_of, closed=1))
    state = replace(town.state, beads=town.state.beads.set("cv", wrong))
    found_wrong = [number for number, _, _ in broken(TOWN, state, ("b/cv",))]
    assert found_wrong == [10]


def test_a_closing_of_the_breaker_is_told_once_until_an_agent_finished() -> None:
    town = Town(town_agents_max=50)
    for _ in range(2):
        town.sling(*(f"b{len(town.state.beads)}-{number}" for number in range(25)))
        while calls := town.calls_of(ports.StartCall):
            town.answer(calls[0], Permanent("host_full", ""))
        town.wait(town.state.town.breaker.until_ms - town.now_ms)
        town.heard(town.call(ports.StartCall).body.bead)
        assert town.state.town.breaker.state == "closed"
    codes = [call.body.code for call in town.calls_of(ports.NoticeCall)]
    assert codes.count("breaker_closed") == 1
    assert codes.count("breaker_opened") == 1


def test_in_a_rig_that_is_gone_no_gates_run_nothing_lands_and_no_work_is_made() -> None:
    for answer in ("none", "green", "red"):
        town, mr = gating(gates=("test",))
        gates = town.call(ports.GatesCall)
        town.do(events.RigRemoved("r"))
        if answer == "none":
            town.wait(town.policy.gates_ms)
        else:
            results = (events.GateResult("test", passed=answer == "green"),)
            town.answer(gates, Ok(ports.GatesRan(commit="c1", results=results)))
        assert len(town.calls_of(ports.GatesCall)) == (answer == "none")
        assert town.calls_of(ports.LandCall) == []
        assert town.held(mr) == {"its rig is gone"}
        assert [one.id for one in town.state.beads.values() if one.type == "issue"] == ["b1"]


def test_a_town_that_is_set_to_let_failures_count_as_done_frees_what_waits() -> None:
    town = Town()
    town.sling("a")
    town.sling("b", blocked_by=("a",))
    town.do(events.BeadCancelled("a", "failed"))
    assert town.bead("b").status == "open"
    configure(town, failures_hold=False)
    assert (town.bead("b").status, town.bead("b").failed_blockers) == ("in_progress", 0)


def test_a_town_its_rigs_agents_and_beads_have_rows_and_what_left_has_none() -> None:
    town = Town()
    town.sling("b1")
    rows = {(row.view, row.key) for row in views(None, town.state, ())}
    agents = {("town_agent", f"t:{one}") for one in town.state.agents}
    rigs = {("town_rig", f"t:{one}") for one in town.state.rigs}
    assert rows == {("town", "t"), ("town_bead", "t:b1")} | agents | rigs
    assert agents
    assert rigs
    left = views(town.state, town.state, ["a/gone", "r/gone", "b/gone"])
    assert [(row.view, row.key, row.body) for row in left] == [
        ("town_agent", "t:gone", None), ("town_rig", "t:gone", None),
    ]  # fmt: skip


def test_convoys_and_escalations_are_listed_apart_and_tasks_by_their_convoy() -> None:
    town = Town()
    beads = (NewBead(id="c.0", rig="r"), NewBead(id="c.1", rig="r", blocked_by=("c.0",)))
    town.do(events.ConvoyCreated(convoy="c", beads=beads, branch="convoy/c"))
    town.do(events.Escalated(escalation="e", severity="high", category="help"))
    rows = {(row.view, row.key) for row in views(None, town.state, ())}
    assert {
        ("town_convoy", "t:c"), ("town_escalation", "t:e"), ("town_task", "t:c:c.0"),
        ("town_task", "t:c:c.1"), ("town_bead", "t:c"), ("town_bead", "t:e"),
    } <= rows  # fmt: skip


def test_settings_that_are_not_named_stay_as_they_are() -> None:
    town = Town()
    before = town.state.town.config
    town.do(
        events.TownConfigured(
            config=Config(polecats_max=3, repair=not before.repair), by="me", only=("polecats_max",)
        )
    )
    assert town.state.town.config == replace(before, polecats_max=3)


# -------------------------------------------------------------------- pull requests, and their ends


def test_a_pull_request_that_the_author_opened_is_watched_without_a_review() -> None:
    town = Town(code_review=False, merge_strategy="pr")
    town.sling("b1")
    town.finish("b1", pr_url="https://forge/1")
    review = review_of(town, town.mr_of("b1"))
    assert (review.stage, review.pr_url) == ("polling", "https://forge/1")


def test_a_pull_request_that_the_author_opened_is_watched_after_its_review() -> None:
    town = Town(merge_strategy="pr")
    town.sling("b1")
    town.finish("b1", pr_url="https://forge/1")
    mr = town.mr_of("b1")
    town.finish(mr, branch="")
    assert review_of(town, mr).stage == "polling"


def test_without_reviews_the_refinery_opens_the_pull_request_that_the_town_asks_for() -> None:
    town = Town(code_review=False, merge_strategy="pr")
    town.sling("b1", "b2")
    town.finish("b1")
    mr = town.mr_of("b1")
    assert (town.start_of(mr).role, review_of(town, mr).stage) == ("refinery", "reviewing")
    town.wait(1_000)
    town.finish("b2", pr_url="https://forge/2")
    assert review_of(town, town.mr_of("b2")).stage == "polling"
    town.finish(mr, branch="", pr_url="https://forge/1")
    assert review_of(town, mr).stage == "polling"
    assert town.calls_of(ports.GatesCall) == []


@pytest.mark.parametrize("state", ["merged", "closed"])
def test_work_on_a_request_ends_with_it(state: Any) -> None:
    town, mr = watching()
    town.do(events.PullRequestSeen(mr, PullRequest(conflicts=True)))
    (fix,) = [one for one in town.state.beads.values() if one.purpose == "pr_conflict"]
    town.heard(fix.id)
    town.do(events.PullRequestSeen(mr, PullRequest(state=state)))
    ended = town.bead(fix.id)
    assert (ended.status, ended.failure) == (town.bead(mr).status, "request_ended")
    assert ended.status in TERMINAL
    assert not busy(town.state)


def test_a_merge_delay_that_is_set_later_counts_from_when_it_was_ready() -> None:
    town, mr = watching()
    town.do(events.PullRequestSeen(mr, READY))
    town.wait(MINUTE_MS)
    configure(town, auto_merge_delay_ms=3 * MINUTE_MS)
    town.wait(2 * MINUTE_MS - 1)
    assert town.calls_of(ports.MergeCall) == []
    town.wait(1)
    assert town.call(ports.MergeCall).body.mr == mr


def test_one_whose_tools_ended_is_nudged_at_the_same_level() -> None:
    town = Town()
    town.sling("b1")
    town.heard("b1")
    start = town.start_of("b1")
    said: dict[str, Any] = {"agent": start.agent, "attempt": start.attempt, "level": 1}
    town.do(events.AgentInactive(**said, tools=True))
    assert town.calls_of(ports.NudgeCall) == []
    town.do(events.AgentInactive(**said))
    assert len(town.calls_of(ports.NudgeCall)) == 1


# ------------------------------------------------------------------------------------------- bounds


def test_a_full_town_takes_no_beads_of_any_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    town = Town(attempts_max=1)
    town.sling("b1")
    agent = town.start_of("b1").agent
    monkeypatch.setattr("holdfast.towns.folds.work.BEADS_MAX", 1)
    monkeypatch.setattr("holdfast.towns.outgoing.BEADS_MAX", 1)
    adopted = events.PullRequestAdopted(bead="p", rig="r", branch="b", pr_url="https://forge/1")
    asked = events.Escalated(escalation="e", severity="low", category="help")
    for event in (adopted, asked, events.MailSent(message="m", to=agent)):
        (stamp,) = town.do(event)
        assert stamp.code == "town_full"
    town.fail("b1")
    town.wait(MINUTE_MS)
    assert town.bead("b1").status == "failed"
    assert [call.body.code for call in town.calls_of(ports.NoticeCall)] == ["bead_failed"]
    assert list(town.state.beads) == ["b1"]


def test_no_rule_makes_more_agents_than_a_town_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    town = Town()
    town.sling("b1")
    monkeypatch.setattr("holdfast.towns.rules.view.AGENTS_MAX", 1)
    town.finish("b1")
    mr = town.mr_of("b1")
    assert town.held(mr) == {"the town has as many agents as it may"}
    town.sling("b2", "b3")
    assert town.held("b3") == {"the town has as many agents as it may"}
    assert len(town.state.agents) == 1


def test_two_rigs_do_not_both_take_the_last_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    town = Town()
    town.do(events.RigAdded(rig="s", name="s"))
    for rig in ("r", "s"):
        town.do(events.BeadCreated(bead=new(f"b-{rig}", rig)))
    monkeypatch.setattr("holdfast.towns.rules.view.AGENTS_MAX", 3)
    monkeypatch.setattr("holdfast.towns.folds.town.AGENTS_MAX", 3)
    starts = [town.start_of(f"b-{rig}") for rig in ("r", "s")]
    town.do(*(events.AgentDone(agent=one.agent, attempt=one.attempt, branch="b") for one in starts))
    assert len(town.state.agents) == 3
    assert "fault" not in {decision.result for decision in town.done}
    assert town.held(town.mr_of("b-s")) == {"the town has as many agents as it may"}


def test_a_rig_that_is_gone_makes_room_once_nothing_is_left_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    town = Town()
    monkeypatch.setattr("holdfast.towns.folds.town.RIGS_MAX", 1)
    town.sling("b1")
    town.do(events.RigRemoved("r"))
    (stamp,) = town.do(events.RigAdded(rig="s", name="s"))
    assert stamp.code == "town_full"
    town.do(events.BeadCancelled("b1"))
    town.do(events.RigAdded(rig="s", name="s"))
    assert list(town.state.rigs) == ["s"]


def test_mail_to_an_agent_that_left_ends_with_it() -> None:
    town = Town()
    town.sling("b1")
    agent = town.start_of("b1").agent
    town.finish("b1")
    town.do(events.MailSent(message="m1", to=agent))
    town.wait(DAY_MS + HOUR_MS)
    assert agent not in town.state.agents
    assert (town.bead("m1").status, town.bead("m1").failure) == ("failed", "agent_gone")


def test_a_rig_that_is_added_again_keeps_what_is_not_named() -> None:
    town = Town()
    town.do(events.RigAdded(rig="r", name="r", repository="git://r", agents_max=2))
    town.do(events.RigAdded(rig="r", name="r", gates=("test",)))
    rig = town.state.rigs["r"]
    assert (rig.repository, rig.agents_max, rig.gates) == ("git://r", 2, ("test",))

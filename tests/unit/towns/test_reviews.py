"""Merge requests: review, gates at the commit that lands, landing once, and pull requests."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.actors.definition import EffectCall, ProbeAnswer
from holdfast.kernel.outcome import Conflict, Ok, Permanent, Retryable
from holdfast.towns import events, intents, ports
from holdfast.towns.definition import TOWN, probes
from holdfast.towns.limits import UNREADABLE_MS
from holdfast.towns.state import NewBead, PullRequest, busy
from tests.unit.towns.rig import HOUR_MS, MINUTE_MS, Town

READY = PullRequest(commit="c2")


def reviewing(**config: Any) -> tuple[Town, str]:
    """Return a town in which a merge request is being reviewed."""
    gates = config.pop("gates", ())
    town = Town(gates=gates, **config)
    town.sling("b1")
    town.finish("b1")
    return town, town.mr_of("b1")


def approved(**config: Any) -> tuple[Town, str]:
    town, mr = reviewing(**config)
    town.finish(mr, branch="")
    return town, mr


def test_work_goes_to_review_and_lands() -> None:
    town, mr = reviewing()
    assert town.bead("b1").status == "in_review"
    assert town.start_of(mr).role == "refinery"
    town.finish(mr, branch="")
    gates = town.call(ports.GatesCall)
    town.answer(gates, Ok(ports.GatesRan(commit="c1")))
    land = town.call(ports.LandCall)
    assert (land.body.commit, land.body.target, land.lane) == ("c1", "main", "rig/r")
    assert land.provider != gates.provider  # it waits for no gates of others
    town.answer(land, Ok(ports.Merged("m1")))
    review = town.bead(mr).review
    assert review is not None
    assert (town.bead("b1").status, town.bead(mr).status) == ("closed", "closed")
    assert review.merge_commit == "m1"


def test_a_rig_reviews_one_request_at_a_time_the_oldest_first() -> None:
    town = Town()
    town.sling("b1", "b2")
    town.finish("b1")
    town.wait(1_000)
    town.finish("b2")
    one, other = town.mr_of("b1"), town.mr_of("b2")
    assert town.bead(one).status == "in_progress"
    assert town.held(other) == {"another request of its rig is being reviewed"}
    town.finish(one, branch="")
    assert town.bead(other).status == "in_progress"


def test_a_town_may_do_without_reviews() -> None:
    town, _mr = reviewing(code_review=False)
    assert len(town.calls_of(ports.GatesCall)) == 1


def test_a_red_gate_sends_the_request_back_and_its_rework_is_reviewed_again() -> None:
    town, mr = approved(gates=("test",))
    red = events.GateResult("test", passed=False, content="out")
    town.answer(town.call(ports.GatesCall), Ok(ports.GatesRan(commit="c1", results=(red,))))
    (fix,) = [one for one in town.state.beads.values() if one.purpose == "rework"]
    assert (fix.content, town.bead(mr).status, town.bead(mr).blockers) == ("out", "open", 1)
    assert town.start_of(fix.id).branch == "bead/b1/1"
    town.finish(fix.id, commit="c9")
    review = town.bead(mr).review
    assert review is not None
    assert (town.bead(fix.id).status, review.stage, review.commit) == ("closed", "reviewing", "c9")


def test_a_reviewer_may_ask_for_changes() -> None:
    town, mr = reviewing()
    start = town.start_of(mr)
    asked = {"agent": start.agent, "attempt": start.attempt, "content": "notes"}
    town.do(events.ChangesRequested(**asked))
    (fix,) = [one for one in town.state.beads.values() if one.purpose == "rework"]
    assert fix.content == "notes"
    (stamp,) = town.do(events.ChangesRequested(**asked))
    assert stamp.outcome == "ignored"


def test_what_is_sent_back_too_often_is_given_up() -> None:
    town, mr = reviewing()
    for _ in range(town.policy.reworks_max):
        start = town.start_of(mr)
        town.do(events.ChangesRequested(agent=start.agent, attempt=start.attempt))
        fix = next(
            one for one in town.state.beads.values() if one.source == mr and not one.ended_ms
        )
        town.finish(fix.id)
    start = town.start_of(mr)
    town.do(events.ChangesRequested(agent=start.agent, attempt=start.attempt))
    assert (town.bead(mr).status, town.bead(mr).failure) == ("failed", "reworked_too_often")
    assert (town.bead("b1").status, town.bead("b1").charged) == ("open", 1)


def test_when_the_target_moved_the_gates_run_again() -> None:
    town, _mr = approved()
    town.answer(town.call(ports.GatesCall), Ok(ports.GatesRan(commit="c1")))
    town.answer(town.call(ports.LandCall), Permanent(ports.MOVED, ""))
    assert town.call(ports.GatesCall).body.call == 3


def test_a_conflict_is_work() -> None:
    town, mr = approved()
    town.answer(town.call(ports.GatesCall), Ok(ports.GatesRan(commit="c1")))
    town.answer(town.call(ports.LandCall), Conflict("conflict", ""))
    assert [one.source for one in town.state.beads.values() if one.purpose == "pr_conflict"] == [mr]


def test_a_landing_that_cannot_be_gives_its_source_back() -> None:
    town, mr = approved()
    town.answer(town.call(ports.GatesCall), Ok(ports.GatesRan(commit="c1")))
    town.answer(town.call(ports.LandCall), Permanent("branch_gone", ""))
    assert (town.bead(mr).status, town.bead(mr).failure) == ("failed", "branch_gone")
    assert (town.bead("b1").status, town.bead("b1").charged) == ("open", 1)


@pytest.mark.parametrize("body", [ports.GatesCall, ports.LandCall])
def test_a_call_without_an_answer_is_made_again_later_and_later(body: type[Any]) -> None:
    town, _mr = approved()
    if body is ports.LandCall:
        town.answer(town.call(ports.GatesCall), Ok(ports.GatesRan(commit="c1")))
    waits = []
    for _ in range(8):
        call = town.call(body)
        town.answer(call, Retryable("timeout", "lost"))
        waits.append(town.bead(call.body.mr).due_ms - town.now_ms)
        town.wait(waits[-1])
    assert waits[:3] == [30_000, 60_000, 120_000]
    assert waits[-1] == town.policy.call_cap_ms
    numbers = [town.call(body).body.call]
    assert numbers[0] > 8


def test_a_forge_that_does_not_answer_is_told_once() -> None:
    town, _mr = approved()
    for _ in range(town.policy.calls_max + 3):
        call = town.call(ports.GatesCall)
        town.answer(call, Retryable("timeout", "lost"))
        town.wait(town.policy.call_cap_ms)
    asked = [one for one in town.state.beads.values() if one.escalation is not None]
    assert [one.escalation.category for one in asked if one.escalation] == ["no_answer"]


def test_an_answer_to_an_earlier_call_changes_nothing() -> None:
    town, mr = approved()
    first = town.call(ports.GatesCall)
    town.answer(first, Retryable("timeout", "lost"))
    town.wait(MINUTE_MS)
    late = events.GatesFinished(mr=mr, call=first.body.call, commit="c0")
    (stamp,) = town.do(late)
    assert stamp.outcome == "ignored"
    assert town.bead(mr).review is not None
    assert town.bead(mr).review.stage == "gating"  # type: ignore[union-attr]


def test_only_a_call_that_is_waited_for_is_made() -> None:
    town, _mr = approved()
    call = town.call(ports.GatesCall)
    assert TOWN.wanted(town.state, call, town.now_ms)
    older: EffectCall = call._replace(body=ports.LandCall(
        mr=call.body.mr, call=1, rig="r", branch="x", target="main", commit="c"))  # fmt: skip
    assert not TOWN.wanted(town.state, older, town.now_ms)


# --------------------------------------------------------------------------------- pull requests


def polling(**config: Any) -> tuple[Town, str]:
    town, mr = reviewing(merge_strategy="pr", **config)
    town.finish(mr, branch="", pr_url="https://forge/1")
    return town, mr


def seen(town: Town, mr: str, pr: Any) -> None:
    assert TOWN.probed is not None
    town.do(TOWN.probed(ProbeAnswer(f"pr/{mr}", 0, Ok(pr))))


def test_a_pull_request_is_asked_about_each_minute() -> None:
    town, mr = polling()
    (probe,) = probes(town.state, town.policy)
    assert (probe.key, probe.period_ms) == (f"pr/{mr}", MINUTE_MS)
    assert town.held(mr) == {"its forge is being asked"}


def test_a_reviewer_without_a_pull_request_has_not_approved() -> None:
    town, mr = reviewing(merge_strategy="pr")
    town.finish(mr, branch="")
    assert (town.bead(mr).status, town.bead(mr).failure) == ("failed", "no_pull_request")


@pytest.mark.parametrize("url", ["http://forge/1", "javascript:1", "ftp://x"])
def test_an_address_of_a_pull_request_is_https(url: str) -> None:
    town, mr = reviewing(merge_strategy="pr")
    (stamp,) = town.finish(mr, branch="", pr_url=url)
    assert stamp.code == "bad_pr_url"
    assert town.bead(mr).status == "in_progress"


def test_merged_and_closed_by_people() -> None:
    for state, status in (("merged", "closed"), ("closed", "open")):
        town, mr = polling()
        seen(town, mr, PullRequest(state=state))  # type: ignore[arg-type]
        assert town.bead("b1").status == status


@pytest.mark.parametrize("delay_ms", [None, 0, 10 * MINUTE_MS])
def test_a_ready_pull_request_is_merged_after_the_delay_that_is_set(delay_ms: int | None) -> None:
    town, mr = polling(auto_merge_delay_ms=delay_ms)
    seen(town, mr, READY)
    if delay_ms is None:
        assert town.held(mr) == {"people merge it, as the town is set"}
        return
    town.wait(max(delay_ms - 1, 0))
    assert bool(town.calls_of(ports.MergeCall)) == (delay_ms == 0)
    town.wait(1)
    asked = town.call(ports.MergeCall)
    review = town.bead(asked.body.mr).review
    assert review is not None
    assert (asked.body.branch, asked.body.target) == (review.branch, review.target)
    town.answer(asked, Ok(ports.Merged("m")))
    assert town.bead("b1").status == "closed"


def test_one_that_is_not_ready_again_is_not_merged() -> None:
    town, mr = polling(auto_merge_delay_ms=10 * MINUTE_MS)
    seen(town, mr, READY)
    seen(town, mr, PullRequest(commit="c2", failing=True))
    town.wait(HOUR_MS)
    assert town.calls_of(ports.MergeCall) == []
    assert town.held(mr) == {"a check of its pull request failed"}


def test_a_merge_that_is_refused_waits_until_it_is_ready_anew() -> None:
    town, mr = polling(auto_merge_delay_ms=0)
    seen(town, mr, READY)
    town.answer(town.call(ports.MergeCall), Permanent("not_mergeable", ""))
    assert town.calls_of(ports.MergeCall) == []
    assert town.held(mr) == {"it could not be merged, and its forge is asked again"}
    (probe,) = probes(town.state, town.policy)
    assert probe.epoch == 1  # so that an equal answer is news
    seen(town, mr, READY)
    assert town.call(ports.MergeCall).body.call == 2


def test_conflicts_and_comments_become_work_once() -> None:
    town, mr = polling(resolve_feedback=True)
    for _ in range(3):
        seen(town, mr, PullRequest(commit="c2", conflicts=True))
        seen(town, mr, PullRequest(commit="c2", conflicts=True, unresolved=True))
    fixes = [one for one in town.state.beads.values() if one.source == mr]
    assert [one.purpose for one in fixes] == ["pr_conflict"]
    town.finish(fixes[0].id)
    (probe,) = probes(town.state, town.policy)
    assert probe.epoch == 1  # asked anew, though the answer may be the same
    seen(town, mr, PullRequest(commit="c3", unresolved=True))
    fixed = [one.purpose for one in town.state.beads.values() if one.source == mr]
    assert sorted(fixed) == ["pr_conflict", "pr_feedback"]


def test_one_that_cannot_be_read_is_given_up_after_a_while() -> None:
    town, mr = polling()
    seen(town, mr, ports.Unreadable(code="http_503"))
    town.wait(UNREADABLE_MS - 1)
    assert town.bead(mr).status == "in_progress"
    town.wait(1)
    assert (town.bead(mr).status, town.bead(mr).failure) == ("failed", "http_503")


def test_one_that_will_never_be_read_is_given_up_at_once() -> None:
    town, mr = polling()
    seen(town, mr, ports.Unreadable(code="no_token", lasting=True))
    assert town.bead(mr).failure == "no_token"


def test_one_that_was_unreadable_for_a_moment_goes_on() -> None:
    town, mr = polling()
    seen(town, mr, ports.Unreadable(code="http_503"))
    seen(town, mr, PullRequest(pending=True))
    town.wait(HOUR_MS)
    assert town.bead(mr).status == "in_progress"


def test_a_pull_request_of_others_is_watched_and_never_reviewed() -> None:
    town = Town(auto_merge_delay_ms=0)
    adopted = events.PullRequestAdopted(bead="x", rig="r", branch="b", pr_url="https://forge/9")
    town.do(adopted)
    assert town.calls_of(ports.StartCall) == []
    seen(town, "x", READY)
    body = town.call(ports.MergeCall).body
    assert (body.pr_url, body.branch) == ("https://forge/9", "")  # its person answers for it


# --------------------------------------------------------------------------------------- convoys


def convoy(town: Town, *beads: NewBead, **fields: Any) -> list[Any]:
    made = events.ConvoyCreated(convoy="cv", beads=beads, branch="convoy/x/1/head", **fields)
    return town.do(made)


def new(one: str, *blocked_by: str) -> NewBead:
    return NewBead(id=one, rig="r", blocked_by=blocked_by)


def land(town: Town, bead: str) -> None:
    """Bring a bead's work to its target."""
    mr = town.mr_of(bead)
    if town.state.town.config.code_review:
        town.finish(mr, branch="")
    (gates,) = [call for call in town.calls_of(ports.GatesCall) if call.body.mr == mr]
    town.answer(gates, Ok(ports.GatesRan(commit="c1")))
    (call,) = [call for call in town.calls_of(ports.LandCall) if call.body.mr == mr]
    town.answer(call, Ok(ports.Merged("m")))


def test_a_diamond_is_done_in_order_and_lands_as_one() -> None:
    town = Town()
    convoy(town, new("d", "b", "c"), new("b", "a"), new("c", "a"), new("a"))
    assert sorted(one.id for one in town.state.beads.values() if one.attempt) == ["a"]
    for bead in "abcd":
        town.finish(bead)
        review = town.bead(town.mr_of(bead)).review
        assert review is not None
        assert review.target == "convoy/x/1/head"
        land(town, bead)
    landing = town.mr_of("cv")
    review = town.bead(landing).review
    assert review is not None
    assert (review.branch, review.target, review.landing) == ("convoy/x/1/head", "main", True)
    land(town, "cv")
    assert town.bead("cv").status == "closed"
    assert town.bead("cv").convoy_of is not None
    assert town.bead("cv").convoy_of.landed_ms == town.now_ms  # type: ignore[union-attr]


def test_review_and_merge_needs_no_landing() -> None:
    town = Town()
    convoy(town, new("a"), mode="review-and-merge")
    town.finish("a")
    land(town, "a")
    assert town.bead("cv").status == "closed"


@pytest.mark.parametrize(
    ("beads", "code"),
    [
        ((new("a", "b"), new("b", "a")), "cycle"),
        ((new("a", "a"),), "cycle"),
        ((new("a"), new("a")), "bead_exists"),
        ((new("a", "nope"),), "no_such_blocker"),
        ((), "convoy_size"),
    ],
)
def test_a_convoy_that_cannot_be_is_refused_whole(beads: tuple[NewBead, ...], code: str) -> None:
    town = Town()
    (stamp,) = convoy(town, *beads)
    assert (stamp.outcome, stamp.code) == ("refused", code)
    assert len(town.state.beads) == 0


def test_a_staged_convoy_waits_for_its_start() -> None:
    town = Town()
    convoy(town, new("a"), staged=True)
    assert town.held("a") == {"its convoy has not been started"}
    town.do(events.ConvoyStarted("cv"))
    assert town.bead("a").status == "in_progress"
    (stamp,) = town.do(events.ConvoyStarted("cv"))
    assert stamp.outcome == "ignored"


def test_a_convoy_with_a_failed_bead_does_not_land_and_says_so_once() -> None:
    town = Town()
    convoy(town, new("a"), new("b", "a"))
    town.do(events.BeadCancelled("a", "failed"))
    assert town.held("b") >= {"a bead that it waits for failed"}
    town.do(events.BlockerWaived("b", "a"))
    town.finish("b")
    land(town, "b")
    town.wait(HOUR_MS)
    assert town.held("cv") == {"a bead of it failed"}
    assert town.rules().count("convoys.ask") == 1


def test_failed_beads_count_as_done_where_the_town_is_set_so() -> None:
    town = Town(failures_hold=False)
    convoy(town, new("a"), new("b", "a"))
    town.do(events.BeadCancelled("a", "failed"))
    assert town.bead("b").status == "in_progress"
    town.finish("b")
    land(town, "b")
    assert town.mr_of("cv")


def test_a_landing_that_fails_is_tried_five_times() -> None:
    town = Town(code_review=False)
    convoy(town, new("a"))
    town.finish("a")
    land(town, "a")
    waits = []
    for _ in range(town.policy.landings_max - 1):
        town.do(intents.ReviewFailed(town.mr_of("cv"), "x"))
        waits.append(town.bead("cv").due_ms - town.now_ms)
        town.wait(waits[-1])
    assert waits == [60_000, 120_000, 240_000, 480_000]
    town.do(intents.ReviewFailed(town.mr_of("cv"), "x"))
    assert (town.bead("cv").status, town.bead("cv").failure) == ("failed", "landing_exhausted")


def test_cancelling_a_convoy_ends_all_of_it() -> None:
    town = Town()
    convoy(town, new("a"), new("b", "a"))
    town.finish("a")
    town.do(events.BeadCancelled("cv", "closed"))
    assert {one.status for one in town.state.beads.values()} == {"closed"}
    assert town.bead("cv").convoy_of is not None
    assert town.bead("cv").convoy_of.closed == 2  # type: ignore[union-attr]
    assert not busy(town.state)

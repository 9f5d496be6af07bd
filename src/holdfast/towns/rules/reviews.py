"""Rules about merge requests: review, gates, landing, and what sends one back.

A rig has one refinery, which reviews one request at a time, oldest first. What it approved goes to
the gates at the commit that is to land; one request of a rig lands at a time, and when its target
went on meanwhile the gates run again.
"""

from __future__ import annotations

from typing import Final

from holdfast.actors.definition import Suppressed
from holdfast.towns import actions as act
from holdfast.towns.rules.beads import AGENTS_FULL, NO_RIG, withheld, worn_out
from holdfast.towns.rules.hosts import away_words
from holdfast.towns.rules.view import Findings, Found, View
from holdfast.towns.state import Bead, Purpose, Review, Rig, live_reviews

POP: Final = "reviews.pop"


def reviews(view: View) -> Findings:
    """Return what to do about merge requests."""
    yield from _late(view)
    yield from _blocked_by_failed(view)
    cooled = [bead for bead in view.due("b") if _has_cooled(bead)]
    for one in sorted(view.state.rigs):
        if not view.count("requests", one):
            continue
        over = [bead for bead in cooled if bead.rig == one] if cooled else cooled
        rig = view.state.rigs[one]
        if rig.gone:
            yield from _gone(view, rig)
            continue
        skipped = _skipped(view, rig, over)
        yield from _skip(view, skipped)
        yield from _pop(view, rig, over, skipped)
        yield from _sent_back(view, rig)
        yield from _gates(view, rig)
        yield from _land(view, rig)
        yield from _polled(view, rig)
        yield from _waiting(view, rig, over)


def _gone(view: View, rig: Rig) -> Findings:
    """Start nothing in a rig that is gone: what is under way ends, the rest waits."""
    for stage in ("queued", "waiting-reviews", "approved", "green", "red", "polling"):
        yield from view.waiting("reviews.gone", NO_RIG, (stage, rig.id))


def _waiting(view: View, rig: Rig, cooled: list[Bead]) -> Findings:
    because = "it waits for work on its branch, or for its next try"
    over = (bead.id for bead in cooled)
    yield from view.waiting("reviews.wait", because, ("waiting-reviews", rig.id), over)


def _has_cooled(bead: Bead) -> bool:
    """Return whether a bead that is due is a queued request, which waits for nothing else."""
    return bead.review is not None and bead.status == "open" and not bead.blockers


def _pair(view: View, one: str) -> tuple[Bead, Review]:
    bead = view.state.beads[one]
    assert bead.review is not None
    return bead, bead.review


def _fail(view: View, bead: Bead, rule: str, reason: str, code: str) -> act.FailReview:
    return act.FailReview(
        rule=rule,
        reason=reason,
        expect=act.saw(view.state, bead.id),
        entity=f"b/{bead.id}",
        bead=bead.id,
        code=code,
    )


def _late(view: View) -> Findings:
    """Ask again where gates or forge gave no answer; give up what cannot be read."""
    for bead in view.due("b"):
        review = bead.review
        if review is None or bead.status != "in_progress" or bead.attempt:
            continue
        if review.stage in {"gating", "landing"} or review.merging:
            yield act.RepeatCall(
                rule="reviews.again",
                reason="its gates or its forge gave no answer",
                expect=act.saw(view.state, bead.id),
                entity=f"b/{bead.id}",
                bead=bead.id,
                tell=review.calls == view.policy.calls_max,
            )
        elif review.unreadable_ms:
            reason = "its pull request could not be read for too long"
            yield _fail(view, bead, "reviews.unreadable", reason, bead.failure or "unreadable")


def _blocked_by_failed(view: View) -> Findings:
    if not view.town.config.failures_hold:
        return  # it is freed
    for one in sorted(view.at("blocked-by-failed", "merge_request").ids()):
        bead = view.state.beads[one]
        if bead.review is not None and not bead.attempt:
            reason = "the work that it needed failed"
            yield _fail(view, bead, "reviews.rework_failed", reason, "rework_failed")


# --------------------------------------------------------------------------------------- review


def _pop(view: View, rig: Rig, over: list[Bead], apart: list[str]) -> Findings:
    cooled = [bead for bead in over if bead.id not in apart]
    skipped = set(apart)
    queued = (one for _, one in view.at("queued", rig.id).pairs() if one not in skipped)
    oldest = next(queued, "")
    if not oldest and not cooled:
        return
    because, taken = _not_now(view, rig), ""
    if not because:
        best = [view.state.beads[oldest]] if oldest else []
        bead = min((*best, *cooled), key=lambda one: (one.created_ms, one.id))
        code, taken = worn_out(view, bead), bead.id
        if code:
            yield _fail(view, bead, POP, "it was reviewed as often as it may", code)
        else:
            yield _review(view, rig, bead)
        because = "another request of its rig goes first"
    for one in cooled:
        if one.id != taken:
            yield Suppressed(POP, because, f"b/{one.id}")
    yield from view.waiting(POP, because, ("queued", rig.id), (taken, *apart))


def _not_now(view: View, rig: Rig) -> str:
    """Return why no review is begun in a rig, or an empty string."""
    refinery = view.at("role", "refinery", rig.id).first()
    if (because := withheld(view)) != "":
        return because
    if view.at("reviewing", rig.id):
        return "another request of its rig is being reviewed"
    if refinery and (away := away_words(view.state.agents[refinery])):
        return f"the refinery of its rig is away: {away}"
    if refinery and view.state.agents[refinery].status != "idle":
        return "the refinery of its rig does not rest"
    return "" if refinery or view.room > 0 else AGENTS_FULL


def _review(view: View, rig: Rig, bead: Bead) -> Found:
    refinery = view.at("role", "refinery", rig.id).first()
    view.room -= not refinery
    agent = refinery or f"refinery-{rig.id}"
    return act.Dispatch(
        rule=POP,
        reason="it is the oldest of its rig, and the refinery rests",
        expect=act.saw(view.state, bead.id, agent),
        entity=f"b/{bead.id}",
        bead=bead.id,
        agent=agent,
        role="refinery",
        rig=rig.id,
        create=not refinery,
        probe=view.town.breaker.state == "half_open",
    )


def _skipped(view: View, rig: Rig, cooled: list[Bead]) -> list[str]:
    """Return the requests that go on without a review.

    Where the town asks for pull requests, one without is reviewed all the same: the refinery opens
    what people are to see before it lands.
    """
    config = view.town.config
    if config.code_review:
        return []
    waiting = [*view.at("queued", rig.id).ids(), *(bead.id for bead in cooled)]
    if config.merge_strategy == "direct":
        return waiting
    return [one for one in waiting if _pair(view, one)[1].pr_url]


def _skip(view: View, skipped: list[str]) -> Findings:
    for one in skipped:
        yield act.SkipReview(
            rule="reviews.skip",
            reason="the town does without reviews",
            expect=act.saw(view.state, one),
            entity=f"b/{one}",
            bead=one,
        )


# ------------------------------------------------------------------------------ gates and landing


def _sent_back(view: View, rig: Rig) -> Findings:
    for one in view.at("red", rig.id).ids():
        bead, review = _pair(view, one)
        if review.why == "no_pull_request":
            reason = "its reviewer opened no pull request, which the town asks for"
            yield _fail(view, bead, "reviews.rework", reason, review.why)
        elif review.landing and review.why != "conflict" and not rig.gates:
            yield _fail(view, bead, "reviews.rework", "its landing was sent back", "sent_back")
        else:
            purpose: Purpose = "pr_conflict" if review.why == "conflict" else "rework"
            yield from _rework(view, bead, review, purpose)


def _rework(view: View, bead: Bead, review: Review, purpose: Purpose) -> Findings:
    if review.reworks >= view.policy.reworks_max:
        reason = f"it was sent back {review.reworks} times"
        yield _fail(view, bead, "reviews.rework", reason, "reworked_too_often")
        return
    yield act.SendBack(
        rule="reviews.rework",
        reason=f"it needs work: {review.why or purpose}",
        expect=act.saw(view.state, bead.id),
        entity=f"b/{bead.id}",
        bead=bead.id,
        purpose=purpose,
    )


def _gates(view: View, rig: Rig) -> Findings:
    for one in view.at("approved", rig.id).ids():
        yield act.RunGates(
            rule="reviews.gates",
            reason="it is approved",
            expect=act.saw(view.state, one),
            entity=f"b/{one}",
            bead=one,
        )


def _land(view: View, rig: Rig) -> Findings:
    green = view.at("green", rig.id).ids()
    for place, one in enumerate(green):
        if place or view.at("landing", rig.id):
            because = "another request of its rig lands first"
            yield Suppressed("reviews.land", because, f"b/{one}")
        else:
            yield act.Land(
                rule="reviews.land",
                reason="its gates are green",
                expect=act.saw(view.state, one),
                entity=f"b/{one}",
                bead=one,
            )


# --------------------------------------------------------------------------------- pull requests


def _polled(view: View, rig: Rig) -> Findings:
    for one in view.at("polling", rig.id).ids():
        bead, review = _pair(view, one)
        known = review.pr
        if bead.blockers or review.merging:
            because = "it is being merged" if review.merging else "work on its branch is under way"
            yield Suppressed("reviews.poll", because, f"b/{one}")
            continue
        if known is None:
            yield Suppressed("reviews.poll", "its forge is being asked", f"b/{one}")
            continue
        purpose = _fix(view, review)
        if purpose is not None:
            yield from _rework(view, bead, review, purpose)
        elif not known.ready:
            yield Suppressed("reviews.poll", _not_ready(review), f"b/{one}")
        else:
            yield _merge(view, bead, review)


def _fix(view: View, review: Review) -> Purpose | None:
    known, config = review.pr, view.town.config
    assert known is not None
    if known.conflicts and config.resolve_conflicts:
        return "pr_conflict"
    asks = known.unresolved or known.failing or known.changes_requested
    return "pr_feedback" if asks and config.resolve_feedback else None


def _not_ready(review: Review) -> str:
    known = review.pr
    assert known is not None
    reasons = (
        (known.conflicts, "its pull request conflicts with its target"),
        (known.changes_requested, "its pull request was sent back by a reader"),
        (known.unresolved, "its pull request has comments that nobody resolved"),
        (known.failing, "a check of its pull request failed"),
        (known.awaiting_approval, "its pull request waits for an approval"),
        (known.pending, "a check of its pull request runs"),
    )
    return next(text for is_so, text in reasons if is_so)


def _merge(view: View, bead: Bead, review: Review) -> Found:
    delay_ms = view.town.config.auto_merge_delay_ms
    if delay_ms is None:
        return Suppressed("reviews.merge", "people merge it, as the town is set", f"b/{bead.id}")
    if not review.ready_since_ms:
        because = "it could not be merged, and its forge is asked again"
        return Suppressed("reviews.merge", because, f"b/{bead.id}")
    if review.ready_since_ms + delay_ms > view.now_ms:
        because = "its pull request is ready, and is left to people for a while"
        return Suppressed("reviews.merge", because, f"b/{bead.id}")
    return act.Land(
        rule="reviews.merge",
        reason="its pull request is ready",
        expect=act.saw(view.state, bead.id),
        entity=f"b/{bead.id}",
        bead=bead.id,
    )


# --------------------------------------------------------------------------------------- convoys


def convoys(view: View) -> Findings:
    """Return what to do about convoys all of whose beads ended."""
    for one in sorted(view.at("complete").ids()):
        bead = view.state.beads[one]
        work = bead.convoy_of
        assert work is not None
        entity, seen = f"b/{one}", act.saw(view.state, one)
        if view.count("flight", one):
            yield Suppressed("convoys.land", "a merge request of it is under way", entity)
        elif work.failed and view.town.config.failures_hold:
            if work.told:
                yield Suppressed("convoys.land", "a bead of it failed", entity)
            else:
                yield act.AskAboutConvoy(
                    rule="convoys.ask", reason="a bead of it failed", expect=seen, entity=entity,
                    bead=one,
                )  # fmt: skip
        elif work.mode == "review-and-merge":
            yield act.EndConvoy(
                rule="convoys.close", reason="all its beads ended", expect=seen, entity=entity,
                bead=one,
            )  # fmt: skip
        elif live_reviews(view.state, one):
            yield Suppressed("convoys.land", "its branch is being merged", entity)
        else:
            yield _landing(view, bead)


def _landing(view: View, bead: Bead) -> Found:
    work, entity = bead.convoy_of, f"b/{bead.id}"
    assert work is not None
    seen = act.saw(view.state, bead.id)
    if work.landings >= view.policy.landings_max:
        return act.EndConvoy(
            rule="convoys.give_up", reason="its branch could not be merged", expect=seen,
            entity=entity, bead=bead.id, code="landing_exhausted",
        )  # fmt: skip
    if view.state.rigs[bead.rig].gone:
        return Suppressed("convoys.land", NO_RIG, entity)
    if bead.due_ms > view.now_ms:
        because = "its last landing failed a moment ago"
        return Suppressed("convoys.land", because, entity)
    return act.CreateLanding(
        rule="convoys.land", reason="all its beads ended", expect=seen, entity=entity,
        bead=bead.id,
    )  # fmt: skip

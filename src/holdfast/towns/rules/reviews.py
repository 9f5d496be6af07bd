"""Rules about merge requests: review, gates, landing, and what sends one back.

A rig has one refinery, which reviews one request at a time, oldest first. What it approved goes to
the gates at the commit that is to land; one request of a rig lands at a time, and when its target
went on meanwhile the gates run again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from holdfast.actors.definition import Suppressed
from holdfast.towns import actions as act
from holdfast.towns.rules.beads import withheld, worn_out
from holdfast.towns.rules.view import Findings, Found, View
from holdfast.towns.state import Bead, Purpose, Review, Rig, first, in_order, live_reviews

POP: Final = "reviews.pop"


def reviews(view: View) -> Findings:
    """Return what to do about merge requests."""
    yield from _late(view)
    yield from _blocked_by_failed(view)
    for one in sorted(view.state.rigs):
        if not view.at("requests", one):
            continue
        rig = view.state.rigs[one]
        if view.town.config.code_review:
            yield from _pop(view, rig)
        else:
            yield from _skip(view, rig)
        yield from _sent_back(view, rig)
        yield from _gates(view, rig)
        yield from _land(view, rig)
        yield from _polled(view, rig)
        yield from _waiting(view, rig)


def _waiting(view: View, rig: Rig) -> Findings:
    because = "it waits for work on its branch, or for its next try"
    over = [bead.id for bead in _cooled(view)] if view.counts else []
    yield from view.waiting("reviews.wait", because, ("waiting-reviews", rig.id), over)


def _cooled(view: View) -> Iterator[Bead]:
    """Yield queued requests whose wait after a failed review is over."""
    for bead in view.due("b"):
        if bead.review is not None and bead.status == "open" and not bead.blockers:
            yield bead


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
    for one in sorted(view.at("blocked-by-failed")):
        bead = view.state.beads[one]
        if bead.review is not None and not bead.attempt:
            reason = "the work that it needed failed"
            yield _fail(view, bead, "reviews.rework_failed", reason, "rework_failed")


# --------------------------------------------------------------------------------------- review


def _pop(view: View, rig: Rig) -> Findings:
    cooled = [bead for bead in _cooled(view) if bead.rig == rig.id]
    queue = view.at("queued", rig.id)
    if not queue and not cooled:
        return
    because, taken = _not_now(view, rig), ""
    if not because:
        best = [view.state.beads[one] for one in [first(queue)] if one]
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
    yield from view.waiting(POP, because, ("queued", rig.id), (taken,))


def _not_now(view: View, rig: Rig) -> str:
    """Return why no review is begun in a rig, or an empty string."""
    refinery = first(view.at("role", "refinery", rig.id))
    if rig.gone:
        return "its rig is gone"
    if (because := withheld(view)) != "":
        return because
    if view.at("reviewing", rig.id):
        return "another request of its rig is being reviewed"
    if refinery and view.state.agents[refinery].status != "idle":
        return "the refinery of its rig does not rest"
    return ""


def _review(view: View, rig: Rig, bead: Bead) -> Found:
    refinery = first(view.at("role", "refinery", rig.id))
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


def _skip(view: View, rig: Rig) -> Findings:
    """Go on without a review: as the town is set, so it is with requests of its refinery."""
    for one in in_order(view.at("queued", rig.id)):
        bead, _ = _pair(view, one)
        yield act.SkipReview(
            rule="reviews.skip",
            reason="the town does without reviews",
            expect=act.saw(view.state, one),
            entity=f"b/{one}",
            bead=bead.id,
        )


# ------------------------------------------------------------------------------ gates and landing


def _sent_back(view: View, rig: Rig) -> Findings:
    for one in in_order(view.at("red", rig.id)):
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
    for one in in_order(view.at("approved", rig.id)):
        yield act.RunGates(
            rule="reviews.gates",
            reason="it is approved",
            expect=act.saw(view.state, one),
            entity=f"b/{one}",
            bead=one,
        )


def _land(view: View, rig: Rig) -> Findings:
    green = in_order(view.at("green", rig.id))
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
    for one in in_order(view.at("polling", rig.id)):
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
    for one in sorted(view.at("complete")):
        bead = view.state.beads[one]
        work = bead.convoy_of
        assert work is not None
        entity, seen = f"b/{one}", act.saw(view.state, one)
        if view.at("flight", one):
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
    members = [view.state.beads.get(one) for one in sorted(view.at("members", bead.id))]
    rig = next((known.rig for known in members if known is not None and known.rig), "")
    if work.landings >= view.policy.landings_max:
        return act.EndConvoy(
            rule="convoys.give_up", reason="its branch could not be merged", expect=seen,
            entity=entity, bead=bead.id, code="landing_exhausted",
        )  # fmt: skip
    if not rig:
        return act.EndConvoy(
            rule="convoys.close", reason="nothing of it is left", expect=seen, entity=entity,
            bead=bead.id,
        )  # fmt: skip
    if bead.due_ms > view.now_ms:
        because = "its last landing failed a moment ago"
        return Suppressed("convoys.land", because, entity)
    return act.CreateLanding(
        rule="convoys.land", reason="all its beads ended", expect=seen, entity=entity,
        bead=bead.id, rig=rig,
    )  # fmt: skip

"""The fold of merge requests: gates, landing, pull requests, and convoys that land.

A landing is counted once: the forge is asked by a number, and an answer to another number changes
nothing. What was merged stays merged, even when the answer comes late.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec.structs import replace

from holdfast.actors.definition import At, Ignored, Refused, Verdict
from holdfast.towns import events, intents
from holdfast.towns.draft import Draft
from holdfast.towns.folds.attempts import give_back
from holdfast.towns.folds.ends import merged, rejected
from holdfast.towns.folds.work import issue_of
from holdfast.towns.limits import UNREADABLE_MS
from holdfast.towns.state import TERMINAL, Bead, Review, State

LATE = Ignored("it is of a call that is over")
UNKNOWN = Ignored("there is no such merge request any more")
_SYSTEM: Final = "system"


def _live(d: Draft, one: str) -> tuple[Bead, Review] | None:
    bead = d.bead(one)
    if bead is None or bead.review is None or bead.status in TERMINAL:
        return None
    return bead, bead.review


# ------------------------------------------------------------------------------ gates and landing


def skipped(state: State, e: intents.ReviewSkipped, at: At) -> Verdict[State]:
    """Let a merge request go on without a review."""
    d = Draft(state, at.now_ms)
    found = _live(d, e.mr)
    if found is None:
        return UNKNOWN
    bead, review = found
    stage = "polling" if review.pr_url else "approved"
    d.move(bead, "in_progress", review=replace(review, stage=stage))
    return d.close()


def reopened(state: State, e: intents.ReviewReopened, at: At) -> Verdict[State]:
    """Queue a merge request again."""
    d = Draft(state, at.now_ms)
    found = _live(d, e.mr)
    if found is None or found[0].status != "in_progress":
        return UNKNOWN
    give_back(d, found[0], "reopened", wait_ms=0)
    return d.close()


def failed(state: State, e: intents.ReviewFailed, at: At) -> Verdict[State]:
    """Give a merge request up."""
    d = Draft(state, at.now_ms)
    found = _live(d, e.mr)
    if found is None:
        return UNKNOWN
    rejected(d, found[0], e.code)
    return d.close()


def asked(state: State, e: intents.GatesAsked | intents.LandAsked, at: At) -> Verdict[State]:
    """Wait for the answer to a call."""
    d = Draft(state, at.now_ms)
    found = _live(d, e.mr)
    if found is None:
        return UNKNOWN
    bead, review = found
    changes: dict[str, Any] = (
        {"merging": True}
        if review.stage == "polling"
        else {"stage": "gating" if isinstance(e, intents.GatesAsked) else "landing"}
    )
    review = replace(review, call=e.call, calls=review.calls + 1, **changes)
    due = {"due_ms": d.now_ms + e.answer_ms, "span_ms": e.answer_ms, "refused_ms": e.again_ms}
    d.edit(bead, review=review, **due)
    return d.close()


def gates_finished(state: State, e: events.GatesFinished, at: At) -> Verdict[State]:
    """Take in what the gates found."""
    d = Draft(state, at.now_ms)
    found = _live(d, e.mr)
    if found is None:
        return UNKNOWN
    bead, review = found
    if review.stage != "gating" or review.call != e.call:
        return LATE
    red = next((one for one in e.results if not one.passed), None)
    if red is None:
        review = replace(review, stage="green", commit=e.commit, calls=0, why="")
    else:
        why = f"gate {red.name}"
        review = replace(
            review, stage="red", commit=e.commit, calls=0, why=why, content=red.content
        )
    d.edit(bead, review=review, due_ms=0, span_ms=0)
    return d.close()


def landed(state: State, e: events.Landed, at: At) -> Verdict[State]:
    """End what landed; whichever call did it, it is there."""
    d = Draft(state, at.now_ms)
    found = _live(d, e.mr)
    if found is None:
        return UNKNOWN
    merged(d, *found, e.commit)
    return d.close()


def land_refused(state: State, e: events.LandRefused, at: At) -> Verdict[State]:
    """Run the gates again when the target moved, send a conflict back, else give it up."""
    d = Draft(state, at.now_ms)
    found = _live(d, e.mr)
    if found is None:
        return UNKNOWN
    bead, review = found
    if review.call != e.call or not (review.stage == "landing" or review.merging):
        return LATE
    if review.merging:
        review = replace(review, merging=False, ready_since_ms=0, looks=review.looks + 1)
        d.edit(bead, review=review, due_ms=0, span_ms=0)
    elif e.code == "moved":
        d.edit(bead, review=replace(review, stage="approved"), due_ms=0, span_ms=0)
    elif e.code == "conflict":
        review = replace(review, stage="red", why="conflict", calls=0)
        d.edit(bead, review=review, due_ms=0, span_ms=0)
    else:
        rejected(d, bead, e.code)
    return d.close()


def call_failed(state: State, e: events.CallFailed, at: At) -> Verdict[State]:
    """Ask again after a while: the call may have been carried out."""
    d = Draft(state, at.now_ms)
    found = _live(d, e.mr)
    if found is None:
        return UNKNOWN
    bead, review = found
    if review.call != e.call or not (review.merging or review.stage in {"gating", "landing"}):
        return LATE
    d.edit(bead, due_ms=d.now_ms + bead.refused_ms, span_ms=bead.refused_ms, failure=e.code)
    return d.close()


def repeated(state: State, e: intents.CallRepeated, at: At) -> Verdict[State]:
    """Go back to before a call that gave no answer."""
    d = Draft(state, at.now_ms)
    found = _live(d, e.mr)
    if found is None:
        return UNKNOWN
    bead, review = found
    stages: dict[str, Any] = {"gating": "approved", "landing": "green"}
    review = replace(review, stage=stages.get(review.stage, review.stage), merging=False)
    d.edit(bead, review=review, due_ms=0, span_ms=0)
    return d.close()


def sent_back(state: State, e: intents.SentBack, at: At) -> Verdict[State]:
    """Queue a merge request behind work on its branch."""
    d = Draft(state, at.now_ms)
    found = _live(d, e.mr)
    if found is None:
        return UNKNOWN
    bead, review = found
    d.put(issue_of(d, e.bead, source=bead.id))
    reworks = review.reworks + 1
    waits = {"blocked_by": (*bead.blocked_by, e.bead.id), "blockers": bead.blockers + 1}
    stays = review.stage == "polling"
    review = replace(review, reworks=reworks, stage=review.stage if stays else "queued", calls=0)
    if stays or bead.status == "open":
        d.edit(bead, review=review, **waits)
    else:
        d.move(bead, "open", review=review, due_ms=0, span_ms=0, **waits)
    return d.close()


# --------------------------------------------------------------------------------- pull requests


def pr_seen(state: State, e: events.PullRequestSeen, at: At) -> Verdict[State]:
    """Take in what a forge says."""
    d = Draft(state, at.now_ms)
    found = _live(d, e.mr)
    if found is None:
        return UNKNOWN
    bead, review = found
    if e.pr.state == "merged":
        merged(d, bead, review, e.pr.commit)
    elif e.pr.state == "closed":
        rejected(d, bead, "pull_request_closed")
    else:
        since_ms = (review.ready_since_ms or d.now_ms) if e.pr.ready else 0
        review = replace(review, pr=e.pr, ready_since_ms=since_ms, unreadable_ms=0)
        delay_ms = d.town.config.auto_merge_delay_ms
        due: dict[str, int] = {}
        if not review.merging:
            span_ms = 0 if delay_ms is None or not since_ms else delay_ms
            due = {"due_ms": since_ms + span_ms if span_ms else 0, "span_ms": span_ms}
        d.edit(bead, review=review, **due)
    return d.close()


def pr_unreadable(state: State, e: events.PullRequestUnreadable, at: At) -> Verdict[State]:
    """Give a pull request up that cannot be read, at once where waiting does not help."""
    d = Draft(state, at.now_ms)
    found = _live(d, e.mr)
    if found is None:
        return UNKNOWN
    bead, review = found
    if e.lasting:
        rejected(d, bead, e.code)
    elif review.unreadable_ms:
        return Ignored("it could not be read before")
    else:
        review = replace(review, unreadable_ms=d.now_ms)
        due_ms = d.now_ms + UNREADABLE_MS
        d.edit(bead, review=review, due_ms=due_ms, span_ms=UNREADABLE_MS, failure=e.code)
    return d.close()


def adopted(state: State, e: events.PullRequestAdopted, at: At) -> Verdict[State]:
    """Watch a pull request of others."""
    d = Draft(state, at.now_ms)
    rig = d.rig(e.rig)
    if rig is None or rig.gone:
        return Refused("no_such_rig", f"rig {e.rig}: add it first")
    if not e.pr_url.startswith("https://"):
        return Refused("bad_pr_url", "pr_url: it must begin with https://")
    if d.bead(e.bead) is not None:
        return Refused("bead_exists", f"bead {e.bead} exists; take another id")
    review = Review(
        branch=e.branch, target=rig.branch, stage="polling", pr_url=e.pr_url, adopted=True
    )
    d.put(
        Bead(
            id=e.bead,
            type="merge_request",
            status="in_progress",
            rig=e.rig,
            content=e.content,
            created_ms=d.now_ms,
            updated_ms=d.now_ms,
            review=review,
        )
    )
    return d.close()


# --------------------------------------------------------------------------------------- convoys


def landing_created(state: State, e: intents.LandingCreated, at: At) -> Verdict[State]:
    """Make the merge request of a convoy's branch."""
    d = Draft(state, at.now_ms)
    convoy, rig = d.bead(e.convoy), d.rig(e.rig)
    if convoy is None or convoy.convoy_of is None or rig is None:
        return UNKNOWN
    review = Review(branch=convoy.convoy_of.branch, target=rig.branch, author=_SYSTEM, landing=True)
    d.put(
        Bead(
            id=e.mr,
            type="merge_request",
            rig=e.rig,
            priority=convoy.priority,
            content=convoy.content,
            source=convoy.id,
            cooldown_ms=e.cooldown_ms,
            created_ms=d.now_ms,
            updated_ms=d.now_ms,
            review=review,
        )
    )
    d.edit(convoy, convoy_of=replace(convoy.convoy_of, landing=e.mr), due_ms=0, span_ms=0)
    return d.close()


def convoy_ended(state: State, e: intents.ConvoyEnded, at: At) -> Verdict[State]:
    """End a convoy that is done, or that is given up."""
    d = Draft(state, at.now_ms)
    convoy = d.bead(e.convoy)
    if convoy is None or convoy.convoy_of is None or convoy.status in TERMINAL:
        return UNKNOWN
    if e.code:
        d.move(convoy, "failed", failure=e.code)
    else:
        d.move(convoy, "closed", convoy_of=replace(convoy.convoy_of, landed_ms=d.now_ms))
    return d.close()


def convoy_waits(state: State, e: intents.ConvoyWaits, at: At) -> Verdict[State]:
    """Note that somebody was asked about a convoy with a failed bead."""
    d = Draft(state, at.now_ms)
    convoy = d.bead(e.convoy)
    if convoy is None or convoy.convoy_of is None:
        return UNKNOWN
    d.edit(convoy, convoy_of=replace(convoy.convoy_of, told=True))
    return d.close()

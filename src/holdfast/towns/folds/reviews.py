"""The fold of merge requests: gates, landing, pull requests, and convoys that land.

A landing is counted once: the forge is asked by a number, and an answer to another number changes
nothing. One that a merge request is in its target counts whichever call it answers; a request that
ended before it came stays as it ended.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from holdfast.actors.definition import At, Declined, Ignored, Refused
from holdfast.towns import events, intents
from holdfast.towns.draft import Draft
from holdfast.towns.folds.attempts import PR_PREFIX
from holdfast.towns.folds.ends import merged, rejected
from holdfast.towns.folds.work import full, issue_of
from holdfast.towns.limits import UNREADABLE_MS
from holdfast.towns.state import TERMINAL, Bead, Review

LATE = Ignored("it is of a call that is over")
UNKNOWN = Ignored("there is no such merge request any more")


def _live(d: Draft, one: str) -> tuple[Bead, Review] | None:
    bead = d.bead(one)
    if bead is None or bead.review is None or bead.status in TERMINAL:
        return None
    return bead, bead.review


# ------------------------------------------------------------------------------ gates and landing


def skipped(d: Draft, e: intents.ReviewSkipped, _at: At) -> Declined:
    """Let a merge request go on without a review."""
    found = _live(d, e.mr)
    if found is None:
        return UNKNOWN
    bead, review = found
    stage = "polling" if review.pr_url else "approved"
    d.move(bead, "in_progress", review=replace(review, stage=stage), due_ms=0, span_ms=0)
    return None


def failed(d: Draft, e: intents.ReviewFailed, _at: At) -> Declined:
    """Give a merge request up."""
    found = _live(d, e.mr)
    if found is None:
        return UNKNOWN
    rejected(d, found[0], e.code)
    return None


def asked(d: Draft, e: intents.GatesAsked | intents.LandAsked, _at: At) -> Declined:
    """Wait for the answer to a call."""
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
    return None


def gates_finished(d: Draft, e: events.GatesFinished, _at: At) -> Declined:
    """Take in what the gates found."""
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
    return None


def landed(d: Draft, e: events.Landed, _at: At) -> Declined:
    """End what landed; whichever call did it, it is there."""
    found = _live(d, e.mr)
    if found is None:
        return UNKNOWN
    merged(d, *found, e.commit)
    return None


def land_refused(d: Draft, e: events.LandRefused, _at: At) -> Declined:
    """Run the gates again when the target moved, send a conflict back, else give it up.

    Gates that refuse for certain (no such branch, no forge) answer in the same way.
    """
    found = _live(d, e.mr)
    if found is None:
        return UNKNOWN
    bead, review = found
    if review.call != e.call or not (review.merging or review.stage in {"gating", "landing"}):
        return LATE
    if review.merging:
        review = replace(review, merging=False, ready_since_ms=0, looks=review.looks + 1)
        watch(d, bead, review)
    elif e.code == "moved":
        d.edit(bead, review=replace(review, stage="approved"), due_ms=0, span_ms=0)
    elif e.code == "conflict":
        review = replace(review, stage="red", why="conflict", calls=0)
        d.edit(bead, review=review, due_ms=0, span_ms=0)
    else:
        rejected(d, bead, e.code)
    return None


def call_failed(d: Draft, e: events.CallFailed, _at: At) -> Declined:
    """Ask again after a while: the call may have been carried out."""
    found = _live(d, e.mr)
    if found is None:
        return UNKNOWN
    bead, review = found
    if review.call != e.call or not (review.merging or review.stage in {"gating", "landing"}):
        return LATE
    d.edit(bead, due_ms=d.now_ms + bead.refused_ms, span_ms=bead.refused_ms, failure=e.code)
    return None


def repeated(d: Draft, e: intents.CallRepeated, _at: At) -> Declined:
    """Go back to before a call that gave no answer."""
    found = _live(d, e.mr)
    if found is None:
        return UNKNOWN
    bead, review = found
    if review.merging:
        watch(d, bead, replace(review, merging=False))
        return None
    stages: dict[str, Any] = {"gating": "approved", "landing": "green"}
    review = replace(review, stage=stages.get(review.stage, review.stage))
    d.edit(bead, review=review, due_ms=0, span_ms=0)
    return None


def sent_back(d: Draft, e: intents.SentBack, _at: At) -> Declined:
    """Queue a merge request behind work on its branch."""
    found = _live(d, e.mr)
    if found is None:
        return UNKNOWN
    bead, review = found
    d.put(issue_of(d, e.bead, source=bead.id))
    reworks = review.reworks + 1
    waits = {"blocked_by": (*bead.blocked_by, e.bead.id)}
    stays = review.stage == "polling"
    review = replace(review, reworks=reworks, stage=review.stage if stays else "queued", calls=0)
    if stays or bead.status == "open":
        d.edit(bead, review=review, **waits)
    else:
        d.move(bead, "open", review=review, due_ms=0, span_ms=0, **waits)
    return None


# --------------------------------------------------------------------------------- pull requests


def watch(d: Draft, bead: Bead, review: Review) -> None:
    """Write a request whose pull request is watched, due when the next of its waits is over.

    A call to merge has its own wait. Otherwise it is how long a pull request may be unreadable, or
    how long a ready one is left to people; both begin no earlier than the town's last pause ended.
    """
    since_ms, span_ms = 0, 0
    if review.unreadable_ms:
        since_ms, span_ms = max(review.unreadable_ms, d.town.resumed_ms), UNREADABLE_MS
    elif review.ready_since_ms:
        since_ms, span_ms = review.ready_since_ms, d.town.config.auto_merge_delay_ms or 0
    if review.merging:
        d.edit(bead, review=review)
    else:
        due_ms = min(since_ms, d.now_ms) + span_ms if span_ms else 0
        d.edit(bead, review=review, due_ms=due_ms, span_ms=span_ms)


def pr_seen(d: Draft, e: events.PullRequestSeen, _at: At) -> Declined:
    """Take in what a forge says."""
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
        watch(d, bead, replace(review, pr=e.pr, ready_since_ms=since_ms, unreadable_ms=0))
    return None


def pr_unreadable(d: Draft, e: events.PullRequestUnreadable, _at: At) -> Declined:
    """Give a pull request up that cannot be read, at once where waiting does not help."""
    found = _live(d, e.mr)
    if found is None:
        return UNKNOWN
    bead, review = found
    if e.lasting:
        rejected(d, bead, e.code)
    elif review.unreadable_ms:
        return Ignored("it could not be read before")
    else:
        watch(d, d.edit(bead, failure=e.code), replace(review, unreadable_ms=d.now_ms))
    return None


def adopted(d: Draft, e: events.PullRequestAdopted, _at: At) -> Declined:
    """Watch a pull request of others."""
    rig = d.rig(e.rig)
    if rig is None or rig.gone:
        return Refused("no_such_rig", f"rig {e.rig}: add it first")
    if not e.pr_url.startswith(PR_PREFIX):
        return Refused("bad_pr_url", "pr_url: it must begin with https://")
    if (why := full(d, 1)) is not None:
        return why
    if d.bead(e.bead) is not None:
        return Refused("bead_exists", f"bead {e.bead} exists; take another id")
    review = Review(branch=e.branch, target=rig.branch, stage="polling", pr_url=e.pr_url)
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
    return None


# --------------------------------------------------------------------------------------- convoys


def landing_created(d: Draft, e: intents.LandingCreated, _at: At) -> Declined:
    """Make the merge request of a convoy's branch."""
    convoy = d.bead(e.convoy)
    rig = d.rig(convoy.rig) if convoy is not None else None
    if convoy is None or convoy.convoy_of is None or rig is None:
        return UNKNOWN
    review = Review(branch=convoy.convoy_of.branch, target=rig.branch, landing=True)
    d.put(
        Bead(
            id=e.mr,
            type="merge_request",
            rig=rig.id,
            priority=convoy.priority,
            content=convoy.content,
            source=convoy.id,
            created_ms=d.now_ms,
            updated_ms=d.now_ms,
            review=review,
        )
    )
    work = replace(convoy.convoy_of, again_ms=e.again_ms)
    d.edit(convoy, convoy_of=work, due_ms=0, span_ms=0)
    return None


def convoy_ended(d: Draft, e: intents.ConvoyEnded, _at: At) -> Declined:
    """End a convoy that is done, or that is given up."""
    convoy = d.bead(e.convoy)
    if convoy is None or convoy.convoy_of is None or convoy.status in TERMINAL:
        return UNKNOWN
    if e.code:
        d.move(convoy, "failed", failure=e.code)
    else:
        d.move(convoy, "closed", convoy_of=replace(convoy.convoy_of, landed_ms=d.now_ms))
    return None


def convoy_waits(d: Draft, e: intents.ConvoyWaits, _at: At) -> Declined:
    """Note that somebody was asked about a convoy with a failed bead."""
    convoy = d.bead(e.convoy)
    if convoy is None or convoy.convoy_of is None:
        return UNKNOWN
    d.edit(convoy, convoy_of=replace(convoy.convoy_of, told=True))
    return None

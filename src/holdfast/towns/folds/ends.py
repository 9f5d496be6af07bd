"""The fold of ends: what is merged, given up or cancelled, and what hangs on it."""

from __future__ import annotations

from typing import Literal

from msgspec.structs import replace

from holdfast.actors.definition import At, Declined, Ignored, Refused
from holdfast.towns import events
from holdfast.towns.draft import Draft
from holdfast.towns.folds.attempts import give_back
from holdfast.towns.state import TERMINAL, Bead, Review


def merged(d: Draft, bead: Bead, review: Review, commit: str) -> None:
    """End a merge request that is in its target, with its source and its other requests."""
    review = replace(review, merge_commit=commit, merging=False)
    d.move(bead, "closed", review=review, failure="")
    if review.landing:
        _convoy_landed(d, bead)
        return
    for other in d.at("reviews", bead.source) if bead.source else []:
        known = d.bead(other)
        if known is not None and known.id != bead.id:
            d.move(known, "closed", failure="superseded")
    source = d.bead(bead.source)
    if source is not None and source.status not in TERMINAL:
        d.move(source, "closed", failure="")


def _convoy_landed(d: Draft, bead: Bead) -> None:
    convoy = d.bead(bead.source)
    if convoy is None or convoy.convoy_of is None or convoy.status in TERMINAL:
        return
    d.move(convoy, "closed", convoy_of=replace(convoy.convoy_of, landed_ms=d.now_ms))


def rejected(d: Draft, bead: Bead, code: str) -> None:
    """Give a merge request up: its source goes back, with one more attempt that failed."""
    d.move(bead, "failed", failure=code)
    source = d.bead(bead.source)
    if source is None or source.status in TERMINAL:
        return
    if source.convoy_of is not None:
        wait_ms = source.convoy_of.again_ms
        work = replace(source.convoy_of, landings=source.convoy_of.landings + 1)
        d.edit(source, convoy_of=work, due_ms=d.now_ms + wait_ms, span_ms=wait_ms)
    elif source.status == "in_review" and not _others(d, source, bead):
        give_back(d, source, code, wait_ms=source.cooldown_ms, charged=source.charged + 1)


def _others(d: Draft, source: Bead, bead: Bead) -> bool:
    return any(one != bead.id for one in d.at("reviews", source.id))


def cancelled(d: Draft, e: events.BeadCancelled, _at: At) -> Declined:
    """End a bead, and all that hangs on it: requests of an issue, beads of a convoy."""
    bead = d.bead(e.bead)
    if bead is None:
        return Ignored("there is no such bead any more")
    if bead.status in TERMINAL:
        return Ignored(f"it is {bead.status}, which never changes")
    if bead.type == "escalation" and e.status == "failed":
        return Refused("not_for_escalations", "status: an escalation is closed, or acknowledged")
    code = "" if e.status == "closed" else "cancelled"
    for one in (*d.at("members", bead.id), *d.at("reviews", bead.id)):
        _end(d, one, e.status, code)
    if bead.review is not None and code:
        rejected(d, bead, code)
    elif bead.review is not None:
        merged(d, bead, bead.review, "")
    else:
        _end(d, bead.id, e.status, code)
    return None


def _end(d: Draft, one: str, status: Literal["closed", "failed"], code: str) -> None:
    """End a bead of a convoy, or a merge request, with its own merge requests."""
    for other in d.at("reviews", one):
        _end(d, other, status, code)
    bead = d.bead(one)
    if bead is not None and bead.status not in TERMINAL:
        d.move(bead, status, failure=code)

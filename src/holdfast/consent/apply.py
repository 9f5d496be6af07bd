"""The fold of a node's consent.

A class is granted only by `ConsentGranted`, and by that only until it is revoked, expired, or the
node proves that it knows newer documents than this plane. Whatever is not allowed is refused here,
and not by a handler. Each decision gets its documents in the same step: a receipt, then the grant
of what holds now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from msgspec.structs import replace

from holdfast.actors.definition import SELF, Applied, At, Ignored, Refused, Verdict
from holdfast.consent import events
from holdfast.consent.limits import (
    DELETE_ANSWER_MS,
    NUMBERS_GAP,
    NUMBERS_STEP_MAX,
    RETRY_CAP_MS,
    RETRY_FIRST_MS,
    SIGN_ANSWER_MS,
    UNSIGNED_MAX,
)
from holdfast.consent.state import (
    Decision,
    Deletion,
    Kept,
    Node,
    Unsigned,
    Waiting,
    granted,
    in_force,
    is_outdated,
    is_registered,
    may_grant,
)
from holdfast.kernel.backoff import Backoff
from holdfast.wire.consent import (
    CLASSES,
    DOCUMENT_VERSION,
    INTENT_CLASSES,
    PREVIEW_MS,
    ContentClass,
    Grant,
    Preview,
    Receipt,
    decode_document,
    from_base64url,
)
from holdfast.wire.limits import RECEIPTS_MAX, VIEW_STEP_MS

PLANE: Final = "plane"
"""Who decides and with which credential, where it is the plane itself."""
CANNOT_GRANT: Final = "agent_cannot_grant"
UNKNOWN_NODE: Final = "no_such_node"

_RETRY: Final = Backoff(first_ms=RETRY_FIRST_MS, cap_ms=RETRY_CAP_MS)
_GONE: Final = "its instance was destroyed"
_EXPIRED: Final = "it has expired"
_RESTORED: Final = "this plane was restored from a backup, and does not know what was decided since"


def apply(state: Node, event: events.Event, at: At) -> Verdict[Node]:
    """Apply an event."""
    if not is_registered(state) and type(event) not in _BEFORE:
        return Refused(UNKNOWN_NODE, "no such node has registered")
    return _FOLDS[type(event)](state, event, at)


# ------------------------------------------------------------------ registration and intent


def _registered(state: Node, event: events.NodeRegistered, at: At) -> Verdict[Node]:
    if state.closed_ms:
        return Refused("node_closed", f"the node is closed: {_GONE}")
    if not is_registered(state):
        state = replace(
            state,
            account=event.account,
            name=event.name,
            instance=event.instance,
            source=event.source,
            registered_ms=at.now_ms,
            registered_by=event.by,
            credential=event.credential,
        )
    elif (event.account, event.instance) != (state.account, state.instance):
        return Refused("other_node", "the node is registered for another owner or instance")
    elif (event.name, event.source) in {(state.name, state.source), (state.name, "auto")}:
        return Ignored("it is registered")
    else:
        source = "person" if event.source == "person" else state.source
        state = replace(state, name=event.name, source=source)
    if event.source == "person" and not state.intent_ms and may_grant(state, event.credential):
        intent = events.IntentShown(
            by=event.by,
            credential=event.credential,
            classes=INTENT_CLASSES,
        )
        state = _first_intent(state, intent, at, reason="a person connected the node")
    return Applied(state)


def _intent(state: Node, event: events.IntentShown, at: At) -> Verdict[Node]:
    if state.closed_ms:
        return Refused("node_closed", f"the node is closed: {_GONE}")
    if not may_grant(state, event.credential):
        text = "the agent may have read this credential; the owner opens the dashboard"
        return Refused(CANNOT_GRANT, text)
    if not state.intent_ms:
        return Applied(_first_intent(state, event, at, reason="somebody asked to see the node"))
    if at.now_ms - state.viewed_ms >= VIEW_STEP_MS:
        return Applied(replace(state, viewed_ms=at.now_ms))
    return Ignored("it was asked for before")


def _first_intent(state: Node, event: events.IntentShown, at: At, *, reason: str) -> Node:
    """Keep the first intent; what it grants is written by the next plan.

    A class that has a decision keeps it: an intent never opens what somebody closed.
    """
    classes = ordered(each for each in event.classes if each not in state.classes)
    waiting = Waiting(
        classes=classes,
        by=event.by,
        credential=event.credential,
        reason=reason,
        address=event.address,
    )
    return replace(
        state,
        intent_ms=at.now_ms,
        intent_by=event.by,
        intent_event=at.event,
        viewed_ms=at.now_ms,
        waiting=waiting if classes else None,
    )


# --------------------------------------------------------------------------------- decisions


def _granted(state: Node, event: events.ConsentGranted, at: At) -> Verdict[Node]:
    classes = ordered(event.classes)
    if state.closed_ms:
        return Refused("node_closed", f"the node is closed: {_GONE}")
    if not may_grant(state, event.credential):
        text = "the agent may have read this credential; the owner opens the dashboard"
        return Refused(CANNOT_GRANT, text)
    if not classes:
        return Refused("no_classes", "classes: name at least one")
    if 0 < event.until_ms <= at.now_ms:
        return Refused("consent_over", "until: it has passed already")
    if (wait := blocked(state, classes)) is not None:
        return wait
    decision = Decision(
        status="granted",
        at_ms=at.now_ms,
        by=event.by,
        credential=event.credential,
        address=event.address,
        text_version=event.text_version,
        until_ms=event.until_ms,
        backfill_from_ms=event.backfill_from_ms,
        reason=event.reason,
    )
    state = replace(_set(state, classes, decision), restored_ms=0)
    if not state.intent_ms:
        state = replace(
            state,
            intent_ms=at.now_ms,
            intent_by=event.by,
            intent_event=at.event,
            viewed_ms=at.now_ms,
        )
    return Applied(_documented(state, "granted", classes, decision, at))


def blocked(state: Node, classes: Iterable[ContentClass]) -> Refused | None:
    """Return why classes cannot be granted at this moment, or None."""
    under_way = {each for deletion in state.deletions for each in deletion.classes}
    if under_way.intersection(classes):
        text = "what was stored of them is being deleted; grant them when that is done"
        return Refused("consent_deleting", text)
    if is_full(state):
        text = f"{len(state.unsigned)} documents wait to be signed; holdfast doctor says why"
        return Refused("consent_busy", text)
    return None


def is_full(state: Node) -> bool:
    """Return whether so many documents wait to be signed that no grant or deletion adds one."""
    return len(state.unsigned) >= UNSIGNED_MAX


def _revoked(state: Node, event: events.ConsentRevoked, at: At) -> Verdict[Node]:
    classes = ordered(event.classes)
    if not classes:
        return Refused("no_classes", "classes: name at least one")
    decision = Decision(
        status="revoked",
        at_ms=at.now_ms,
        by=event.by,
        credential=event.credential,
        address=event.address,
        text_version=event.text_version,
        reason=event.reason,
    )
    changed = ordered(each for each in classes if not _is_closed(state, each))
    if not changed and not event.delete:
        return Ignored("they are revoked")
    if changed:
        state = _set(state, changed, decision)
        state = _documented(state, "revoked", changed, decision, at)
    if event.delete:
        state = _to_delete(state, classes, event, at)
    return Applied(state)


def _is_closed(state: Node, each: ContentClass) -> bool:
    known = state.classes.get(each)
    return known is not None and known.status == "revoked"


def _to_delete(
    state: Node, classes: tuple[ContentClass, ...], event: events.ConsentRevoked, at: At
) -> Node:
    """Add a deletion; those that have not begun are one, so that at most two are kept."""
    begun, rest = state.deletions[:1], state.deletions[1:]
    if begun and not begun[0].tries:
        begun, rest = (), state.deletions
    merged = ordered((*classes, *(each for one in rest for each in one.classes)))
    fresh = Deletion(
        serial=state.serial + 1,
        classes=merged,
        by=event.by,
        credential=event.credential,
        text_version=event.text_version,
        next_ms=at.now_ms,
    )
    return replace(state, deletions=(*begun, fresh), serial=fresh.serial)


def _previewed(state: Node, event: events.PreviewAsked, at: At) -> Verdict[Node]:
    """Let samples out once, one at a time: one that is not signed yet is not asked for any more."""
    if state.closed_ms:
        return Refused("node_closed", f"the node is closed: {_GONE}")
    if not may_grant(state, event.credential):
        text = "the agent may have read this credential; the owner opens the dashboard"
        return Refused(CANNOT_GRANT, text)
    if at.now_ms < state.preview_until_ms:
        return Refused("preview_running", "samples of it were asked for in the last minute")
    if (wait := blocked(state, ())) is not None:
        return wait
    until_ms = at.now_ms + PREVIEW_MS
    receipt = Receipt(
        version=DOCUMENT_VERSION,
        node=state.node,
        number=state.number + 1,
        act="previewed",
        classes=CLASSES,
        at_ms=at.now_ms,
        by=event.by,
        credential=event.credential,
        text_version="",
        until_ms=until_ms,
    )
    preview = Preview(
        version=DOCUMENT_VERSION,
        node=state.node,
        number=state.number + 2,
        public_key=event.public_key,
        at_ms=at.now_ms,
        until_ms=until_ms,
    )
    others = tuple(one for one in state.unsigned if not isinstance(one.document, Preview))
    state = replace(state, unsigned=others, preview=None, preview_until_ms=until_ms)
    return Applied(_with_document(_with_document(state, receipt, at), preview, at))


def _expired(state: Node, event: events.ConsentExpired, at: At) -> Verdict[Node]:
    classes = ordered(each for each in granted(state) if each in event.classes)
    if not classes:
        return Ignored("they are not granted any more")
    known = {each: replace(state.classes[each], status="expired") for each in classes}
    state = replace(state, classes=state.classes | known)
    decision = Decision(
        status="expired", at_ms=at.now_ms, by=PLANE, credential=PLANE, reason=_EXPIRED
    )
    return Applied(_documented(state, "revoked", classes, decision, at))


def _number_seen(state: Node, event: events.NumberSeen, at: At) -> Verdict[Node]:
    if event.number <= state.number:
        return Ignored("it is a number of this plane")
    text = (
        f"the node names document {event.number}, and {state.number} is the last one here:"
        " this plane was restored from an older backup"
    )
    number = min(event.number, state.number + NUMBERS_STEP_MAX) + NUMBERS_GAP
    return Applied(_outdated(replace(state, reported=event.number), number, text, at))


def _restored(state: Node, _event: events.PlaneRestored, at: At) -> Verdict[Node]:
    """Close the node: what was decided after the backup is not known here.

    Numbers go on far above all that were given since, so that the node's gate takes the closing.
    """
    return Applied(_outdated(state, state.number + NUMBERS_STEP_MAX, _RESTORED, at))


def _outdated(state: Node, number: int, reason: str, at: At) -> Node:
    """Return a state that is older than the node, with nothing allowed and numbers above `number`.

    A class that has no decision here may have been revoked since, so it is revoked as well.
    """
    decision = Decision(
        status="revoked", at_ms=at.now_ms, by=PLANE, credential=PLANE, reason=reason
    )
    lost = ordered(each for each in CLASSES if not _is_closed(state, each))
    receipts = tuple(one for one in state.unsigned if isinstance(one.document, Receipt))
    state = replace(
        state, number=number, waiting=None, unsigned=(), grant=None, restored_ms=at.now_ms
    )
    for one in receipts:
        state = _with_document(state, replace(one.document, number=state.number + 1), at)
    if not lost:
        return _with_grant(state, at)
    return _documented(_set(state, lost, decision), "revoked", lost, decision, at)


def _key_replaced(state: Node, event: events.KeyReplaced, at: At) -> Verdict[Node]:
    """Write the grant in force once more: a gate that pins the new key cannot verify the old one.

    It says what the old one said, with a higher number; until it is signed the old one holds.
    """
    if not is_outdated(state, event.key) or not in_force(state, at.now_ms):
        return Ignored("no grant in force is signed with another key")
    if is_full(state):
        return Ignored("too many documents wait to be signed; it is looked at again")
    return Applied(_with_grant(state, at))


def _gone(state: Node, event: events.InstanceGone, at: At) -> Verdict[Node]:
    """Close the node, even one that never registered: a late registration is refused."""
    if state.closed_ms:
        return Ignored("it is known already")
    lost = granted(state)
    state = replace(
        state, account=state.account or event.account, closed_ms=at.now_ms, waiting=None
    )
    if not lost:
        return Applied(state)
    decision = Decision(status="revoked", at_ms=at.now_ms, by=PLANE, credential=PLANE, reason=_GONE)
    return Applied(_documented(_set(state, lost, decision), "revoked", lost, decision, at))


def _set(state: Node, classes: Iterable[ContentClass], decision: Decision) -> Node:
    """Return the state with one decision for these classes; what waited for them is settled.

    Its receipt is the next document.
    """
    decision = replace(decision, number=state.number + 1)
    known = state.classes | dict.fromkeys(classes, decision)
    waiting = state.waiting
    if waiting is not None:
        left = ordered(each for each in waiting.classes if each not in classes)
        waiting = replace(waiting, classes=left) if left else None
    return replace(state, classes=known, waiting=waiting)


def ordered(classes: Iterable[ContentClass]) -> tuple[ContentClass, ...]:
    """Return classes, each once, in the order of `CLASSES`."""
    named = set(classes)
    return tuple(each for each in CLASSES if each in named)


# --------------------------------------------------------------------------------- documents


def _documented(
    state: Node, act: Any, classes: tuple[ContentClass, ...], decision: Decision, at: At
) -> Node:
    """Add the receipt of a decision, then the grant of what holds from now on."""
    receipt = Receipt(
        version=DOCUMENT_VERSION,
        node=state.node,
        number=state.number + 1,
        act=act,
        classes=classes,
        at_ms=at.now_ms,
        by=decision.by,
        credential=decision.credential,
        text_version=decision.text_version,
        reason=decision.reason,
        until_ms=decision.until_ms,
    )
    return _with_grant(_with_document(state, receipt, at), at)


def _with_grant(state: Node, at: At) -> Node:
    """Add the grant of what holds now, in place of one that is not signed yet; a preview ends.

    One document has one end and one oldest content: of several classes, those that let out least.
    """
    classes = in_force(state, at.now_ms)
    ends = [one for each in classes if (one := state.classes[each].until_ms)]
    grant = Grant(
        version=DOCUMENT_VERSION,
        node=state.node,
        number=state.number + 1,
        classes=classes,
        at_ms=at.now_ms,
        backfill_from_ms=max((state.classes[each].backfill_from_ms for each in classes), default=0),
        until_ms=min(ends, default=0),
    )
    receipts = tuple(one for one in state.unsigned if isinstance(one.document, Receipt))
    return _with_document(replace(state, unsigned=receipts, preview=None), grant, at)


def _with_document(state: Node, document: Grant | Receipt | Preview, at: At) -> Node:
    fresh = Unsigned(number=document.number, document=document, next_ms=at.now_ms)
    return replace(state, number=fresh.number, unsigned=(*state.unsigned, fresh))


def _sent(state: Node, event: events.DocumentSent, at: At) -> Verdict[Node]:
    known = unsigned(state, event.number)
    tries = 1 if known is None else known.tries + 1
    return _change(state, event.number, next_ms=at.now_ms + SIGN_ANSWER_MS, tries=tries)


def _not_signed(state: Node, event: events.SigningFailed, at: At) -> Verdict[Node]:
    known = unsigned(state, event.number)
    tries = 1 if known is None else known.tries
    wait_ms = _RETRY.delay_ms(tries, state.node, event.number)
    return _change(
        state,
        event.number,
        next_ms=at.now_ms + wait_ms,
        code=event.code,
        message=event.message,
    )


def _change(state: Node, number: int, **changes: Any) -> Verdict[Node]:
    if unsigned(state, number) is None:
        return Ignored("the document does not wait any more")
    rows = tuple(replace(one, **changes) if one.number == number else one for one in state.unsigned)
    return Applied(replace(state, unsigned=rows))


def _signed(state: Node, event: events.DocumentSigned, _at: At) -> Verdict[Node]:
    known = unsigned(state, event.number)
    if known is None:
        return Ignored("the document does not wait any more")
    left = tuple(one for one in state.unsigned if one.number != event.number)
    state = replace(state, unsigned=left)
    if isinstance(known.document, Grant):
        return Applied(replace(state, grant=event.document, grant_number=event.number))
    if isinstance(known.document, Preview):
        return Applied(replace(state, preview=Kept(event.number, event.document)))
    over, kept = _fitting((*state.receipts, Kept(event.number, event.document)))
    touched = (SELF, str(event.number), *(str(one.number) for one in over))
    return Applied(replace(state, receipts=kept), touched)


def _fitting(receipts: Sequence[Kept]) -> tuple[tuple[Kept, ...], tuple[Kept, ...]]:
    """Return the receipts that have no room, and those that are kept.

    The newest is kept. Of the others the oldest of previews go first: somebody who asks for samples
    all day displaces one decision.
    """
    excess = len(receipts) - RECEIPTS_MAX
    if excess <= 0:
        return (), tuple(receipts)
    ranked = sorted(receipts[:-1], key=lambda one: (not _is_of_preview(one), one.number))
    over = tuple(ranked[:excess])
    return over, tuple(one for one in receipts if one not in over)


def _is_of_preview(kept: Kept) -> bool:
    document = decode_document(from_base64url(kept.document.payload))
    return isinstance(document, Receipt) and document.act == "previewed"


def unsigned(state: Node, number: int) -> Unsigned | None:
    """Return the document of a number that waits to be signed."""
    return next((one for one in state.unsigned if one.number == number), None)


# --------------------------------------------------------------------------------- deletions


def _deletion_sent(state: Node, event: events.DeletionSent, at: At) -> Verdict[Node]:
    tries = state.deletions[0].tries + 1 if state.deletions else 1
    return _change_deletion(state, event.serial, next_ms=at.now_ms + DELETE_ANSWER_MS, tries=tries)


def _not_deleted(state: Node, event: events.DeletionFailed, at: At) -> Verdict[Node]:
    tries = state.deletions[0].tries if state.deletions else 1
    wait_ms = _RETRY.delay_ms(tries, state.node, event.serial)
    return _change_deletion(
        state,
        event.serial,
        next_ms=at.now_ms + wait_ms,
        code=event.code,
        message=event.message,
    )


def _change_deletion(state: Node, serial: int, **changes: Any) -> Verdict[Node]:
    first = state.deletions[:1]
    if not first or first[0].serial != serial:
        return Ignored("the deletion is over")
    return Applied(replace(state, deletions=(replace(first[0], **changes), *state.deletions[1:])))


def _deleted(state: Node, event: events.ContentDeleted, at: At) -> Verdict[Node]:
    first = state.deletions[:1]
    if not first or first[0].serial != event.serial:
        return Ignored("the deletion is over")
    done = first[0]
    receipt = Receipt(
        version=DOCUMENT_VERSION,
        node=state.node,
        number=state.number + 1,
        act="deleted",
        classes=done.classes,
        at_ms=at.now_ms,
        by=done.by,
        credential=done.credential,
        text_version=done.text_version,
        deleted={each: event.counts.get(each, 0) for each in done.classes},
    )
    return Applied(_with_document(replace(state, deletions=state.deletions[1:]), receipt, at))


_BEFORE: Final = frozenset({events.NodeRegistered, events.InstanceGone})
"""What may come to a node that never registered."""

_FOLDS: Final[dict[type, Callable[[Node, Any, At], Verdict[Node]]]] = {
    events.NodeRegistered: _registered,
    events.IntentShown: _intent,
    events.ConsentGranted: _granted,
    events.ConsentRevoked: _revoked,
    events.ConsentExpired: _expired,
    events.PreviewAsked: _previewed,
    events.NumberSeen: _number_seen,
    events.PlaneRestored: _restored,
    events.KeyReplaced: _key_replaced,
    events.InstanceGone: _gone,
    events.DocumentSent: _sent,
    events.DocumentSigned: _signed,
    events.SigningFailed: _not_signed,
    events.DeletionSent: _deletion_sent,
    events.ContentDeleted: _deleted,
    events.DeletionFailed: _not_deleted,
}

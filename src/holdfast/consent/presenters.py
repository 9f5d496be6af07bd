"""Wire messages of consent: nodes, receipts, history. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from holdfast.actors.ports import Logged
from holdfast.consent import events
from holdfast.consent.state import (
    Decision,
    Kept,
    Node,
    in_force,
    is_over,
    standing,
)
from holdfast.kernel.failure import brief
from holdfast.wire.api.consent import (
    ConsentClass,
    ConsentDetail,
    ConsentEntry,
    ConsentReceipt,
    ConsentState,
    NodeConsent,
)
from holdfast.wire.consent import (
    CLASS_TEXTS,
    CLASSES,
    TEXT_VERSION,
    ContentClass,
    Receipt,
    Standing,
    counted,
    decode_document,
    from_base64url,
)
from holdfast.wire.limits import REASON_MAX, TEXT_MAX
from holdfast.wire.times import time_text


def _time(at_ms: int) -> str | None:
    return time_text(at_ms) if at_ms else None


def summary(state: Node, now_ms: int, *, title: str = "") -> NodeConsent:
    """Return a node for a list; `title` is what people call it, empty for its own name."""
    now = standing(state, now_ms)
    return NodeConsent(
        id=state.node,
        account=state.account,
        name=state.name,
        instance=state.instance,
        source=state.source,
        state=_state(state, now),
        classes=tuple(each for each in CLASSES if each in now.classes),
        registered_at=time_text(state.registered_ms),
        looked_at=_time(state.viewed_ms),
        title=title or state.name,
    )


def _state(state: Node, now: Standing) -> ConsentState:
    if state.closed_ms:
        return "closed"
    if now.classes:
        return "sending"
    return "refused" if now.reason == "revoked" else "waiting"


def detail(state: Node, now_ms: int, *, title: str = "") -> ConsentDetail:
    """Return a node with its classes, and why nothing comes from it."""
    now = standing(state, now_ms)
    failures = [one.message for one in state.unsigned if one.message]
    failures += [one.message for one in state.deletions if one.message]
    return ConsentDetail(
        node=summary(state, now_ms, title=title),
        classes=tuple(_class(each, state.classes.get(each), now, now_ms) for each in CLASSES),
        why=tuple(text[:REASON_MAX] for text in why(state, now_ms)),
        text_version=TEXT_VERSION,
        number=state.number,
        grant_number=state.grant_number if state.grant is not None else 0,
        first_intent_at=_time(state.intent_ms),
        first_intent_by=state.intent_by[:TEXT_MAX],
        last_view_at=_time(state.viewed_ms),
        registered_by=state.registered_by[:TEXT_MAX],
        unsigned=len(state.unsigned),
        deleting=len(state.deletions),
        trouble=failures[0][:REASON_MAX] if failures else "",
    )


def _class(name: ContentClass, known: Decision | None, now: Standing, now_ms: int) -> ConsentClass:
    contains = CLASS_TEXTS[name]
    if known is None:
        return ConsentClass(name=name, contains=contains, status="pending", in_force=False)
    status = known.status
    if status == "granted" and is_over(known, now_ms):
        status = "expired"
    is_grant = known.status != "revoked"
    return ConsentClass(
        name=name,
        contains=contains,
        status=status,
        in_force=name in now.classes,
        at=time_text(known.at_ms),
        by=known.by[:TEXT_MAX],
        credential=known.credential[:TEXT_MAX],
        address=known.address[:TEXT_MAX],
        text_version=known.text_version[:TEXT_MAX],
        until=_time(known.until_ms),
        backfill_from=time_text(known.backfill_from_ms) if is_grant else None,
        reason=known.reason[:REASON_MAX],
    )


def why(state: Node, now_ms: int) -> Iterator[str]:
    """Yield why nothing, or not everything, comes from a node: one sentence a reason."""
    if state.closed_ms:
        yield "Its instance was destroyed: the node is closed and nothing can come from it."
        return
    now = standing(state, now_ms)
    allowed = in_force(state, now_ms)
    unsigned = [each for each in allowed if each not in now.classes]
    if unsigned:
        yield f"Granted, and not signed yet: {', '.join(unsigned)}. A gate opens by a signature."
    if state.restored_ms:
        yield (
            "This plane was restored from a backup, which is older than what the node may know, so"
            " everything was revoked. Grant it again."
        )
    pending = [each for each in CLASSES if each not in state.classes]
    if pending and state.waiting is None:
        yield f"Nobody has decided about: {', '.join(pending)}. Nothing of them may leave."
    revoked = [each for each, one in _decided(state) if one.status == "revoked"]
    if revoked:
        yield f"Revoked: {', '.join(revoked)}."
    over = [each for each in CLASSES if each in state.classes and each not in allowed]
    expired = [each for each in over if each not in revoked]
    if expired:
        yield f"Expired: {', '.join(expired)}."
    if state.waiting is not None:
        yield "A grant is being written."
    if now.classes:
        named = ", ".join(each for each in CLASSES if each in now.classes)
        yield f"In force: {named}. Where nothing arrives, the node has not sent any yet."


def _decided(state: Node) -> Iterator[tuple[ContentClass, Decision]]:
    for each in CLASSES:
        known = state.classes.get(each)
        if known is not None:
            yield each, known


def receipt(kept: Kept) -> ConsentReceipt | None:
    """Return a signed receipt with what it says; None for one that cannot be read."""
    try:
        said = decode_document(from_base64url(kept.document.payload))
    except (ValueError, msgspec.MsgspecError):
        return None
    if not isinstance(said, Receipt):
        return None
    return ConsentReceipt(
        number=said.number,
        act=said.act,
        classes=said.classes,
        at=time_text(said.at_ms),
        by=said.by,
        credential=said.credential,
        reason=said.reason,
        until=_time(said.until_ms),
        deleted=said.deleted,
        text_version=said.text_version,
        document=kept.document,
    )


def history(rows: Iterable[Logged]) -> list[ConsentEntry]:
    """Return what happened, in the order of the rows; with what was refused, without retries."""
    entries: list[ConsentEntry] = []
    for row in rows:
        if row.outcome not in {"applied", "refused"}:
            continue
        try:
            entry = _entry(row, events.decode_event(row.body, row.version))
        except ValueError as error:
            text = f"its stored event is damaged: {brief(error)}"[:REASON_MAX]
            entry = ConsentEntry(
                event=row.id, at=time_text(row.at_ms), what="damaged", message=text
            )
        if entry is not None:
            entries.append(entry)
    return entries


def _entry(row: Logged, event: events.Event) -> ConsentEntry | None:
    refused = row.message[:REASON_MAX] if row.outcome == "refused" else ""
    shown = ConsentEntry(event=row.id, at=time_text(row.at_ms), what="closed", refused=refused)
    change = msgspec.structs.replace
    match event:
        case events.NodeRegistered(by=by, credential=credential, name=name):
            return change(
                shown, what="registered", by=by, credential=credential, message=f"as {name}"
            )
        case events.IntentShown() | events.PreviewAsked():
            return change(
                shown,
                what="intent" if isinstance(event, events.IntentShown) else "previewed",
                by=event.by,
                credential=event.credential,
                address=event.address,
            )
        case events.ConsentGranted() | events.ConsentRevoked():
            return change(
                shown,
                what="granted" if isinstance(event, events.ConsentGranted) else "revoked",
                classes=event.classes,
                by=event.by,
                credential=event.credential,
                address=event.address,
                message=event.reason,
            )
        case events.ConsentExpired(classes=classes):
            return change(shown, what="expired", classes=classes, by="plane")
        case events.ContentDeleted(counts=counts):
            said = counted(counts) or "nothing was stored"
            return change(shown, what="deleted", by="plane", message=said)
        case events.NumberSeen(number=number):
            return change(shown, what="number", message=f"the node has seen document {number}")
        case events.PlaneRestored():
            return change(
                shown, what="restored", by="plane", message="the plane was restored from a backup"
            )
        case events.KeyReplaced(key=key):
            return change(
                shown,
                what="renewed",
                by="plane",
                message=f"signed anew with key {key}"[:REASON_MAX],
            )
        case events.InstanceGone():
            return shown
        case _:
            return None

"""The state of a node's consent: the last decision on each class, and the documents about it.

A class that has no decision is pending, and nothing of it may leave. Times are ms since the epoch.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from holdfast.wire.consent import (
    CLASSES,
    UNKNOWN,
    ContentClass,
    Grant,
    Preview,
    Receipt,
    SignedDocument,
    Standing,
    decode_document,
    from_base64url,
    is_persons,
)

Status: TypeAlias = Literal["granted", "revoked", "expired"]
NodeSource: TypeAlias = Literal["auto", "person"]
"""How a node came: registered by a program, or connected by a person."""

STATE_VERSION = 1


class Decision(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The last decision about one class: who, when, with which credential, from where.

    `number` is that of its receipt: a grant document that knows of the decision has a higher one.
    `until_ms` is when a grant ends, 0 for never; `backfill_from_ms` the oldest content that it
    lets out, 0 for everything. `text_version` is that of the consent text that was shown.
    """

    status: Status
    at_ms: int
    by: str
    credential: str
    number: int = 0
    address: str = ""
    text_version: str = ""
    until_ms: int = 0
    backfill_from_ms: int = 0
    reason: str = ""


class Waiting(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A grant that an intent or a connection gives; the next plan writes it as an event."""

    classes: tuple[ContentClass, ...]
    by: str
    credential: str
    reason: str
    address: str = ""


class Unsigned(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A document to be signed: from `next_ms` on it is sent (again)."""

    number: int
    document: Grant | Receipt | Preview
    next_ms: int
    tries: int = 0
    code: str = ""
    message: str = ""


class Deletion(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Stored content to be deleted: from `next_ms` on it is asked for (again)."""

    serial: int
    classes: tuple[ContentClass, ...]
    by: str
    credential: str
    text_version: str
    next_ms: int
    tries: int = 0
    code: str = ""
    message: str = ""


class Kept(Struct, frozen=True, gc=False):
    """A signed document and its number."""

    number: int
    document: SignedDocument


class Node(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One node.

    `number` is the last that a document was given, `reported` the last number above it that the
    node named. `grant` is the signed document that a gate accepts. `serial` counts deletions.
    `restored_ms` is when everything was revoked because the plane was restored from a backup, 0
    once somebody granted since. `closed_ms` is when the node's instance was destroyed, 0 while it
    lives. `preview` is the last signed one, None once a grant is written after it, for a decision
    about a class or for another key; the next may be asked for from `preview_until_ms` on.
    """

    node: str
    account: str = ""
    name: str = ""
    instance: str = ""
    source: NodeSource = "auto"
    registered_ms: int = 0
    registered_by: str = ""
    credential: str = ""
    number: int = 0
    reported: int = 0
    serial: int = 0
    intent_ms: int = 0
    intent_by: str = ""
    intent_event: str = ""
    viewed_ms: int = 0
    classes: dict[ContentClass, Decision] = {}
    waiting: Waiting | None = None
    unsigned: tuple[Unsigned, ...] = ()
    deletions: tuple[Deletion, ...] = ()
    grant_number: int = 0
    grant: SignedDocument | None = None
    receipts: tuple[Kept, ...] = ()
    restored_ms: int = 0
    closed_ms: int = 0
    preview: Kept | None = None
    preview_until_ms: int = 0


def empty(node: str) -> Node:
    """Return the state before the first event."""
    return Node(node=node)


def is_registered(state: Node) -> bool:
    """Return whether the node ever registered."""
    return state.registered_ms > 0


def granted(state: Node) -> tuple[ContentClass, ...]:
    """Return the classes whose last decision is a grant, expired or not, in their order."""
    return tuple(
        each
        for each in CLASSES
        if (known := state.classes.get(each)) is not None and known.status == "granted"
    )


def in_force(state: Node, now_ms: int) -> tuple[ContentClass, ...]:
    """Return the classes that are granted at a time."""
    return tuple(each for each in granted(state) if not is_over(state.classes[each], now_ms))


def is_over(decision: Decision, now_ms: int) -> bool:
    """Return whether a grant has ended; at `until_ms` itself it has."""
    return 0 < decision.until_ms <= now_ms


def may_grant(state: Node, credential: str) -> bool:
    """Return whether a credential can give consent: for an instance, not what its agent reads."""
    return not state.instance or is_persons(credential)


def is_outdated(state: Node, key: str) -> bool:
    """Return whether something is granted by a document that another key signed.

    Not where a newer grant waits for its signature: it replaces that document.
    """
    if state.grant is None or state.grant.key == key or not granted(state):
        return False
    return not any(isinstance(one.document, Grant) for one in state.unsigned)


def standing(state: Node, now_ms: int) -> Standing:
    """Return what holds for a node at a time.

    A class needs a signed grant as well that is newer than the decision: an older one may name the
    class with another end or oldest content.
    """
    if not is_registered(state):
        return UNKNOWN
    signed = signed_grant(state)
    named = () if signed is None else signed.classes
    is_signed_over = signed is None or 0 < signed.until_ms <= now_ms
    classes = frozenset[ContentClass]() if is_signed_over else frozenset(named)
    classes &= frozenset(
        each for each in in_force(state, now_ms) if state.classes[each].number < state.grant_number
    )
    preview = state.preview if now_ms < state.preview_until_ms and not state.closed_ms else None
    return Standing(
        registered=True,
        account=state.account,
        classes=classes,
        reason=_reason(state, classes, now_ms),
        grant=state.grant,
        number=state.number,
        intent_ms=state.intent_ms or None,
        preview=None if preview is None else preview.document,
        preview_number=0 if preview is None else preview.number,
    )


def _reason(
    state: Node, classes: frozenset[ContentClass], now_ms: int
) -> Literal["intent_pending", "intent_started", "revoked"]:
    """Return the reason for clients: a grant that is not signed yet still waits."""
    if classes:
        return "intent_started"
    return "revoked" if state.classes and not in_force(state, now_ms) else "intent_pending"


def signed_grant(state: Node) -> Grant | None:
    """Return the grant inside the signed document, None without one."""
    if state.grant is None:
        return None
    document = decode_document(from_base64url(state.grant.payload))
    return document if isinstance(document, Grant) else None


_encode = msgspec.json.Encoder(order="deterministic").encode
_decoder = msgspec.json.Decoder(Node)
_kept_decoder = msgspec.json.Decoder(Kept)


def encode_state(state: Node) -> bytes:
    """Return the state as JSON, the same bytes for the same state."""
    return _encode(state)


def encode_row(state: Node) -> bytes:
    """Return the state without its receipts: the node's own row, and its digest."""
    return _encode(replace(state, receipts=()))


def encode_kept(kept: Kept) -> bytes:
    """Return a signed receipt as JSON."""
    return _encode(kept)


def decode_state(body: bytes, version: int) -> Node:
    """Return a stored state, or a row's; raise ValueError for an unknown version."""
    if version > STATE_VERSION:
        message = f"state of a node of version {version}; this code knows {STATE_VERSION}"
        raise ValueError(message)
    return _decoder.decode(body)


def decode_kept(body: bytes) -> Kept:
    """Return a stored receipt; raise msgspec.MsgspecError for a damaged one."""
    return _kept_decoder.decode(body)

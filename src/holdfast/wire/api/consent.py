"""Endpoints about nodes and their consent: who may send what, since when, and the proof of it.

A node is an instance's machine, or a machine elsewhere that registered. Nothing of a class leaves
it before its owner granted that class. A decision answers 200 once it is in force on the plane; its
signed documents follow within a second. 404 is a node that does not exist or is not visible.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from holdfast.wire.api.browser_keys import PublicKey
from holdfast.wire.api.endpoint import (
    ACCOUNT,
    PAGING,
    Counter,
    Cursor,
    Id,
    Label,
    Param,
    Reason,
    Time,
    look,
    order,
)
from holdfast.wire.api.operations import followed
from holdfast.wire.consent import CLASSES, ContentClass, SignedDocument
from holdfast.wire.limits import PAGE_ITEMS_MAX, RECEIPTS_MAX, SUCCESSORS_MAX, TEXT_MAX

BACKFILL_DAYS_MAX: Final = 3_650
GRANT_DAYS_MAX: Final = 3_650

ClassList = Annotated[tuple[ContentClass, ...], Meta(min_length=1, max_length=len(CLASSES))]
AnyClasses = Annotated[tuple[ContentClass, ...], Meta(max_length=len(CLASSES))]
ClassStatus = Literal["pending", "granted", "revoked", "expired"]
ConsentState = Literal["waiting", "sending", "refused", "closed"]
"""`waiting`: nobody said yes, or the signature is under way. `sending`: something may leave.
`refused`: it was said no, or all has expired. `closed`: its instance was destroyed."""
Days = Annotated[int, Meta(ge=1, le=GRANT_DAYS_MAX)]


class ConsentClass(Struct, frozen=True, kw_only=True):
    """One class of content of a node: what it contains, and the last decision about it.

    `in_force` says whether it may leave the node now: it is granted, and the grant is signed.
    """

    name: ContentClass
    contains: Reason
    status: ClassStatus
    in_force: bool
    at: Time | None = None
    by: Label = ""
    credential: Label = ""
    address: Label = ""
    text_version: Label = ""
    until: Time | None = None
    backfill_from: Time | None = None
    reason: Reason = ""


class NodeConsent(Struct, frozen=True, kw_only=True):
    """A node in a list; `classes` are those in force.

    `title` is what people call it: the name of its instance, or its own.
    """

    id: Id
    account: Label
    name: Label
    instance: Label
    source: Literal["auto", "person"]
    state: ConsentState
    classes: AnyClasses
    registered_at: Time
    looked_at: Time | None = None
    title: Label = ""


class ConsentList(Struct, frozen=True, kw_only=True):
    """Nodes by id. The counts are of all visible nodes, whatever the page.

    `looked_at` counts nodes that somebody ever asked to see, `granted` those with any class
    granted.
    """

    items: Annotated[tuple[NodeConsent, ...], Meta(max_length=PAGE_ITEMS_MAX)]
    total: Counter
    looked_at: Counter
    granted: Counter
    next: Cursor = ""


class ConsentDetail(Struct, frozen=True, kw_only=True):
    """A node, each class, and why nothing, or not everything, comes from it.

    `text_version` is that of the texts in `classes`: a grant names it. `number` is the last that a
    document was given, `grant_number` that of the signed grant in force. `unsigned` and `deleting`
    count documents and deletions under way; `trouble` is why one of them failed last.
    """

    node: NodeConsent
    classes: Annotated[tuple[ConsentClass, ...], Meta(max_length=len(CLASSES))]
    why: Annotated[tuple[Reason, ...], Meta(max_length=16)]
    text_version: Label
    number: Counter
    grant_number: Counter
    first_intent_at: Time | None = None
    first_intent_by: Label = ""
    last_view_at: Time | None = None
    registered_by: Label = ""
    unsigned: Counter = 0
    deleting: Counter = 0
    trouble: Reason = ""


class ConsentGrant(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Let classes out of a node from now on.

    `days` is for how long, without it until revoked. `backfill` is what may be sent of the time
    before now: nothing, everything, or the last `backfill_days` days. `text_version` names the
    text that was shown; another than the present one is refused, so that nobody agrees to what
    they did not read.
    """

    classes: ClassList
    days: Days | None = None
    backfill: Literal["nothing", "days", "everything"] = "nothing"
    backfill_days: Annotated[int, Meta(ge=1, le=BACKFILL_DAYS_MAX)] | None = None
    text_version: Annotated[str, Meta(min_length=1, max_length=TEXT_MAX)]


class ConsentRevoke(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Let classes out no longer; with `delete`, also delete what is stored of them."""

    classes: ClassList
    delete: bool = False
    reason: Reason = ""


class ConsentIntent(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody wants to see what the node does.

    The first time grants `classes`, and never one that was decided before: none where the list is
    empty, and all but files where it is not given. What is older than the grant is not let out.
    """

    classes: AnyClasses | None = None


class PreviewAsk(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Let samples of a node out once, sealed to the key of the page that asks.

    What the page opens with that key is sealed as all content is: a browser reads it that holds the
    node's content key.
    """

    public_key: PublicKey


class IntentTaken(Struct, frozen=True, kw_only=True):
    """The intent was taken; `already_started` says that there was an earlier one."""

    already_started: bool
    node: ConsentDetail


class ConsentReceipt(Struct, frozen=True, kw_only=True):
    """A signed receipt, with what it says; `document` is what `holdfast consent verify` checks."""

    number: Counter
    act: Literal["granted", "revoked", "deleted", "previewed"]
    classes: AnyClasses
    at: Time
    by: Label
    credential: Label
    reason: Reason = ""
    until: Time | None = None
    deleted: Annotated[dict[ContentClass, Counter], Meta(max_length=len(CLASSES))] = {}
    text_version: Label = ""
    document: SignedDocument


class ReceiptList(Struct, frozen=True, kw_only=True):
    """Receipts of a node, newest first."""

    items: Annotated[tuple[ConsentReceipt, ...], Meta(max_length=PAGE_ITEMS_MAX)]
    next: Cursor = ""


class SigningKey(Struct, frozen=True, kw_only=True):
    """A public key of the plane, Ed25519 as base64url, and when it was made."""

    id: Label
    public_key: Label
    created_at: Time


class SigningKeys(Struct, frozen=True, kw_only=True):
    """Every public key, the oldest first: the last one signs.

    `successors` are signed documents in which each key names the next.
    """

    keys: Annotated[tuple[SigningKey, ...], Meta(max_length=SUCCESSORS_MAX + 1)]
    successors: Annotated[tuple[SignedDocument, ...], Meta(max_length=SUCCESSORS_MAX)] = ()


class ReceiptBundle(Struct, frozen=True, kw_only=True):
    """A node's receipts for keeping: with its grant in force, and the keys that verify them.

    Whoever verifies it takes the keys from somewhere else than this file, or trusts who gave it.
    """

    node: Id
    name: Label
    account: Label
    exported_at: Time
    receipts: Annotated[tuple[SignedDocument, ...], Meta(max_length=RECEIPTS_MAX)]
    signing: SigningKeys
    grant: SignedDocument | None = None


class ConsentEntry(Struct, frozen=True, kw_only=True):
    """One entry of a node's history. `refused` is why it was not allowed, empty where it was."""

    event: Id
    at: Time
    what: Literal[
        "registered",
        "intent",
        "granted",
        "revoked",
        "previewed",
        "expired",
        "deleted",
        "number",
        "restored",
        "renewed",
        "closed",
        "damaged",
    ]
    classes: AnyClasses = ()
    by: Label = ""
    credential: Label = ""
    address: Label = ""
    message: Reason = ""
    refused: Reason = ""


class ConsentHistory(Struct, frozen=True, kw_only=True):
    """What happened to a node's consent, newest first."""

    entries: Annotated[tuple[ConsentEntry, ...], Meta(max_length=PAGE_ITEMS_MAX)]
    next: Cursor = ""


class KeyRotate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Replace the signing key by a new one that the present one signs: `{}`."""


_ONE: Final = "/api/consent/nodes/{id}"

CONSENT: Final = (
    look(
        "consent.list", "/api/consent/nodes", ConsentList,
        "Machines that registered to send content, and whether anything may leave them.",
        *PAGING, ACCOUNT,
        Param("instance", r"[A-Za-z0-9][A-Za-z0-9_.:@-]{0,127}", "Only this instance's node."),
    ),
    look(
        "consent.get", _ONE, ConsentDetail,
        "A node: each class of content, who decided about it, and why nothing comes from it.",
    ),
    followed(
        "consent.grant", f"{_ONE}/grant", ConsentGrant, ConsentDetail,
        "Let classes of content out of a node.",
    ),
    followed(
        "consent.revoke", f"{_ONE}/revoke", ConsentRevoke, ConsentDetail,
        "Let classes of content out no longer, and delete what is stored of them if asked to.",
    ),
    followed(
        "consent.intent", f"{_ONE}/intent", ConsentIntent, IntentTaken,
        "Say that somebody wants to see what a node does; the first time may grant classes.",
    ),
    followed(
        "consent.preview", f"{_ONE}/preview", PreviewAsk, ConsentDetail,
        "Let samples of what a node would send out once, in the next minute, for one page.",
    ),
    look(
        "consent.receipts", f"{_ONE}/receipts", ReceiptList,
        "Signed receipts of a node, newest first.", *PAGING,
    ),
    look(
        "consent.export", f"{_ONE}/receipts/export", ReceiptBundle,
        "Every receipt of a node with the keys that verify them, for keeping.",
    ),
    look(
        "consent.history", f"{_ONE}/history", ConsentHistory,
        "What happened to a node's consent, with what was refused, newest first.", *PAGING,
    ),
    look(
        "consent.keys", "/api/consent/keys", SigningKeys,
        "The public keys that verify grants and receipts of this plane.", scope="public",
    ),
    order(
        "consent.rotate-key", "/api/consent/keys/rotate", KeyRotate, SigningKeys,
        "Replace the signing key by a new one that the present one signs.", scope="operator",
    ),
)  # fmt: skip

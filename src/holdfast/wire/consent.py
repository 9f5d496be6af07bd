"""Consent as it crosses the network: classes of content, and documents that the plane signs.

A signed document carries the exact bytes that were signed, so no canonical form of JSON is needed.
The signature is Ed25519 over `SIGNED_PREFIX` and the payload. Whoever reads one decodes the payload
only after the signature was verified. Pure: signing and verifying are the callers'.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

from holdfast.wire.limits import COUNTER_MAX, REASON_MAX, TEXT_MAX

ContentClass: TypeAlias = Literal["counters", "metadata", "transcripts", "logs", "memory", "files"]
"""What may leave a node, each with a consent of its own.

`counters`: numbers of sessions, tool calls, tokens and cost by model and day. `metadata`: titles,
channels, models, times. `transcripts`: what was said and done in sessions. `logs`: the agent's log
lines. `memory`: its memory files. `files`: other files of its workspace.
"""

CLASSES: Final[tuple[ContentClass, ...]] = (
    "counters", "metadata", "transcripts", "logs", "memory", "files"
)  # fmt: skip
INTENT_CLASSES: Final[tuple[ContentClass, ...]] = CLASSES[:-1]
"""What a bare intent of an existing client grants: all that its text names, so not files."""

TEXT_VERSION: Final = "2026-11"
"""The version of `CLASS_TEXTS`; a grant names the one that its giver was shown."""

CLASS_TEXTS: Final[dict[ContentClass, str]] = {
    "counters": "Numbers only: sessions, tool calls, tokens and cost, by model and day.",
    "metadata": "Titles of sessions, channels, models and times. No word of what was said.",
    "transcripts": "What was said and done in sessions, turn by turn, with tool calls and answers.",
    "logs": "The agent's log lines. They may quote what was said.",
    "memory": "The agent's memory files, whole, each time they change.",
    "files": "Other files of the agent's workspace.",
}
"""What each class contains, as its owner is told before saying yes."""

PERSONS_CREDENTIALS: Final = frozenset({"session", "token", "controller"})
"""Kinds of credentials that no agent can read: the word before the first colon.

`controller` is the controller's own route, which authenticates its caller. Every other kind counts
as one that the agent of an instance may have read, so a new kind grants nothing until it is named
here.
"""

SIGNED_PREFIX: Final = b"holdfast consent 1\n"
"""Precedes the payload in what is signed: a signature is valid for nothing else."""
DOCUMENT_VERSION: Final = 1
PREVIEW_MS: Final = 60_000
"""How long samples may leave a node after somebody asked for them."""
_NODE_DIGITS: Final = 20
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]*")

_Classes = Annotated[tuple[ContentClass, ...], Meta(max_length=len(CLASSES))]
_Number = Annotated[int, Meta(ge=1, le=COUNTER_MAX)]
_Ms = Annotated[int, Meta(ge=0, le=COUNTER_MAX)]
_Label = Annotated[str, Meta(max_length=TEXT_MAX)]
_Reason = Annotated[str, Meta(max_length=REASON_MAX)]
_Counts = Annotated[dict[ContentClass, _Ms], Meta(max_length=len(CLASSES))]
_Signed = Annotated[str, Meta(max_length=8_192, pattern=r"^[A-Za-z0-9_-]*$")]
"""Base64url without padding."""


class Grant(Struct, frozen=True, kw_only=True, tag="grant"):
    """What a node may send from now on, whole: a class that is not named is refused.

    `number` grows by one with each document of the node; a gate accepts only a higher one than
    the last it has seen. `node` is the plane's id of the node. `until_ms` is when all of it ends,
    0 for never; `backfill_from_ms` is the oldest content that may be sent, 0 for everything.
    Times are ms since the epoch by the plane's clock.
    """

    version: Literal[1]
    node: _Label
    number: _Number
    classes: _Classes
    at_ms: _Ms
    backfill_from_ms: _Ms
    until_ms: _Ms = 0


class Receipt(Struct, frozen=True, kw_only=True, tag="receipt"):
    """What was decided or done, for the owner: who, when, with which credential, to which text.

    `deleted` counts rows by class for an act `deleted`. `number` is of the same series as grants.
    `text_version` names the consent text that was shown, empty where the caller named none: with
    an intent, a connection or a revocation.
    """

    version: Literal[1]
    node: _Label
    number: _Number
    act: Literal["granted", "revoked", "deleted", "previewed"]
    classes: _Classes
    at_ms: _Ms
    by: _Label
    credential: _Label
    text_version: _Label
    reason: _Reason = ""
    until_ms: _Ms = 0
    deleted: _Counts = msgspec.field(default_factory=dict[ContentClass, int])


class Successor(Struct, frozen=True, kw_only=True, tag="successor"):
    """The plane's next public key, signed with the present one: rotation keeps nodes' pins."""

    version: Literal[1]
    public_key: _Signed
    at_ms: _Ms


class Preview(Struct, frozen=True, kw_only=True, tag="preview"):
    """Samples of what a node would send may leave it once, for one page.

    `number` is of the same series as grants. `public_key` is the page's, P-256 as base64url: the
    samples are sealed to it, around the seal that all content has. It ends `PREVIEW_MS` after
    `at_ms`, at `until_ms`.
    """

    version: Literal[1]
    node: _Label
    number: _Number
    public_key: _Signed
    at_ms: _Ms
    until_ms: _Ms


Document: TypeAlias = Grant | Receipt | Successor | Preview


class SignedDocument(Struct, frozen=True, kw_only=True):
    """A document's bytes, the id of the key that signed them, and the signature; base64url."""

    payload: _Signed
    key: _Label
    signature: _Signed


_encode = msgspec.json.Encoder(order="deterministic").encode
_decoder: msgspec.json.Decoder[Document] = msgspec.json.Decoder(Document)


def encode_document(document: Document) -> bytes:
    """Return the payload of a document."""
    return _encode(document)


def decode_document(payload: bytes) -> Document:
    """Return a verified payload's document; raise msgspec.DecodeError or ValidationError."""
    return _decoder.decode(payload)


def signed_bytes(payload: bytes) -> bytes:
    """Return what a signature is made over."""
    return SIGNED_PREFIX + payload


def to_base64url(raw: bytes) -> str:
    """Return bytes as the text of a signed document's fields."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def from_base64url(text: str) -> bytes:
    """Return the bytes of such a text; raise ValueError for any other."""
    if not _BASE64URL.fullmatch(text):
        raise ValueError("want base64url without padding")
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as error:
        raise ValueError("want base64url without padding") from error


class Standing(Struct, frozen=True, kw_only=True):
    """What the plane's committed rows say of a node: the answer of `Consents.standing`.

    `classes` are in force now: granted, not expired, and named by the signed `grant`. With
    `reason` `unknown` there is no such node. `number` is the last that a document of the node was
    given. `intent_ms` is when somebody first asked to see the node, None while nobody has.
    `preview` is a signed one that is not over, and `preview_number` its number.
    """

    registered: bool
    account: str
    classes: frozenset[ContentClass]
    reason: Literal["intent_pending", "intent_started", "revoked", "unknown"]
    grant: SignedDocument | None
    number: int
    intent_ms: int | None
    preview: SignedDocument | None = None
    preview_number: int = 0


UNKNOWN: Final = Standing(
    registered=False, account="", classes=frozenset(), reason="unknown", grant=None, number=0,
    intent_ms=None,
)  # fmt: skip
"""Of a node that is not known: no class."""


def node_of_name(account: str, name: str) -> str:
    """Return the id of a node that a client named; raise ValueError for a malformed name."""
    return _node_id(account, _checked(name))


def node_of_instance(account: str, instance: str) -> str:
    """Return the id of an instance's node, which no name of a client can have."""
    return _node_id(account, f"\0{_checked(instance)}")


def _checked(name: str) -> str:
    if not 0 < len(name) <= TEXT_MAX or "\0" in name:
        raise ValueError(f"name: want 1 to {TEXT_MAX} characters without a zero")
    return name


def _node_id(account: str, key: str) -> str:
    digest = hashlib.sha256(f"{account}\0{key}".encode()).hexdigest()
    return f"nd_{digest[:_NODE_DIGITS]}"


def counted(deleted: Mapping[ContentClass, int]) -> str:
    """Return how many rows of each class were deleted, as people read it."""
    return ", ".join(f"{count:,} of {each}" for each, count in sorted(deleted.items()))


def is_persons(credential: str) -> bool:
    """Return whether no agent can have read a credential, by its kind."""
    return credential.partition(":")[0] in PERSONS_CREDENTIALS

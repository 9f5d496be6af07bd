"""Events of a node's consent: requests of people and clients, intents, and outcomes.

They name classes, people, credentials and numbers, and never content. A request whose credential
the agent of an instance may have read cannot give consent; the fold decides that.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec
from msgspec import Struct

from holdfast.consent.state import NodeSource
from holdfast.wire.consent import ContentClass, SignedDocument

EVENT_VERSION = 1


class NodeRegistered(Struct, frozen=True, kw_only=True, tag="NodeRegistered", gc=False):
    """A node made itself known; where a person connected it, that is a grant as well."""

    account: str
    name: str
    by: str
    credential: str
    instance: str = ""
    source: NodeSource = "auto"


class IntentShown(Struct, frozen=True, kw_only=True, tag="ConsentIntentShown", gc=False):
    """Somebody asked to see what the node does; the first time grants `classes`."""

    by: str
    credential: str
    classes: tuple[ContentClass, ...] = ()
    address: str = ""


class ConsentGranted(Struct, frozen=True, kw_only=True, tag="ConsentGranted", gc=False):
    """Classes are granted: by a person, or as the intent of what a person began."""

    classes: tuple[ContentClass, ...]
    by: str
    credential: str
    until_ms: int = 0
    backfill_from_ms: int = 0
    text_version: str = ""
    address: str = ""
    reason: str = ""


class ConsentRevoked(Struct, frozen=True, kw_only=True, tag="ConsentRevoked", gc=False):
    """Classes are refused from now on; with `delete`, what was stored of them is deleted."""

    classes: tuple[ContentClass, ...]
    by: str
    credential: str
    delete: bool = False
    text_version: str = ""
    address: str = ""
    reason: str = ""


class PreviewAsked(Struct, frozen=True, kw_only=True, tag="ConsentPreviewAsked", gc=False):
    """Somebody asks for samples, sealed to the public key of their page."""

    by: str
    credential: str
    public_key: str
    address: str = ""


class NumberSeen(Struct, frozen=True, tag="ConsentNumberSeen", gc=False):
    """The node names a document number above the last one here: what it knows is newer."""

    number: int


class PlaneRestored(Struct, frozen=True, tag="ConsentPlaneRestored", gc=False):
    """The plane was restored from a backup: what was decided since is not known."""


class KeyReplaced(Struct, frozen=True, tag="ConsentKeyReplaced", gc=False):
    """The plane signs with another key now: what is granted is signed anew, and opens no more.

    `key` is its id.
    """

    key: str


class InstanceGone(Struct, frozen=True, tag="ConsentInstanceGone", gc=False):
    """The instance whose node this is was destroyed; `account` owned it."""

    account: str


class ConsentExpired(Struct, frozen=True, tag="ConsentExpired", gc=False):
    """Intent: grants ended by themselves."""

    classes: tuple[ContentClass, ...]


class DocumentSent(Struct, frozen=True, tag="ConsentDocumentSent", gc=False):
    """Intent: a document is sent to be signed."""

    number: int


class DeletionSent(Struct, frozen=True, tag="ConsentDeletionSent", gc=False):
    """Intent: stored content is asked to be deleted."""

    serial: int


class DocumentSigned(Struct, frozen=True, tag="ConsentDocumentSigned", gc=False):
    """A document was signed."""

    number: int
    document: SignedDocument


class SigningFailed(Struct, frozen=True, tag="ConsentSigningFailed", gc=False):
    """A document was not signed; it is tried again."""

    number: int
    code: str
    message: str


class ContentDeleted(Struct, frozen=True, tag="ConsentContentDeleted", gc=False):
    """What was stored was deleted; `counts` are rows by class."""

    serial: int
    counts: dict[ContentClass, int]


class DeletionFailed(Struct, frozen=True, tag="ConsentDeletionFailed", gc=False):
    """A deletion failed, perhaps in the middle; it is tried again."""

    serial: int
    code: str
    message: str


Request: TypeAlias = (
    NodeRegistered
    | IntentShown
    | ConsentGranted
    | ConsentRevoked
    | PreviewAsked
    | NumberSeen
    | PlaneRestored
    | KeyReplaced
    | InstanceGone
)
Intent: TypeAlias = ConsentGranted | ConsentExpired | DocumentSent | DeletionSent
CallOutcome: TypeAlias = DocumentSigned | SigningFailed | ContentDeleted | DeletionFailed
Event: TypeAlias = Request | Intent | CallOutcome

_decoder = msgspec.json.Decoder(Event)
encode_event = msgspec.json.Encoder(order="deterministic").encode


def decode_event(body: bytes, _version: int) -> Event:
    """Return a stored event; there is one version so far, without upcasts."""
    event: Event = _decoder.decode(body)
    return event

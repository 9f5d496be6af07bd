"""What the gate decides: which answers change it, and which classes it lets through at a time.

Pure and total: any bytes are an answer, and what is malformed in one counts as absent. The only
thing that opens a class is a grant that names it, signed by the newest pinned key, for this node,
with a number above that of every such grant seen. A grant replaces the one before it as a whole, so
a revocation is a grant that names less. A later grant by a replaced key, such as a revocation that
was signed right before a rotation, takes away what it does not name, and opens nothing.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, NamedTuple, TypeVar

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Meta, Struct

from holdfast.machine.observer import limits
from holdfast.wire.consent import (
    PREVIEW_MS,
    ContentClass,
    Document,
    Grant,
    Preview,
    SignedDocument,
    Successor,
    decode_document,
    from_base64url,
    signed_bytes,
)
from holdfast.wire.limits import COUNTER_MAX, REASON_MAX, SUCCESSORS_MAX, TEXT_MAX

T = TypeVar("T")

_OK: Final = range(200, 300)
_KEY_BYTES: Final = 32

UNPINNED: Final = "no key of the plane is pinned"
ANOTHER_NODE: Final = "the plane's answer is about another node"
NO_GRANT: Final = "no grant"
EXPIRED: Final = "the grant has expired"
NOTHING_GRANTED: Final = "the owner allows nothing"
REPLACED_KEY: Final = "a grant is signed with a replaced key, which opens nothing"

_Ms = Annotated[int, Meta(ge=0, le=COUNTER_MAX)]


class Narrowing(Struct, frozen=True, kw_only=True):
    """What is left of a grant after later ones by replaced keys; `number` is that of the last."""

    number: _Ms
    classes: tuple[ContentClass, ...]
    backfill_from_ms: _Ms
    until_ms: _Ms


class GateState(Struct, frozen=True, kw_only=True):
    """All that the gate remembers.

    `keys` are public keys of the plane, in base64url: the one that was pinned, then its successors;
    only the last may open anything. `number` is the highest number of a grant by the newest key of
    its time, `narrowing` what replaced keys took away since, `preview_number` the highest number of
    a preview, which is taken once. `seen_ms` is the latest time of day
    known to have been, so that a clock set back prolongs nothing.
    """

    version: Literal[1] = 1
    node: Annotated[str, Meta(max_length=TEXT_MAX)] = ""
    keys: tuple[Annotated[str, Meta(max_length=64)], ...] = ()
    number: _Ms = 0
    preview_number: _Ms = 0
    grant: SignedDocument | None = None
    narrowing: Narrowing | None = None
    seen_ms: _Ms = 0

    @property
    def seen_number(self) -> int:
        """Return the highest number of a grant that was taken, by whichever key."""
        return max(self.number, 0 if self.narrowing is None else self.narrowing.number)

    @property
    def heard_number(self) -> int:
        """Return the highest number of any document that was taken.

        The plane has one series for all: what a restored one gives again has a number below it.
        """
        return max(self.seen_number, self.preview_number)


class Answer(NamedTuple):
    """What a server's answer says; what is absent or malformed has the value that opens nothing.

    `sync_allowed` is None where the server does not say. `node` is the plane's id of the node that
    it is about, empty where a server has none.
    """

    sync_allowed: bool | None = None
    reason: str = ""
    viewer_active: bool = False
    gzip: bool = False
    grant: SignedDocument | None = None
    successors: tuple[SignedDocument, ...] = ()
    node: str = ""
    preview: SignedDocument | None = None


class Taken(NamedTuple):
    """The state after an answer, and why a document in it was refused, empty if none was."""

    state: GateState
    refused: str


class Reading(NamedTuple):
    """A time of day and the steady clock, read together, in ms."""

    wall_ms: int
    steady_ms: float


class _Caps(Struct):
    blob_gzip: bool = False


_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_state: Final = msgspec.json.Decoder(GateState)
_encode: Final = msgspec.json.Encoder().encode


def read_fields(status: int, body: bytes) -> dict[str, msgspec.Raw] | None:
    """Return the undecoded fields of an answer; None unless it is a 2xx with a JSON object."""
    if status not in _OK or len(body) > limits.ANSWER_BYTES_MAX:
        return None
    try:
        return _fields.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def field(fields: dict[str, msgspec.Raw], name: str, kind: type[T] | Any, default: T) -> T:
    """Return one field of an answer, `default` if it is absent or of another type."""
    raw = fields.get(name)
    if raw is None:
        return default
    try:
        value: T = msgspec.json.decode(raw, type=kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return default
    return value


def _document(fields: dict[str, msgspec.Raw], name: str) -> SignedDocument | None:
    found: SignedDocument | None = field(fields, name, SignedDocument, None)
    return found


def read_answer(status: int, body: bytes) -> Answer | None:
    """Return what an answer says, each field by itself; None if it is no answer of a server."""
    fields = read_fields(status, body)
    if fields is None:
        return None
    none: list[msgspec.Raw] = []
    raws = field(fields, "keys", list[msgspec.Raw], none)
    signed = [_document({"key": raw}, "key") for raw in raws[:SUCCESSORS_MAX]]
    return Answer(
        sync_allowed=field(fields, "sync_allowed", bool | None, None),
        reason=field(fields, "reason", str, "")[:REASON_MAX],
        viewer_active=field(fields, "viewer_active", bool, default=False),
        gzip=field(fields, "caps", _Caps, _Caps()).blob_gzip,
        grant=_document(fields, "grant"),
        successors=tuple(document for document in signed if document is not None),
        node=field(fields, "node", str, ""),
        preview=_document(fields, "preview"),
    )


def take(state: GateState, answer: Answer, now_ms: int) -> Taken:
    """Return the state after an answer."""
    if not state.keys or not state.node:
        return Taken(state, UNPINNED if answer.grant else "")
    for successor in answer.successors:
        state = _succeeded(state, successor)
    if answer.grant is None or answer.grant == state.grant:
        return Taken(state, "")
    grant = verified(answer.grant, state.keys)
    refused = _refusal(state, grant)
    if refused or not isinstance(grant, Grant):
        return Taken(state, refused)
    if verified(answer.grant, state.keys[-1:]) is None:
        return _narrowed(state, grant)
    return Taken(
        msgspec.structs.replace(
            state,
            number=grant.number,
            grant=answer.grant,
            narrowing=None,
            # The plane's own clock said so: it was at least this late.
            seen_ms=max(grant.at_ms, min(state.seen_ms, now_ms)),
        ),
        "",
    )


class Asked(NamedTuple):
    """The state after an answer's preview, what it asks for, and why it was refused."""

    state: GateState
    preview: Preview | None = None
    refused: str = ""


def take_preview(state: GateState, signed: SignedDocument | None, now_ms: int) -> Asked:
    """Return the preview that an answer asks for: signed by the newest key, new, and in time.

    It opens no class. One that was taken is in answers until its minute is over, which is no
    refusal.
    """
    if signed is None:
        return Asked(state)
    found = verified(signed, state.keys[-1:])
    if not isinstance(found, Preview):
        return Asked(state, refused="a preview is not one that the plane's key signed")
    if found.node != state.node:
        return Asked(state, refused="a preview is for another node")
    if found.number == state.preview_number:
        return Asked(state)
    if found.number < state.heard_number:
        # Also where a grant was seen since: every decision ends the previews before it.
        text = f"a preview has number {found.number}, and {state.heard_number} was seen"
        return Asked(state, refused=text)
    if not found.at_ms < found.until_ms <= found.at_ms + PREVIEW_MS:
        return Asked(state, refused="a preview is of more than its minute")
    if now_ms >= found.until_ms:
        return Asked(state, refused="a preview is over")
    return Asked(msgspec.structs.replace(state, preview_number=found.number), found)


def _narrowed(state: GateState, grant: Grant) -> Taken:
    """Return the state less what a grant by a replaced key does not name."""
    before = standing_grant(state)
    if before is None:
        return Taken(state, REPLACED_KEY)
    refused = "" if set(grant.classes) <= set(before.classes) else REPLACED_KEY
    if grant.number <= state.seen_number:
        return Taken(state, refused)
    left = _less(before, grant)
    narrowing = Narrowing(
        number=grant.number,
        classes=left.classes,
        backfill_from_ms=left.backfill_from_ms,
        until_ms=left.until_ms,
    )
    return Taken(msgspec.structs.replace(state, narrowing=narrowing), refused)


def _less(grant: Grant, by: Grant | Narrowing) -> Grant:
    """Return what both let through."""
    ends = [at_ms for at_ms in (grant.until_ms, by.until_ms) if at_ms]
    return msgspec.structs.replace(
        grant,
        classes=tuple(content for content in grant.classes if content in by.classes),
        backfill_from_ms=max(grant.backfill_from_ms, by.backfill_from_ms),
        until_ms=min(ends, default=0),
    )


def _succeeded(state: GateState, signed: SignedDocument) -> GateState:
    successor = verified(signed, state.keys[-1:])
    if not isinstance(successor, Successor) or successor.public_key in state.keys:
        return state
    if public_key(successor.public_key) is None:
        return state
    keys = _trimmed((*state.keys, successor.public_key), state.grant)
    return msgspec.structs.replace(state, keys=keys)


def _trimmed(keys: tuple[str, ...], grant: SignedDocument | None) -> tuple[str, ...]:
    """Return the keys, one less beyond the bound: never the pinned one, nor that of the grant."""
    if len(keys) <= limits.KEYS_MAX:
        return keys
    oldest = next(key for key in keys[1:] if grant is None or verified(grant, (key,)) is None)
    return tuple(key for key in keys if key != oldest)


def _refusal(state: GateState, grant: Document | None) -> str:
    if grant is None:
        return "a grant is not signed with the plane's key"
    if not isinstance(grant, Grant):
        return f"a document that is no grant came as one: {type(grant).__name__}"
    if grant.node != state.node:
        return "a grant is for another node"
    if grant.number <= state.number:
        return f"a grant has number {grant.number}, and {state.number} was seen"
    return ""


def verified(signed: SignedDocument, keys: tuple[str, ...]) -> Document | None:
    """Return the document, if one of the keys signed it."""
    payload, signature = _bytes(signed.payload), _bytes(signed.signature)
    if payload is None or signature is None:
        return None
    message = signed_bytes(payload)
    if not any(_signed(key, message, signature) for key in keys):
        return None
    try:
        return decode_document(payload)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def _signed(key: str, message: bytes, signature: bytes) -> bool:
    known = public_key(key)
    if known is None:
        return False
    try:
        known.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def public_key(text: str) -> Ed25519PublicKey | None:
    """Return the Ed25519 key written as base64url, None if it is none."""
    raw = _bytes(text)
    if raw is None or len(raw) != _KEY_BYTES:
        return None
    return Ed25519PublicKey.from_public_bytes(raw)


def _bytes(text: str) -> bytes | None:
    try:
        return from_base64url(text)
    except ValueError:
        return None


def encode_state(state: GateState) -> bytes:
    """Return the state as it is kept in a file."""
    return _encode(state)


def decode_state(content: bytes) -> GateState:
    """Return a kept state; raise ValueError for anything but a state whose grant is signed."""
    try:
        state = _state.decode(content)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ValueError(f"not the gate's own text: {type(error).__name__}") from None
    if state.grant is not None and standing_grant(state) is None:
        raise ValueError("its grant is not one of this node that the plane signed")
    return state


def standing_grant(state: GateState) -> Grant | None:
    """Return what was granted last, less what was taken from it, whether it has expired or not."""
    if state.grant is None:
        return None
    grant = verified(state.grant, state.keys)
    if not isinstance(grant, Grant) or grant.node != state.node or grant.number != state.number:
        return None
    return grant if state.narrowing is None else _less(grant, state.narrowing)


def time_at(before: Reading, now: Reading) -> Reading:
    """Return the time that holds now: that of day, but never less than what has passed since.

    `before` is what this returned the last time. A clock that is set back does not move it.
    """
    passed_ms = int(max(now.steady_ms - before.steady_ms, 0))
    return Reading(max(now.wall_ms, before.wall_ms + passed_ms), now.steady_ms)


def closed_because(state: GateState, grant: Grant | None, at_ms: int) -> str:
    """Return why no class at all is open at `at_ms`, empty if one is."""
    if not state.keys or not state.node:
        return UNPINNED
    if grant is None:
        return NO_GRANT
    if grant.until_ms and at_ms >= grant.until_ms:
        return EXPIRED
    return "" if grant.classes else NOTHING_GRANTED


def open_classes(state: GateState, grant: Grant | None, at_ms: int) -> frozenset[ContentClass]:
    """Return the classes that are open at `at_ms`."""
    if grant is None or closed_because(state, grant, at_ms):
        return frozenset()
    return frozenset(grant.classes)

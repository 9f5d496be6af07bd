"""The key with which a plane signs documents of consent: Ed25519, in its keys folder.

Nodes pin its public half when they register. It is replaced by a successor that the present key
signs, so that a node which knows one key can follow to the next. Only the newest private key is
kept; of those before it, the public halves, so that older receipts can be verified. Losing the file
closes every gate that pinned it, so it is in the backup.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Struct

from holdfast.kernel.failure import brief
from holdfast.plane.key_folder import KeysError, refuse_loose, write_key
from holdfast.wire.consent import (
    DOCUMENT_VERSION,
    Document,
    SignedDocument,
    Successor,
    decode_document,
    encode_document,
    from_base64url,
    signed_bytes,
    to_base64url,
)
from holdfast.wire.limits import SUCCESSORS_MAX
from holdfast.wire.parsers import json_as

CONSENT_KEY_FILE: Final = "consent.key"
_ID_DIGITS: Final = 16


class PublicKey(Struct, frozen=True, forbid_unknown_fields=True):
    """A public key, base64url, and when it was made (ms since the epoch)."""

    public_key: str
    created_ms: int


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    """`seed` is the newest private key; `keys` are oldest first, with a successor between two."""

    version: int
    seed: str
    keys: tuple[PublicKey, ...]
    successors: tuple[SignedDocument, ...] = ()

    def __repr__(self) -> str:
        """Return a form without the key."""
        return f"_File({len(self.keys)} keys)"


class _Held(NamedTuple):
    """Both halves of the keys, replaced as one object."""

    private: Ed25519PrivateKey
    file: _File

    @property
    def public_key(self) -> str:
        """Return the public half of the key that signs."""
        return self.file.keys[-1].public_key


class ConsentKey:
    """The signing key; it prints as its id only. A rotation replaces all of it at once."""

    __slots__ = ("_held",)

    def __init__(self, file: _File) -> None:
        """Use the keys of a file; raise KeysError when they do not belong together."""
        try:
            private = Ed25519PrivateKey.from_private_bytes(from_base64url(file.seed))
        except ValueError:
            raise KeysError("the consent key: not a key; restore it from the backup") from None
        mine = private.public_key().public_bytes_raw()
        if not file.keys or file.keys[-1].public_key != to_base64url(mine):
            raise KeysError("the consent key: its halves differ; restore it from the backup")
        self._held = _Held(private, file)

    def __repr__(self) -> str:
        """Return a form without the key."""
        return f"ConsentKey({self.key_id})"

    @property
    def key_id(self) -> str:
        """Return the id of the key that signs."""
        return key_id(self.public_key)

    @property
    def public_key(self) -> str:
        """Return the public half of the key that signs, base64url."""
        return self._held.public_key

    @property
    def keys(self) -> tuple[PublicKey, ...]:
        """Return every public key, the oldest first; the last one signs."""
        return self._held.file.keys

    @property
    def successors(self) -> tuple[SignedDocument, ...]:
        """Return the documents in which each earlier key names the next, the oldest first."""
        return self._held.file.successors

    def sign(self, payload: bytes) -> SignedDocument:
        """Return the payload with its signature."""
        held = self._held  # once: a rotation may replace it in another thread
        signature = held.private.sign(signed_bytes(payload))
        return SignedDocument(
            payload=to_base64url(payload),
            key=key_id(held.public_key),
            signature=to_base64url(signature),
        )

    def follow(self, other: ConsentKey) -> None:
        """Use the keys of a file that was rotated on the disk."""
        self._held = other._held


def key_id(public_key: str) -> str:
    """Return the id of a public key: 16 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(from_base64url(public_key)).hexdigest()[:_ID_DIGITS]


def verify(document: SignedDocument, public_key: str) -> Document:
    """Return what a document says; raise ValueError where this key did not sign exactly that."""
    payload = from_base64url(document.payload)
    try:
        key = Ed25519PublicKey.from_public_bytes(from_base64url(public_key))
        key.verify(from_base64url(document.signature), signed_bytes(payload))
    except InvalidSignature:
        raise ValueError("the signature is not of this key over this document") from None
    if document.key != key_id(public_key):
        raise ValueError("the document names another key than the one that signed it")
    try:
        return decode_document(payload)
    except msgspec.MsgspecError as error:
        message = f"signed, and not a document that is known here: {brief(error)}"
        raise ValueError(message) from error


def read_consent_key(keys: Path) -> ConsentKey | None:
    """Return the key of a keys folder, None if the file is missing; KeysError if malformed."""
    path = keys / CONSENT_KEY_FILE
    try:
        refuse_loose(path)
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    return ConsentKey(_decode(raw, str(path)))


def read_or_make_consent_key(keys: Path, *, now_ms: int) -> ConsentKey:
    """Return the key of a keys folder, made if it is missing; raise KeysError if malformed."""
    known = read_consent_key(keys)
    return _write(keys, _fresh(now_ms)) if known is None else known


def rotate_consent_key(keys: Path, *, now_ms: int) -> ConsentKey:
    """Replace the key by one that the present key signs; durable when it returns."""
    present = read_consent_key(keys)
    if present is None:
        raise KeysError(f"{keys / CONSENT_KEY_FILE} is not there; the plane makes it at its start")
    if len(present.successors) >= SUCCESSORS_MAX:
        raise KeysError(
            f"{keys / CONSENT_KEY_FILE}: it was rotated {SUCCESSORS_MAX} times, and nodes follow no"
            " further. Move it away: the plane makes a new key at its next start, and nodes have to"
            " register again"
        )
    fresh = _fresh(now_ms)
    named = Successor(version=DOCUMENT_VERSION, public_key=fresh.keys[0].public_key, at_ms=now_ms)
    signed = present.sign(encode_document(named))
    file = _File(1, fresh.seed, (*present.keys, *fresh.keys), (*present.successors, signed))
    return _write(keys, file)


def make_consent_key(seed: bytes, *, now_ms: int) -> ConsentKey:
    """Return the key of a seed of 32 bytes, which is on no disk."""
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    return ConsentKey(_File(1, to_base64url(seed), (PublicKey(to_base64url(public), now_ms),)))


def key_ids(raw: bytes) -> tuple[str, ...]:
    """Return the ids of the keys in a file's content, the oldest first; raise KeysError."""
    return tuple(key_id(one.public_key) for one in _decode(raw, CONSENT_KEY_FILE).keys)


def _fresh(now_ms: int) -> _File:
    private = Ed25519PrivateKey.generate()
    public = to_base64url(private.public_key().public_bytes_raw())
    return _File(1, to_base64url(private.private_bytes_raw()), (PublicKey(public, now_ms),))


def _write(keys: Path, file: _File) -> ConsentKey:
    key = ConsentKey(file)
    write_key(keys / CONSENT_KEY_FILE, msgspec.json.format(msgspec.json.encode(file)))
    return key


def _decode(raw: bytes, path: str) -> _File:
    try:
        return json_as(_File, raw)
    except msgspec.MsgspecError:
        raise KeysError(f"{path}: not a consent key; restore it from the backup") from None


def trusted_keys(known: Iterable[str], successors: Iterable[SignedDocument]) -> dict[str, str]:
    """Return public keys by id: those known, and those that a trusted one names as its successor.

    `successors` are oldest first; one that no trusted key signed is left out.
    """
    found = {key_id(public): public for public in known}
    for document in successors:
        signer = found.get(document.key)
        if signer is None:
            continue
        said = verify(document, signer)
        if isinstance(said, Successor):
            found[key_id(said.public_key)] = said.public_key
    return found

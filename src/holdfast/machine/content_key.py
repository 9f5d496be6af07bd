"""The key that a node's content is sealed with, and how it is sealed to a browser of the owner.

ECDH on P-256 with a passing key pair, HKDF-SHA256 and AES-256-GCM: what WebCrypto has in every
browser. The text is base64url of the passing point, a nonce of 12 bytes, and ciphertext with tag.
The same is in `web/static/browser_keys.js`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDH,
    SECP256R1,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from holdfast.wire.browser_keys import (
    CONTENT_KEY,
    KEY_ID_DIGITS,
    KeyFormError,
    fingerprint_of,
    point_of,
    read_fingerprint,
)
from holdfast.wire.consent import to_base64url

_KEY_SIZES: Final = (16, 24, 32)
_OPENED_BY_BROWSERS: Final = (16, 32)
"""Chromium has no AES with 24 bytes."""
_NONCE_BYTES: Final = 12
_SEAL_BYTES: Final = 32
_ID_OF: Final = b"holdfast content key id 1"
_ID_BYTES: Final = (KEY_ID_DIGITS + 1) // 2


class EnrolError(ValueError):
    """A browser cannot be enrolled: `code` is for programs, `field` what was wrong of the request.

    The text says what to do.
    """

    def __init__(self, code: str, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.field = field


def key_of(text: str) -> bytes:
    """Return the key's bytes: base64 of 16, 24 or 32 bytes, else the SHA-256 of the text."""
    padded = text.strip().replace("-", "+").replace("_", "/")
    try:
        raw = base64.b64decode(padded + "=" * (-len(padded) % 4), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    return raw if len(raw) in _KEY_SIZES else hashlib.sha256(text.encode()).digest()


def id_of_key(key: bytes) -> str:
    """Return the id that machine, command line and page show of a content key."""
    made = HKDF(SHA256(), length=_ID_BYTES, salt=None, info=_ID_OF).derive(key)
    return made.hex()[:KEY_ID_DIGITS]


def seal_to(point: bytes, purpose: str, node: str, plain: bytes) -> str:
    """Return a text that the holder of a public key alone opens, for this purpose and node.

    Raise ValueError for a point that is not on the curve.
    """
    theirs = EllipticCurvePublicKey.from_encoded_point(SECP256R1(), point)
    own = generate_private_key(SECP256R1())
    passing = own.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    shared = own.exchange(ECDH(), theirs)
    info = purpose.encode() + passing + point
    key = HKDF(SHA256(), length=_SEAL_BYTES, salt=None, info=info).derive(shared)
    nonce = os.urandom(_NONCE_BYTES)
    about = f"{purpose}\n{node}".encode()
    return to_base64url(passing + nonce + AESGCM(key).encrypt(nonce, plain, about))


def sealed_content_key(key: bytes, node: str, public_key: str, fingerprint: str) -> str:
    """Return a content key sealed to a browser; raise EnrolError.

    The fingerprint is what a person read from that browser, never what came with the key.
    """
    try:
        wanted = read_fingerprint(fingerprint)
    except KeyFormError as error:
        text = f"fingerprint: {error}"
        raise EnrolError("wrong_fingerprint", text, field="fingerprint") from None
    try:
        point = point_of(public_key)
    except KeyFormError as error:
        text = f"public_key: {error}"
        raise EnrolError("invalid_public_key", text, field="public_key") from None
    if fingerprint_of(point) != wanted:
        text = (
            f"the plane gave a key with the fingerprint {fingerprint_of(point)}, and {wanted} was"
            " typed: nothing was sealed to it"
        )
        raise EnrolError("wrong_fingerprint", text, field="fingerprint")
    if len(key) not in _OPENED_BY_BROWSERS:
        text = f"encryption_key: no browser opens with {len(key)} bytes; use one of 16 or 32"
        raise EnrolError("unusable_key", text)
    try:
        return seal_to(point, CONTENT_KEY, node, key)
    except ValueError:
        text = "public_key: no point of P-256"
        raise EnrolError("invalid_public_key", text, field="public_key") from None

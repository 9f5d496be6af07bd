"""What a browser does with its key pair, on `cryptography` alone: written from docs/consent.md."""

from __future__ import annotations

import base64
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDH,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
)

POINT: Final = 65


def new_pair() -> EllipticCurvePrivateKey:
    """Return a key pair of a browser."""
    return generate_private_key(SECP256R1())


def point_of(pair: EllipticCurvePrivateKey) -> bytes:
    """Return the public point of a pair."""
    return pair.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def text_of(raw: bytes) -> str:
    """Return bytes as base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def raw_of(text: str) -> bytes:
    """Return the bytes of base64url without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def open_from(pair: EllipticCurvePrivateKey, purpose: str, node: str, text: str) -> bytes:
    """Return what was sealed to a pair; raise InvalidTag for anything else."""
    raw = raw_of(text)
    passing, nonce, sealed = raw[:POINT], raw[POINT : POINT + 12], raw[POINT + 12 :]
    theirs = EllipticCurvePublicKey.from_encoded_point(SECP256R1(), passing)
    info = purpose.encode() + passing + point_of(pair)
    key = HKDF(SHA256(), length=32, salt=None, info=info).derive(pair.exchange(ECDH(), theirs))
    return AESGCM(key).decrypt(nonce, sealed, f"{purpose}\n{node}".encode())


def unlock(code: str, point: bytes, locked: str) -> EllipticCurvePrivateKey:
    """Return the pair that a recovery code unlocks; raise InvalidTag for another code."""
    raw = raw_of(locked)
    words = base64.b32decode(code.replace("-", ""))
    info = b"holdfast recovery code 1"
    key = HKDF(SHA256(), length=32, salt=raw[:16], info=info).derive(words)
    found = load_der_private_key(AESGCM(key).decrypt(raw[16:28], raw[28:], point), None)
    assert isinstance(found, EllipticCurvePrivateKey)
    return found

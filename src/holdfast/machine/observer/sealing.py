"""Seals what is uploaded, so that the plane carries what it cannot read.

AES-256-GCM with a nonce of 12 random bytes; nonce, ciphertext and tag together in base64url with
padding (compat/clawmetry-daemon.md). Compression is inside the seal only. What stands beside the
seal and is made of content is keyed as well, so that a plane cannot test guesses of it.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import hmac
from collections.abc import Callable
from typing import Final, NewType

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from holdfast.machine.observer.limits import GZIP_BYTES_MIN

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_GZIP_MAGIC: Final = b"\x1f\x8b"
_GZIP_LEVEL: Final = 6
_NAMES: Final = b"holdfast observer names 1"
"""What the key of names is derived for."""
_NAME_DIGITS: Final = 24

Name = NewType("Name", str)
"""What a text is known by on the wire: always the same, and no guess of the text can be tested by
it without the key."""

Draw = Callable[[int], bytes]
"""Returns so many random bytes."""


def make_key(draw: Draw) -> str:
    """Return a new key as it stands in `config.json`."""
    return base64.b64encode(draw(KEY_BYTES)).decode()


class Sealer:
    """Seals and names with one key; each blob has a nonce of its own."""

    def __init__(self, key: bytes, *, draw: Draw) -> None:
        """Use a key of 16, 24 or 32 bytes."""
        self._cipher = AESGCM(key)
        self._names = HKDF(SHA256(), length=KEY_BYTES, salt=None, info=_NAMES).derive(key)
        self._draw = draw

    def seal(self, plain: bytes, *, compress: bool) -> str:
        """Return the blob; with `compress` what is large is compressed first."""
        if compress and len(plain) >= GZIP_BYTES_MIN:
            plain = gzip.compress(plain, _GZIP_LEVEL, mtime=0)
        nonce = self._draw(_NONCE_BYTES)
        return base64.urlsafe_b64encode(nonce + self._cipher.encrypt(nonce, plain, None)).decode()

    def name_of(self, text: str) -> Name:
        """Return the name of a text: HMAC-SHA256 with a key derived from that of the seal."""
        raw = text.encode("utf-8", "surrogatepass")
        return Name(hmac.digest(self._names, raw, "sha256").hex()[:_NAME_DIGITS])

    def unseal(self, blob: str) -> bytes:
        """Return what was sealed; raise ValueError for another key, or a changed blob."""
        try:
            raw = base64.urlsafe_b64decode(blob)
            plain = self._cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], None)
        except (InvalidTag, binascii.Error, ValueError):
            raise ValueError("blob: not sealed with this key, or changed") from None
        return gzip.decompress(plain) if plain.startswith(_GZIP_MAGIC) else plain

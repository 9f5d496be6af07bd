"""Key pairs of an owner's browsers, and how their keys are known: by a fingerprint.

A browser makes a key pair for P-256 and tells its public key; a node's content key is sealed to
it (docs/consent.md). Whoever seals takes a public key only with the fingerprint that a person read
from that browser. Pure: what seals and opens is the machine's and the browser's.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Annotated, Final

from msgspec import Meta

from holdfast.wire.consent import from_base64url, to_base64url

POINT_BYTES: Final = 65
"""An uncompressed point of P-256: 4, x, y."""
_UNCOMPRESSED: Final = 4
_FINGERPRINT_OF: Final = b"holdfast browser key 1\n"
_DIGITS: Final = 20
"""Base32 digits of a fingerprint: 100 bits, so nobody makes a second key with the same one."""
_GROUP: Final = 4
_FINGERPRINT: Final = re.compile(rf"[A-Z2-7]{{{_DIGITS}}}")
_PREFIX: Final = "bk_"

CONTENT_KEY: Final = "holdfast content key 1"
"""What a node's content key is sealed for; the same word is in `web/static/browser_keys.js`."""
PREVIEW: Final = "holdfast preview 1"
"""What samples are sealed for."""

KEY_ID_DIGITS: Final = 25
"""Hexadecimal digits of the id of a content key: 100 bits, so nobody makes a second key with it."""
KEY_ID_PATTERN: Final = rf"[0-9a-f]{{{KEY_ID_DIGITS}}}"
"""The id of a content key, derived from it."""
COPY_BYTES_MAX: Final = POINT_BYTES + 12 + 32 + 16
"""A sealed content key: a passing point, a nonce, the key and a tag."""

_END: Final = r"$(?!\n)"
"""As in `wire/api/endpoint.py`: to Python, `$` is before a last newline too."""
Text64 = Annotated[str, Meta(pattern=rf"^[A-Za-z0-9_-]*{_END}")]
"""Bytes as base64url, without padding."""
Copy = Annotated[Text64, Meta(min_length=1, max_length=(COPY_BYTES_MAX * 4 + 2) // 3)]
"""A content key that is sealed to a browser."""
KeyId = Annotated[
    str,
    Meta(min_length=KEY_ID_DIGITS, max_length=KEY_ID_DIGITS, pattern=rf"^{KEY_ID_PATTERN}{_END}"),
]


class KeyFormError(ValueError):
    """A text is no public key, or no fingerprint; it says what is wanted."""


def point_of(text: str) -> bytes:
    """Return a public key's point; raise KeyFormError for what has not the form of one."""
    try:
        raw = from_base64url(text)
    except ValueError:
        raw = b""
    # A text that decodes to the same bytes as another is no second form of a key.
    if len(raw) != POINT_BYTES or raw[0] != _UNCOMPRESSED or to_base64url(raw) != text:
        raise KeyFormError("want an uncompressed point of P-256 as base64url")
    return raw


def fingerprint_of(point: bytes) -> str:
    """Return a public key's fingerprint as people read it: `ABCD-EFGH-IJKL-MNOP-QRST`."""
    digits = base64.b32encode(hashlib.sha256(_FINGERPRINT_OF + point).digest())[:_DIGITS].decode()
    return "-".join(digits[at : at + _GROUP] for at in range(0, _DIGITS, _GROUP))


def read_fingerprint(text: str) -> str:
    """Return a typed fingerprint in its one form; raise KeyFormError for any other text.

    Case, spaces and hyphens do not matter.
    """
    digits = re.sub(r"[\s-]", "", text).upper()
    if not _FINGERPRINT.fullmatch(digits):
        raise KeyFormError("want five groups of four letters, as the browser shows them")
    return "-".join(digits[at : at + _GROUP] for at in range(0, _DIGITS, _GROUP))


def id_of(fingerprint: str) -> str:
    """Return the id of a browser's key, which is made of its fingerprint alone."""
    return f"{_PREFIX}{fingerprint.replace('-', '').lower()}"

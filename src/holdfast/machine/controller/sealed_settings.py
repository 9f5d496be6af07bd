"""Decrypts environment values that were sealed for this machine.

Format (docs/compat/controller.md): `enc:v1:` and the base64 of a 12-byte nonce, the ciphertext and
a 16-byte tag, AES-256-GCM without associated data. Any malformed value refuses the whole set: a
machine that starts with half of its secrets fails silently. The cipher is imported only if there is
a sealed value, because it costs memory.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from holdfast.kernel.failure import reason

PREFIX: Final = "enc:v1:"
SEALED: Final = ("KILOCLAW_ENC_", "HOLDFAST_ENC_")
"""Prefixes of sealed names; of two for one variable, the later kind counts."""

KEYS: Final = ("HOLDFAST_ENV_KEY", "KILOCLAW_ENV_KEY")
KEY_FILE: Final = "HOLDFAST_ENV_KEY_FILE"
"""Names a file that holds the key, for clouds whose machines' variables can be read by others."""

_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_KEY_BYTES: Final = 32
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class SealError(ValueError):
    """A sealed value cannot be decrypted; the message names the variable, never its content."""


def decrypt_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the decrypted values by their real names; raise SealError unless all succeed."""
    sealed: dict[str, str] = {}
    for prefix in SEALED:
        for name, value in environ.items():
            if name.startswith(prefix):
                sealed[name.removeprefix(prefix)] = value
    if not sealed:
        return {}
    key = _read_key(environ)
    return {name: _open(key, name, value) for name, value in sorted(sealed.items())}


def is_sealing(name: str) -> bool:
    """Return whether a variable is a sealed value or the key, which must not be passed on."""
    return name in KEYS or name == KEY_FILE or name.startswith(SEALED)


def _read_key(environ: Mapping[str, str]) -> bytes:
    text = next((environ[name] for name in KEYS if environ.get(name)), "")
    if not text and environ.get(KEY_FILE):
        text = _take_key(Path(environ[KEY_FILE]))
    if not text:
        message = f"{KEYS[0]}: missing, but there are sealed values"
        raise SealError(message)
    key = _decode(KEYS[0], text)
    if len(key) != _KEY_BYTES:
        message = f"{KEYS[0]}: {len(key)} bytes, want {_KEY_BYTES}"
        raise SealError(message)
    return key


def _take_key(path: Path) -> str:
    """Return the key in a file and empty it: its cloud writes it anew before each start."""
    try:
        text = path.read_text("ascii").strip()
        path.write_bytes(b"")
    except (OSError, UnicodeDecodeError) as error:
        raise SealError(f"{KEY_FILE}: {path} cannot be read and emptied: {reason(error)}") from None
    with suppress(OSError):
        path.unlink()
    return text


def _open(key: bytes, name: str, value: str) -> str:
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415  costs memory, rarely needed
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

    if not _NAME.fullmatch(name):
        message = f"sealed variable {name!r}: not a name that a shell accepts"
        raise SealError(message)
    if not value.startswith(PREFIX):
        message = f"sealed variable {name}: does not begin with {PREFIX}"
        raise SealError(message)
    blob = _decode(name, value.removeprefix(PREFIX))
    if len(blob) < _NONCE_BYTES + _TAG_BYTES:  # an empty text may have been sealed
        message = f"sealed variable {name}: too short to be sealed"
        raise SealError(message)
    try:
        text = AESGCM(key).decrypt(blob[:_NONCE_BYTES], blob[_NONCE_BYTES:], None).decode()
    except (InvalidTag, UnicodeDecodeError):
        message = f"sealed variable {name}: does not open with this key"
        raise SealError(message) from None
    if "\0" in text:
        message = f"sealed variable {name}: holds a NUL, which no variable can"
        raise SealError(message)
    return text


def _decode(name: str, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        message = f"{name}: not base64"
        raise SealError(message) from None

"""A device identity of the controller, for releases that require one.

An Ed25519 key, made once and kept in the machine's `run` with mode 0600. The cipher is imported
only on use, because it costs memory, and a machine may lack it: then the command line is used
instead.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from holdfast.machine.controller.pairing.openclaw.websocket import CLIENT, Sign
from holdfast.machine.controller.process import atomic_file

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY_FILE: Final = "pairing-device.key"
"""Below the machine's `run`."""

_KEY_FILE_BYTES_MAX: Final = 1_024


def open_identity(path: Path) -> Sign:
    """Return the signer for the device key at `path`, which is made on first use.

    Raise ImportError if there is no cipher, OSError or ValueError for the file.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415  see above
        Ed25519PrivateKey,
    )

    try:
        key = Ed25519PrivateKey.from_private_bytes(
            _decode(atomic_file.read_file(path, _KEY_FILE_BYTES_MAX).decode().strip())
        )
    except FileNotFoundError:
        key = Ed25519PrivateKey.generate()
        atomic_file.write(path, _encode(key.private_bytes_raw()))
    return _Device(key)


class _Device:
    """Signs with one key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self._public = key.public_key().public_bytes_raw()
        self._id = hashlib.sha256(self._public).hexdigest()

    def __call__(self, scopes: Sequence[str], token: str, nonce: str, at_ms: int) -> dict[str, Any]:
        claims = (
            "v3", self._id, CLIENT["id"], CLIENT["mode"], "operator", ",".join(scopes),
            str(at_ms), token, nonce, CLIENT["platform"], "",
        )  # fmt: skip
        return {
            "id": self._id,
            "publicKey": _encode(self._public),
            "signature": _encode(self._key.sign("|".join(claims).encode())),
            "signedAt": at_ms,
            "nonce": nonce,
        }


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

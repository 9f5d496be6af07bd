"""The key that identifies a plane: 32 random bytes in its keys folder, never sent.

Derived from it are the plane's id in the names of cookies, the change secrets of browser sessions,
and the proof that the command line requires before it sends a token. Losing the key signs every
session out and has no other effect. The command line reads it, so this imports no slow module.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from pathlib import Path
from typing import Final

from holdfast.plane.key_folder import KeysError, refuse_loose, write_key

PLANE_KEY_FILE: Final = "plane.key"
KEY_BYTES: Final = 32
_MAPPED: Final = "::ffff:"
"""The prefix of an IPv4 address on a socket for both versions of IP."""
_TEXT: Final = re.compile(rf"[0-9a-f]{{{2 * KEY_BYTES}}}")


class PlaneKey:
    """The key; it prints as its type only."""

    __slots__ = ("_raw",)

    def __init__(self, raw: bytes) -> None:
        """Wrap the key's bytes."""
        self._raw = raw

    def __repr__(self) -> str:
        """Return a form without the key."""
        return "PlaneKey([hidden])"

    def derive(self, purpose: str) -> bytes:
        """Return a key for one purpose; no such key reveals another (HMAC-SHA256)."""
        return hmac.new(self._raw, f"holdfast {purpose}".encode(), hashlib.sha256).digest()

    def proof(self, nonce: str, host: str, port: int) -> str:
        """Return the answer to the challenge `nonce` of a client that connected to `host`, `port`.

        The address is included in the hash: otherwise a program that listens where a plane is
        expected could relay the challenge to the real plane at another address, and its answer
        back.
        """
        text = f"{nonce}\n{host.removeprefix(_MAPPED)}\n{port}"
        return hmac.new(self.derive("proof"), text.encode(), hashlib.sha256).hexdigest()

    def proves(self, proof: str, nonce: str, host: str, port: int) -> bool:
        """Return whether a challenge was answered by a plane that has this key."""
        expected = self.proof(nonce, host, port).encode()
        return hmac.compare_digest(proof.encode("utf-8", "surrogateescape"), expected)


def read_plane_key(keys: Path) -> PlaneKey | None:
    """Return the key of a keys folder, None if the file is missing; KeysError if malformed."""
    path = keys / PLANE_KEY_FILE
    try:
        refuse_loose(path)
        text = path.read_bytes().strip().decode("latin-1")
    except FileNotFoundError:
        return None
    if not _TEXT.fullmatch(text):
        raise KeysError(f"{path}: not a key; restore it from the backup, or remove it")
    return PlaneKey(bytes.fromhex(text))


def read_or_make_plane_key(keys: Path) -> PlaneKey:
    """Return the key of a keys folder, made if it is missing; raise KeysError if malformed."""
    known = read_plane_key(keys)
    if known is not None:
        return known
    raw = secrets.token_bytes(KEY_BYTES)
    write_key(keys / PLANE_KEY_FILE, f"{raw.hex()}\n".encode())
    return PlaneKey(raw)

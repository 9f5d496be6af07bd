"""The key ring: encrypts secrets in the stores, with keys that can be rotated.

A file in the keys folder holds 32-byte keys, each with an id; the newest seals, all open. A sealed
text is `hf1.<key id>.<base64 of nonce, ciphertext, tag>`, AES-256-GCM with the account, the
instance and the name as associated data, so that it opens only for those. Each machine gets a key
of its own, derived from the newest key; texts sealed for a machine before a rotation are opened
with the older key that theirs was derived from. Losing the file loses every secret: back it up,
apart from the stores.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Struct

from holdfast.instances.ports import Context, UnsealError
from holdfast.plane.key_folder import KEYRING_FILE, KeysError, refuse_loose, write_key
from holdfast.wire.parsers import json_as

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
ENV_PREFIX: Final = "enc:v1:"
_FORM: Final = "hf1"


class Key(Struct, frozen=True, forbid_unknown_fields=True):
    """One key: `key` is base64 of 32 bytes, `created_ms` when it was made."""

    id: str
    key: str
    created_ms: int

    def __repr__(self) -> str:
        """Return a form without the key."""
        return f"Key(id={self.id!r})"


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    keys: tuple[Key, ...]


class _Keys(NamedTuple):
    """The keys of a ring by id, oldest first, and the id that seals; replaced as one object."""

    raw: dict[str, bytes]
    newest: str


class KeyRing:
    """An open key ring; sealing is safe from any thread."""

    def __init__(self, keys: tuple[Key, ...], *, entropy: Callable[[int], bytes]) -> None:
        """Use these keys, the last one to seal; raise KeysError when one is malformed."""
        if not keys:
            raise KeysError("the key ring is empty; restore it from the backup")
        self._keys = _Keys({key.id: _raw(key) for key in keys}, keys[-1].id)
        self._entropy = entropy

    def __repr__(self) -> str:
        """Return a form without any key."""
        return f"KeyRing(keys={len(self._keys.raw)}, newest={self._keys.newest!r})"

    @property
    def newest(self) -> str:
        """Return the id of the key that seals."""
        return self._keys.newest

    @property
    def ids(self) -> tuple[str, ...]:
        """Return the ids of all keys, oldest first."""
        return tuple(self._keys.raw)

    def follow(self, other: KeyRing) -> None:
        """Replace the keys by those of a ring that was rotated on the disk."""
        self._keys = other._keys

    def seal(self, text: str, context: Context) -> str:
        """Return `text` sealed under the newest key, bound to its context."""
        nonce, keys = self._entropy(NONCE_BYTES), self._keys
        sealed = AESGCM(keys.raw[keys.newest]).encrypt(nonce, text.encode(), _bound(context))
        return f"{_FORM}.{keys.newest}.{base64.b64encode(nonce + sealed).decode()}"

    def open(self, sealed: str, context: Context) -> str:
        """Return the text; raise UnsealError, which names the variable and never its content."""
        form, _, rest = sealed.partition(".")
        key_id, _, text = rest.partition(".")
        key = self._keys.raw.get(key_id)
        if form != _FORM or key is None:
            message = f"{context.name}: sealed with key {key_id!r}, which is not on the ring"
            raise UnsealError(message)
        try:
            blob = base64.b64decode(text, validate=True)
            if len(blob) < NONCE_BYTES + TAG_BYTES:
                raise UnsealError(f"{context.name}: too short to be a sealed text")
            opened = AESGCM(key).decrypt(blob[:NONCE_BYTES], blob[NONCE_BYTES:], _bound(context))
            return opened.decode()
        except (binascii.Error, InvalidTag, UnicodeDecodeError):
            raise UnsealError(f"{context.name}: it does not open here") from None

    def needs_resealing(self, sealed: str) -> bool:
        """Return whether a sealed text is under an older key than the newest."""
        return not sealed.startswith(sealed_by(self._keys.newest))

    def env_key(self, instance_id: str) -> bytes:
        """Return the 32-byte key that seals values for an instance's machine; never stored."""
        return _env_key(self._keys.raw[self._keys.newest], instance_id)

    def env_key_of(self, instance_id: str, sealed: Mapping[str, str]) -> tuple[str, bytes]:
        """Return the id of the key that `sealed` was made with, and the machine's derived key.

        All values of one machine are sealed with the same key, so only the first is tried. Raise
        UnsealError when no key of the ring opens it.
        """
        name, value = next(iter(sealed.items()))
        blob = base64.b64decode(value.removeprefix(ENV_PREFIX))
        for key_id, raw in reversed(self._keys.raw.items()):
            derived = _env_key(raw, instance_id)
            with suppress(InvalidTag):
                AESGCM(derived).decrypt(blob[:NONCE_BYTES], blob[NONCE_BYTES:], None)
                return key_id, derived
        raise UnsealError(f"{name}: sealed with a key that is not on the ring")

    def seal_env(self, text: str, key: bytes) -> str:
        """Return `enc:v1:` and base64 of nonce, ciphertext and tag, the form for a controller."""
        nonce = self._entropy(NONCE_BYTES)
        sealed = AESGCM(key).encrypt(nonce, text.encode(), None)
        return ENV_PREFIX + base64.b64encode(nonce + sealed).decode()


def open_keyring(folder: Path, *, entropy: Callable[[int], bytes] = secrets.token_bytes) -> KeyRing:
    """Return the key ring of a keys folder.

    Raise KeysError when the file is malformed or others may read it, FileNotFoundError without one.
    """
    return KeyRing(_read(folder / KEYRING_FILE).keys, entropy=entropy)


def make_keyring(
    folder: Path, *, now_ms: int, entropy: Callable[[int], bytes] = secrets.token_bytes
) -> KeyRing:
    """Make a key ring; raise KeysError if there is one. It opens nothing sealed by another ring."""
    path = folder / KEYRING_FILE
    if path.exists():
        raise KeysError(f"{path}: there is a key ring; rename it first, and keep it")
    ring = _File(1, (_new_key(now_ms, entropy),))
    write_key(path, _encode(ring))
    return KeyRing(ring.keys, entropy=entropy)


def rotate(
    folder: Path, *, now_ms: int, entropy: Callable[[int], bytes] = secrets.token_bytes
) -> KeyRing:
    """Add a key that seals from now on; texts sealed before still open."""
    path = folder / KEYRING_FILE
    old = _read(path)
    new = _File(old.version, (*old.keys, _new_key(now_ms, entropy)))
    write_key(path, _encode(new))
    return KeyRing(new.keys, entropy=entropy)


def drop(folder: Path, key_id: str) -> None:
    """Delete a key from the ring; raise KeysError for the newest key or an unknown one.

    Texts that it sealed can never be opened again, so check first that there are none.
    """
    path = folder / KEYRING_FILE
    old = _read(path)
    if key_id == old.keys[-1].id:
        raise KeysError(f"{key_id} is the key that seals; holdfast keys rotate makes another first")
    kept = tuple(key for key in old.keys if key.id != key_id)
    if kept == old.keys:
        raise KeysError(
            f"{path}: there is no key {key_id}; holdfast keys list shows which there are"
        )
    write_key(path, _encode(_File(old.version, kept)))


def list_keys(folder: Path) -> tuple[Key, ...]:
    """Return the keys of a folder, oldest first: the last one seals. Raise as `open_keyring`."""
    return _read(folder / KEYRING_FILE).keys


def sealed_by(key_id: str) -> str:
    """Return the prefix of every text that this key sealed."""
    return f"{_FORM}.{key_id}."


def _env_key(raw: bytes, instance_id: str) -> bytes:
    derive = HKDF(
        algorithm=hashes.SHA256(),
        length=KEY_BYTES,
        salt=None,
        info=b"holdfast environment " + instance_id.encode(),
    )
    return derive.derive(raw)


def _new_key(now_ms: int, entropy: Callable[[int], bytes]) -> Key:
    return Key(entropy(4).hex(), base64.b64encode(entropy(KEY_BYTES)).decode(), now_ms)


def _raw(key: Key) -> bytes:
    try:
        raw = base64.b64decode(key.key, validate=True)
    except binascii.Error:
        raise KeysError("the key ring: a key is not base64; restore it from the backup") from None
    if len(raw) != KEY_BYTES:
        raise KeysError(f"the key ring: a key of {len(raw)} bytes, want {KEY_BYTES}")
    return raw


def _bound(context: Context) -> bytes:
    """Return the associated data: unambiguous, because each part has its length."""
    return msgspec.json.encode(("holdfast", *context))


def _read(path: Path) -> _File:
    refuse_loose(path)
    try:
        return json_as(_File, path.read_bytes())
    except msgspec.MsgspecError:
        raise KeysError(f"{path}: not a key ring; restore it from the backup") from None


def _encode(contents: _File) -> bytes:
    return msgspec.json.format(msgspec.json.encode(contents))

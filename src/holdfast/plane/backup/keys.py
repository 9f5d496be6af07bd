"""The plane's keys as a backup sees them: which there are, without a word of what they are."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct

from holdfast.kernel.failure import brief
from holdfast.plane.backup.manifest import KeysNote, fingerprint
from holdfast.plane.consent_key import CONSENT_KEY_FILE, key_ids
from holdfast.plane.key_folder import GATEWAY_FILE, KEYRING_FILE, KeysError, find_keyring
from holdfast.plane.settings import Settings
from holdfast.wire.parsers import json_as


class _Key(Struct, frozen=True):
    id: str
    key: str


class _Ring(Struct, frozen=True):
    keys: tuple[_Key, ...]


class KeyFiles(NamedTuple):
    """The files of the keys folder that belong into a backup, each None where there is none."""

    ring: bytes | None
    gateway: bytes | None
    consent: bytes | None

    def note(self, *, included: bool) -> KeysNote:
        """Return what a manifest says of them."""
        return KeysNote(
            included=included,
            ring=fingerprints(self.ring),
            gateway="" if self.gateway is None else fingerprint(self.gateway.strip()),
            consent=() if self.consent is None else key_ids(self.consent),
        )

    def named(self) -> dict[str, bytes]:
        """Return the files that are there, by name."""
        files = {
            KEYRING_FILE: self.ring,
            GATEWAY_FILE: self.gateway,
            CONSENT_KEY_FILE: self.consent,
        }
        return {name: content for name, content in files.items() if content is not None}


def read_keys(settings: Settings) -> KeyFiles:
    """Read the keys of a data folder, also where an earlier version keeps them in it."""
    ring = find_keyring(settings)
    folder = settings.keys_folder if ring is None else ring.parent
    return KeyFiles(
        _content(folder / KEYRING_FILE) if ring else None,
        _content(folder / GATEWAY_FILE),
        _content(settings.keys_folder / CONSENT_KEY_FILE),
    )


def fingerprints(ring: bytes | None) -> tuple[str, ...]:
    """Return a fingerprint of each key of a ring, the oldest first; raise KeysError."""
    if ring is None:
        return ()
    try:
        keys = json_as(_Ring, ring).keys
        return tuple(fingerprint(base64.b64decode(key.key, validate=True)) for key in keys)
    except (msgspec.MsgspecError, binascii.Error) as error:
        raise KeysError(f"{KEYRING_FILE}: {brief(error)}") from error


def covers(present: KeysNote, backup: KeysNote) -> bool:
    """Return whether the present ring opens what the backup holds, and gives machines' keys alike.

    The oldest key must be the same, because machines' own keys are derived from it.
    """
    return not backup.ring or (
        present.ring[:1] == backup.ring[:1] and set(backup.ring) <= set(present.ring)
    )


def follows(present: KeysNote, backup: KeysNote) -> bool:
    """Return whether the present consent key is the backup's, or came of it by rotations."""
    return set(backup.consent) <= set(present.consent)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None

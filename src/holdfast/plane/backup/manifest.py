"""The manifest of a backup: what is in the archive, what is not, and where it comes from."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from holdfast.wire.parsers import json_as

FORMAT: Final = 1
"""The form of the archive; it grows when an older version could not read it."""

MANIFEST: Final = "manifest.json"
MANIFEST_BYTES_MAX: Final = 1_048_576


class Entry(Struct, frozen=True, kw_only=True):
    """A file of the archive, by its name there."""

    name: str
    bytes: int
    sha256: str


class StoreNote(Struct, frozen=True, kw_only=True):
    """A store: its newest migration, the version that wrote it, its numbers, and when (ms)."""

    file: str
    schema: int
    schema_name: str
    written_by: str = ""
    numbers: dict[str, int] = {}
    copied_ms: int = 0


class LeftOut(Struct, frozen=True, kw_only=True):
    """Something of the data folder that is not in the archive, and what becomes of it."""

    what: str
    why: str


class KeysNote(Struct, frozen=True, kw_only=True):
    """The keys at the time: fingerprints of those on the ring, oldest first, and of the gateway's.

    A fingerprint is of 256 random bits, so it tells nothing of the key. `consent` are the ids of
    the keys that signed and sign consent, the oldest first; empty in older backups.
    """

    included: bool
    ring: tuple[str, ...] = ()
    gateway: str = ""
    consent: tuple[str, ...] = ()


class Manifest(Struct, frozen=True, kw_only=True):
    """What `manifest.json` says; it is the first file of the archive."""

    format: Annotated[int, Meta(ge=1)] = FORMAT
    id: str
    made_at: str
    version: str
    sqlite: str
    host: str
    home: str
    files: tuple[Entry, ...]
    stores: tuple[StoreNote, ...]
    keys: KeysNote
    left_out: tuple[LeftOut, ...] = ()
    settings: dict[str, str] = {}


class _Format(Struct):
    format: int = 0
    version: str = ""


class BackupError(Exception):
    """A backup cannot be made, read or restored; `fix` is what to do."""

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(message)
        self.fix = fix


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the manifest as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(manifest)) + b"\n"


def decode_manifest(raw: bytes) -> Manifest:
    """Return the manifest; raise BackupError for what is none, and for a newer form."""
    try:
        form = json_as(_Format, raw)
        if form.format > FORMAT:
            raise BackupError(
                f"the backup has form {form.format}, made by Holdfast {form.version}; this version"
                f" reads {FORMAT}",
                fix=f"run Holdfast {form.version} or later",
            )
        return json_as(Manifest, raw)
    except msgspec.MsgspecError as error:
        raise BackupError(f"{MANIFEST} is not that of a backup: {error}") from error


def fingerprint(secret: bytes) -> str:
    """Return what names a random secret without telling it."""
    return hashlib.sha256(b"holdfast fingerprint\0" + secret).hexdigest()[:32]


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""The ids of what was revoked, in a file beside the keys that no restore replaces.

A backup is older than what was revoked after it; with this list a restore revokes it again. The
file is only appended to: a line of some 40 bytes for each revocation.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Literal, TypeAlias

from holdfast.disk.durable_file import sync_file, sync_folder

REVOKED_FILE: Final = "revoked.txt"

Kind: TypeAlias = Literal["token", "brain-key"]

_MODE: Final = 0o600


def note_revoked(folder: Path, kind: Kind, found: str) -> None:
    """Append an id, durably; raise OSError."""
    path = folder / REVOKED_FILE
    is_new = not path.exists()
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, _MODE), "ab", buffering=0) as file:
        file.write(f"{kind} {found}\n".encode())  # one write: several processes may append
    sync_file(path)
    if is_new:
        sync_folder(folder)


def read_revoked(folder: Path, kind: Kind) -> list[str]:
    """Return the ids of a kind, each once; what is no line of ours is skipped."""
    try:
        lines = (folder / REVOKED_FILE).read_bytes().decode(errors="replace").split("\n")
    except FileNotFoundError:
        return []
    pairs = (line.partition(" ") for line in lines)
    return list(dict.fromkeys(found for said, _, found in pairs if said == kind and found))

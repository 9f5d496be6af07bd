"""The ids of what was revoked, in a file beside the keys that no restore replaces.

A backup is older than what was revoked after it; with this list a restore revokes it again. So an
id is noted before its revocation is committed: between the two a crash leaves an id in the list
that is in use, and a restore revokes what somebody wanted revoked.

The file is only appended to: a line of some 40 bytes for each revocation. Each is written with a
line feed before it as well, so that the rest of a line that was cut short does not become part of
it.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final, Literal, TypeAlias

from holdfast.disk.durable_file import sync_file, sync_folder

REVOKED_FILE: Final = "revoked.txt"

Kind: TypeAlias = Literal["token", "brain-key"]

_MODE: Final = 0o600


def note_revoked(folder: Path, kind: Kind, found: str) -> None:
    """Append an id, durably; raise OSError."""
    path, line = folder / REVOKED_FILE, f"\n{kind} {found}\n".encode()
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, _MODE), "ab", buffering=0) as file:
        if file.write(line) != len(line):  # one write: several processes may append
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    sync_file(path)
    sync_folder(folder)  # each time: who made the file may have ended before its name was synced


def try_note(folder: Path | None, kind: Kind, found: str) -> OSError | None:
    """Append an id where there is a folder; return the error, for after the commit.

    What cannot be noted must be revoked all the same.
    """
    try:
        if folder is not None:
            note_revoked(folder, kind, found)
    except OSError as error:
        return error
    return None


def read_revoked(folder: Path, kind: Kind) -> list[str]:
    """Return the ids of a kind, each once; what is no line of ours is skipped."""
    try:
        lines = (folder / REVOKED_FILE).read_bytes().decode(errors="replace").split("\n")
    except FileNotFoundError:
        return []
    pairs = (line.partition(" ") for line in lines)
    return list(dict.fromkeys(found for said, _, found in pairs if said == kind and found))

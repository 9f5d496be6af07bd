"""The note that a restore leaves in the data folder: what the next start of the plane does.

While files are being replaced it says so, and no plane opens what may be half of each; then it says
what is to become of machines that the backup does not know, or that are gone since.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec
from msgspec import Struct

from holdfast.disk.durable_file import sync_folder, write_file
from holdfast.kernel.failure import brief
from holdfast.plane.backup.manifest import BackupError
from holdfast.wire.parsers import json_as

MARKER: Final = "restore.json"

Unknown: TypeAlias = Literal["keep", "end", "adopt"]
Missing: TypeAlias = Literal["hold", "create"]


class Marker(Struct, frozen=True, kw_only=True):
    """`id` names this restore; `made_at` is the time of the backup.

    `machines` is False where only the answer about unknown machines is new.
    """

    id: str
    phase: Literal["replacing", "restored"]
    made_at: str = ""
    unknown: Unknown = "keep"
    missing: Missing = "hold"
    machines: bool = True


def write_marker(home: Path, marker: Marker) -> None:
    """Write the note, durable when this returns."""
    write_file(home / MARKER, msgspec.json.encode(marker))


def read_marker(home: Path) -> Marker | None:
    """Return the note, or None; raise BackupError for a restore that was broken off."""
    path = home / MARKER
    try:
        marker = json_as(Marker, path.read_bytes())
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, OSError) as error:
        raise BackupError(
            f"{path}: {brief(error)}", fix="restore again: holdfast restore PATH --replace"
        ) from error
    if marker.phase == "replacing":
        raise BackupError(
            f"a restore into {home} was broken off, and its files may be of two times",
            fix="restore again: holdfast restore PATH --replace",
        )
    return marker


def remove_marker(home: Path) -> None:
    """Remove the note: the restore is settled."""
    (home / MARKER).unlink(missing_ok=True)
    sync_folder(home)

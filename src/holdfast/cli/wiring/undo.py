"""Records an installation's edit of an agent's file, so that it can be undone byte for byte.

The record is needed to know whether a file, a folder or an empty list existed before. It is kept in
a file of ours, one per agent, and contains only the edit, not the rest of the agent's file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Undo:
    """One edit of a file: the text `put` replaced the text `was`.

    `made` is true if the file did not exist before, `folders` are those created for it, and
    `containers` is how many of the keys on the path to the list of hooks existed before.
    """

    put: str
    was: str
    made: bool
    folders: tuple[str, ...]
    containers: int

    def applied(self, text: str) -> str | None:
        """Return the text as it was before, None if the edit is not in it as it was made."""
        if not self.put or text.count(self.put) != 1:
            return None
        return text.replace(self.put, self.was)


def of_edit(
    before: str, after: str, *, made: bool, folders: tuple[str, ...], containers: int
) -> Undo:
    """Return the record of the edit from `before` to `after`, without common start and end."""
    shorter = min(len(before), len(after))
    start = next((at for at in range(shorter) if before[at] != after[at]), shorter)
    rest = shorter - start
    end = next((at for at in range(rest) if before[-1 - at] != after[-1 - at]), rest)
    put, was = after[start : len(after) - end], before[start : len(before) - end]
    return Undo(put, was, made, folders, containers)


def store(places: Mapping[str, str], agent: str) -> Path:
    """Return the path of an agent's record file."""
    state = places.get("XDG_STATE_HOME") or str(Path(places["HOME"]) / ".local" / "state")
    return Path(state) / "holdfast" / "hooks" / f"{agent}.json"


def parse(text: str | None) -> dict[str, Undo]:
    """Return the records of an agent by file, empty if they cannot be parsed."""
    try:
        read = json.loads(text or "{}")
        return {path: _undo(value) for path, value in read.items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}


def _undo(value: Mapping[str, Any]) -> Undo:
    return Undo(
        put=str(value["put"]),
        was=str(value["was"]),
        made=bool(value["made"]),
        folders=tuple(map(str, value["folders"])),
        containers=int(value["containers"]),
    )


def write(kept: Mapping[str, Undo]) -> str | None:
    """Return the text of the record file, None if there are no records."""
    if not kept:
        return None
    return json.dumps({path: asdict(undo) for path, undo in kept.items()}, indent=1) + "\n"

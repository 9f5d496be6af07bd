"""What an installation put into another agent's file, so that it can be taken out byte for byte.

Only this tells whether a file, a folder or an empty list was there before. It is kept in a file of
ours, one an agent, and holds of the other's file no more than the edit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Undo:
    """One installation: `put` stands in the file where `was` stood before.

    `made` is whether the file was made, `folders` are those that were made for it, and `containers`
    how many of the keys to the list of hooks were there before.
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
    """Return what undoes the edit from `before` to `after`, which begin and end alike."""
    shorter = min(len(before), len(after))
    start = next((at for at in range(shorter) if before[at] != after[at]), shorter)
    rest = shorter - start
    end = next((at for at in range(rest) if before[-1 - at] != after[-1 - at]), rest)
    put, was = after[start : len(after) - end], before[start : len(before) - end]
    return Undo(put, was, made, folders, containers)


def store(places: Mapping[str, str], agent: str) -> Path:
    """Return the file that keeps an agent's."""
    state = places.get("XDG_STATE_HOME") or str(Path(places["HOME"]) / ".local" / "state")
    return Path(state) / "holdfast" / "hooks" / f"{agent}.json"


def parse(text: str | None) -> dict[str, Undo]:
    """Return what is kept for each file of an agent, nothing if it cannot be read."""
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
    """Return the text of the file, None if it holds nothing any more."""
    if not kept:
        return None
    return json.dumps({path: asdict(undo) for path, undo in kept.items()}, indent=1) + "\n"

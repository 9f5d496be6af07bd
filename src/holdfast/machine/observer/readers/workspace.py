"""Text files of the agent's workspace beside its memory: which of them, and what is sent of each.

A file is sent by the end of its name: what is no text, hidden, large, deep or behind a link is not.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from holdfast.machine.observer import limits

TEXTS: Final = frozenset({
    ".cfg", ".css", ".csv", ".htm", ".html", ".ini", ".js", ".json", ".jsonl", ".log", ".md",
    ".org", ".py", ".rst", ".sh", ".sql", ".toml", ".ts", ".tsv", ".txt", ".xml", ".yaml", ".yml",
})  # fmt: skip
"""Ends of names of texts."""

_SKIPPED: Final = frozenset({"__pycache__", "node_modules", "site-packages", "venv"})
"""Folders of what was installed, and not written."""


def text_files(workspace: Path, *, but: frozenset[str]) -> Iterator[tuple[str, int]]:
    """Yield the path below the workspace and the time of change in ns of each text file.

    `but` are paths that are of another class. What cannot be read is left out.
    """
    found: list[tuple[str, int]] = []
    folders = [(workspace, "", 0)]
    left = limits.WORKSPACE_ENTRIES_MAX
    while folders and left > 0:
        folder, begins, depth = folders.pop()
        for entry in _listed(folder)[:left]:
            left -= 1
            path = f"{begins}{entry.name}"
            if entry.name.startswith(".") or entry.name in _SKIPPED or path in but:
                continue
            try:
                if entry.is_dir(follow_symlinks=False):
                    if depth < limits.WORKSPACE_DEPTH_MAX:
                        folders.append((Path(entry.path), f"{path}/", depth + 1))
                    continue
                if not _is_text(entry):
                    continue
                found.append((path, entry.stat(follow_symlinks=False).st_ctime_ns))
            except OSError:
                continue
    yield from sorted(found)[: limits.WORKSPACE_FILES_MAX]


def _listed(folder: Path) -> list[os.DirEntry[str]]:
    """Return what is in a folder by name, nothing where it cannot be read."""
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError:
        return []


def _is_text(entry: os.DirEntry[str]) -> bool:
    if not entry.is_file(follow_symlinks=False) or Path(entry.name).suffix.lower() not in TEXTS:
        return False
    return entry.stat(follow_symlinks=False).st_size <= limits.WORKSPACE_FILE_BYTES_MAX

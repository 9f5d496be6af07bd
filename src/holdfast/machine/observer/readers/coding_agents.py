"""Where Claude Code and Codex keep their transcripts: JSONL files below a folder of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from holdfast.machine.observer.readers.lines import LineFile
from holdfast.machine.observer.readers.openclaw import listed, plain, transcript_fields
from holdfast.machine.observer.readers.parts import Source, Unread
from holdfast.wire.consent import ContentClass

_DEPTH_MAX: Final = 5
"""Folders below the root: a year, a month and a day, or a project and a session."""


class CodingAgent(NamedTuple):
    """One program: its name in ours, and the folder of its transcripts."""

    name: str
    root: Path

    def sources(self, content: ContentClass) -> Iterator[Source]:
        """Yield its transcripts; it has nothing of the other classes."""
        if content != "transcripts":
            return
        for entry in self._files(self.root, _DEPTH_MAX):
            if isinstance(entry, Unread):
                yield entry
                continue
            file = plain(entry)
            if file is None:
                continue
            inner = Path(entry.path).relative_to(self.root).as_posix()
            yield LineFile(
                "transcripts", "events", Path(entry.path), self.root, f"{self.name}/{inner}",
                file.st_ctime_ns, transcript_fields(entry.name.removesuffix(".jsonl"), ""),
                file.st_size, file.st_ino,
            )  # fmt: skip

    def _files(self, folder: Path, depth: int) -> Iterator[os.DirEntry[str] | Unread]:
        inside = listed(folder, "transcripts", f"{self.name}/{folder.relative_to(self.root)}")
        yield from inside.unread
        for entry in inside.entries:
            if entry.name.endswith(".jsonl"):
                yield entry
            elif depth and entry.is_dir(follow_symlinks=False):
                yield from self._files(Path(entry.path), depth - 1)


def claude_code(root: Path) -> CodingAgent:
    """Return Claude Code, by its configuration folder."""
    return CodingAgent("claude-code", root / "projects")


def codex(root: Path) -> CodingAgent:
    """Return Codex, by its home folder."""
    return CodingAgent("codex", root / "sessions")

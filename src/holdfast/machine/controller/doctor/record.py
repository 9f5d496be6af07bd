"""The record of a doctor run, and the tail of what it printed: values, without a process.

The output is counted from the first byte, so that whoever follows it can ask for what is new.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Literal, NamedTuple, TypeAlias

from msgspec import Struct

Status: TypeAlias = Literal["running", "completed", "failed", "cancelled"]

OUTPUT_BYTES_MAX: Final = 1_048_576
"""Bytes kept of the output, its end; the contract's figure."""

CUT: Final = "[… the beginning was cut …]\n"

INTERRUPTED: Final = "interrupted by controller restart"


class Record(Struct, frozen=True, kw_only=True, rename="camel"):
    """One run; times are milliseconds since the epoch.

    `error` says why it failed in words: its exit code says the rest.
    """

    run_id: str
    status: Status
    fix: bool
    started_at_ms: int
    finished_at_ms: int | None = None
    exit_code: int | None = None
    error: str = ""


class Chunk(NamedTuple):
    """Output from a position on; `next` is where the following one begins."""

    text: str
    next: int
    cut: bool


class Tail:
    """The last `limit` bytes of a text that grows, by whole lines."""

    def __init__(self, limit: int = OUTPUT_BYTES_MAX) -> None:
        """Begin empty."""
        self._limit = limit
        self._lines: deque[bytes] = deque()
        self._kept = 0
        self._dropped = 0

    @property
    def end(self) -> int:
        """Return how many bytes there were in all."""
        return self._dropped + self._kept

    def add(self, line: str) -> None:
        """Add a line."""
        piece = line.encode("utf-8", "replace") + b"\n"
        self._lines.append(piece)
        self._kept += len(piece)
        while self._kept > self._limit:
            gone = self._lines.popleft()
            self._kept -= len(gone)
            self._dropped += len(gone)

    def since(self, position: int) -> Chunk:
        """Return what came from `position` on; `cut` when some of it is not kept any more."""
        skip = max(position - self._dropped, 0)
        content = b"".join(self._lines)[skip:]
        cut = position < self._dropped
        text = content.decode("utf-8", "replace")
        return Chunk(CUT + text if cut else text, self.end, cut)

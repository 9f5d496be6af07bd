"""The trace of a simulation: a line per event, counts of steps, and the rules reached.

Two runs of one seed are compared by the digest over all lines; a line may therefore hold nothing
that differs between them (no address of an object, no real time). It makes no judgement.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple


class Line(NamedTuple):
    """One event, at a virtual millisecond."""

    at_ms: int
    what: str
    details: tuple[Any, ...]


class Trace:
    """The lines of one simulation, in order."""

    def __init__(self, now_ms: Callable[[], float]) -> None:
        """`now_ms` returns virtual milliseconds since the simulation began."""
        self.lines: list[Line] = []
        self.steps = 0
        self.rules: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self._now_ms = now_ms

    def note(self, what: str, *details: Any) -> None:
        """Write a line."""
        self.lines.append(Line(round(self._now_ms()), what, details))

    def step(self, what: str, *details: Any) -> None:
        """Write a line that counts as a step: a write to the journal, a tick, a call."""
        self.steps += 1
        self.note(what, *details)

    def fault(self, kind: str, *details: Any) -> None:
        """Record an injected fault."""
        self.faults[kind] += 1
        self.note(f"fault {kind}", *details)

    def digest(self) -> str:
        """Return the hash of every line."""
        whole = hashlib.blake2b(digest_size=16)
        for line in self.lines:
            whole.update(repr(line).encode())
        return whole.hexdigest()

    def text(self) -> str:
        """Return the lines as text."""
        return "\n".join(
            f"{line.at_ms / 1_000:>12.3f}  {line.what:<22} "
            + " ".join(str(detail) for detail in line.details)
            for line in self.lines
        )

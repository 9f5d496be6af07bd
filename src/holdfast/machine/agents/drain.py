"""How an agent is told to end its work before it ends itself, and what it says about that.

OpenClaw up to 2026.7 drains only when it is told to restart, by SIGUSR1, and then restarts within
its process: what follows its last word about the work is SIGTERM, which it obeys at once. From
2026.8 on SIGTERM itself drains. Both were observed on 2026.3.13, 2026.7.35 and 2026.9.6; the words
are those of their logs. Nothing depends on a word being said: there is a deadline beside it.
"""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainWay:
    """One way to drain an agent.

    `signal` begins it. A line that matches `over` ends it, one that matches `cut` says that work
    was cut, one that matches `refused` that the agent will not do it. `budget_ms` is how long the
    agent itself gives its work, `settle_s` how long after its last word it is left alone.
    """

    signal: int
    over: re.Pattern[str]
    cut: re.Pattern[str]
    refused: re.Pattern[str] | None = None
    budget_ms: int
    settle_s: float = 0.0

    @property
    def ends_too(self) -> bool:
        """Return whether the signal that begins it ends the agent as well."""
        return self.signal == signal.SIGTERM

    def hear(self, line: str) -> tuple[bool | None] | None:
        """Return whether work was cut as a tuple of one, None within when it will not tell.

        Return None for a line that says nothing about it.
        """
        if self.cut.search(line):
            return (True,)
        if self.over.search(line):
            return (False,)
        if self.refused is not None and self.refused.search(line):
            return (None,)
        return None


DEMO: Final = DrainWay(
    signal=signal.SIGTERM,
    over=re.compile(r"all work has ended"),
    cut=re.compile(r"work was cut"),
    budget_ms=30_000,
)

RESTARTING: Final = DrainWay(
    signal=signal.SIGUSR1,
    over=re.compile(r"all active work drained|restart mode: "),
    cut=re.compile(r"drain timeout reached; proceeding with restart"),
    refused=re.compile(r"SIGUSR1 restart ignored"),
    budget_ms=90_000,
    settle_s=1.0,
)
"""OpenClaw up to 2026.7; its own budget is 90 s. In the moment after its last word it ignores
SIGTERM, because it takes itself for shutting down still."""

ENDING: Final = DrainWay(
    signal=signal.SIGTERM,
    over=re.compile(r"active-work drain settled"),
    cut=re.compile(r"active-work drain timeout reached|cutting short"),
    budget_ms=315_000,
)
"""OpenClaw from 2026.8 on; its own budget is 315 s."""

_ENDING_SINCE: Final = (2026, 8)


def openclaw_drain(version: str | None) -> DrainWay:
    """Return how this release drains; an unknown one is taken for a new one.

    SIGTERM is understood by every release. An old one that is sent it ends without draining.
    """
    if version is None:
        return ENDING
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    return ENDING if numbers >= _ENDING_SINCE else RESTARTING

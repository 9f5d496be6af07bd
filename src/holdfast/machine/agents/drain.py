"""How an agent is made to finish its work before it exits, and what it logs about that.

OpenClaw up to 2026.7 drains only on a restart by SIGUSR1, and then restarts within its process:
after its last line about the work it gets SIGTERM, on which it exits at once. From 2026.8 on
SIGTERM itself drains. Both were observed on 2026.3.13, 2026.7.35 and 2026.9.6; the patterns match
their logs. Nothing depends on a line being printed: a deadline applies as well.
"""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainWay:
    """One way to drain an agent.

    `signal` begins it. A line that matches `over` ends it, `cut` means that work was cut, `refused`
    that the agent will not drain. `budget_ms` is the time the agent itself gives its work,
    `settle_s` the pause after its last line before it is signalled again.
    """

    signal: int
    over: re.Pattern[str]
    cut: re.Pattern[str]
    refused: re.Pattern[str] | None = None
    budget_ms: int
    settle_s: float = 0.0

    @property
    def ends_too(self) -> bool:
        """Return whether the draining signal also ends the agent."""
        return self.signal == signal.SIGTERM

    def read_line(self, line: str) -> tuple[bool | None] | None:
        """Return (whether work was cut,), (None,) if the agent does not report it.

        Return None for a line that is unrelated.
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

BY_RESTART: Final = DrainWay(
    signal=signal.SIGUSR1,
    over=re.compile(r"all active work drained|restart mode: "),
    cut=re.compile(r"drain timeout reached; proceeding with restart"),
    refused=re.compile(r"SIGUSR1 restart ignored"),
    budget_ms=90_000,
    settle_s=1.0,
)
"""OpenClaw up to 2026.7; its own budget is 90 s.

Just after its last line it ignores SIGTERM, because it still considers itself to be shutting down.
"""

BY_SIGTERM: Final = DrainWay(
    signal=signal.SIGTERM,
    over=re.compile(r"active-work drain settled"),
    cut=re.compile(r"active-work drain timeout reached|cutting short"),
    budget_ms=315_000,
)
"""OpenClaw from 2026.8 on; its own budget is 315 s."""

_SIGTERM_SINCE: Final = (2026, 8)


def openclaw_drain(version: str | None) -> DrainWay:
    """Return how this release drains; an unknown one is treated as a new one.

    Every release handles SIGTERM; on it an old one exits without draining.
    """
    if version is None:
        return BY_SIGTERM
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    return BY_SIGTERM if numbers >= _SIGTERM_SINCE else BY_RESTART

"""Limits log lines about refusals: the first of each peer in a minute, then only their number.

A flood of refusals must not fill the disk or rotate out the log lines from its beginning.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

from holdfast.kernel.clock import MINUTE_MS

REFUSAL_LINES_EACH: Final = 10
"""Log lines about refusals of one peer in a minute; further refusals are only counted."""

REFUSAL_WINDOW_MS: Final = MINUTE_MS
"""Milliseconds for which refusals are counted before the count is logged."""

REFUSED_PEERS_MAX: Final = 1_000
"""Peers whose refusals are counted separately in a minute; all others share one count."""

_OTHERS: Final = "others"


class RefusalLines:
    """Counts the refusals of the current minute by peer and code."""

    def __init__(self, write: Callable[..., object]) -> None:
        """Begin with no refusals; `write` writes a line: an event's name and fields by name."""
        self._write = write
        self._began_ms = 0.0
        self._peers: dict[str, Counter[str]] = {}

    def admit(self, peer: str, code: str, steady_ms: float) -> bool:
        """Count a refusal; return whether to log it as a line of its own."""
        self.tick(steady_ms)
        if not self._peers:
            self._began_ms = steady_ms
        if peer not in self._peers and len(self._peers) >= REFUSED_PEERS_MAX:
            peer = _OTHERS
        codes = self._peers.setdefault(peer, Counter())
        codes[code] += 1
        return codes.total() <= REFUSAL_LINES_EACH

    def tick(self, steady_ms: float) -> None:
        """Log the counts once the minute is over."""
        if self._peers and steady_ms - self._began_ms >= REFUSAL_WINDOW_MS:
            self.flush()

    def flush(self) -> None:
        """Log, for each peer, how many refusals had no line of their own."""
        peers, self._peers = self._peers, {}
        for peer, codes in peers.items():
            left = codes.total() - REFUSAL_LINES_EACH
            if left > 0:
                told = ", ".join(f"{code} {count}" for code, count in codes.most_common())
                self._write("calls.refused", peer=peer, without_a_line=left, codes=told)

"""Which refusals get a line in the log: the first of each peer in a minute, then their number.

A flood of refusals must neither fill the disk nor push out the lines that tell how it began.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from holdfast.kernel.log import Log
from holdfast.plane.edge.limits import (
    REFUSAL_LINES_EACH,
    REFUSAL_WINDOW_MS,
    REFUSED_PEERS_MAX,
)

_OTHERS: Final = "others"


class RefusalLines:
    """The refusals of this minute."""

    def __init__(self, log: Log) -> None:
        """Begin with none."""
        self._log = log
        self._began_ms = 0.0
        self._peers: dict[str, Counter[str]] = {}

    def admit(self, peer: str, code: str, steady_ms: float) -> bool:
        """Count a refusal; return whether it gets a line of its own."""
        self.tick(steady_ms)
        if not self._peers:
            self._began_ms = steady_ms
        if peer not in self._peers and len(self._peers) >= REFUSED_PEERS_MAX:
            peer = _OTHERS
        codes = self._peers.setdefault(peer, Counter())
        codes[code] += 1
        return codes.total() <= REFUSAL_LINES_EACH

    def tick(self, steady_ms: float) -> None:
        """Write the counts of a minute that is over."""
        if self._peers and steady_ms - self._began_ms >= REFUSAL_WINDOW_MS:
            self.flush()

    def flush(self) -> None:
        """Write how many refusals got no line, by peer."""
        peers, self._peers = self._peers, {}
        for peer, codes in peers.items():
            left = codes.total() - REFUSAL_LINES_EACH
            if left > 0:
                told = ", ".join(f"{code} {count}" for code, count in codes.most_common())
                self._log.warning("calls.refused", peer=peer, without_a_line=left, codes=told)

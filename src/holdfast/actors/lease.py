"""The lease: the number that every commit carries, so that two planes never both write.

It is taken once, at the start, and is greater than any before. Safety comes from the
compare-and-set of a commit; the lease makes an older plane's next commit fail. It is never given
back: the next plane takes one with a greater epoch.
"""

from __future__ import annotations

from collections.abc import Callable

from holdfast.actors.ports import Journal
from holdfast.kernel.log import Log


class Lease:
    """The lease of this process; it may be lost without notice until the next commit."""

    def __init__(self, journal: Journal, *, holder: str, log: Log) -> None:
        """Hold nothing yet; `holder` names this process in the store, for people."""
        self._journal = journal
        self._holder = holder
        self._log = log
        self._hear: list[Callable[[], None]] = []
        self.epoch = 0
        self.lost = False

    def on_lost(self, hear: Callable[[], None]) -> None:
        """Call `hear` once, when another process is found to hold the lease."""
        self._hear.append(hear)

    async def take(self) -> int:
        """Take the lease and return its epoch."""
        self.epoch = await self._journal.lease(self._holder)
        self.lost = False
        self._log.info("lease.taken", holder=self._holder, epoch=self.epoch)
        return self.epoch

    def lose(self, reason: str) -> None:
        """Mark the lease lost and call the listeners, once."""
        if self.lost:
            return
        self.lost = True
        self._log.critical("lease.lost", holder=self._holder, epoch=self.epoch, reason=reason)
        for hear in self._hear:
            hear()

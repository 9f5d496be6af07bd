"""What programs of stores share: how much they write, what they say of it, how it is read."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from holdfast.kernel.clock import Clock, ManualClock
from holdfast.plane.wiring import files
from holdfast.stores.sqlite import database, journal
from tests.contract.journal import rows

NOW: Final = rows.NOW
CLOCK: Final = ManualClock()


class Work(NamedTuple):
    """One opening of a store: how much is written, and how many writers there are at a time."""

    opening: int
    rounds: int
    together: int

    async def run(self, one: Callable[[str], Awaitable[None]]) -> None:
        """Await `one` for each round, by a name that no other round has."""
        names = [f"{self.opening}-{count}" for count in range(self.rounds)]
        for first in range(0, len(names), self.together):
            await asyncio.gather(*map(one, names[first : first + self.together]))


def say(*facts: str) -> None:
    """Print what an answer says is stored."""
    os.write(1, f"{' '.join(facts)}\n".encode())


def open_journal(path: Path, clock: Clock = CLOCK) -> journal.SqliteJournal:
    """Open it as the plane does."""
    return files.open_kept(path, lambda kept: journal.SqliteJournal(kept, clock=clock))


def select(path: Path, sql: str) -> Iterable[str]:
    """Return the only column of a query of a file, on a connection that only reads."""

    def read() -> Iterator[str]:
        connection = database.open_reader(path)
        try:
            for (fact,) in connection.execute(sql):
                yield str(fact)
        finally:
            connection.close()

    return read()

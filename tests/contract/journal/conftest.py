"""The journals under test. PostgreSQL becomes a third entry of `KINDS`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.actors.ports import Journal, Reader
from holdfast.kernel.clock import ManualClock
from holdfast.stores.memory.journal import MemoryJournal
from holdfast.stores.memory.journal_reader import MemoryReader
from holdfast.stores.memory.journal_state import MemoryStore
from holdfast.stores.sqlite.journal import SqliteJournal
from holdfast.stores.sqlite.journal_reader import SqliteReader

KINDS = ("memory", "sqlite")


class Store:
    """One store: its journal, readers of it, and the same opened again."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.clock = ManualClock()
        self._kind = kind
        self._path = folder / "journal.db"
        self._memory = MemoryStore()
        self._open: list[Journal] = []
        self.journal = self.open()

    def open(self) -> Journal:
        """Open the store, as a process that starts does."""
        opened: Journal = (
            MemoryJournal(self._memory, clock=self.clock)
            if self._kind == "memory"
            else SqliteJournal(self._path, clock=self.clock)
        )
        self._open.append(opened)
        return opened

    def reader(self) -> Reader:
        """Open a reader."""
        reader: Reader = (
            MemoryReader(self._memory) if self._kind == "memory" else SqliteReader(self._path)
        )
        return reader

    async def reopen(self) -> Journal:
        """Close the journal and open it again."""
        await self.close()
        self.journal = self.open()
        return self.journal

    async def close(self) -> None:
        for journal in self._open:
            await journal.close()
        self._open.clear()


@pytest.fixture(params=KINDS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store(request.param, tmp_path)
    yield opened
    await opened.close()


@pytest.fixture
def journal(store: Store) -> Journal:
    return store.journal


@pytest.fixture
async def reader(store: Store) -> AsyncIterator[Reader]:
    opened = store.reader()
    yield opened
    await opened.close()

"""A SQLite file with one thread that writes in groups and one that reads: what stores share."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import apsw

from holdfast.stores.sqlite.accounts_writer import Writer


class SqliteDesk:
    """Named statements over a writer and a reader, neither of which holds the serving loop."""

    def __init__(
        self, writer: Writer, reader: apsw.Connection, statements: dict[str, str], *, name: str
    ) -> None:
        """Take over both connections; `name` is how the reading thread is called."""
        self._writer = writer
        self._reader = reader
        self._sql = statements
        self._threads = ThreadPoolExecutor(1, thread_name_prefix=f"{name}-read")

    async def close(self) -> None:
        """Finish what was asked and close both connections."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._threads, self._reader.close)
        await asyncio.to_thread(self._threads.shutdown)
        await self._writer.close()

    async def _read(self, query: str, /, **values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a named query."""
        statement = self._sql[query]

        def run() -> list[tuple[Any, ...]]:
            return list(self._reader.execute(statement, values))

        return await asyncio.get_running_loop().run_in_executor(self._threads, run)

    async def _change(self, query: str, /, **values: Any) -> int:
        """Run a named statement; return how many rows it changed, once durable."""

        def run(connection: apsw.Connection) -> int:
            connection.execute(self._sql[query], values)
            return connection.changes()

        return await self._writer.write(run)

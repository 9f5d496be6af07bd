"""A SQLite file with one thread that writes in groups and one that reads."""

from __future__ import annotations

from typing import Any

import apsw

from holdfast.kernel.liveness import Vital
from holdfast.stores.sqlite.lossy import read_rows
from holdfast.stores.sqlite.writer import CallWriter, Tidy
from holdfast.stores.thread import OwnThread


class SqliteStore:
    """Named statements over a writer and a reader, neither of which blocks the event loop."""

    def __init__(
        self,
        writer: apsw.Connection,
        reader: apsw.Connection,
        statements: dict[str, str],
        *,
        name: str,
        tidy: Tidy | None = None,
    ) -> None:
        """Take over both connections; `name` names the two threads.

        The thread that writes calls `tidy` as `GroupWriter` says.
        """
        self._writer = CallWriter(writer, name=f"{name}-write", tidy=tidy)
        self.trouble = self._writer.trouble
        self._reader = reader
        self._sql = statements
        self._reading = OwnThread(f"{name}-read")

    def vital(self) -> Vital:
        """Return the thread that writes."""
        return self._writer.vital()

    async def close(self) -> None:
        """Finish submitted work and close both connections."""
        await self._reading.end(self._reader.close)
        await self._writer.close()

    async def _read(self, query: str, /, **values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a named query."""
        statement = self._sql[query]
        try:
            return await self._reading.run(lambda: read_rows(self._reader, statement, values))
        except apsw.Error as error:
            self.trouble.hear(error)
            raise

    async def _change(self, query: str, /, **values: Any) -> int:
        """Run a named statement; return how many rows it changed, once durable."""

        def run(connection: apsw.Connection) -> int:
            connection.execute(self._sql[query], values)
            return connection.changes()

        return await self._writer.call(run)

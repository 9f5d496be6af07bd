"""What every DuckDB file has: its two threads, its migrations, its trouble, and its bounds.

A file must not be opened by two processes. Nothing here blocks the event loop.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import duckdb

from holdfast.disk.durable_file import sync_folder, sync_names
from holdfast.kernel.clock import Clock
from holdfast.kernel.failure import brief
from holdfast.stores.duckdb import MIGRATIONS, SQL
from holdfast.stores.migrate import migrate, shipped
from holdfast.stores.queries import load_queries
from holdfast.stores.thread import BACKGROUND, OwnThread
from holdfast.stores.trouble import Trouble

_DAMAGE: Final = (
    duckdb.FatalException,
    duckdb.InternalException,
    duckdb.SerializationException,
)

_PARAMETER: Final = re.compile(r"\$([a-z_]+)")


class DuckdbFile:
    """One file with one writer thread and one reader."""

    def __init__(self, path: Path, name: str, *, clock: Clock, memory_mb: int) -> None:
        """Open it; `name` is the folder of its SQL, `memory_mb` what it takes before it spills.

        Raise MigrationError when the file is newer, duckdb.IOException when it is locked.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        sync_names(path)
        self.path = path
        self._connection = duckdb.connect(
            str(path),
            config={
                "memory_limit": f"{memory_mb}MB",
                "threads": 1,
                "temp_directory": str(path) + ".spill",
                "preserve_insertion_order": "false",
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "enable_external_access": "true",
            },
        )
        try:
            migrate(
                _Statements(self._connection), shipped(MIGRATIONS / name), now_ms=clock.now_ms()
            )
        except BaseException:
            self._connection.close()
            raise
        self._queries = load_queries(SQL / name)
        self._reader = self._connection.cursor()
        self._writing = OwnThread(f"{name} writer", nice=BACKGROUND)
        self._reading = OwnThread(f"{name} reader")
        self.trouble = Trouble(
            is_damage=is_damage, unwritable=(duckdb.IOException, duckdb.OutOfMemoryException)
        )
        self._closing = threading.Event()

    async def close(self) -> None:
        """Write pending points and close the file."""
        self._closing.set()
        await self._reading.end(self._reader.close)
        await self._writing.end(self._connection.close)

    async def find_damage(self) -> str:
        """Return what is wrong with the roll-up, which is read as a whole, or nothing."""
        try:
            await self._read("rollup_hash", {})
        except (duckdb.Error, OSError) as error:
            self.trouble.hear(error)
            return str(error)
        return ""

    async def _work(self, write: Callable[[], None]) -> None:
        """Write in the thread; what is wrong with the file is noted."""
        try:
            await self._writing.run(write)
        except (duckdb.Error, OSError) as error:
            self.trouble.hear(error)
            raise
        self.trouble.written()

    async def _read(
        self, name: str, values: dict[str, Any], *, source: tuple[str, str] = ("", "")
    ) -> list[tuple[Any, ...]]:
        """Run a query in the reader's thread; `source` is a text of it and what to read instead."""
        query = self._queries[name].replace(source[0], source[1], 1)
        used = {key: values[key] for key in _PARAMETER.findall(query)}
        return await self._reading.run(lambda: self._reader.execute(query, used).fetchall())

    def _run(self, name: str, **values: Any) -> list[tuple[Any, ...]]:
        return self._connection.execute(self._queries[name], values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Do all of it or nothing."""
        self._connection.execute("BEGIN TRANSACTION")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise

    @contextmanager
    def _points(self) -> Iterator[None]:
        """Write points in one transaction; raise ValueError for one that does not fit."""
        try:
            with self._transaction():
                yield
        except (duckdb.DataError, duckdb.IntegrityError, duckdb.InvalidInputException) as error:
            raise ValueError(f"a point does not fit its dataset: {brief(error)}") from error
        with suppress(OSError):
            sync_folder(self.path.parent)  # DuckDB syncs its log, and not the log's name

    def _used_bytes(self) -> int:
        """Return the bytes of the file in use; freed space is reused first."""
        row = self._connection.execute(
            "SELECT block_size * used_blocks FROM pragma_database_size()"
        ).fetchone()
        return int(row[0]) if row else 0


def is_damage(error: Exception) -> bool:
    """Return whether DuckDB has found a file damaged; a wrong checksum has no class of its own."""
    return isinstance(error, _DAMAGE) or "Corrupt database" in str(error)


class _Statements:
    """A connection for the migrator: SQLite's BEGIN statement, and rows as results."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> list[tuple[Any, ...]]:
        """Run statements and return the rows of the last."""
        if sql == "BEGIN IMMEDIATE":
            sql = "BEGIN TRANSACTION"
        cursor = self._connection.execute(sql, list(parameters) or None)
        return cursor.fetchall() if cursor.description else []

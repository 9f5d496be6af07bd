"""Last contact in a SQLite file of its own, `contact.db`, with one writer thread.

Its rows change with every check-in, and none of them is worth an entry in the journal. The flow
writes once a second, so a crash loses at most the last second; then a machine seems heard a
second earlier than it was, and its next message puts the counters right.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import apsw

from holdfast.kernel.clock import Clock
from holdfast.stores.queries import load_queries
from holdfast.stores.sqlite import SQL
from holdfast.stores.sqlite.bulk import Bulk
from holdfast.stores.sqlite.database import open_store
from holdfast.stores.sqlite.writer import CallWriter
from holdfast.stores.thread import BACKGROUND
from holdfast.telemetry.contact import Contact, decode_contact, encode_contact

CHECKPOINT_BYTES: Final = 8_388_608
"""Written to the WAL before it is folded into the file."""


class SqliteContacts:
    """Rows of contact in a file."""

    def __init__(self, path: Path, *, clock: Clock) -> None:
        """Open the file and bring it to the present form; raise MigrationError when it is newer."""
        queries = load_queries(SQL / "contact")
        self._load = queries["contact_load"]
        self._save = Bulk(queries["contact_save"], 3)
        self._forget = Bulk(queries["contact_forget"], 1)
        self._unchecked_bytes = 0
        self._connection = open_store(path, "contact", now_ms=clock.now_ms())
        self._writer = CallWriter(
            self._connection, name="contact-write", tidy=self._checkpoint, nice=BACKGROUND
        )

    async def load(self) -> Sequence[Contact]:
        """Return every row."""
        return await self._writer.call(
            lambda connection: [decode_contact(body) for (body,) in connection.execute(self._load)]
        )

    async def save(self, rows: Sequence[Contact]) -> None:
        """Write the rows, each in place of the one before; all or none."""
        await self._writer.call(lambda connection: self._write(connection, rows))

    async def forget(self, instances: Sequence[str]) -> None:
        """Remove the rows of these instances."""
        keys = [(one,) for one in instances]
        await self._writer.call(lambda connection: self._forget.write(connection, keys))

    async def close(self) -> None:
        """Give the file back."""
        await self._writer.close()

    def _write(self, connection: apsw.Connection, rows: Sequence[Contact]) -> None:
        values = [(row.instance, row.heard_ms, encode_contact(row).decode()) for row in rows]
        self._save.write(connection, values)
        self._unchecked_bytes += sum(len(body) for _, _, body in values)

    def _checkpoint(self, _idle: bool) -> None:  # noqa: FBT001  told by the thread, no switch
        """Fold the write-ahead log into the file once enough was written."""
        if self._unchecked_bytes > CHECKPOINT_BYTES:
            self._unchecked_bytes = 0
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)

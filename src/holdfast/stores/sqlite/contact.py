"""Last contact in a SQLite file of its own, `contact.db`, with one writer thread.

Its rows change with every check-in, which is too often for the journal. They are written once a
second, so a crash loses the last second at most: the last contact is then a second too early, and
the machine's next message corrects the counters.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import apsw

from holdfast.kernel.clock import Clock
from holdfast.kernel.liveness import Vital
from holdfast.stores.queries import load_queries
from holdfast.stores.sqlite import SQL
from holdfast.stores.sqlite.bulk import Bulk
from holdfast.stores.sqlite.database import open_store
from holdfast.stores.sqlite.writer import CallWriter
from holdfast.stores.thread import BACKGROUND
from holdfast.telemetry.contact import Contact, decode_contact, encode_contact

CHECKPOINT_BYTES: Final = 8_388_608
"""Bytes written to the WAL at which it is checkpointed."""


class SqliteContacts:
    """Rows of contact in a file."""

    def __init__(self, path: Path, *, clock: Clock) -> None:
        """Open the file, bring it to the present form, and read it once.

        Raise MigrationError when it is newer, and apsw.Error or msgspec.MsgspecError when what it
        holds cannot be read.
        """
        queries = load_queries(SQL / "contact")
        self._load = queries["contact_load"]
        self._save = Bulk(queries["contact_save"], 3)
        self._forget = Bulk(queries["contact_forget"], 1)
        self._unchecked_bytes = 0
        self.path = path
        self._connection = open_store(path, "contact", now_ms=clock.now_ms())
        try:
            self._read(self._connection)
        except BaseException:
            self._connection.close()
            raise
        self._writer = CallWriter(
            self._connection, name="contact-write", tidy=self._checkpoint, nice=BACKGROUND
        )
        self.trouble = self._writer.trouble

    async def load(self) -> Sequence[Contact]:
        """Return every row."""
        return await self._writer.call(self._read)

    def _read(self, connection: apsw.Connection) -> list[Contact]:
        return [decode_contact(body) for (body,) in connection.execute(self._load)]

    async def save(self, rows: Sequence[Contact]) -> None:
        """Replace the rows of these instances; all or none."""
        await self._writer.call(lambda connection: self._write(connection, rows))

    async def forget(self, instances: Sequence[str]) -> None:
        """Remove the rows of these instances."""
        keys = [(one,) for one in instances]
        await self._writer.call(lambda connection: self._forget.write(connection, keys))

    def vital(self) -> Vital:
        """Return the thread that writes."""
        return self._writer.vital()

    async def close(self) -> None:
        """Close the file."""
        await self._writer.close()

    def _write(self, connection: apsw.Connection, rows: Sequence[Contact]) -> None:
        values = [(row.instance, row.heard_ms, encode_contact(row).decode()) for row in rows]
        self._save.write(connection, values)
        self._unchecked_bytes += sum(len(body) for _, _, body in values)

    def _checkpoint(self, _idle: bool) -> None:  # noqa: FBT001  a callback of the thread, no switch
        """Checkpoint the WAL once enough was written."""
        if self._unchecked_bytes > CHECKPOINT_BYTES:
            self._unchecked_bytes = 0
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)

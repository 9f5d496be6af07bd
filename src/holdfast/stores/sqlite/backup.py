"""Copies of SQLite files, taken while another process may be writing them, and looks at copies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import apsw

from holdfast.disk.durable_file import sync_file
from holdfast.stores.migrate import newer, shipped
from holdfast.stores.sqlite import MIGRATIONS
from holdfast.stores.sqlite.database import open_reader

STEP_PAGES: Final = 4_096
"""Pages copied between two reports of progress, 16 MiB."""


class KeptStore(NamedTuple):
    """A store that is worth a copy: file, folder of migrations, and queries of its numbers."""

    file: str
    migrations: str
    numbers: Mapping[str, str]


KEPT: Final = (
    KeptStore(
        "intake.db",
        "corrections",
        {
            "corrections": "SELECT coalesce(max(no), 0) FROM corrections",
            "lessons": "SELECT coalesce(max(no), 0) FROM lessons",
        },
    ),
    KeptStore(
        "journal.db",
        "journal",
        {
            "events": "SELECT coalesce(max(arrival), 0) FROM events",
            "lease": "SELECT coalesce(max(epoch), 0) FROM leases",
        },
    ),
    KeptStore(
        "content.db",
        "content",
        {
            "nodes": "SELECT coalesce(max(no), 0) FROM nodes",
            "content": "SELECT coalesce(max(no), 0) FROM items",
        },
    ),
    KeptStore("towns.db", "towns", {"texts": "SELECT coalesce(max(rowid), 0) FROM texts"}),
    KeptStore("accounts.db", "accounts", {"audit": "SELECT coalesce(max(seq), 0) FROM audit"}),
)
"""In the order of copying: what refers to others comes before what it refers to.

A bead of a town is in the copy with its text. Content is later than the consent for it in the
journal: a node whose consent is not in the copy is unknown after a restore, and unknown is no.
"""


class CopyFacts(NamedTuple):
    """What a copy is: the newest migration, the version that wrote it, and its numbers."""

    schema: int
    schema_name: str
    written_by: str
    numbers: dict[str, int]


def copy_store(source: Path, target: Path, told: Callable[[int, int], None]) -> None:
    """Copy one moment of a file that a plane may be writing; the copy is one file, synced.

    `told` hears of pages copied and pages in all. One read transaction spans the whole copy, so a
    commit of the plane neither waits for it nor makes it begin anew.
    """
    reader = open_reader(source)
    try:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        copy = apsw.Connection(str(target), flags=flags)
        try:
            with copy.backup("main", reader, "main") as backup:
                while not backup.done:
                    backup.step(STEP_PAGES)
                    told(backup.page_count - backup.remaining, backup.page_count)
            copy.execute("PRAGMA journal_mode = DELETE").fetchall()
        finally:
            copy.close()
    finally:
        reader.close()
    target.chmod(0o600)
    sync_file(target)


def find_any_damage(path: Path) -> str:
    """Return what the full integrity check finds wrong with a copy, or nothing."""
    try:
        connection = _open_copy(path)
    except apsw.Error as error:
        return f"{type(error).__name__}: {error}"
    try:
        found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(1)")]
    except apsw.Error as error:
        return f"{type(error).__name__}: {error}"
    finally:
        connection.close()
    return "" if found == ["ok"] else found[0]


def describe_copy(path: Path, store: KeptStore) -> CopyFacts:
    """Return what a copy is; raise MigrationError where newer code wrote it, or apsw.Error."""
    connection = _open_copy(path)
    try:
        found = connection.execute(
            "SELECT number, name FROM migrations ORDER BY number DESC LIMIT 1"
        )
        number, name = found.get or (0, "")
        wrote = _written_by(connection)
        if number > len(shipped(MIGRATIONS / store.migrations)):
            raise newer(name, wrote)
        numbers = {what: connection.execute(sql).get for what, sql in store.numbers.items()}
        return CopyFacts(number, name, wrote, numbers)
    finally:
        connection.close()


def _written_by(connection: apsw.Connection) -> str:
    """Return the version that wrote a copy; empty for one from before versions were noted."""
    known = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'written_by'").fetchone()
    if known is None:
        return ""
    found = connection.execute("SELECT version FROM written_by ORDER BY since_ms DESC LIMIT 1")
    return str(found.get or "")


def _open_copy(path: Path) -> apsw.Connection:
    """Open a file that nobody writes, without leaving anything beside it."""
    return apsw.Connection(
        f"{path.absolute().as_uri()}?mode=ro&immutable=1",
        flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI,
    )

"""Migrates a database to the schema of this code, one numbered file after another.

A file is `NNNN_pre_name.sql` (safe while the code before it still runs: it adds) or
`NNNN_post_name.sql` (removes what only that code needed). Each is applied once, in its own
transaction, and recorded with the hash of its text, so that a file changed after it was
applied is found. A database with a migration that this code does not have was written by newer
code and is refused, with the version that wrote it: each version that opens a database for writing
leaves its name there. There are no downgrades.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from holdfast import __version__

_NAME: Final = re.compile(r"(\d{4})_(pre|post)_[a-z0-9_]+\.sql")


class Statements(Protocol):
    """The part of a connection that a migration needs."""

    def execute(self, sql: str, parameters: Sequence[Any] = ..., /) -> Any:
        """Run statements and return their rows."""
        ...


class Migration(NamedTuple):
    """One numbered file."""

    number: int
    name: str
    sql: str

    @property
    def digest(self) -> str:
        """Return the hash of the file, to detect a change."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


class MigrationError(Exception):
    """The database and the files disagree; the message has the difference, `fix` what to do."""

    def __init__(self, message: str, *, fix: str = "run the version that wrote it") -> None:
        super().__init__(message)
        self.fix = fix


def shipped(folder: Path) -> list[Migration]:
    """Return a database's migrations in order; raise MigrationError where a number is missing."""
    found = []
    for path in sorted(folder.glob("*.sql")):
        match = _NAME.fullmatch(path.name)
        if match is None:
            raise MigrationError(f"{path}: name it NNNN_pre_what.sql or NNNN_post_what.sql")
        found.append(Migration(int(match[1]), path.name, path.read_text(encoding="utf-8")))
    if [migration.number for migration in found] != list(range(1, len(found) + 1)):
        raise MigrationError(f"{folder.name}: migrations must count 1, 2, 3 … without a gap")
    return found


def newer(name: str, wrote: str) -> MigrationError:
    """Return the error for a database with the unknown migration `name`, which `wrote` wrote."""
    by = f", Holdfast {wrote}" if wrote and wrote != __version__ else ""
    version = f"Holdfast {wrote} or later" if by else "the version that wrote it"
    return MigrationError(
        f"the database was written by newer code{by} (it has {name}); this is {__version__}",
        fix=f"run {version}, or restore a backup from before the update: holdfast restore PATH",
    )


def written_by(connection: Statements) -> str:
    """Return the version that first opened the database for writing latest, empty if unknown."""
    rows = list(connection.execute("SELECT version FROM written_by ORDER BY since_ms DESC LIMIT 1"))
    return str(rows[0][0]) if rows else ""


def _missing(connection: Statements, migrations: Sequence[Migration]) -> Sequence[Migration]:
    """Return migrations not applied yet; raise MigrationError on a disagreement."""
    applied = list(connection.execute("SELECT number, name, digest FROM migrations ORDER BY 1"))
    if len(applied) > len(migrations):
        raise newer(applied[-1][1], written_by(connection))
    for (number, name, digest), ours in zip(applied, migrations, strict=False):
        if (number, digest) != (ours.number, ours.digest):
            raise MigrationError(f"{name} was changed after it was applied; put it back as it was")
    return migrations[len(applied) :]


def migrate(connection: Statements, migrations: Sequence[Migration], *, now_ms: int) -> int:
    """Apply what is missing and return how many; raise MigrationError on a disagreement."""
    connection.execute(
        "CREATE TABLE IF NOT EXISTS migrations (number INTEGER NOT NULL PRIMARY KEY,"
        " name TEXT NOT NULL, digest TEXT NOT NULL, applied_ms BIGINT NOT NULL)"
    )
    connection.execute(
        "CREATE TABLE IF NOT EXISTS written_by"
        " (version TEXT NOT NULL PRIMARY KEY, since_ms BIGINT NOT NULL)"
    )
    count = 0
    while _missing(connection, migrations):
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Checked again under the lock: another process may have migrated meanwhile.
            for migration in _missing(connection, migrations)[:1]:
                connection.execute(migration.sql)
                connection.execute(
                    "INSERT INTO migrations (number, name, digest, applied_ms) VALUES (?, ?, ?, ?)",
                    (migration.number, migration.name, migration.digest, now_ms),
                )
                count += 1
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
    if not list(connection.execute("SELECT 1 FROM written_by WHERE version = ?", (__version__,))):
        connection.execute(
            "INSERT INTO written_by (version, since_ms) VALUES (?, ?) ON CONFLICT DO NOTHING",
            (__version__, now_ms),
        )
    return count

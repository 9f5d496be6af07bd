"""Our tables in the folder's database, made by numbered migrations; and their statements.

They are beside what another program keeps in the same `system.db`, whose tables are never changed:
a folder can go back to that program at any time. Before a migration changes a database that has
content, a copy of it is made.
"""

from __future__ import annotations

import _sqlite3 as sqlite3
import os
from collections.abc import Callable
from typing import Final

from holdfast.disk.durable_file import move
from holdfast.kernel.clock import Clock
from holdfast.outbox.database import DamagedError, UnavailableError, damage

_CREATE: Final = (
    """
    CREATE TABLE hf_brain (
      name TEXT PRIMARY KEY,
      value TEXT NOT NULL
    ) WITHOUT ROWID
    """,
    # Every event, in order; events.jsonl is derived from it.
    """
    CREATE TABLE hf_events (
      id INTEGER PRIMARY KEY,
      event_id TEXT NOT NULL UNIQUE,
      at_ms INTEGER NOT NULL,
      type TEXT NOT NULL,
      source TEXT NOT NULL,
      session TEXT,
      data_json TEXT NOT NULL,
      tags_json TEXT NOT NULL
    )
    """,
    # The identity of a correction: `occasion` is its session, or its UTC day.
    """
    CREATE TABLE hf_corrections (
      event INTEGER PRIMARY KEY,
      occasion TEXT NOT NULL,
      content_hash TEXT NOT NULL,
      severity TEXT NOT NULL,
      category TEXT NOT NULL,
      count INTEGER NOT NULL,
      last_ms INTEGER NOT NULL,
      UNIQUE (occasion, content_hash)
    )
    """,
    # Changes seen once are stored here, in few bytes, until a repeat makes them a lesson.
    """
    CREATE TABLE hf_patterns (
      pattern TEXT PRIMARY KEY,
      lesson_id TEXT
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE hf_lessons (
      lesson_id TEXT PRIMARY KEY,
      category TEXT NOT NULL,
      text TEXT NOT NULL,
      state TEXT NOT NULL,
      confidence REAL NOT NULL,
      fires INTEGER NOT NULL,
      corrections INTEGER NOT NULL,
      scope TEXT NOT NULL,
      verdict TEXT NOT NULL,
      revision INTEGER NOT NULL,
      created_ms INTEGER NOT NULL,
      changed_ms INTEGER NOT NULL
    ) WITHOUT ROWID
    """,
)

_VERDICTS: Final = (
    # The last verdict on a lesson from each place: "brain" or "dashboard"; `of` and `number` name
    # one of the dashboard's.
    """
    CREATE TABLE hf_verdicts (
      lesson_id TEXT NOT NULL,
      place TEXT NOT NULL,
      verdict TEXT NOT NULL,
      at_ms INTEGER NOT NULL,
      of TEXT NOT NULL,
      number INTEGER NOT NULL,
      PRIMARY KEY (lesson_id, place)
    ) WITHOUT ROWID
    """,
    # One given before there was this table was not given later than the lesson changed.
    """
    INSERT INTO hf_verdicts
      SELECT lesson_id, 'brain', verdict, changed_ms, '', 0 FROM hf_lessons WHERE verdict <> ''
    """,
)

MIGRATIONS: Final = (("the brain's tables", _CREATE), ("verdicts", _VERDICTS))
"""Number n is the entry at n - 1. A released one is never changed; the next follows it."""

_LEDGER: Final = """
CREATE TABLE IF NOT EXISTS hf_schema (
  number INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  applied_ms INTEGER NOT NULL,
  backup TEXT NOT NULL
)
"""


def version(connection: sqlite3.Connection) -> int:
    """Return the number of the last migration applied, 0 before the first.

    Raise DamagedError unless the numbers are those that migrations leave: one, two, three.
    """
    there = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'hf_schema'").fetchone()
    if there is None:
        return 0
    rows, highest = connection.execute("SELECT count(*), max(number) FROM hf_schema").fetchone()
    if rows != (highest or 0):
        raise DamagedError(f"hf_schema: {rows} migrations, the highest of them {highest}")
    return int(rows)


class Schema:
    """Brings the database of one folder up to date, whenever a connection to it is opened."""

    def __init__(
        self,
        folder: str,
        *,
        clock: Clock,
        name: Callable[[], str],
        rescue: Callable[[sqlite3.Connection], None],
    ) -> None:
        """`name` makes the id of a new brain, `rescue` fills a new database."""
        self._folder = folder
        self._clock = clock
        self._name = name
        self._rescue = rescue

    def __call__(self, connection: sqlite3.Connection) -> None:
        """Apply what is missing; raise UnavailableError, or sqlite3.Error if it is damaged.

        The folder's lock is held, no transaction is open.
        """
        try:
            done = version(connection)
            if done > len(MIGRATIONS):
                raise UnavailableError(
                    f"system.db: its schema {done} is newer than this program knows"
                    f" ({len(MIGRATIONS)}); upgrade holdfast"
                )
            if done < len(MIGRATIONS):
                self._migrate(connection, done)
        except sqlite3.Error as error:
            if damage(error):
                raise
            # A table of the same name, a full disk: the database itself is sound.
            raise UnavailableError(f"system.db: cannot be brought up to date: {error}") from error

    def _migrate(self, connection: sqlite3.Connection, done: int) -> None:
        backup = ""
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            backup = back_up(connection, self._folder, done + 1)
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.execute(_LEDGER)
            for number, (name, steps) in enumerate(MIGRATIONS[done:], done + 1):
                for step in steps:
                    connection.execute(step)
                connection.execute(
                    "INSERT INTO hf_schema VALUES (?, ?, ?, ?)",
                    (number, name, self._clock.now_ms(), backup),
                )
            if not done:
                self._rescue(connection)
                # One that came with the rescue is older, and stays.
                connection.execute(
                    "INSERT OR IGNORE INTO hf_brain VALUES ('brain', ?)", (self._name(),)
                )
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")


def back_up(connection: sqlite3.Connection, folder: str, number: int) -> str:
    """Copy the database, consistently, before migration `number`; return the file's name.

    An existing backup is kept: it was made before an attempt that did not end.
    """
    name = f"system.db.before-holdfast-{number}"
    path = f"{folder}/{name}"
    if os.path.exists(path):
        return name
    unfinished = f"{path}.tmp"
    try:
        os.close(os.open(unfinished, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600))
        copy = sqlite3.connect(unfinished)
        try:
            connection.backup(copy)
        finally:
            copy.close()
        move(unfinished, path)
    except OSError as error:
        raise UnavailableError(f"{name}: the backup could not be made: {error}") from error
    return name


# ---------------------------------------------------------------------- statements

BRAIN_ALL: Final = "SELECT name, value FROM hf_brain"
BRAIN_WRITE: Final = "INSERT OR REPLACE INTO hf_brain VALUES (?, ?)"
COUNTS: Final = (
    "SELECT 'corrections', count(*) FROM hf_corrections"
    " UNION ALL SELECT 'lessons', count(*) FROM hf_lessons"
    " UNION ALL SELECT 'newest', coalesce(max(id), 0) FROM hf_events"
)
COUNTS_BETWEEN: Final = (
    "SELECT event, count FROM hf_corrections WHERE event > ? AND event <= ? AND count > 1"
)
BRAIN_READ: Final = "SELECT value FROM hf_brain WHERE name = ?"
KNOWN: Final = (
    "SELECT c.event, e.event_id, c.count"
    " FROM hf_corrections c JOIN hf_events e ON e.id = c.event"
    " WHERE c.occasion = ? AND c.content_hash = ?"
)
EVENT_ADD: Final = (
    "INSERT OR REPLACE INTO hf_events"
    " (event_id, at_ms, type, source, session, data_json, tags_json) VALUES (?, ?, ?, ?, ?, ?, ?)"
)
CORRECTION_ADD: Final = "INSERT OR REPLACE INTO hf_corrections VALUES (?, ?, ?, ?, ?, 1, ?)"
CORRECTION_SEEN: Final = "UPDATE hf_corrections SET count = ?, last_ms = ? WHERE event = ?"
EVENTS_AFTER: Final = (
    "SELECT id, event_id, at_ms, type, source, session, data_json, tags_json FROM hf_events"
    " WHERE id > ? ORDER BY id LIMIT ?"
)
_NUMBER: Final = (
    "CASE WHEN session <> '' AND session NOT GLOB '*[^0-9]*' THEN CAST(session AS INTEGER)"
    " ELSE 0 END"
)
EVENTS_FOUND: Final = (
    "SELECT id, event_id, at_ms, type, source, session, data_json, tags_json FROM hf_events"  # noqa: S608
    " WHERE (?1 IS NULL OR type = ?1 OR type = ?2)"
    f" AND (?3 IS NULL OR {_NUMBER} = ?3) AND (?4 IS NULL OR {_NUMBER} >= ?4)"
    " ORDER BY id DESC LIMIT ?5"
)
SESSION_NEWEST: Final = f"SELECT coalesce(max({_NUMBER}), 0) FROM hf_events"  # noqa: S608
EVENT_NUMBER: Final = "SELECT id FROM hf_events WHERE event_id = ?"
EVENTS_NEWEST: Final = "SELECT coalesce(max(id), 0) FROM hf_events"
EVENTS_LAST: Final = (
    "SELECT id, event_id, at_ms, type, source, session, data_json, tags_json FROM hf_events"
    " ORDER BY id DESC LIMIT ?"
)
SESSION_COUNTS: Final = (
    "SELECT severity, count(*), sum(count) FROM hf_corrections WHERE occasion = ? GROUP BY severity"
)
PATTERNS_READ: Final = "SELECT pattern, lesson_id FROM hf_patterns WHERE pattern IN ({})"
PATTERN_ADD: Final = "INSERT OR REPLACE INTO hf_patterns VALUES (?, ?)"
_LESSON: Final = (
    "SELECT lesson_id, category, text, state, confidence, fires, corrections, scope, verdict,"
    " revision, created_ms, changed_ms FROM hf_lessons"
)
LESSON_READ: Final = f"{_LESSON} WHERE lesson_id = ?"
LESSONS_ALL: Final = f"{_LESSON} ORDER BY confidence DESC, lesson_id"
LESSON_WRITE: Final = f"INSERT OR REPLACE INTO hf_lessons VALUES ({','.join('?' * 12)})"  # noqa: S608

VERDICTS_READ: Final = (
    "SELECT place, verdict, at_ms, of, number FROM hf_verdicts WHERE lesson_id = ?"
)
VERDICT_WRITE: Final = "INSERT OR REPLACE INTO hf_verdicts VALUES (?, ?, ?, ?, ?, ?)"
LESSON_FIRED: Final = "UPDATE hf_lessons SET fires = fires + 1 WHERE lesson_id = ?"

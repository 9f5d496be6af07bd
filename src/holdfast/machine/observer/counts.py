"""Numbers of what was read, by file, day and model: a table beside the queue.

They are kept by file, so that a file that is written anew and read again replaces its own numbers
and is not counted twice.
"""

from __future__ import annotations

import _sqlite3 as sqlite3
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS observer_counts (
  name TEXT NOT NULL,
  day TEXT NOT NULL,
  model TEXT NOT NULL,
  turns INTEGER NOT NULL,
  tool_calls INTEGER NOT NULL,
  input INTEGER NOT NULL,
  output INTEGER NOT NULL,
  cache_read INTEGER NOT NULL,
  cache_write INTEGER NOT NULL,
  cost REAL NOT NULL,
  PRIMARY KEY (name, day, model)
) WITHOUT ROWID"""
_ADD: Final = (
    "INSERT INTO observer_counts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT DO UPDATE SET turns = turns + excluded.turns,"
    " tool_calls = tool_calls + excluded.tool_calls, input = input + excluded.input,"
    " output = output + excluded.output, cache_read = cache_read + excluded.cache_read,"
    " cache_write = cache_write + excluded.cache_write, cost = cost + excluded.cost"
)
_FORGET: Final = "DELETE FROM observer_counts WHERE name = ?"
_DAYS: Final = (
    "SELECT day, model, sum(turns), sum(tool_calls), sum(input), sum(output), sum(cache_read),"
    " sum(cache_write), sum(cost) FROM observer_counts GROUP BY day, model ORDER BY day, model"
)
_SESSIONS: Final = "SELECT day, count(DISTINCT name) FROM observer_counts GROUP BY day"


class Count(NamedTuple):
    """Numbers of one day and model; tokens as the model's maker counts them, cost in dollars."""

    day: str
    model: str
    turns: int = 0
    tool_calls: int = 0
    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cost: float = 0.0


ANEW: Final = Count("", "")
"""Stands first among the counts of a file that is read from its beginning."""


def prepare(connection: sqlite3.Connection) -> None:
    """Make the table, on each connection that is opened."""
    connection.execute(_TABLE)


class Executes(Protocol):
    """A transaction, or a connection."""

    def execute(self, sql: str, values: Sequence[Any] = ..., /) -> object:
        """Run one statement."""
        ...


def add(current: Executes, name: str, counted: Sequence[Count]) -> None:
    """Add numbers of a file."""
    for count in counted:
        if count == ANEW:
            current.execute(_FORGET, (name,))
        else:
            current.execute(_ADD, (name, *count))


def days(connection: sqlite3.Connection) -> dict[str, tuple[int, list[Count]]]:
    """Return the number of sessions and the numbers by model of each day."""
    found: dict[str, tuple[int, list[Count]]] = {
        day: (sessions, []) for day, sessions in connection.execute(_SESSIONS)
    }
    for row in connection.execute(_DAYS):
        found[row[0]][1].append(Count(*row))
    return found

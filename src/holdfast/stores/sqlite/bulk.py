"""One statement for many rows.

A thread releases the GIL at each step of SQLite, and under a busy event loop waits up to 5 ms to
get it back. So a group of rows goes in by one step: `:rows` in a statement becomes as many
`(?, ?, …)` as there are rows. Sizes are powers of two, so that there are few statement texts, which
stay in the cache of prepared statements.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, Final, TypeAlias

import apsw

Row: TypeAlias = tuple[Any, ...]

ROWS_MAX: Final = 128
"""Rows of one statement: with 16 columns far below SQLite's 32,766 parameters."""


class Bulk:
    """A statement that takes any number of rows of `width` parameters each."""

    __slots__ = ("_sql", "_texts", "_width")

    def __init__(self, sql: str, width: int) -> None:
        """Take a statement with the marker `:rows`."""
        if ":rows" not in sql:
            raise ValueError(f"no :rows in {sql!r}")
        self._sql = sql
        self._width = width
        self._texts: dict[int, str] = {}

    def _text(self, count: int) -> str:
        text = self._texts.get(count)
        if text is None:
            row = f"({', '.join('?' * self._width)})"
            text = self._texts[count] = self._sql.replace(":rows", ", ".join([row] * count))
        return text

    def _parts(self, rows: Sequence[Row]) -> Iterator[tuple[str, list[Any]]]:
        """Yield (text, parameters), the largest power of two first."""
        start, left = 0, len(rows)
        while left:
            count = min(1 << (left.bit_length() - 1), ROWS_MAX)
            part = rows[start : start + count] if left != count or start else rows
            yield self._text(count), list(chain.from_iterable(part))
            start += count
            left -= count

    def write(self, connection: apsw.Connection, rows: Sequence[Row]) -> int:
        """Run the statement over all rows, in order, and return how many it changed."""
        changed = 0
        for text, parameters in self._parts(rows):
            connection.execute(text, parameters)
            changed += connection.changes()
        return changed

    def read(self, connection: apsw.Connection, rows: Sequence[Row]) -> list[Row]:
        """Return the statement's results over all rows."""
        found: list[Row] = []
        for text, parameters in self._parts(rows):
            found += connection.execute(text, parameters).fetchall()
        return found

"""Full-text search in corrections: one FTS5 table per span of numbers, searched newest first.

An FTS5 query for a prefix, or for words that never occur together, scans all rows that have one of
them before it returns the first. So a table has at most 2**SPAN_BITS rows, tables are searched one
after the other, and a search that reaches its time limit returns where the next one continues. Rows
up to `split` are in the table `words`, the only one in older versions.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

import apsw
import msgspec

from holdfast.corrections.ports import CorrectionQuery
from holdfast.stores.sqlite.bulk import Bulk
from holdfast.stores.sqlite.lossy import read_rows

SPAN_BITS: Final = 16
"""65,536 rows: a search for the commonest word takes about 3 ms, for one letter about 50 ms."""

SCAN_ROWS: Final = 4_096
"""Rows matched by words that are checked for the other filters at a time: about 10 ms."""

SEARCH_S: Final = 0.03
"""Seconds after which a search stops and returns where to continue."""

_TABLE: Final = re.compile(r"words_([0-9]+)")
_NUMBERS: Final = msgspec.json.Decoder(list[int])
MAKE: Final = """
CREATE VIRTUAL TABLE IF NOT EXISTS {table} USING fts5(
    draft, final, summary,
    content = '', contentless_delete = 1, detail = none,
    tokenize = 'unicode61 remove_diacritics 2'
)
"""
_FIND: Final = """
SELECT json_group_array(rowid) FROM (
    SELECT rowid FROM {table} WHERE {table} MATCH :words AND rowid < :below
    ORDER BY rowid DESC LIMIT :scan
)
"""

Words = tuple[int, str, str, str]
"""Number, draft, final text and summary of a correction."""


class WordTables:
    """The FTS5 tables of one file."""

    def __init__(self, split: int) -> None:
        """`split` is the number up to which words are in the table `words`."""
        self._split = split
        self._add: dict[str, Bulk] = {}

    def _table(self, no: int) -> str:
        return "words" if no <= self._split else f"words_{no >> SPAN_BITS}"

    def add(self, connection: apsw.Connection, rows: Sequence[Words]) -> None:
        """Add the words of corrections."""
        for table, part in groupby(rows, lambda row: self._table(row[0])):
            if table not in self._add:
                into = f"INSERT INTO {table} (rowid, draft, final, summary) VALUES :rows"  # noqa: S608  a name from here
                self._add[table] = Bulk(into, 4)
            connection.execute(MAKE.format(table=table))
            self._add[table].write(connection, list(part))

    def drop(self, connection: apsw.Connection, no: int) -> None:
        """Remove the words of one correction."""
        connection.execute(f"DELETE FROM {self._table(no)} WHERE rowid = ?", (no,))  # noqa: S608  a name from here

    def drop_below(self, connection: apsw.Connection, no: int) -> None:
        """Remove the tables whose numbers are all below `no`."""
        for table, first in self._newest_first(connection, no):
            if table != "words" and first >> SPAN_BITS < no >> SPAN_BITS:
                connection.execute(f"DROP TABLE {table}")

    def _newest_first(self, connection: apsw.Connection, below: int) -> Iterator[tuple[str, int]]:
        """Yield each table with numbers below `below`, and the lowest number it can have."""
        names: list[tuple[Any, ...]] = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB 'words_[0-9]*'"
        ).fetchall()
        matches = (_TABLE.fullmatch(name) for (name,) in names)
        spans = sorted((int(match[1]) for match in matches if match), reverse=True)
        for span in spans:
            first = max(span << SPAN_BITS, self._split + 1)
            if first < below:
                yield f"words_{span}", first
        if self._split:
            yield "words", 0

    def search(
        self,
        connection: apsw.Connection,
        query: CorrectionQuery,
        show: str,
        values: Mapping[str, Any],
    ) -> tuple[list[tuple[Any, ...]], int]:
        """Return rows of the statement `show`, newest first, and where to continue, 0 at the end.

        `show` selects and filters the rows with the numbers `:nos`.
        """
        ends_s = time.monotonic() + SEARCH_S
        narrows = (query.account, query.brain, query.category, query.severity, query.session)
        scan = SCAN_ROWS if any(narrows) else query.limit
        found: list[tuple[Any, ...]] = []
        below = query.below
        for table, first in self._newest_first(connection, below):
            while below > first:
                asked = {"words": query.words, "below": below, "scan": scan}
                numbers = connection.execute(_FIND.format(table=table), asked).get
                nos = _NUMBERS.decode(numbers)
                if nos:
                    more = {**values, "nos": numbers, "limit": query.limit - len(found)}
                    found += read_rows(connection, show, more)
                below = nos[-1] if len(nos) == scan else first
                if len(found) == query.limit:
                    return found, found[-1][0]
                if time.monotonic() > ends_s and below > 1:
                    return found, below
        return found, 0

"""Reads rows even if a text in one of them is not UTF-8, so that one cannot hide the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import apsw

Values: TypeAlias = Sequence[Any] | Mapping[str, Any]

_TEXT: Final = "text"


def read_rows(
    connection: apsw.Connection, statement: str, values: Values = ()
) -> list[tuple[Any, ...]]:
    """Return the rows of a SELECT; bytes of a text that are not UTF-8 become U+FFFD."""
    try:
        return connection.execute(statement, values).fetchall()
    except UnicodeDecodeError:
        return _read_lossily(connection, statement, values)


def _read_lossily(
    connection: apsw.Connection, statement: str, values: Values
) -> list[tuple[Any, ...]]:
    """Read each column with its storage type, text as bytes, and decode the text here."""
    width = len(connection.execute(statement, values).description)
    names = [f"c{number}" for number in range(width)]
    columns = ", ".join(
        f"typeof({name}), CASE typeof({name}) WHEN 'text' THEN CAST({name} AS BLOB) ELSE {name} END"
        for name in names
    )
    wrapped = f"WITH found({', '.join(names)}) AS ({statement}) SELECT {columns} FROM found"  # noqa: S608  statements of this package
    return [
        tuple(
            value.decode(errors="replace") if kind == _TEXT else value
            for kind, value in zip(row[::2], row[1::2], strict=True)
        )
        for row in connection.execute(wrapped, values)
    ]

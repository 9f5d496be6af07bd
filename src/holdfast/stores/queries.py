"""Named statements, read from `.sql` files.

A file holds statements, each under a line `-- name: what_it_does` and a comment of one sentence.
The marker `:rows` stands for the parenthesised rows of parameters of one call; see
`stores.sqlite.bulk`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import aiosql


@cache
def load_queries(folder: Path) -> dict[str, str]:
    """Return the statements of every file in a folder by name; they are read once.

    Only aiosql's parser is used: its calls take one row at a time, and here a statement takes the
    rows of a whole group.
    """
    found = aiosql.from_path(folder, "sqlite3", mandatory_parameters=False)
    names = [name for name in found.available_queries if not name.endswith("_cursor")]
    return {name: str(getattr(found, name).sql).rstrip("; \n") for name in names}

"""Imports corrections that another program recorded in the same folder, on request.

They are read from its `events` table, which is not changed; each is redacted, judged and stored as
if it had been made through us at its time. The progress is stored in the same transaction, so
repeating imports nothing twice.
"""

from __future__ import annotations

import _sqlite3 as sqlite3
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from holdfast.outbox.box import Outbox
from holdfast.outbox.transaction import Transaction
from holdfast.sdk import compose, judgement, limits, record
from holdfast.sdk.record import Made

_MARK: Final = "backfilled"
_THERE: Final = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'events'"
_READ_MARK: Final = f"SELECT value FROM hf_brain WHERE name = '{_MARK}'"  # noqa: S608  # ours
_WRITE_MARK: Final = "INSERT OR REPLACE INTO hf_brain VALUES (?, ?)"
_OLD: Final = (
    # As bytes: one text that is not UTF-8 must not make the database look damaged.
    "SELECT id, CAST(ts AS BLOB), CAST(session AS BLOB), CAST(data_json AS BLOB) FROM events"
    " WHERE type = 'CORRECTION' AND id > ?"
    " ORDER BY id LIMIT ?"
)


def pages(outbox: Outbox) -> Iterator[int]:
    """Import page by page; yield how many corrections each page had."""
    while True:
        page = outbox.read(_next_page)
        if not page:
            return
        made = [found for row in page if (found := _made(row)) is not None]
        yield outbox.write(partial(_keep, made=made, last=page[-1][0]), rows=0)


def waiting(connection: sqlite3.Connection) -> int:
    """Return how many corrections of another program are not yet imported."""
    if connection.execute(_THERE).fetchone() is None:
        return 0
    found = connection.execute(
        "SELECT count(*) FROM events WHERE type = 'CORRECTION' AND id > ?", (_mark(connection),)
    ).fetchone()
    return int(found[0])


def _mark(connection: sqlite3.Connection) -> int:
    row = connection.execute(_READ_MARK).fetchone()
    return int(row[0]) if row is not None else 0


def _next_page(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
    if connection.execute(_THERE).fetchone() is None:
        return []
    return connection.execute(_OLD, (_mark(connection), limits.LOG_PAGE_ROWS)).fetchall()


def _made(row: tuple[Any, ...]) -> Made | None:
    """Return an old correction as one of ours, None if it is invalid by our rules."""
    _, *values = row
    moment, session, text = (
        "" if value is None else value.decode("utf-8", "replace") for value in values
    )
    try:
        data = json.loads(text)
        at = datetime.fromisoformat(moment)
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        return compose.correction(
            data.get("draft_text") or "",
            data.get("final_text") or "",
            category=judgement.category_fitting(data.get("category")),
            context=None,
            session=compose.session_fitting(session),
            now_ms=round(at.timestamp() * 1_000),
        )
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


def _keep(tx: Transaction, made: list[Made], last: int) -> int:
    kept = 0
    for correction in made:
        kept += record.keep_correction(tx, correction).times == 1
    tx.execute(_WRITE_MARK, (_MARK, str(last)))
    return kept

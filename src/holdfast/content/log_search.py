"""Searches the log lines of a node, the latest first, a bounded stretch at a time."""

from __future__ import annotations

from typing import NamedTuple

from holdfast.content import limits
from holdfast.content.log_lines import Search, log_row
from holdfast.content.parts import body_size, in_parts
from holdfast.content.ports import ContentStore, ItemQuery
from holdfast.wire.api.content import LogRow
from holdfast.wire.times import time_text


class Found(NamedTuple):
    """Lines that are wanted, the time of the last that was looked at, and the next cursor."""

    rows: tuple[LogRow, ...]
    looked_to: str | None
    following: str


async def search_logs(store: ContentStore, query: ItemQuery, search: Search) -> Found:
    """Return one page of wanted lines; the loop gets a turn between parts of a page of the store.

    Without a search that is one page of the store. With one the page may be empty and have a
    cursor all the same, where the bound was reached.
    """
    found: list[LogRow] = []
    at_ms, no, more = query.at_ms, query.no, True
    size = query.limit if search.is_any else limits.SEARCH_ROWS // limits.SEARCH_PAGES
    for _ in range(1 if search.is_any else limits.SEARCH_PAGES):
        page, more = await store.items(query._replace(at_ms=at_ms, no=no, limit=size))
        async for row in in_parts(page, size_of=body_size):
            at_ms, no = row.at_ms, row.no
            shown = log_row(row)
            if search.wants(shown):
                found.append(shown)
            if len(found) == query.limit:
                more = more or row is not page[-1]
                break
        if len(found) == query.limit or not more:
            break
    is_begun = (at_ms, no) != (query.at_ms, query.no)
    return Found(
        tuple(found), time_text(at_ms) if is_begun else None, f"{at_ms}-{no}" if more else ""
    )

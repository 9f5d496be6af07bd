"""Work on many rows leaves the event loop to others between parts of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TypeVar

from holdfast.content import limits
from holdfast.content.records import AboutRow, ItemRow

T = TypeVar("T")


def body_size(row: ItemRow | AboutRow) -> int:
    """Return the bytes that are decoded of a row."""
    return len(row.body)


async def in_parts(
    found: Iterable[T],
    *,
    rows: int = limits.ROWS_IN_PART,
    size_of: Callable[[T], int] = lambda _: 0,
) -> AsyncIterator[T]:
    """Yield each, and let others run after `rows` of them, or after ones of PART_BYTES.

    `size_of` is how many bytes are decoded for one.
    """
    count = size = 0
    for one in found:
        yield one
        count += 1
        size += size_of(one)
        if count >= rows or size >= limits.PART_BYTES:
            await asyncio.sleep(0)
            count = size = 0

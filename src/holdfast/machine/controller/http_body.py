"""Reads a response body without trusting its length."""

from __future__ import annotations

import aiohttp


async def read_answer(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    """Return the body, cut after `limit` bytes."""
    parts: list[bytes] = []
    room = limit
    while room > 0 and (part := await answer.content.read(room)):
        parts.append(part)
        room -= len(part)
    return b"".join(parts)

"""Times as texts: how every message writes a moment. Pure, and it never asks what time it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def time_text(at_ms: int) -> str:
    """Return milliseconds since the epoch as ISO 8601 in UTC: `2026-11-21T09:30:00.000Z`."""
    at = _EPOCH + timedelta(milliseconds=at_ms)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at_ms % 1_000:03d}Z"

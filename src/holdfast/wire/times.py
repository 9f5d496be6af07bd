"""Times as texts, in the form of every message. Pure: it never reads a clock."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Final

from holdfast.kernel.clock import DAY_MS

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
_FIRST_MS: Final = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MS
TIME_MS_MAX: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MS
"""The last millisecond that has a text: the end of the year 9999."""


def time_text(at_ms: int) -> str:
    """Return milliseconds since the epoch as ISO 8601 in UTC: `2026-11-21T09:30:00.000Z`.

    That has four digits for the year: a time before year 1 or after year 9999 is written as the
    first or last moment of those.
    """
    at = _EPOCH + timedelta(milliseconds=min(max(at_ms, _FIRST_MS), TIME_MS_MAX))
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def day_of(at_ms: int) -> date:
    """Return the day of a time in ms since the epoch, in UTC."""
    return (_EPOCH + timedelta(days=at_ms // DAY_MS)).date()


def parse_time(text: object) -> int | None:
    """Return an ISO 8601 time as whole milliseconds since the epoch, None for what is none.

    Without a zone it is UTC.
    """
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // _MS

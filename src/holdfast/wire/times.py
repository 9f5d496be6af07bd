"""Times as texts: how every message writes a moment. Pure, and it never asks what time it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)

TIME_MS_MAX: Final = 253_402_300_799_999
"""The last millisecond that has a text: the end of the year 9999."""

_TIME_MS_MIN: Final = -62_135_596_800_000
"""The first one: the begin of the year 1."""


def time_text(at_ms: int) -> str:
    """Return milliseconds since the epoch as ISO 8601 in UTC: `2026-11-21T09:30:00.000Z`.

    What is beyond the years 1 to 9999 is shown as that end of them: one odd row must not keep the
    others from being listed.
    """
    at_ms = min(max(at_ms, _TIME_MS_MIN), TIME_MS_MAX)
    at = _EPOCH + timedelta(milliseconds=at_ms)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at_ms % 1_000:03d}Z"


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

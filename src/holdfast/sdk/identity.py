"""Identity of a correction: the hash of its content, its occasion, and its event id.

The plane computes the same hash from what it receives; the formula is in docs/sdk.md. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hashlib import sha256
else:
    # hashlib loads OpenSSL, four megabytes of it, for what Python has built in: as _sha256 in 3.11,
    # as _sha2 from 3.12 on.
    for _module in ("_sha2", "_sha256", "hashlib"):
        try:
            sha256 = __import__(_module).sha256
            break
        except ImportError:
            continue

_DAY_MS: Final = 86_400_000
_ID_DIGITS: Final = 40


def content_hash(draft: str, final: str) -> str:
    """Return the SHA-256 over both texts as they are sent, a zero byte between, in hex."""
    return sha256(draft.encode() + b"\0" + final.encode()).hexdigest()


def day_of(at_ms: int) -> str:
    """Return the UTC day of a time in milliseconds since the epoch, as YYYY-MM-DD."""
    # Howard Hinnant's days-to-civil arithmetic: reads no clock, and loads no module.
    days = at_ms // _DAY_MS + 719_468
    era, day_of_era = divmod(days, 146_097)
    year_of_era = (
        day_of_era - day_of_era // 1_460 + day_of_era // 36_524 - day_of_era // 146_096
    ) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_index = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month_index + 2) // 5 + 1
    month = month_index + 3 if month_index < 10 else month_index - 9  # noqa: PLR2004  # from March
    year = year_of_era + era * 400 + (month <= 2)  # noqa: PLR2004  # January and February
    return f"{year:04d}-{month:02d}-{day:02d}"


def time_of(at_ms: int) -> str:
    """Return the UTC time as ISO 8601 with milliseconds."""
    seconds, millis = divmod(at_ms % _DAY_MS, 1_000)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{day_of(at_ms)}T{hour:02d}:{minute:02d}:{second:02d}.{millis:03d}+00:00"


def occasion_of(session: str | None, day: str) -> str:
    """Return what a repeat is counted within: the session, or without one the day."""
    return f"day {day}" if session is None else f"session {session}"


def correction_id(occasion: str, content: str) -> str:
    """Return the event id of the correction with this content on this occasion."""
    return "c" + sha256(f"{occasion}\0{content}".encode()).hexdigest()[:_ID_DIGITS]


def repeat_id(event_id: str, count: int) -> str:
    """Return the event id under which the `count`th time of a correction is sent."""
    return f"{event_id}~{count}"


def short_id(*parts: str) -> str:
    """Return 24 hex digits of a hash of the parts."""
    return sha256("\0".join(parts).encode()).hexdigest()[:24]

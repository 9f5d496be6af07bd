"""Moments in words. Pure: the present is an argument.

The page's script says the same words while time passes, so both sides use these few forms only.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final, NamedTuple

from holdfast.wire.times import parse_time, time_text

NOTHING: Final = "\N{EN DASH}"
"""What stands where there is no value."""

_SECOND: Final = 1_000
_MINUTE: Final = 60 * _SECOND
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR
_NOW: Final = 1_500
_STEPS: Final = ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min"), (_SECOND, "s"))
_DAYS_SHOWN_MAX: Final = 99


class Moment(NamedTuple):
    """A moment for a page: `iso` for programs, `words` for people, `clock` for a tooltip."""

    iso: str
    words: str
    clock: str


def parse_ms(iso: str) -> int:
    """Return ISO 8601 as milliseconds since the epoch; raise ValueError where it is none."""
    at_ms = parse_time(iso)
    if at_ms is None:
        message = f"{iso!r} is no time"
        raise ValueError(message)
    return at_ms


def span_words(span_ms: int) -> str:
    """Return a duration by its largest unit: `4 s`, `12 min`, `3 h`, `9 d`."""
    for step, unit in _STEPS:
        if span_ms >= step:
            return f"{span_ms // step} {unit}"
    return "0 s"


def relative_words(at_ms: int, now_ms: int) -> str:
    """Return how long ago or until: `now`, `4 s ago`, `in 12 min`; a far past by its date."""
    away = now_ms - at_ms
    if abs(away) < _NOW:
        return "now"
    if away > _DAYS_SHOWN_MAX * _DAY:
        return time_text(at_ms)[:10]
    return f"{span_words(away)} ago" if away > 0 else f"in {span_words(-away)}"


def moment(iso: str | None, now_ms: int) -> Moment | None:
    """Return a moment as a page shows it, or None where there is none."""
    if not iso:
        return None
    at_ms = parse_time(iso)
    if at_ms is None:  # of a damaged row: shown as it is
        return Moment("", iso, "")
    return Moment(iso, relative_words(at_ms, now_ms), iso[:19].replace("T", " ") + " UTC")


def left_words(until_ms: int, now_ms: int) -> str:
    """Return how long is left by its two largest units: `58 min 12 s`, at last `expired`."""
    left = until_ms - now_ms
    if left <= 0:
        return "expired"
    for (step, unit), (finer, fine_unit) in pairwise(_STEPS):
        if left >= step:
            return f"{left // step} {unit} {left % step // finer} {fine_unit}"
    return f"{left // _SECOND} s"


def deadline(iso: str | None, now_ms: int) -> Moment | None:
    """Return a moment that is counted down to, or None where there is none."""
    if not iso:
        return None
    at_ms = parse_time(iso)
    if at_ms is None:  # of a damaged row: shown as it is
        return Moment("", iso, "")
    return Moment(iso, left_words(at_ms, now_ms), iso[:19].replace("T", " ") + " UTC")

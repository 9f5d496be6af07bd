"""What an observer did, in words: for pages, the command line and the doctor. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from holdfast.wire.controller.checkin import ObserverWork
from holdfast.wire.times import time_text

_UNITS: Final = ("B", "kB", "MB", "GB", "TB")
_KILO: Final = 1_000


def bytes_text(size: int) -> str:
    """Return a number of bytes with its unit."""
    value: float = size
    for unit in _UNITS[:-1]:
        if value < _KILO:
            return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= _KILO
    return f"{value:.1f} {_UNITS[-1]}"


def backlog_text(work: ObserverWork) -> str:
    """Return what is left to read, empty for nothing."""
    return f"{bytes_text(work.bytes)} (files: {work.sources})" if work.sources else ""


def work_texts(work: ObserverWork | None) -> Iterator[str]:
    """Yield what was done last, one fact a text; none where the observer said nothing."""
    if work is None:
        return
    yield f"heartbeat answered {time_text(work.heard)}" if work.heard else "no heartbeat answered"
    if work.looked:
        yield f"files looked at {time_text(work.looked)}"
    if work.paused:
        yield f"nothing is sent: {work.paused}"
    if work.sources:
        yield f"left to read: {backlog_text(work)}"
    if work.waiting:
        yield f"uploads waiting: {work.waiting}"
    if work.oversized:
        yield f"lines too long to send: {work.oversized}"
    for each in work.unread:
        yield f"cannot be read: {each.sources} ({each.reason})"

"""One line of a transcript or a log as it may leave: parsed, redacted, and within an upload's size.

Total: any bytes give a record.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from holdfast.machine.observer import limits
from holdfast.machine.observer.readers.parts import encoded
from holdfast.outbox.redactor import redact, redact_value
from holdfast.wire.times import parse_time

_SECONDS_MAX: Final = 100_000_000_000
"""A larger number is in ms: as seconds it would be in the year 5138."""
_LAST_MS: Final = 253_402_300_799_000
"""The end of the year 9999, which is as far as a calendar goes."""
_TIME_NAMES: Final = ("timestamp", "time", "ts")


class Record(NamedTuple):
    """A redacted line, its size in an upload, and its time in ms, None if it has none."""

    value: Any
    size: int
    at_ms: int | None


def read_record(line: bytes) -> Record:
    """Return the record of one line."""
    try:
        parsed = msgspec.json.decode(line)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        return _fitting({"raw": redact(line.decode("utf-8", "replace"))}, None)
    at_ms = time_of(parsed)
    try:
        return _fitting(redact_value(parsed), at_ms)
    except (ValueError, RecursionError):
        # Nested deeper than the redactor goes: as one text it goes through it all the same.
        return _fitting({"raw": redact(line.decode("utf-8", "replace"))}, at_ms)


def oversized(size: int) -> Record:
    """Return what stands for a line that is too long to be read."""
    value = {"type": "oversized", "bytes": size}
    return Record(value, len(encoded(value)), None)


def _fitting(value: dict[str, Any], at_ms: int | None) -> Record:
    size = len(encoded(value))
    for characters in limits.TEXTS_CUT_TO:
        if size <= limits.BODY_BYTES_MAX:
            return Record(value, size, at_ms)
        value = _cut(value, characters)
        size = len(encoded(value))
    if size <= limits.BODY_BYTES_MAX:
        return Record(value, size, at_ms)
    kept = {name: held for name, held in value.items() if isinstance(held, str | int)}
    note = {**dict(list(kept.items())[:8]), "oversized": size}
    return Record(note, len(encoded(note)), at_ms)


def _cut(value: Any, characters: int) -> Any:
    if isinstance(value, str):
        more = len(value) - characters
        return value if more <= 0 else f"{value[:characters]}… [{more} characters more]"
    if isinstance(value, dict):
        return {name[:characters]: _cut(held, characters) for name, held in value.items()}
    if isinstance(value, list):
        return [_cut(held, characters) for held in value]
    return value


def time_of(parsed: dict[Any, Any]) -> int | None:
    """Return the time that a line names, in ms since the epoch."""
    for name in _TIME_NAMES:
        at_ms = to_ms(parsed.get(name))
        if at_ms is not None:
            return at_ms
    meta = parsed.get("_meta")
    return to_ms(meta.get("date")) if isinstance(meta, dict) else None


def to_ms(value: Any) -> int | None:
    """Return a time in ms: an ISO 8601 text, or a number of s or ms; None for anything else."""
    if isinstance(value, str):
        return parse_time(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not 0 < value < 2**53:
        return None
    at_ms = int(value * 1_000 if value < _SECONDS_MAX else value)
    return at_ms if at_ms <= _LAST_MS else None

"""Reads what an agent used from the numbers of a day that its observer sent. Pure.

Bodies are what clients sent: a number that is none, or is not plausible, counts as 0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import date
from typing import Any, Final

from holdfast.content import limits
from holdfast.content.records import DAY, Row, Usage
from holdfast.wire.limits import TEXT_MAX
from holdfast.wire.money import MICRO
from holdfast.wire.times import day_of

_OTHER: Final = "(other models)"
_NUMBERS: Final = ("turns", "tool_calls", "input", "output", "cache_read", "cache_write")
_DAY: Final = re.compile(r"(20\d\d)-(\d\d)-(\d\d)", re.ASCII)


def parse_day(text: str) -> date | None:
    """Return a day of this century, `2026-11-30`; None for any other text."""
    found = _DAY.fullmatch(text)
    try:
        return None if found is None else date(*map(int, found.groups()))
    except ValueError:
        return None


def is_past(rows: Iterable[Row], received_ms: int) -> bool:
    """Return whether a row is of a day of counters before the one on which it came."""
    today = str(day_of(received_ms))
    return any(row.stream.removeprefix(DAY) < today for row in rows)


def read_usage(day: str, models: object) -> tuple[Usage, ...]:
    """Return what a day's numbers say of each model; nothing for what is no day or has none."""
    if parse_day(day) is None or not isinstance(models, list):
        return ()
    found: dict[str, Usage] = {}
    for each in models:
        if not isinstance(each, dict):
            continue
        one = _usage(each)
        if one.model not in found and len(found) >= limits.USAGE_MODELS_MAX - 1:
            one = one._replace(model=_OTHER)
        known = found.get(one.model)
        found[one.model] = one if known is None else _sum(known, one)
    return tuple(one for one in found.values() if any(one[1:]))


def _usage(found: dict[str, Any]) -> Usage:
    given = found.get("model")
    model = given if isinstance(given, str) else ""
    model = "".join(char for char in model[:TEXT_MAX] if char.isprintable())
    numbers = [_whole(found.get(name)) for name in _NUMBERS]
    return Usage._make((model, *numbers, _micro(found.get("cost"))))


def _whole(value: object) -> int:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and 0 <= value <= limits.USAGE_MAX else 0  # type: ignore[operator,return-value]


def _micro(value: object) -> int:
    """Return an amount of money as whole millionths."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        return 0
    return round(value * MICRO) if 0 <= value <= limits.USAGE_MAX / MICRO else 0


def _sum(one: Usage, other: Usage) -> Usage:
    pairs = zip(one[1:], other[1:], strict=True)
    return Usage._make((one.model, *(min(left + right, limits.USAGE_MAX) for left, right in pairs)))

"""What an agent may spend: limits for a day and a month, in money and in tokens. Pure.

Declared once for the API, for the instance that keeps it, and for the stream that measures.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Final, Literal, NamedTuple

from msgspec import Meta, Struct

from holdfast.kernel.clock import DAY_MS
from holdfast.wire.limits import COUNTER_MAX
from holdfast.wire.times import day_of

Period = Literal["day", "month"]
Measure = Literal["money", "tokens"]

LEVELS: Final = (50, 80, 95, 100)
"""Percent of a limit at which there is an alert; the last one is the limit itself."""
REACHED: Final = LEVELS[-1]

_FIRST: Final = date(1970, 1, 1)

Most = Annotated[int, Meta(ge=0, le=COUNTER_MAX)]
Currency = Annotated[str, Meta(max_length=3, pattern=r"^[A-Z]{3}$(?!\n)")]


class Budget(Struct, frozen=True, kw_only=True, gc=False):
    """Limits of a day and of a month, in UTC; 0 is none.

    Money (`…_micro`, millionths) is of `currency`: what is spent in another one does not count, nor
    do tokens without a price or paid by a flat rate. Limits of tokens count every token. With `cap`
    the agent is paused while a limit is reached; without, there are alerts alone.
    """

    day_micro: Most = 0
    month_micro: Most = 0
    day_tokens: Most = 0
    month_tokens: Most = 0
    currency: Currency = "USD"
    cap: bool = False


class Limit(NamedTuple):
    """One limit of a budget; `currency` is empty for tokens."""

    period: Period
    measure: Measure
    most: int
    currency: str


def limits_of(budget: Budget) -> tuple[Limit, ...]:
    """Return the limits that a budget sets."""
    found = (
        Limit("day", "money", budget.day_micro, budget.currency),
        Limit("month", "money", budget.month_micro, budget.currency),
        Limit("day", "tokens", budget.day_tokens, ""),
        Limit("month", "tokens", budget.month_tokens, ""),
    )
    return tuple(limit for limit in found if limit.most)


def level_of(spent: int, most: int) -> int:
    """Return the highest level that is reached, in percent, or 0."""
    return max((level for level in LEVELS if spent * 100 >= level * most), default=0)


def period_of(period: Period, at_ms: int) -> tuple[int, int]:
    """Return the first moment of the day or month of a time, in UTC, and that of the next one."""
    day = day_of(at_ms)
    if period == "day":
        return _ms(day), _ms(day + timedelta(days=1))
    begin = day.replace(day=1)
    return _ms(begin), _ms((begin + timedelta(days=31)).replace(day=1))


def _ms(day: date) -> int:
    return (day - _FIRST).days * DAY_MS

"""What sums of usage cost by a price list, and what a month comes to. Pure.

What an agent reported wins over the price list; a flat rate wins over both. Amounts are summed as
whole numbers before they are rounded, once, to millionths of a unit.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from operator import add
from typing import Final

from holdfast.content import limits
from holdfast.content.prices import KINDS, Plan, Price, Rates, covering
from holdfast.content.records import UsageSum
from holdfast.wire.api.costs import CURRENCIES_MAX, PLANS_SHOWN_MAX, Amount, CostMonth, Used
from holdfast.wire.limits import COUNTER_MAX
from holdfast.wire.money import MICRO

_NUMBERS: Final = ("turns", "tool_calls", *KINDS)


class Tally:
    """A sum of what was used, and what it cost."""

    __slots__ = ("_listed", "_numbers", "_plan_tokens", "_plans", "_reported", "_unpriced")

    def __init__(self) -> None:
        self._numbers = [0] * len(_NUMBERS)
        self._unpriced = self._plan_tokens = 0
        self._reported: dict[str, int] = {}
        self._listed: dict[str, int] = {}  # by a million tokens: millionths of millionths
        self._plans: set[str] = set()

    def add(self, found: UsageSum, day: date, rates: Rates, plans: Iterable[Plan]) -> None:
        """Add what was used on a day, or on days on which no price changed."""
        tokens = found.input, found.output, found.cache_read, found.cache_write
        self._numbers = [*map(add, self._numbers, (found.turns, found.tool_calls, *tokens))]
        plan = covering(plans, found.model, day)
        if plan is not None:
            self._plan_tokens += sum(tokens)
            self._plans.add(plan.name)
        elif found.reported:
            _put(self._reported, rates.reported_currency, found.reported)
        else:
            self._add_listed(tokens, rates.price(found.model, day))

    def _add_listed(self, tokens: Sequence[int], price: Price | None) -> None:
        if price is None:
            self._unpriced += sum(tokens)
            return
        for used, per_million in zip(tokens, price.amounts(), strict=True):
            if per_million is None:
                self._unpriced += used
            elif used:
                _put(self._listed, price.currency, used * per_million)

    def merge(self, other: Tally) -> None:
        """Add another sum."""
        self._numbers = [*map(add, self._numbers, other._numbers)]
        self._unpriced += other._unpriced
        self._plan_tokens += other._plan_tokens
        for currency, micro in other._reported.items():
            _put(self._reported, currency, micro)
        for currency, amount in other._listed.items():
            _put(self._listed, currency, amount)
        self._plans |= other._plans

    @property
    def weight(self) -> tuple[int, int]:
        """Return what this is ranked by among others: its money, then its tokens."""
        money = sum(self._reported.values()) * MICRO + sum(self._listed.values())
        return money, sum(self._numbers[-len(KINDS) :])

    def amounts(self) -> tuple[Amount, ...]:
        """Return what it cost, by currency."""
        found = []
        for currency in sorted(self._reported.keys() | self._listed.keys())[:CURRENCIES_MAX]:
            estimated = (self._listed.get(currency, 0) + MICRO // 2) // MICRO
            found.append(_amount(currency, self._reported.get(currency, 0), estimated))
        return tuple(found)

    def view(self) -> Used:
        """Return the sum as it is answered."""
        numbers = (min(number, COUNTER_MAX) for number in self._numbers)
        return Used(
            **dict(zip(_NUMBERS, numbers, strict=True)),
            unpriced_tokens=min(self._unpriced, COUNTER_MAX),
            plan_tokens=min(self._plan_tokens, COUNTER_MAX),
            amounts=self.amounts(),
            plans=tuple(sorted(self._plans)[:PLANS_SHOWN_MAX]),
        )


def _put(sums: dict[str, int], currency: str, amount: int) -> None:
    sums[currency] = sums.get(currency, 0) + amount


def _amount(currency: str, reported: int, estimated: int) -> Amount:
    return Amount(
        currency=currency,
        micro=min(reported + estimated, COUNTER_MAX),
        reported_micro=min(reported, COUNTER_MAX),
        estimated_micro=min(estimated, COUNTER_MAX),
    )


def total_of(tallies: Iterable[Tally]) -> Tally:
    """Return the sum of sums."""
    total = Tally()
    for each in tallies:
        total.merge(each)
    return total


def periods(changes: Sequence[date], first: date, last: date) -> Iterator[tuple[date, date]]:
    """Yield the parts of a range of days, in each of which no price changes."""
    begins = [first, *(day for day in changes if first < day <= last)]
    for begin, following in zip(begins, [*begins[1:], last + timedelta(days=1)], strict=True):
        yield begin, following - timedelta(days=1)


def month_of(days: Mapping[date, Tally], today: date) -> CostMonth:
    """Return the present month so far, and what it comes to.

    The mean of the last days before today, from the first one with numbers on, goes on for the rest
    of the month; today comes to that mean, or to what it has cost already if that is more.
    """
    begin = today.replace(day=1)
    so_far = total_of(tally for day, tally in days.items() if begin <= day <= today)
    earliest = today - timedelta(days=limits.PROJECTION_DAYS)
    known = [day for day in days if earliest <= day < today]
    count = (today - min(known)).days if known else 0
    projected: tuple[Amount, ...] = ()
    if count >= limits.PROJECTION_DAYS_MIN:
        recent = total_of(days[day] for day in known)
        left = monthrange(today.year, today.month)[1] - today.day
        projected = _projected(so_far, recent, days.get(today, Tally()), count=count, left=left)
    return CostMonth(
        month=f"{today:%Y-%m}", so_far=so_far.amounts(), projected=projected, days=count
    )


def _projected(
    so_far: Tally, recent: Tally, today: Tally, *, count: int, left: int
) -> tuple[Amount, ...]:
    spent, before, now = (_by_currency(one) for one in (so_far, recent, today))
    found = []
    for currency in sorted(spent.keys() | before.keys()):
        reported, estimated = before[currency]
        mean_of = reported + estimated
        more = max(0, mean_of // count - sum(now[currency])) + mean_of * left // count
        # What is to come is reported and estimated as it was before.
        of_it = more * reported // mean_of if mean_of else 0
        found.append(
            _amount(currency, spent[currency][0] + of_it, spent[currency][1] + more - of_it)
        )
    return tuple(found)


class _Parts(dict[str, tuple[int, int]]):
    """What was reported and what was estimated, by currency; nothing of any other."""

    def __missing__(self, currency: str) -> tuple[int, int]:
        return 0, 0


def _by_currency(tally: Tally) -> _Parts:
    return _Parts({a.currency: (a.reported_micro, a.estimated_micro) for a in tally.amounts()})

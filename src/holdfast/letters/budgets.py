"""How a budget is shown: its limits beside what was spent, and what cannot be known. Pure.

Instances and nodes elsewhere keep budgets in different places and show them alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from holdfast.letters.spend import Blind, Meter, Spending, spent_of
from holdfast.wire.api.budgets import BudgetView, LimitView
from holdfast.wire.budget import Budget, Limit, level_of, limits_of, period_of
from holdfast.wire.limits import REASON_MAX
from holdfast.wire.money import count_text, tokens_of
from holdfast.wire.times import time_text

_BLIND: Final[Mapping[Blind, str]] = MappingProxyType(
    {
        "consent": "Its owner lets no counters out, so nothing is measured: {lost}; grant counters"
        " on the node's page, or: holdfast consent grant {node} counters",
        "sender": "Another program sends for its node, and the numbers of a Holdfast observer alone"
        " are counted, so nothing is measured: {lost}; have an observer send, on the node's page,"
        " or, with SENDER of holdfast nodes show {node}: holdfast nodes sender {node} SENDER",
    }
)
_NO_NODE: Final = "No counters of it have come yet, so nothing is measured until they do"


def crossings(limits: Iterable[Limit], spent: Callable[[Limit], int], now_ms: int) -> list[Meter]:
    """Return how far each limit is used up in its present period."""
    return [
        Meter(
            period=limit.period,
            measure=limit.measure,
            starts_ms=period_of(limit.period, now_ms)[0],
            level=level_of(spent(limit), limit.most),
            spent=spent(limit),
            most=limit.most,
            currency=limit.currency,
        )
        for limit in limits
    ]


def budget_view(
    node: str,
    budget: Budget | None,
    meters: Sequence[Meter],
    spending: Spending | None,
    now_ms: int,
) -> BudgetView:
    """Return the budget of a node, by its id, and what was spent of it, where that is known.

    The periods are those of what was spent, of `now_ms` where nothing is known of that.
    """
    now_ms = now_ms if spending is None else spending.at_ms
    limits = () if budget is None else limits_of(budget)
    if spending is not None and spending.blind:
        note = _blind(node, spending.blind, has_cap=budget is not None and budget.cap)
    else:
        note = _note(limits, spending)
    if spending is not None and spending.blind and not _is_used(spending):
        spending = None
    return BudgetView(
        node=node,
        budget=budget,
        limits=tuple(_limit(limit, meters, spending, now_ms) for limit in limits),
        counters=spending is not None and not spending.blind,
        note=note[:REASON_MAX],
        day=None if spending is None else spending.day,
        month=None if spending is None else spending.month,
        projection=None if spending is None else spending.projection,
    )


def _limit(
    limit: Limit, meters: Sequence[Meter], spending: Spending | None, now_ms: int
) -> LimitView:
    starts_ms, ends_ms = period_of(limit.period, now_ms)
    key = limit.period, limit.measure
    found = next(
        (m for m in meters if (m.period, m.measure) == key and m.starts_ms >= starts_ms), None
    )
    return LimitView(
        period=limit.period,
        measure=limit.measure,
        most=limit.most,
        currency=limit.currency,
        spent=None if spending is None else spent_of(spending, limit),
        level=0 if found is None else found.level,
        alerted=0 if found is None else found.alerted,
        excused=found is not None and found.excused,
        until=time_text(ends_ms),
    )


def _blind(node: str, blind: Blind, *, has_cap: bool) -> str:
    """Return what keeps a budget from working, and what to do about it."""
    lost = f"no alert comes{' and the cap holds nothing' if has_cap else ''}"
    return _BLIND[blind].format(node=node, lost=lost)


def _note(limits: tuple[Limit, ...], spending: Spending | None) -> str:
    """Return what the figures leave out."""
    if spending is None:
        return _NO_NODE
    money = next((one for one in limits if one.measure == "money"), None)
    if money is None:
        return ""
    used, said = spending.month, []
    if used.unpriced_tokens:
        said.append(f"{count_text(used.unpriced_tokens)} tokens of this month have no price")
    if used.plan_tokens:
        said.append(f"{count_text(used.plan_tokens)} are paid by a flat rate")
    others = [one.currency for one in used.amounts if one.currency != money.currency and one.micro]
    if others:
        said.append(f"some cost {', '.join(others)}")
    text = "; ".join(said)
    return f"{text[:1].upper()}{text[1:]}: no limit in {money.currency} counts that" if said else ""


def _is_used(spending: Spending) -> bool:
    """Return whether any numbers of this month are known: they stay after a revocation."""
    used = spending.month
    return bool(used.turns or used.amounts or tokens_of(used))

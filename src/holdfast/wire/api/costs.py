"""Endpoint for people about what agents cost, from the numbers that nodes were allowed to send.

Money is whole millionths of a unit of a currency (`micro`). Amounts of two currencies are never
added up.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from holdfast.wire.api.endpoint import (
    ACCOUNT,
    ID_PATTERN,
    PAGING,
    Counter,
    Cursor,
    Label,
    Param,
    Reason,
    look,
)
from holdfast.wire.limits import PAGE_ITEMS_MAX

CURRENCIES_MAX: Final = 64
"""Currencies of one sum; there are as many as the price list names."""
PLANS_SHOWN_MAX: Final = 16
"""Flat rates that are named beside one sum."""

CostsBy = Literal["day", "model", "node"]
"""What the rows are of."""

Day = Annotated[str, Meta(max_length=10)]
"""A day in UTC, `2026-11-30`."""


class Amount(Struct, frozen=True, kw_only=True):
    """An amount of money, in millionths of a unit of its currency.

    `micro` is the sum of what agents reported and of what the price list makes of the rest.
    """

    currency: Label
    micro: Counter
    reported_micro: Counter
    estimated_micro: Counter


class Used(Struct, frozen=True, kw_only=True):
    """What was used, and what it cost.

    Of the tokens, `unpriced_tokens` have no known price and `plan_tokens` are paid for by a flat
    rate: `amounts` is without both. `plans` names the flat rates.
    """

    turns: Counter
    tool_calls: Counter
    input: Counter
    output: Counter
    cache_read: Counter
    cache_write: Counter
    unpriced_tokens: Counter
    plan_tokens: Counter
    amounts: Annotated[tuple[Amount, ...], Meta(max_length=CURRENCIES_MAX)]
    plans: Annotated[tuple[Label, ...], Meta(max_length=PLANS_SHOWN_MAX)] = ()


class CostRow(Struct, frozen=True, kw_only=True):
    """What was used in one day, of one model or by one node: the others of these are empty.

    `counters` says of a node whether its owner lets its numbers out now; without that there are
    none, or none that are newer than the consent was. `title` is what people call a node: the name
    of its instance, or its own.
    """

    used: Used
    day: Day = ""
    model: Label = ""
    node: Label = ""
    name: Label = ""
    account: Label = ""
    instance: Label = ""
    counters: bool = True
    title: Label = ""


class CostMonth(Struct, frozen=True, kw_only=True):
    """The present month so far, and what it comes to if it goes on as before.

    `projected` is empty where `days`, the days that it is made of, are too few.
    """

    month: Label
    so_far: Annotated[tuple[Amount, ...], Meta(max_length=CURRENCIES_MAX)]
    projected: Annotated[tuple[Amount, ...], Meta(max_length=CURRENCIES_MAX)]
    days: Counter


class CostList(Struct, frozen=True, kw_only=True):
    """Costs from one day through another: days in order; else what cost most comes first.

    `nodes` are summed up, and `closed` is how many of them let no numbers out. `prices` is the
    version of the price list and `prices_trouble` what is wrong with the operator's own. Numbers of
    a day are kept for `kept_days` after they came last.
    """

    by: CostsBy
    first: Day
    last: Day
    total: Used
    items: Annotated[tuple[CostRow, ...], Meta(max_length=PAGE_ITEMS_MAX)]
    month: CostMonth
    nodes: Counter
    closed: Counter
    prices: Label
    prices_trouble: Reason
    kept_days: Counter
    next: Cursor = ""


DAY_PATTERN: Final = r"20[0-9]{2}-[0-9]{2}-[0-9]{2}"

COSTS: Final = (
    look(
        "costs.list", "/api/costs", CostList,
        "What agents used and what it cost, by day, model or node.",
        Param("by", "day|model|node", "What the rows are of (default day)."),
        Param("from", DAY_PATTERN, "The first day, in UTC (default 29 days before the last)."),
        Param("to", DAY_PATTERN, "The last day, in UTC (default today)."),
        Param("node", ID_PATTERN, "Only this node's."),
        ACCOUNT, *PAGING,
    ),
)  # fmt: skip

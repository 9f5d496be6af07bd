"""What instances and content exchange about what an agent spends. Pure.

    BudgetFacts    instance -> content: a committed row, what is to be measured and what is known
    SpendCrossed   content -> instance: the letter that a limit's level is another than is known
    Spending       content -> API and pages: what was used today and this month

`Crossing` is the base of the letter and of the events and states that keep it, so that its fields
are declared here once.
"""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from holdfast.wire.api.costs import CostMonth, Used
from holdfast.wire.budget import Budget, Limit, Measure, Period, limits_of, period_of
from holdfast.wire.money import tokens_of

SENDER: Final = "content"
"""The kind that sends the letter, at the id of the instance's node; it is a stream, no actor."""


Blind: TypeAlias = Literal["", "consent", "sender"]
"""Why nothing of a node is measured: its owner lets no counters out, or another program than our
observer, whose days alone carry numbers, sends for it. Empty where it is measured."""


class Crossing(Struct, frozen=True, gc=False, kw_only=True):
    """How far one limit was used up: `level` is in percent, of `LEVELS`, or 0 for below all.

    `starts_ms` is when its day or month began, in ms since the epoch. `spent` and `most` are
    millionths of a unit of `currency`, or tokens where that is empty. Events and states store the
    fields in this order: add new ones at the end.
    """

    period: Period
    measure: Measure
    starts_ms: int
    level: int
    spent: int
    most: int
    currency: str = ""


class SpendCrossed(Crossing, frozen=True, kw_only=True, tag="SpendCrossed", gc=False):
    """A limit's level is another than the instance knows of; `account` owns it."""

    account: str


class Meter(Crossing, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One limit as its instance knows it in the period that runs.

    `alerted` is the highest level that there was an alert of. With `excused` the cap does not
    pause the agent for this limit until the period ends. `at_ms` is when it was folded last.
    """

    alerted: int = 0
    excused: bool = False
    at_ms: int = 0


class BudgetFacts(Struct, frozen=True, gc=False, kw_only=True):
    """The budget of an instance: a committed row, keyed by the id of the instance's node.

    `turn` counts the changes of budget and meters, so that no two letters have one key. Of a node
    that is no instance's the same is kept with its alerts; there `instance` is empty, nothing is
    `paused`, and no meter is `excused`.
    """

    instance: str
    account: str
    budget: Budget
    meters: tuple[Meter, ...] = ()
    turn: int = 0
    paused: bool = False


class Spending(Struct, frozen=True, gc=False, kw_only=True):
    """What an agent's node used in the day and month of `at_ms`, by the counters that came.

    Whoever compares it with limits takes their periods of `at_ms` (ms since the epoch), never of a
    clock that is read later: the day may have ended in between. `blind` is why it is not known
    now; what came before stays.
    """

    at_ms: int
    blind: Blind
    day: Used
    month: Used
    projection: CostMonth


def spent_of(spending: Spending, limit: Limit) -> int:
    """Return how much of what a limit counts was used in its present period."""
    used = spending.day if limit.period == "day" else spending.month
    if limit.measure == "tokens":
        return tokens_of(used)
    return sum(one.micro for one in used.amounts if one.currency == limit.currency)


def fields_of(found: Crossing) -> dict[str, Any]:
    """Return the fields that a letter, its event and a meter share, by name."""
    return {name: getattr(found, name) for name in Crossing.__struct_fields__}


def is_of(found: Crossing, budget: Budget | None) -> bool:
    """Return whether a crossing is of a limit of this budget."""
    limits = () if budget is None else limits_of(budget)
    return Limit(found.period, found.measure, found.most, found.currency) in limits


def carried(old: Meter | None, new: Meter) -> Meter:
    """Return a meter with what was decided about the same limit in the same period."""
    is_same = old is not None and (old.starts_ms, old.most, old.currency) == (
        new.starts_ms, new.most, new.currency,
    )  # fmt: skip
    if old is None or not is_same:
        return new
    return replace(new, alerted=old.alerted, excused=old.excused)


def ends_ms(found: Crossing) -> int:
    """Return when the period of a crossing is over, in ms since the epoch."""
    return period_of(found.period, found.starts_ms)[1]

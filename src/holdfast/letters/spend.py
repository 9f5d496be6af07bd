"""What instances and content exchange about what an agent spends. Pure.

    BudgetFacts    instance -> content: a committed row, what is to be measured and what is known
    SpendCrossed   content -> instance: the letter that a limit's level is another than is known
    Spending       content -> API and pages: what was used today and this month

`Crossing` is the base of the letter and of the events and states that keep it, so that its fields
are declared here once.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from msgspec import Struct

from holdfast.wire.api.costs import CostMonth, Used
from holdfast.wire.budget import Budget, Limit, Measure, Period, period_of
from holdfast.wire.money import tokens_of

SENDER: Final = "content"
"""The kind that sends the letter, at the id of the instance's node; it is a stream, no actor."""


Blind: TypeAlias = Literal["", "consent", "sender"]
"""Why nothing of a node is measured: its owner lets no counters out, or another program sends in
place of its observer, whose days alone carry numbers. Empty where it is measured."""


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

    `turn` counts the changes of budget and meters, so that no two letters have one key.
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


def ends_ms(found: Crossing) -> int:
    """Return when the period of a crossing is over, in ms since the epoch."""
    return period_of(found.period, found.starts_ms)[1]

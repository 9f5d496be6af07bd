"""Endpoints about budgets of instances: what an agent may spend, how far that is used up.

Money is whole millionths of a unit of a currency (`micro`); days and months are UTC.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct

from holdfast.wire.api.costs import CostMonth, Used
from holdfast.wire.api.endpoint import Counter, Label, Reason, Time, look, order
from holdfast.wire.api.instances import InstanceOrder, InstanceView
from holdfast.wire.api.operations import followed
from holdfast.wire.budget import Budget, Measure, Period

ALERTS_MAX: Final = 50
"""Alerts kept of a node elsewhere."""
LIMITS_MAX: Final = 4
"""Limits of one budget: two periods, two measures."""


class BudgetSet(Budget, frozen=True, kw_only=True, gc=False, forbid_unknown_fields=True):
    """The budget from now on, whole: a limit that is not named is none, and `{}` removes it."""


class LimitView(Struct, frozen=True, kw_only=True):
    """One limit and how far it is used up.

    `spent` and `most` are millionths of `currency`, or tokens where that is empty; `spent` is null
    where it cannot be known. `level` is the highest of 50, 80, 95 and 100 % that the instance
    knows of, `alerted` that of its last alert. With `excused` the cap does not hold it to this
    limit until `until`.
    """

    period: Period
    measure: Measure
    most: Counter
    currency: Label
    spent: Counter | None
    level: Counter
    alerted: Counter
    excused: bool
    until: Time


class AlertView(Struct, frozen=True, kw_only=True):
    """One alert of a node: a limit was found used up as far as `level`, in percent."""

    at: Time
    period: Period
    measure: Measure
    level: Counter
    spent: Counter
    most: Counter
    currency: Label


class BudgetView(Struct, frozen=True, kw_only=True):
    """The budget of an instance, or of a node elsewhere, what it used, and the costs beside it.

    `counters` is whether counters come: not where its owner lets none out, and not where another
    program than our observer sends. Without them nothing is measured, so there is neither
    alert nor pause, and `note` says why. `note` also names what no limit of money counts.
    `paused` is why the cap pauses it, or empty. `day` and `month` are what was used in them, null
    where that is not known. `alerts` are the last ones of a node elsewhere; of an instance they are
    events of its timeline.
    """

    budget: Budget | None
    limits: Annotated[tuple[LimitView, ...], Meta(max_length=LIMITS_MAX)]
    counters: bool
    note: Reason
    instance: Label = ""
    node: Label = ""
    paused: Reason = ""
    day: Used | None = None
    month: Used | None = None
    projection: CostMonth | None = None
    alerts: Annotated[tuple[AlertView, ...], Meta(max_length=ALERTS_MAX)] = ()


_BUDGET: Final = "/api/instances/{id}/budget"
_OF_NODE: Final = "/api/nodes/{id}/budget"

BUDGETS: Final = (
    look("instance.budget", _BUDGET, BudgetView, "Its budget, and how far that is used up."),
    followed(
        "instance.set-budget", _BUDGET, BudgetSet, BudgetView,
        "Limit what it may spend in a day and a month; `{}` removes the limits.", method="PUT",
    ),
    look(
        "node.budget", _OF_NODE, BudgetView,
        "The budget of a node that is no instance's, and its alerts: nothing pauses it.",
    ),
    order(
        "node.set-budget", _OF_NODE, BudgetSet, BudgetView,
        "Have a node that is no instance's watched for what it spends; `{}` ends that.",
        method="PUT", statuses=(200, 409),
    ),
    followed(
        "instance.go-on", f"{_BUDGET}/go-on", InstanceOrder, InstanceView,
        "Let it go on although its cap pauses it, until the day or month of the limit is over.",
    ),
)  # fmt: skip

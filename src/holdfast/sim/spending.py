"""What the agents of a simulation spend, and what people do about their budgets.

The numbers of a day are whole each time, as an observer's are: they grow, are corrected, and come
late. They survive a plane as the file of content does; what a plane was about to measure does not.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from holdfast.content.spend_watch import DueNodes, crossed
from holdfast.instances.state import exists
from holdfast.instances.views import budget_facts
from holdfast.kernel.clock import DAY_MS, HOUR_MS
from holdfast.letters.spend import Blind, Spending
from holdfast.wire.api.budgets import BudgetSet
from holdfast.wire.api.costs import Amount, CostMonth, Used
from holdfast.wire.budget import period_of
from holdfast.wire.consent import node_of_instance
from holdfast.wire.money import MICRO

if TYPE_CHECKING:
    from holdfast.sim.fleet import Fleet

CURRENCY: Final = "USD"
LATE: Final = 0.1
CORRECTED: Final = 0.2
"""Of all numbers that come, the share that is of the day before, and that is less than it was."""

_BUDGETS: Final = (
    BudgetSet(),
    BudgetSet(day_micro=10 * MICRO, cap=True),
    BudgetSet(day_micro=10 * MICRO),
    BudgetSet(day_micro=25 * MICRO, month_micro=60 * MICRO, cap=True),
    BudgetSet(month_tokens=40_000, cap=True),
)


def used_of(micro: int) -> Used:
    """Return a use that cost so much, with a token for each thousandth of a unit."""
    amount = Amount(currency=CURRENCY, micro=micro, reported_micro=micro, estimated_micro=0)
    return Used(
        turns=1, tool_calls=0, input=micro // 1_000, output=0, cache_read=0, cache_write=0,
        unpriced_tokens=0, plan_tokens=0, amounts=(amount,) if micro else (),
    )  # fmt: skip


class Counters:
    """What each node used on each day: the numbers that outlive planes."""

    def __init__(self) -> None:
        self._days: dict[str, dict[int, int]] = {}

    def put(self, node: str, day_ms: int, micro: int) -> None:
        """Put the numbers of a day in place of those before."""
        self._days.setdefault(node, {})[day_ms] = micro

    def of_day(self, node: str, day_ms: int) -> int:
        """Return what was used on a day."""
        return self._days.get(node, {}).get(day_ms, 0)

    def spending(self, node: str, now_ms: int) -> Spending:
        """Return what a node used today and this month."""
        days = self._days.get(node, {})
        begins, ends = period_of("month", now_ms)
        month = sum(micro for day_ms, micro in days.items() if begins <= day_ms < ends)
        return Spending(
            at_ms=now_ms,
            blind="",
            day=used_of(days.get(period_of("day", now_ms)[0], 0)),
            month=used_of(month),
            projection=CostMonth(month="", so_far=(), projected=(), days=0),
        )


class Measured:
    """One plane's view of the counters: the port `Spendings`, and what its watch measures."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self.due = DueNodes()

    async def spending(self, account: str, instance: str) -> Spending | None:
        """Return what an instance used."""
        return await self.of_node(node_of_instance(account, instance))

    async def of_node(self, node: str) -> Spending | None:
        """Return what a node used."""
        return self._fleet.counters.spending(node, self._fleet.clock.now_ms())

    def blind(self, node: str) -> Blind:
        """Return that a node is measured: nobody in a simulation withholds its counters."""
        del node
        return ""


class Spenders:
    """Agents that spend and people who limit them, until they are cancelled."""

    def __init__(self, fleet: Fleet, chance: random.Random) -> None:
        self._fleet = fleet
        self._chance = chance

    async def live(self) -> None:
        """Spend and order for ever."""
        while True:
            await asyncio.sleep(self._chance.expovariate(1 / self._fleet.fault_plan.spends_every_s))
            known = list(self._fleet.people.known)
            if not known:
                continue
            instance = self._chance.choice(known)
            if self._chance.random() < 0.6:  # noqa: PLR2004
                self.spend(instance)
            elif self._chance.random() < 0.7:  # noqa: PLR2004
                budget = self._chance.choice(_BUDGETS)
                self._fleet.spawn(self._fleet.people.limit(instance, budget))
            else:
                self._fleet.spawn(self._fleet.people.order(instance, "go-on"))

    def spend(self, instance: str) -> None:
        """Have the numbers of a day come; some are late, some correct those before."""
        state = self._fleet.state_of(instance)
        if state is None:
            return
        node = node_of_instance(state.account, instance)
        back_ms = DAY_MS if self._chance.random() < LATE else 0
        day_ms = period_of("day", self._fleet.clock.now_ms() - back_ms)[0]
        before = self._fleet.counters.of_day(node, day_ms)
        more = self._chance.choice((1, 3, 6)) * MICRO
        if self._chance.random() < CORRECTED:
            more = -self._chance.randint(0, before)
        self.come(node, day_ms, before + more)

    def come(self, node: str, day_ms: int, micro: int) -> None:
        """Store numbers of a day, and have the planes that are up notice."""
        self._fleet.trace.note("counters", node, day_ms // HOUR_MS, micro)
        self._fleet.counters.put(node, day_ms, micro)
        for plane in self._fleet.up():
            plane.measured.due.note(node)

    def unknown(self) -> Iterator[str]:
        """Yield what an instance has yet to be written about its spending."""
        now_ms = self._fleet.clock.now_ms()
        for state in self._fleet.states():
            facts = budget_facts(state) if exists(state) else None
            if facts is None or state.desired == "destroyed":
                continue
            node = node_of_instance(state.account, state.id)
            for letter in crossed(facts, self._fleet.counters.spending(node, now_ms)):
                yield f"{state.id} does not know {letter}; it knows {facts.meters}"

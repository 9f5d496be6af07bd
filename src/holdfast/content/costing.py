"""What nodes used and what it cost, from the store and by the price list in force."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from datetime import date, timedelta
from typing import NamedTuple

from holdfast.content import gate, limits
from holdfast.content.costs import Tally, month_of, periods, total_of
from holdfast.content.ports import Consents, ContentStore, UsageBy, UsageQuery
from holdfast.content.prices import Plan, Prices, Rates
from holdfast.content.records import Node, UsageSum
from holdfast.content.senders import OURS, Senders
from holdfast.content.settled import SettledUsage
from holdfast.content.usage import parse_day
from holdfast.letters.spend import Blind, Spending
from holdfast.wire.api.costs import CostMonth, CostsBy
from holdfast.wire.times import day_of


class PriceNow(NamedTuple):
    """The price list in force, and what is wrong with the operator's own, or nothing."""

    prices: Prices
    trouble: str


class Asked(NamedTuple):
    """Sums of the days from `first` through `last`."""

    by: CostsBy
    first: date
    last: date


class Costing:
    """Adds up usage and prices it; `prices` returns the list in force."""

    def __init__(
        self, store: ContentStore, consents: Consents, prices: Callable[[], PriceNow]
    ) -> None:
        self._usage = SettledUsage(store)
        # Apart, since every node with a budget is a question: they would push out those of pages.
        self._watched = SettledUsage(store)
        self._consents = consents
        self.prices = prices

    def lets_out(self, node_id: str) -> bool:
        """Return whether the owner of a node lets its counters out now."""
        return gate.allows(self._consents.standing(node_id), "counters")

    def blind(self, node_id: str, senders: Senders) -> Blind:
        """Return why nothing of a node is measured now."""
        if not self.lets_out(node_id):
            return "consent"
        current = senders.find(senders.current)
        return "sender" if current is not None and current.program != OURS else ""

    async def tallies(
        self, asked: Asked, nodes: Sequence[Node], prices: Prices, today: date
    ) -> dict[Hashable, Tally]:
        """Return sums by day, model or number of node.

        Nodes with the same flat rates are asked for together. Sums by model are those by day and
        model, so that both are one question; sums by node are asked for apart from one change of
        price to the next.
        """
        return await self._tallies(self._usage, asked, nodes, prices, today)

    async def _tallies(
        self,
        usage: SettledUsage,
        asked: Asked,
        nodes: Sequence[Node],
        prices: Prices,
        today: date,
    ) -> dict[Hashable, Tally]:
        alike: dict[tuple[Plan, ...], list[int]] = {}
        for node in nodes:
            alike.setdefault(prices.plans_of(node.account, node.id), []).append(node.no)
        by: UsageBy = "day"
        parts = [(asked.first, asked.last)]
        if asked.by == "node":
            by, parts = "node", [*periods(prices.changes(), asked.first, asked.last)]
        tallies: dict[Hashable, Tally] = {}
        rates = Rates(prices)
        for plans, numbers in alike.items():
            for first, last in parts:
                query = UsageQuery(tuple(numbers), by, str(first), str(last))
                for found in await usage.usage(query, today):
                    tally = tallies.setdefault(_key(asked.by, found), Tally())
                    tally.add(found, parse_day(found.day) or first, rates, plans)
        return tallies

    async def _recent(
        self, usage: SettledUsage, nodes: Sequence[Node], prices: Prices, today: date
    ) -> dict[date, Tally]:
        """Return sums by day of the present month, and of the days that a projection is made of."""
        since = min(today.replace(day=1), today - timedelta(days=limits.PROJECTION_DAYS))
        found = await self._tallies(usage, Asked("day", since, today), nodes, prices, today)
        return {day: tally for text, tally in found.items() if (day := parse_day(str(text)))}

    async def month(self, nodes: Sequence[Node], prices: Prices, today: date) -> CostMonth:
        """Return the present month so far, and what it comes to."""
        return month_of(await self._recent(self._usage, nodes, prices, today), today)

    async def spending(self, node: Node, now_ms: int) -> Spending:
        """Return what a node used today and this month."""
        today = day_of(now_ms)
        days = await self._recent(self._watched, (node,), self.prices().prices, today)
        begin = today.replace(day=1)
        return Spending(
            at_ms=now_ms,
            blind=self.blind(node.id, node.senders),
            day=days.get(today, Tally()).view(),
            month=total_of(one for day, one in days.items() if begin <= day <= today).view(),
            projection=month_of(days, today),
        )


def _key(by: CostsBy, found: UsageSum) -> Hashable:
    return {"day": found.day, "model": found.model, "node": found.node}[by]

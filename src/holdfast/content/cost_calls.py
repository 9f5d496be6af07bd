"""The handler about costs, for people and pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Sequence
from datetime import date, timedelta
from typing import NamedTuple, get_args

from holdfast.actors import calls
from holdfast.content import gate, limits
from holdfast.content.costs import Tally, month_of, periods, total_of
from holdfast.content.directory import Directory
from holdfast.content.ports import Consents, ContentStore, UsageBy, UsageQuery
from holdfast.content.prices import Plan, Prices, Rates
from holdfast.content.records import Node, UsageSum
from holdfast.content.settled import SettledUsage
from holdfast.content.usage import day_of, parse_day
from holdfast.kernel.clock import DAY_MS
from holdfast.letters.names import NameOf, unnamed
from holdfast.wire.api.call import Call, Refusal, Reply
from holdfast.wire.api.costs import CostList, CostRow, CostsBy

_LABEL = 128


class PriceNow(NamedTuple):
    """The price list in force, and what is wrong with the operator's own, or nothing."""

    prices: Prices
    trouble: str


class _Asked(NamedTuple):
    by: CostsBy
    first: date
    last: date


class CostCalls:
    """The endpoint about costs. `prices` returns the list in force."""

    def __init__(
        self,
        store: ContentStore,
        directory: Directory,
        *,
        consents: Consents,
        prices: Callable[[], PriceNow],
        keep_ms: int,
        name_of: NameOf = unnamed,
    ) -> None:
        self._usage = SettledUsage(store)
        self._directory = directory
        self._consents = consents
        self._prices = prices
        self._keep_ms = keep_ms
        self._name_of = name_of

    def by_endpoint(self) -> dict[str, Callable[[Call], Awaitable[Reply]]]:
        """Return the handlers by the names of their endpoints."""
        return {"costs.list": self.list_costs}

    async def list_costs(self, call: Call) -> Reply:
        """Show what nodes used and what it cost, by day, model or node."""
        today = day_of(call.now_ms)
        asked, nodes, (prices, trouble) = _asked(call, today), self._nodes(call), self._prices()
        since = min(today.replace(day=1), today - timedelta(days=limits.PROJECTION_DAYS))
        month = _Asked("day", since, today)
        tallies = await self._tallies(asked, nodes, prices, today)
        recent = await self._tallies(month, nodes, prices, today)
        days = {day: tally for text, tally in recent.items() if (day := parse_day(str(text)))}
        items, following = self._page(call, asked.by, tallies, nodes)
        return Reply(
            CostList(
                by=asked.by,
                first=str(asked.first),
                last=str(asked.last),
                total=total_of(tallies.values()).view(),
                items=items,
                month=month_of(days, today),
                nodes=len(nodes),
                closed=sum(not self._lets_out(node) for node in nodes),
                prices=prices.version[:_LABEL],
                prices_trouble=trouble,
                kept_days=self._keep_ms // DAY_MS,
                next=following,
            )
        )

    def _nodes(self, call: Call) -> list[Node]:
        """Return the nodes that are asked for; refuse (404) an invisible one."""
        account = calls.listed_account(call)
        named = call.query.get("node")
        if not named:
            return self._directory.nodes_of(account)
        node = self._directory.find(named, account)
        if node is None:
            raise calls.missing("node", field="node")
        return [node]

    def _lets_out(self, node: Node) -> bool:
        return gate.allows(self._consents.standing(node.id), "counters")

    async def _tallies(
        self, asked: _Asked, nodes: Sequence[Node], prices: Prices, today: date
    ) -> dict[Hashable, Tally]:
        """Return sums by day, model or number of node.

        Nodes with the same flat rates are asked for together. Sums by model are those by day and
        model, so that both are one question; sums by node are asked for apart from one change of
        price to the next.
        """
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
                for found in await self._usage.usage(query, today):
                    tally = tallies.setdefault(_key(asked.by, found), Tally())
                    tally.add(found, parse_day(found.day) or first, rates, plans)
        return tallies

    def _page(
        self, call: Call, by: CostsBy, tallies: dict[Hashable, Tally], nodes: Sequence[Node]
    ) -> tuple[tuple[CostRow, ...], str]:
        """Return one page of the rows, and where the next one begins."""
        offset, limit = calls.page_offset(call.query.get("after", "")), calls.page_limit(call)
        of = {node.no: node for node in nodes} if by == "node" else {}
        keys: list[Hashable] = [*of] if by == "node" else sorted(tallies, key=str)
        if by != "day":
            none = Tally()
            keys.sort(key=lambda key: tallies.get(key, none).weight, reverse=True)
        shown = keys[offset : offset + limit]
        rows = tuple(self._row(by, key, tallies.get(key, Tally()), of) for key in shown)
        is_last = offset + limit >= len(keys)
        return rows, "" if is_last else calls.page_cursor(offset + limit)

    def _row(self, by: CostsBy, key: Hashable, tally: Tally, of: dict[int, Node]) -> CostRow:
        used = tally.view()
        if by == "day":
            return CostRow(used=used, day=str(key))
        if by == "model":
            return CostRow(used=used, model=str(key))
        node = of[key]  # type: ignore[index]
        return CostRow(
            used=used,
            node=node.id,
            name=node.name,
            account=node.account,
            instance=node.instance,
            counters=self._lets_out(node),
            title=(self._name_of(node.instance) if node.instance else "") or node.name,
        )


def _key(by: CostsBy, found: UsageSum) -> Hashable:
    return {"day": found.day, "model": found.model, "node": found.node}[by]


def _asked(call: Call, today: date) -> _Asked:
    """Return what is asked for; refuse (400) what is no day, and a range that is none."""
    named = call.query.get("by", "day")
    by: CostsBy = next(one for one in get_args(CostsBy) if one == named)
    last = _day(call, "to") or today
    first = _day(call, "from") or last - timedelta(days=limits.COST_DAYS - 1)
    days = (last - first).days + 1
    if not 0 < days <= limits.COST_DAYS_MAX:
        raise Refusal(
            400, "bad_parameter", f"from {first} to {last} is {days} days", field="from",
            fix=f"send a first day that is not after the last, {limits.COST_DAYS_MAX} days at most",
        )  # fmt: skip
    return _Asked(by, first, last)


def _day(call: Call, name: str) -> date | None:
    given = call.query.get(name)
    if not given:
        return None
    day = parse_day(given)
    if day is None:
        raise Refusal(
            400, "bad_parameter", f"`{name}` is no day of the calendar", field=name,
            fix="send a day like 2026-11-30",
        )  # fmt: skip
    return day

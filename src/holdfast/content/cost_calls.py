"""The handler about costs, for people and pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Sequence
from datetime import date, timedelta
from typing import get_args

from holdfast.actors import calls
from holdfast.content import limits
from holdfast.content.costing import Asked, Costing
from holdfast.content.costs import Tally, total_of
from holdfast.content.directory import Directory
from holdfast.content.records import Node
from holdfast.content.usage import parse_day
from holdfast.kernel.clock import DAY_MS
from holdfast.letters.names import NameOf, unnamed
from holdfast.wire.api.call import Call, Refusal, Reply
from holdfast.wire.api.costs import CostList, CostRow, CostsBy
from holdfast.wire.times import day_of

_LABEL = 128


class CostCalls:
    """The endpoint about costs."""

    def __init__(
        self,
        costing: Costing,
        directory: Directory,
        *,
        keep_ms: int,
        name_of: NameOf = unnamed,
    ) -> None:
        self._costing = costing
        self._directory = directory
        self._keep_ms = keep_ms
        self._name_of = name_of

    def by_endpoint(self) -> dict[str, Callable[[Call], Awaitable[Reply]]]:
        """Return the handlers by the names of their endpoints."""
        return {"costs.list": self.list_costs}

    async def list_costs(self, call: Call) -> Reply:
        """Show what nodes used and what it cost, by day, model or node."""
        today = day_of(call.now_ms)
        asked, nodes, costing = _asked(call, today), self._nodes(call), self._costing
        prices, trouble = costing.prices()
        tallies = await costing.tallies(asked, nodes, prices, today)
        items, following = self._page(call, asked.by, tallies, nodes)
        return Reply(
            CostList(
                by=asked.by,
                first=str(asked.first),
                last=str(asked.last),
                total=total_of(tallies.values()).view(),
                items=items,
                month=await costing.month(nodes, prices, today),
                nodes=len(nodes),
                closed=sum(not costing.lets_out(node.id) for node in nodes),
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
            counters=self._costing.lets_out(node.id),
            title=(self._name_of(node.instance) if node.instance else "") or node.name,
        )


def _asked(call: Call, today: date) -> Asked:
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
    return Asked(by, first, last)


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

"""What is remembered of past days is never other than what the store says."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from holdfast.content.costing import Costing, PriceNow
from holdfast.content.gate import Admitted
from holdfast.content.ports import UsageQuery
from holdfast.content.records import ABOUT, DAY, Node, Row, Usage, UsageSum
from holdfast.content.settled import SettledUsage
from holdfast.kernel.clock import DAY_MS
from holdfast.plane.wiring.costs import shipped_prices
from holdfast.stores.memory.content import MemoryContent
from holdfast.wire.times import day_of
from tests.support.toys.consents import ToyConsents

NOW = 1_796_000_000_000


class Counting(MemoryContent):
    """A store that counts what it is asked."""

    asked = 0

    async def usage(self, query: UsageQuery) -> Any:
        self.asked += 1
        return await super().usage(query)


async def use(store: MemoryContent, day: date, tokens: int, now_ms: int = NOW) -> None:
    used = (Usage("m", 1, 0, tokens, 0, 0, 0, 0),)
    row = Row(f"{DAY}{day}", "latest", ABOUT, now_ms, sealed=False, body=b"%d" % tokens, usage=used)
    await store.write(Admitted(1, "counters", [row], now_ms))


def total(found: Any) -> int:
    rows: list[UsageSum] = [*found]
    return sum(one.input for one in rows)


STEPS = st.lists(
    st.tuples(st.sampled_from("wwwqqqtdp"), st.integers(0, 6), st.integers(1, 9)), max_size=30
)


@given(STEPS)
def test_sums_are_those_of_the_store_whatever_changes_between(
    steps: list[tuple[str, int, int]],
) -> None:
    async def run() -> None:
        store, now_ms = MemoryContent(), NOW
        settled = SettledUsage(store)
        for step, ago, tokens in steps:
            today = day_of(now_ms)
            if step == "w":
                await use(store, today - timedelta(days=ago), tokens, now_ms)
            elif step == "t":
                now_ms += tokens * DAY_MS // 4
            elif step == "d":
                await store.delete(1, ("counters",))
            elif step == "p":
                await store.purge(now_ms, counters_before_ms=now_ms - ago * DAY_MS)
            for span in (0, 1, ago, 9):
                first = str(today - timedelta(days=span))
                query = UsageQuery((1,), "day", first, str(today - timedelta(days=ago)))
                found = await settled.usage(query, today)
                assert sorted(found) == sorted(await store.usage(query))

    asyncio.run(run())


async def test_nodes_with_budgets_leave_what_pages_remember() -> None:
    store, today = Counting(), day_of(NOW)
    costing = Costing(store, ToyConsents(), lambda: PriceNow(shipped_prices(), ""))
    nodes = [Node(no=no, id=f"nd_{no}", account="local", name="n", key="k") for no in range(100)]
    prices = costing.prices().prices
    await costing.month(nodes[:3], prices, today)
    for node in nodes:
        await costing.spending(node, NOW)
    store.asked = 0
    await costing.month(nodes[:3], prices, today)
    assert store.asked == 1, "the present alone"


async def test_past_days_are_asked_once_until_one_of_them_changes() -> None:
    store, today = Counting(), day_of(NOW)
    settled = SettledUsage(store)
    query = UsageQuery((1,), "node", str(today - timedelta(days=30)), str(today))
    await use(store, today - timedelta(days=9), 5)
    assert total(await settled.usage(query, today)) == 5
    assert store.asked == 2
    await use(store, today, 7)
    assert total(await settled.usage(query, today)) == 12
    assert store.asked == 3, "the present alone"
    await use(store, today - timedelta(days=9), 6)
    assert total(await settled.usage(query, today)) == 13
    assert store.asked == 5
    await store.delete(1, ("counters",))
    assert total(await settled.usage(query, today)) == 0

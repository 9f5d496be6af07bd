"""Budgets of nodes elsewhere: alerts of the budget that there is, kept across a start."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from holdfast.content.costing import Costing, PriceNow
from holdfast.content.directory import Directory
from holdfast.content.gate import Admitted
from holdfast.content.node_budgets import NodeBudgets
from holdfast.content.records import ABOUT, DAY, Node, Row, Usage
from holdfast.content.spend_watch import DueNodes, SpendWatch
from holdfast.kernel.clock import ManualClock
from holdfast.kernel.metrics import NoMeter
from holdfast.letters.spend import Spending
from holdfast.plane.wiring.costs import shipped_prices
from holdfast.stores.memory.content import MemoryContent
from holdfast.wire.budget import Budget
from holdfast.wire.times import day_of
from tests.support.logs import Lines
from tests.support.toys.consents import ToyConsents

NOW = 1_796_000_000_000
MICRO = 1_000_000
TEN, THOUSAND = Budget(day_micro=10 * MICRO), Budget(day_micro=1_000 * MICRO)


class Part:
    """The budgets of one start of a plane, over a store that outlives it."""

    def __init__(self, store: MemoryContent) -> None:
        self.clock, self.store, self.log = ManualClock(NOW), store, Lines()
        self.consents, self.due = ToyConsents(), DueNodes()
        self.directory = Directory(
            store, clock=self.clock, entropy=lambda n: b"e" * n, log=self.log
        )
        self.costing = Costing(store, self.consents, lambda: PriceNow(shipped_prices(), ""))
        self.budgets = NodeBudgets(
            store, self.directory, clock=self.clock, log=self.log, meter=NoMeter()
        )

    async def load(self) -> Node:
        """Read the file, and return its one node."""
        await self.directory.load()
        await self.budgets.load()
        node = self.directory.nodes_of(None)[0]
        self.consents.grant(node.id, ("counters",))
        return node

    async def spending(self, node_id: str) -> Spending | None:
        node = self.directory.find(node_id, None)
        return None if node is None else await self.costing.spending(node, self.clock.now_ms())

    async def look(self, node: Node) -> None:
        """Measure a node as the watch does."""
        watch = SpendWatch(self.due, (self.budgets,), self.spending, log=self.log)
        await watch._look(node.id)

    def levels(self, node: Node) -> Sequence[int]:
        return [one.level for one in self.budgets.alerts(node.id)]


async def used(store: MemoryContent, node: Node, units: float) -> None:
    """Put the numbers of the day in place of those before."""
    usage = (Usage("m", 1, 0, 1, 0, 0, 0, round(units * MICRO)),)
    name, body = f"{DAY}{day_of(NOW)}", repr(usage).encode()
    row = Row(name, "latest", ABOUT, NOW, sealed=False, body=body, usage=usage)
    await store.write(Admitted(node.no, "counters", [row], NOW))


async def plane(store: MemoryContent | None = None) -> tuple[Part, Node]:
    """Return budgets, and the node of their store, which is made with it."""
    if store is None:
        store = MemoryContent()
        await store.put_nodes((Node(no=1, id="nd_1", account="local", name="n", key="k"),))
    part = Part(store)
    return part, await part.load()


async def test_what_was_measured_for_another_limit_is_no_alert_of_the_new_one() -> None:
    part, node = await plane()
    await part.budgets.set(node, TEN)
    await used(part.store, node, 12)
    measured, may_go_on = asyncio.Event(), asyncio.Event()
    measure = part.spending

    async def slow(node_id: str) -> Any:
        found = await measure(node_id)
        measured.set()
        await may_go_on.wait()
        return found

    part.spending = slow  # type: ignore[method-assign]
    looks = asyncio.create_task(part.look(node))
    await measured.wait()
    await part.budgets.set(node, THOUSAND)
    may_go_on.set()
    await looks
    assert part.levels(node) == []
    facts = part.budgets.facts(node.id)
    assert facts is not None
    assert facts.meters == ()
    await used(part.store, node, 600)
    await part.look(node)
    assert part.levels(node) == [50]


async def test_a_plane_that_starts_again_knows_budget_level_and_alerts() -> None:
    before, node = await plane()
    await before.budgets.set(node, TEN)
    await used(before.store, node, 8.5)
    await before.look(node)
    assert before.levels(node) == [80]
    after, node = await plane(before.store)
    assert after.budgets.nodes() == (node.id,)
    assert after.budgets.facts(node.id) == before.budgets.facts(node.id)
    assert after.budgets.alerts(node.id) == before.budgets.alerts(node.id)
    await after.look(node)
    assert after.levels(node) == [80], "what was alerted before the start is not alerted again"
    assert after.log.named("budget.alert") == []
    await used(after.store, node, 11)
    await after.look(node)
    assert after.levels(node) == [100, 80]


async def test_a_damaged_row_is_logged_and_the_others_are_read() -> None:
    before, node = await plane()
    await before.budgets.set(node, TEN)
    other = Node(no=2, id="nd_2", account="local", name="o", key="k")
    await before.store.put_nodes((other,))
    await before.store.put_budget(2, b'{"facts":')
    after, _ = await plane(before.store)
    assert after.budgets.nodes() == (node.id,)
    assert [one["node"] for one in after.log.named("budgets.row_damaged")] == ["nd_2"]

"""What was spent is said when a level changes, once, whatever fails in between."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from holdfast.content.costing import Costing, PriceNow
from holdfast.content.gate import Admitted
from holdfast.content.ports import UsageQuery
from holdfast.content.records import ABOUT, DAY, Node, Row, Usage, UsageSum
from holdfast.content.spend_watch import DueNodes, SpendWatch, crossed, dedupe_of
from holdfast.instances.budgets import _crossings
from holdfast.kernel.clock import DAY_MS, HOUR_MS, ManualClock
from holdfast.letters.budgets import budget_view
from holdfast.letters.spend import BudgetFacts, Meter, SpendCrossed, Spending, fields_of
from holdfast.plane.wiring.costs import shipped_prices
from holdfast.stores.memory.content import MemoryContent
from holdfast.wire.api.budgets import BudgetView
from holdfast.wire.budget import Budget, level_of, period_of
from holdfast.wire.times import day_of, time_text
from tests.support.logs import Lines
from tests.support.patience import until
from tests.support.toys.consents import ToyConsents

NOW = 1_796_000_000_000
MICRO = 1_000_000
NODE = Node(no=1, id="nd_1", account="local", name="n", key="k")
BUDGET = Budget(day_micro=10 * MICRO, month_micro=50 * MICRO, month_tokens=4_000, cap=True)


class Measured:
    """A node in a store, and the ledger of its budget, which takes letters as an instance does."""

    def __init__(self, budget: Budget = BUDGET, store: MemoryContent | None = None) -> None:
        self.clock = store.clock if isinstance(store, LateStore) else ManualClock(NOW)
        self.store, self.consents = store or MemoryContent(), ToyConsents()
        self.consents.grant(NODE.id, ("counters",))
        self.costing = Costing(self.store, self.consents, lambda: PriceNow(shipped_prices(), ""))
        self.budget: BudgetFacts | None = BudgetFacts(instance="x", account="local", budget=budget)
        self.letters: list[SpendCrossed] = []
        self.keys: set[str] = set()
        self.fails = 0

    async def use(self, *used: Usage, ago: int = 0) -> None:
        """Put the numbers of a day in place of those before."""
        day = day_of(self.clock.now_ms()) - timedelta(days=ago)
        row = Row(f"{DAY}{day}", "latest", ABOUT, NOW, sealed=False, body=repr(used).encode())
        rows = [row._replace(usage=used)]
        await self.store.write(Admitted(NODE.no, "counters", rows, self.clock.now_ms()))

    async def spending(self, node: str = NODE.id) -> Spending | None:
        if node != NODE.id:
            return None
        return await self.costing.spending(NODE, self.clock.now_ms())

    # -- the ledger

    def facts(self, node: str) -> BudgetFacts | None:
        return self.budget if node == NODE.id else None

    def nodes(self) -> Sequence[str]:
        return (NODE.id,)

    async def crossed(self, node: str, letter: SpendCrossed, dedupe: str) -> None:
        assert node == NODE.id
        if self.fails:
            self.fails -= 1
            raise OSError("the disk is full")
        if dedupe in self.keys:
            return
        self.keys.add(dedupe)
        self.letters.append(letter)

    def commit(self) -> None:
        """Take what was written, as the instance's tick does."""
        found = self.budget
        for letter in self.letters if found is not None else ():
            assert found is not None
            meter = Meter(**fields_of(letter))
            key = letter.period, letter.measure
            others = tuple(m for m in found.meters if (m.period, m.measure) != key)
            found = replace(found, meters=(*others, meter), turn=found.turn + 1)
        self.budget = found
        self.letters.clear()

    async def look(self) -> Sequence[tuple[str, str, int]]:
        """Return what is to be said now: period, measure and level."""
        assert self.budget is not None
        letters = crossed(self.budget, await self.spending())
        found = [(one.period, one.measure, one.level) for one in letters]
        for letter in crossed(self.budget, await self.spending()):
            await self.crossed(NODE.id, letter, dedupe_of(self.budget, letter))
        return found


def usage(units: float, tokens: int = 1, model: str = "m") -> Usage:
    return Usage(model, 1, 0, tokens, 0, 0, 0, round(units * MICRO))


async def test_only_a_level_that_is_another_is_said() -> None:
    rig = Measured()
    assert await rig.look() == []
    await rig.use(usage(4))
    assert await rig.look() == []
    await rig.use(usage(5))
    assert await rig.look() == [("day", "money", 50)]
    rig.commit()
    assert await rig.look() == []
    await rig.use(usage(7.9))
    assert await rig.look() == []
    await rig.use(usage(11))
    assert await rig.look() == [("day", "money", 100)]


async def test_a_month_is_the_sum_of_its_days_and_late_ones_count_in_it() -> None:
    rig = Measured()
    rig.clock.advance((period_of("month", NOW)[1] - NOW) + 10 * DAY_MS)
    for ago in range(1, 6):
        await rig.use(usage(8), ago=ago)
    assert await rig.look() == [("month", "money", 80)]
    rig.commit()
    await rig.use(usage(9.9), ago=6)
    assert await rig.look() == [("month", "money", 95)]
    rig.commit()
    await rig.use(usage(900), ago=40)  # of a month that is over
    assert await rig.look() == []


async def test_a_corrected_day_takes_a_level_back() -> None:
    rig = Measured()
    await rig.use(usage(10))
    await rig.look()
    rig.commit()
    await rig.use(usage(6))
    assert await rig.look() == [("day", "money", 50)]
    rig.commit()
    await rig.store.delete(NODE.no, ("counters",))
    assert await rig.look() == [("day", "money", 0)]


async def test_a_new_day_is_nothing_to_write_about() -> None:
    rig = Measured()
    await rig.use(usage(10))
    await rig.look()
    rig.commit()
    rig.clock.advance(DAY_MS)
    assert await rig.look() == []
    await rig.use(usage(8))
    assert await rig.look() == [("day", "money", 80)]


class LateStore(MemoryContent):
    """A store in which a day ends while sums are read."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock(NOW)

    async def usage(self, query: UsageQuery) -> Sequence[UsageSum]:
        found = await super().usage(query)
        self.clock.advance(DAY_MS)
        return found


async def test_a_day_that_ends_during_the_measure_keeps_its_money() -> None:
    rig, due = Measured(store=LateStore()), DueNodes()
    await rig.use(usage(12))
    begins = period_of("day", rig.clock.now_ms())[0]
    await SpendWatch(due, (rig,), rig.spending, log=Lines())._look(NODE.id)
    assert rig.clock.now_ms() >= begins + DAY_MS
    assert [(one.level, one.starts_ms) for one in rig.letters] == [(100, begins)]


async def test_a_budget_that_is_set_at_midnight_says_the_day_that_was_measured() -> None:
    rig = Measured()
    await rig.use(usage(12))
    spending = await rig.spending()
    assert spending is not None
    begins, ends = period_of("day", rig.clock.now_ms())
    rig.clock.advance(DAY_MS)
    day = Budget(day_micro=10 * MICRO)
    assert [(one.level, one.starts_ms) for one in _crossings(day, spending)] == [(100, begins)]
    shown = budget_view(NODE.id, day, (), spending, rig.clock.now_ms()).limits[0]
    assert (shown.spent, shown.until) == (12 * MICRO, time_text(ends))


async def test_a_budget_is_blind_where_another_program_sends() -> None:
    rig = Measured()
    node = Node(no=2, id=NODE.id, account="local", name="n", key="k")
    daemon, ours = "clawmetry", "holdfast-observer"

    async def shown(budget: Budget = BUDGET) -> BudgetView:
        spending = await rig.costing.spending(node, NOW)
        return budget_view(NODE.id, budget, (), spending, NOW)

    assert (await shown()).counters  # nobody has sent yet
    node.senders.hear(daemon, "k", "0.12", NOW)
    for beside in (False, True):
        if beside:
            assert node.senders.hear(ours, "k", "0.1.0", NOW).is_second
        found = await shown()
        assert (found.counters, found.limits[0].spent) == (False, None)
        assert found.note.startswith("Another program sends for its node")
        assert f"holdfast nodes sender {NODE.id} " in found.note
        assert "the cap holds nothing" in found.note
    assert "the cap" not in (await shown(replace(BUDGET, cap=False))).note
    rig.consents.revoke(NODE.id)
    found = await shown()
    assert found.note.startswith("Its owner lets no counters out")
    assert found.note.endswith(f"holdfast consent grant {NODE.id} counters")
    rig.consents.grant(NODE.id, ("counters",))
    node.senders.choose(f"{ours}:k", by="owner", now_ms=NOW)
    found = await shown()
    assert (found.counters, found.note, found.limits[0].spent) == (True, "", 0)


async def test_what_has_no_price_counts_in_tokens_alone() -> None:
    rig = Measured()
    await rig.use(Usage("never-heard-of", 1, 0, 2_500, 500, 200, 0, 0))
    assert await rig.look() == [("month", "tokens", 80)]
    rig.commit()
    await rig.use(Usage("never-heard-of", 1, 0, 3_000, 500, 500, 0, 0))
    assert await rig.look() == [("month", "tokens", 100)]


async def test_another_currency_is_not_money_of_the_budget() -> None:
    rig = Measured(replace(BUDGET, currency="EUR"))
    await rig.use(usage(100))
    assert await rig.look() == []


async def test_a_clock_that_was_set_back_does_not_take_a_later_day_back() -> None:
    rig = Measured()
    await rig.use(usage(10))
    await rig.look()
    rig.commit()
    rig.clock.jump(-DAY_MS)
    assert await rig.look() == []


LOOKS = st.lists(
    st.tuples(st.sampled_from("uuulcht"), st.integers(0, 30), st.integers(0, 2)), max_size=25
)


@given(LOOKS)
def test_at_rest_the_ledger_knows_every_level(looks: list[tuple[str, int, int]]) -> None:
    """Uses, corrections, letters that wait, commits, hours and days, in any order."""

    async def run() -> None:
        rig = Measured()
        for what, units, ago in looks:
            if what == "u":
                await rig.use(usage(units, tokens=units * 100), ago=ago)
            elif what == "l":
                await rig.look()
            elif what == "c":
                rig.commit()
            else:
                rig.clock.advance(DAY_MS if what == "t" else HOUR_MS)
        for _ in range(2):  # a letter that waited may have been of an older level
            await rig.look()
            rig.commit()
        assert await rig.look() == []
        assert rig.budget is not None
        spending = await rig.spending()
        assert spending is not None
        money = sum(one.micro for one in spending.day.amounts)
        begins = period_of("day", rig.clock.now_ms())[0]
        known = [
            one.level for one in rig.budget.meters
            if (one.period, one.measure, one.starts_ms) == ("day", "money", begins)
        ]  # fmt: skip
        assert sum(known) == level_of(money, 10 * MICRO)

    asyncio.run(run())


async def test_the_watch_measures_what_is_noted_and_tries_again_after_a_failure(
    monkeypatch: Any,
) -> None:
    monkeypatch.setattr("holdfast.content.spend_watch.RETRY_S", 0.0)
    rig, due, log = Measured(), DueNodes(), Lines()
    watch = SpendWatch(due, (rig,), rig.spending, log=log)
    task = asyncio.create_task(watch.run())
    try:
        await rig.use(usage(8))
        rig.fails = 2
        watch.note_all()
        due.note("nd_unknown")
        await until(lambda: rig.letters)
        assert [one.level for one in rig.letters] == [80]
        assert len(log.named("budgets.not_measured")) == 2
        due.note(NODE.id)
        due.note(NODE.id)
        await until(lambda: not due._due)
        assert len(rig.letters) == 1  # what is not committed yet is said with the same key
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

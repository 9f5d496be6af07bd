"""The budgets of instances as a plane keeps them in memory, and what the doctor says of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from holdfast.actors.ports import Accepted
from holdfast.content.spend_watch import DueNodes
from holdfast.letters.spend import Blind, BudgetFacts, SpendCrossed
from holdfast.plane.wiring.budgets import InstanceBudgets, check_budgets
from holdfast.wire.budget import Budget
from holdfast.wire.consent import node_of_instance
from tests.support.logs import Lines


class Told:
    """Mailboxes that keep what is told to them."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    async def ask(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("a ledger asks nobody")

    async def tell(self, arrivals: Sequence[Any]) -> list[Accepted]:
        self.told += arrivals
        return []


def ledger_of(*nodes: str, instance: str = "") -> tuple[InstanceBudgets, Told]:
    """Return a ledger with a budget of the instance of each node."""
    told = Told()
    ledger = InstanceBudgets(told, DueNodes(), Lines())
    for node in nodes:
        facts = BudgetFacts(
            instance=instance or f"i-{node}", account="local", budget=Budget(day_micro=1)
        )
        ledger._put(node, msgspec.json.encode(facts))
    return ledger, told


async def test_a_letter_reaches_the_instance_and_none_where_its_budget_is_gone() -> None:
    node = node_of_instance("local", "i")
    ledger, told = ledger_of(node, instance="i")
    letter = SpendCrossed(
        account="local", period="day", measure="money", starts_ms=0, level=100, spent=2, most=1,
        currency="USD",
    )  # fmt: skip
    await ledger.crossed(node, letter, "key")
    assert [str(to) for to, _ in told.told] == ["instance/i"]
    ledger._put(node, None)  # as a commit does while the node is being measured
    await ledger.crossed(node, letter, "another")
    assert len(told.told) == 1


def test_the_doctor_names_each_budget_that_measures_nothing_and_what_mends_it() -> None:
    ledger, _ = ledger_of("a", "b", "c")
    why: dict[str, Blind] = {"a": "", "b": "sender", "c": ""}
    found = check_budgets(ledger, lambda node: why[node])
    assert (found.result, found.message) == (
        "warning", "1 of 3 measure nothing, as another program sends for it: i-b"
    )  # fmt: skip
    assert found.fix == "holdfast nodes sender NODE SENDER, or: holdfast budget remove NAME"
    why["c"] = "consent"
    found = check_budgets(ledger, lambda node: why[node])
    assert found.message == (
        "1 of 3 measure nothing, as no counters are let out: i-c;"
        " 1 of 3 measure nothing, as another program sends for it: i-b"
    )
    assert "holdfast consent grant NODE counters" in found.fix
    assert check_budgets(ledger, lambda _: "").result == "ok"

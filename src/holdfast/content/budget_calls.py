"""The calls about budgets of nodes that are no instance's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from msgspec import convert
from msgspec.structs import replace

from holdfast.actors import calls
from holdfast.content.costing import Costing
from holdfast.content.directory import Directory
from holdfast.content.node_budgets import NodeBudgets
from holdfast.content.records import Node
from holdfast.letters.budgets import budget_view
from holdfast.wire.api.budgets import BudgetSet, BudgetView
from holdfast.wire.api.call import Call, Refusal, Reply
from holdfast.wire.budget import Budget, limits_of


class BudgetCalls:
    """The endpoints; `due` has a node measured soon."""

    def __init__(
        self,
        budgets: NodeBudgets,
        directory: Directory,
        costing: Costing,
        due: Callable[[str], None],
    ) -> None:
        self._budgets = budgets
        self._directory = directory
        self._costing = costing
        self._due = due

    def by_endpoint(self) -> dict[str, Callable[[Call], Awaitable[Reply]]]:
        """Return the handlers by the names of their endpoints."""
        return {"node.budget": self.show, "node.set-budget": self.set}

    async def show(self, call: Call) -> Reply:
        """Show the budget of a node, and its alerts."""
        return Reply(await self._view(self._node(call), call.now_ms))

    async def set(self, call: Call) -> Reply:
        """Set the budget of a node, and answer as `show` does."""
        body: BudgetSet = call.body
        node = self._node(call)
        if body.cap:
            raise Refusal(
                400, "nothing_to_pause", "This node is no instance of this plane, which cannot"
                " pause it.", field="cap", fix="Leave it out: there are alerts alone.",
            )  # fmt: skip
        budget = convert(body, Budget, from_attributes=True)
        await self._budgets.set(node, budget if limits_of(budget) else None)
        self._due(node.id)
        return Reply(await self._view(node, call.now_ms))

    def _node(self, call: Call) -> Node:
        """Return a node that is no instance's; refuse (404, 409) another."""
        node = self._directory.find(call.path["id"], call.principal.account)
        if node is None:
            raise calls.missing("node")
        if node.instance:
            raise Refusal(
                409, "budget_of_instance", "The budget of this node is its instance's.",
                fix=f"Use /api/instances/{node.instance}/budget, or: holdfast budget show|set"
                f" {node.instance}",
            )  # fmt: skip
        return node

    async def _view(self, node: Node, now_ms: int) -> BudgetView:
        facts = self._budgets.facts(node.id)
        found = budget_view(
            node.id,
            None if facts is None else facts.budget,
            () if facts is None else facts.meters,
            await self._costing.spending(node, now_ms),
            now_ms,
        )
        return replace(found, alerts=self._budgets.alerts(node.id))

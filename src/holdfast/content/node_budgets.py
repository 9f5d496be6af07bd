"""Budgets of nodes that are no instance's: kept beside their counters, with the alerts of them.

Such a node has no machine here that could be paused, so nothing is decided about it and it needs no
actor (decision 0062). Its budget and its last alerts are one row of the content's file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from holdfast.content.directory import Directory
from holdfast.content.ports import ContentStore
from holdfast.content.records import Node
from holdfast.kernel import metrics
from holdfast.kernel.clock import Clock
from holdfast.kernel.failure import brief
from holdfast.kernel.log import Log
from holdfast.kernel.metrics import Meter as Figures
from holdfast.letters.spend import (
    BudgetFacts,
    Crossing,
    Meter,
    SpendCrossed,
    carried,
    ends_ms,
    fields_of,
    is_of,
)
from holdfast.wire.api.budgets import ALERTS_MAX, AlertView
from holdfast.wire.budget import Budget
from holdfast.wire.times import time_text


class Alert(Crossing, frozen=True, kw_only=True, gc=False):
    """A limit was used up as far as `level`, as was found at `at_ms`."""

    at_ms: int


class NodeBudget(Struct, frozen=True, kw_only=True, gc=False):
    """The budget of a node and its alerts, the newest first."""

    facts: BudgetFacts
    alerts: tuple[Alert, ...] = ()


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(NodeBudget).decode


def with_letter(kept: NodeBudget, letter: SpendCrossed, now_ms: int) -> NodeBudget:
    """Return the budget after a letter: each level is alerted once in a period."""
    facts, key = kept.facts, (letter.period, letter.measure)
    old = next((one for one in facts.meters if (one.period, one.measure) == key), None)
    meter = carried(old, Meter(**fields_of(letter), at_ms=now_ms))
    alerts = kept.alerts
    if letter.level > meter.alerted:
        meter = replace(meter, alerted=letter.level)
        alerts = (Alert(**fields_of(letter), at_ms=now_ms), *alerts)[:ALERTS_MAX]
    others = [one for one in facts.meters if one is not old and now_ms < ends_ms(one)]
    now = replace(facts, meters=(*others, meter), turn=facts.turn + 1)
    return NodeBudget(facts=now, alerts=alerts)


class NodeBudgets:
    """The budgets, in memory as they are in the file: a ledger of `spend_watch`."""

    def __init__(
        self, store: ContentStore, directory: Directory, *, clock: Clock, log: Log, meter: Figures
    ) -> None:
        self._store = store
        self._directory = directory
        self._clock = clock
        self._log = log
        self._meter = meter
        self._kept: dict[str, NodeBudget] = {}
        self._one_at_a_time = asyncio.Lock()

    async def load(self) -> None:
        """Read the file, after the directory has."""
        nodes = {node.no: node.id for node in self._directory.nodes_of(None)}
        for no, body in await self._store.budgets():
            try:
                kept = _decode(body)
            except ValueError as error:  # it is not measured until it is set again
                self._log.error("budgets.row_damaged", node=nodes.get(no, ""), reason=brief(error))
                continue
            if no in nodes:
                self._kept[nodes[no]] = kept

    def facts(self, node: str) -> BudgetFacts | None:
        """Return the budget of a node, and what is known of it."""
        kept = self._kept.get(node)
        return None if kept is None else kept.facts

    def nodes(self) -> Sequence[str]:
        """Return the nodes that have a budget."""
        return tuple(self._kept)

    def alerts(self, node: str) -> tuple[AlertView, ...]:
        """Return the last alerts of a node, the newest first."""
        kept = self._kept.get(node)
        return () if kept is None else tuple(map(_alert, kept.alerts))

    async def crossed(self, node: str, letter: SpendCrossed, dedupe: str) -> None:
        """Keep what a letter says, unless the budget has another limit by now.

        A letter says the level itself, so one that comes twice changes nothing and needs no key.
        Whoever sets a budget has the node measured after it.
        """
        del dedupe
        async with self._one_at_a_time:
            kept, found = self._kept.get(node), self._directory.find(node, None)
            if kept is None or found is None or not is_of(letter, kept.facts.budget):
                return
            now = with_letter(kept, letter, self._clock.now_ms())
            await self._put(found, now)
        if now.alerts is not kept.alerts:
            level, period = str(letter.level), letter.period
            self._meter.count(metrics.SPEND_ALERTS, level=level, period=period)
            self._log.warning("budget.alert", node=node, level=level, period=period)

    async def set(self, node: Node, budget: Budget | None) -> None:
        """Set a budget, or remove it; meters of limits that stay are kept, and its alerts."""
        async with self._one_at_a_time:
            kept = self._kept.get(node.id)
            if budget is None:
                await self._put(node, None)
                return
            facts = BudgetFacts(instance="", account=node.account, budget=budget)
            if kept is not None:
                meters = tuple(one for one in kept.facts.meters if is_of(one, budget))
                facts = replace(facts, meters=meters, turn=kept.facts.turn + 1)
            await self._put(
                node, NodeBudget(facts=facts, alerts=() if kept is None else kept.alerts)
            )

    async def _put(self, node: Node, kept: NodeBudget | None) -> None:
        await self._store.put_budget(node.no, None if kept is None else _encode(kept))
        if kept is None:
            self._kept.pop(node.id, None)
        else:
            self._kept[node.id] = kept


def _alert(one: Alert) -> AlertView:
    return AlertView(
        at=time_text(one.at_ms),
        period=one.period,
        measure=one.measure,
        level=one.level,
        spent=one.spent,
        most=one.most,
        currency=one.currency,
    )

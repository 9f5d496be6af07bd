"""Measures what nodes with a budget used, and says where a limit's level is another than is known.

Whoever keeps budgets is a ledger. What differs is found by comparing with what its ledger has
committed, so a plane that crashes between counters and letter finds it at its next start, and a
letter that is sent twice is one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final, Protocol

from holdfast.kernel.failure import brief
from holdfast.kernel.log import Log
from holdfast.letters.spend import BudgetFacts, SpendCrossed, Spending, spent_of
from holdfast.wire.budget import level_of, limits_of, period_of

RETRY_S: Final = 5.0
"""Until a node is measured again after a failure, in seconds."""


class Ledger(Protocol):
    """Keeps budgets of nodes."""

    def facts(self, node: str) -> BudgetFacts | None:
        """Return the committed budget of a node, and what is known of it; None for none."""
        ...

    def nodes(self) -> Sequence[str]:
        """Return the nodes that have a budget."""
        ...

    async def crossed(self, node: str, letter: SpendCrossed, dedupe: str) -> None:
        """Take a letter; return once it is durable. One with a key that came before is none."""
        ...


class DueNodes:
    """The nodes to be measured: each once, however often it was noted."""

    def __init__(self) -> None:
        self._due: dict[str, None] = {}
        self._noted = asyncio.Event()

    def note(self, node: str) -> None:
        """Have a node measured soon."""
        self._due[node] = None
        self._noted.set()

    async def take(self) -> str:
        """Return the node that was noted first, once there is one."""
        while not self._due:
            self._noted.clear()
            await self._noted.wait()
        node = next(iter(self._due))
        del self._due[node]
        return node


class SpendWatch:
    """Measures the nodes that are due, for ever; `measure` returns None for an unknown node."""

    def __init__(
        self,
        due: DueNodes,
        ledgers: Sequence[Ledger],
        measure: Callable[[str], Awaitable[Spending | None]],
        *,
        log: Log,
    ) -> None:
        self._due = due
        self._ledgers = ledgers
        self._measure = measure
        self._log = log

    def note_all(self) -> None:
        """Have every node with a budget measured: at the start, and when prices changed."""
        for ledger in self._ledgers:
            for node in ledger.nodes():
                self._due.note(node)

    async def run(self) -> None:
        """Measure what is due; one that fails is tried again."""
        while True:
            node = await self._due.take()
            try:
                await self._look(node)
            except Exception as error:  # noqa: BLE001  logged, and tried again
                self._log.error("budgets.not_measured", node=node, reason=brief(error))
                asyncio.get_running_loop().call_later(RETRY_S, self._due.note, node)

    async def _look(self, node: str) -> None:
        for ledger in self._ledgers:
            facts = ledger.facts(node)
            if facts is None:
                continue
            spending = await self._measure(node)
            for letter in crossed(facts, spending):
                await ledger.crossed(node, letter, dedupe_of(facts, letter))


def crossed(facts: BudgetFacts, spending: Spending | None) -> Iterator[SpendCrossed]:
    """Yield a letter for each limit whose level is another than is known."""
    if spending is None:
        return
    known = {(one.period, one.measure): one for one in facts.meters}
    for limit in limits_of(facts.budget):
        starts_ms = period_of(limit.period, spending.at_ms)[0]
        meter = known.get((limit.period, limit.measure))
        if meter is not None and meter.starts_ms > starts_ms:
            continue  # the clock was set back; what is known is of later
        spent = spent_of(spending, limit)
        level = level_of(spent, limit.most)
        is_known = meter is not None and meter.starts_ms == starts_ms
        if level != (meter.level if meter is not None and is_known else 0):
            yield SpendCrossed(
                account=facts.account, period=limit.period, measure=limit.measure,
                starts_ms=starts_ms, level=level, spent=spent, most=limit.most,
                currency=limit.currency,
            )  # fmt: skip


def dedupe_of(facts: BudgetFacts, letter: SpendCrossed) -> str:
    """Return a key that is the same for what is said twice about the same committed facts."""
    limit = f"{letter.period}:{letter.measure}:{letter.most}:{letter.currency}"
    return f"spend:{facts.turn}:{limit}:{letter.starts_ms}:{letter.level}"

"""Makes budgets: the memory of committed ones, what measures them, and the calls about them.

Content is a stream and no actor: its letters are accepted as those of actors are, as events that
the receiver's definition makes of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from holdfast.actors.committed_tick import CommittedTick
from holdfast.actors.definition import Letter
from holdfast.actors.ports import Mailboxes, Reader
from holdfast.content.budget_calls import BudgetCalls
from holdfast.content.costing import Costing
from holdfast.content.directory import Directory
from holdfast.content.node_budgets import NodeBudgets
from holdfast.content.senders import Senders
from holdfast.content.spend_watch import DueNodes, Ledger, SpendWatch
from holdfast.instances import budgets
from holdfast.instances.definition import KIND, arrival, received
from holdfast.instances.ports import Spendings
from holdfast.instances.state import Instance
from holdfast.instances.views import BUDGET_VIEW, decode_budget
from holdfast.kernel import metrics
from holdfast.kernel.clock import Clock
from holdfast.kernel.failure import brief
from holdfast.kernel.ids import address
from holdfast.kernel.log import Log
from holdfast.kernel.metrics import Meter
from holdfast.letters.spend import SENDER, Blind, BudgetFacts, SpendCrossed, Spending
from holdfast.letters.spend import Meter as SpendMeter
from holdfast.plane.wiring.content import Content
from holdfast.plane.wiring.core import Core
from holdfast.plane.wiring.part import Job, Part
from holdfast.wire.api.plane import DoctorCheck
from holdfast.wire.consent import node_of_instance
from holdfast.wire.limits import REASON_MAX

PAGE: Final = 1_000
_NAMED_MAX: Final = 5


class InstanceBudgets:
    """The committed budgets of instances by node: a ledger of `content.spend_watch`."""

    def __init__(self, mailboxes: Mailboxes, due: DueNodes, log: Log) -> None:
        self._mailboxes = mailboxes
        self._due = due
        self._log = log
        self._facts: dict[str, BudgetFacts] = {}

    async def fill(self, reader: Reader) -> None:
        """Read the rows committed before this start, and have each measured."""
        after = ""
        while page := await reader.views(BUDGET_VIEW, account=None, after=after, limit=PAGE):
            for key, body, _seq in page:
                self._put(key, body)
            after = page[-1][0]

    def on_commit(self, committed: CommittedTick) -> None:
        """Update from a commit, and have what changed measured."""
        for view in committed.tick.views if committed.commit is not None else ():
            if view.view == BUDGET_VIEW:
                self._put(view.key, view.body)

    def _put(self, node: str, body: bytes | None) -> None:
        self._facts.pop(node, None)
        if body is None:
            return
        try:
            self._facts[node] = decode_budget(body)
        except ValueError as error:  # it is not measured until its row is made again
            self._log.error("budgets.row_damaged", node=node, reason=brief(error))
        else:
            self._due.note(node)

    def facts(self, node: str) -> BudgetFacts | None:
        """Return the budget of a node's instance."""
        return self._facts.get(node)

    def nodes(self) -> Sequence[str]:
        """Return the nodes whose instances have a budget."""
        return tuple(self._facts)

    async def crossed(self, node: str, letter: SpendCrossed, dedupe: str) -> None:
        """Write the letter to the node's instance, unless its budget was removed meanwhile."""
        facts = self._facts.get(node)
        if facts is None:
            return
        to, sender = address(KIND, facts.instance), address(SENDER, node)
        event = received(sender, Letter(to=to, body=letter))
        row = arrival(event, dedupe=dedupe, source="letter", by=str(sender))
        await self._mailboxes.tell([(to, row)])


class MeasuredSpendings:
    """The port `Spendings` of instances, and what a watch measures, over the counters of nodes."""

    def __init__(self, directory: Directory, costing: Costing, clock: Clock) -> None:
        self._directory = directory
        self._costing = costing
        self._clock = clock

    def blind(self, node_id: str) -> Blind:
        """Return why nothing of a node is measured now."""
        node = self._directory.find(node_id, None)
        return self._costing.blind(node_id, Senders() if node is None else node.senders)

    async def spending(self, account: str, instance: str) -> Spending | None:
        """Return what an instance used today and this month."""
        return await self.of_node(node_of_instance(account, instance))

    async def of_node(self, node_id: str) -> Spending | None:
        """Return what a node used; None for an unknown one."""
        node = self._directory.find(node_id, None)
        return None if node is None else await self._costing.spending(node, self._clock.now_ms())


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """Budgets, made and not yet started.

    `ledger` is filled before anything is decided, and `part` measures once content is loaded.
    """

    watch: SpendWatch
    ledger: Part
    part: Part


def make_budgets(core: Core, content: Content) -> Budgets:
    """Return budgets over the counters of nodes; prices that change have all measured anew."""
    observed, costs = content.observed, content.costs
    spendings = MeasuredSpendings(observed.directory, costs.costing, core.clock)
    nodes = NodeBudgets(
        observed.store, observed.directory, clock=core.clock, log=core.log, meter=core.meter
    )
    made = budgets_over(
        core, observed.due, spendings, spendings.of_node, spendings.blind, elsewhere=(nodes,)
    )
    node_calls = BudgetCalls(nodes, observed.directory, costs.costing, observed.due.note)

    async def load() -> None:
        await nodes.load()
        made.watch.note_all()

    handlers = {**made.part.handlers, **node_calls.by_endpoint()}
    made = replace(made, part=replace(made.part, start=load, handlers=handlers))
    costs.prices.changed = made.watch.note_all
    return made


def budgets_over(
    core: Core,
    due: DueNodes,
    spendings: Spendings,
    measure: Callable[[str], Awaitable[Spending | None]],
    blind: Callable[[str], Blind],
    *,
    elsewhere: Sequence[Ledger] = (),
) -> Budgets:
    """Return budgets over whatever measures nodes; `elsewhere` keeps those of other nodes."""
    known = InstanceBudgets(core.mailbox, due, core.log)
    watch = SpendWatch(due, (known, *elsewhere), measure, log=core.log)

    async def fill() -> None:
        await known.fill(core.stores.reader)

    async def check() -> DoctorCheck:
        return check_budgets(known, blind)

    deps = budgets.Deps(
        mailboxes=core.mailbox,
        reader=core.stores.reader,
        spendings=spendings,
        chance=core.chance,
        clock=core.clock,
    )
    return Budgets(
        watch=watch,
        ledger=Part(
            name="budget rows",
            start=fill,
            on_commit=(known.on_commit, count_alerts(core.meter, core.log)),
        ),
        part=Part(
            name="budgets",
            handlers=budgets.handlers(deps),
            jobs=(Job("budgets.watch", watch.run),),
            checks=(check,),
        ),
    )


_BLIND: Final[Mapping[Blind, tuple[str, str]]] = MappingProxyType(
    {
        "consent": ("no counters are let out", "holdfast consent grant NODE counters"),
        "sender": ("another program sends for it", "holdfast nodes sender NODE SENDER"),
    }
)
"""Why a budget measures nothing, and what mends that."""


def check_budgets(ledger: InstanceBudgets, blind: Callable[[str], Blind]) -> DoctorCheck:
    """Return which budgets pause their agents, and which cannot work."""
    nodes = ledger.nodes()
    found = {node: facts for node in nodes if (facts := ledger.facts(node)) is not None}
    why: dict[Blind, list[str]] = {}
    for node, facts in found.items():
        why.setdefault(blind(node), []).append(facts.instance)
    said = [
        f"{len(why[one])} of {len(found)} measure nothing, as {words}:"
        f" {', '.join(why[one][:_NAMED_MAX])}"
        for one, (words, _) in _BLIND.items()
        if one in why
    ]
    if said:
        fixes = [fix for one, (_, fix) in _BLIND.items() if one in why]
        return DoctorCheck(
            name="budgets",
            result="warning",
            message="; ".join(said)[:REASON_MAX],
            fix=", or: ".join((*fixes, "holdfast budget remove NAME")),
        )
    paused = [facts.instance for facts in found.values() if facts.paused]
    if paused:
        return DoctorCheck(
            name="budgets",
            result="warning",
            message=f"{len(paused)} of {len(found)} pause their agents:"
            f" {', '.join(paused[:_NAMED_MAX])}"[:REASON_MAX],
            fix="holdfast budget show NAME says until when; holdfast budget go-on NAME",
        )
    return DoctorCheck(name="budgets", result="ok", message=f"{len(found)}, none pauses an agent")


def count_alerts(meter: Meter, log: Log) -> Callable[[CommittedTick], None]:
    """Return a listener that counts and logs each alert of a budget."""

    def hear(committed: CommittedTick) -> None:
        tick = committed.tick
        if committed.commit is None or tick.after.address.kind != KIND:
            return
        for one in new_alerts(tick.before.state, tick.after.state):
            meter.count(metrics.SPEND_ALERTS, level=str(one.alerted), period=one.period)
            log.warning(
                "budget.alert", instance=tick.after.address.id, level=one.alerted,
                period=one.period, measure=one.measure,
            )  # fmt: skip

    return hear


def new_alerts(before: Instance, after: Instance) -> Iterator[SpendMeter]:
    """Yield the meters that there is an alert of which there was not before."""
    known = {_limit(one): one.alerted for one in before.meters}
    for one in after.meters:
        if one.alerted > known.get(_limit(one), 0):
            yield one


def _limit(one: SpendMeter) -> tuple[object, ...]:
    return one.period, one.measure, one.starts_ms, one.most, one.currency

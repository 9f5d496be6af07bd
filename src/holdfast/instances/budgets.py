"""The calls about budgets: showing one beside what was spent, setting it, going on after a pause.

Whether a budget may be is decided in the fold; what was spent is asked of `Spendings`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from msgspec import convert
from msgspec.structs import replace

from holdfast.actors import calls
from holdfast.actors.ports import Answer, Mailboxes, Reader
from holdfast.instances import events, presenters, spend
from holdfast.instances.definition import KIND, arrival
from holdfast.instances.ports import Spendings
from holdfast.instances.state import Instance
from holdfast.instances.views import INSTANCE_VIEW, instance_view
from holdfast.kernel.chance import Chance
from holdfast.kernel.clock import Clock
from holdfast.kernel.ids import address
from holdfast.letters.budgets import budget_view, crossings
from holdfast.letters.spend import Crossing, Spending, fields_of, spent_of
from holdfast.wire.api.budgets import BudgetSet, BudgetView
from holdfast.wire.api.call import Call, Handler, Reply
from holdfast.wire.budget import Budget, limits_of
from holdfast.wire.limits import REASON_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """What the handlers need."""

    mailboxes: Mailboxes
    reader: Reader
    spendings: Spendings
    chance: Chance
    clock: Clock


def handlers(deps: Deps) -> Mapping[str, Handler]:
    """Return a handler for each row about budgets, by the row's name."""
    return {
        "instance.budget": partial(_show, deps),
        "instance.set-budget": partial(_set, deps),
        "instance.go-on": partial(_go_on, deps),
    }


async def _visible(deps: Deps, call: Call) -> tuple[str, str]:
    """Return (instance, account); refuse with 404 what is not there or not the caller's."""
    instance = call.path["id"]
    row = await calls.visible(call, deps.reader, INSTANCE_VIEW, instance, noun="instance")
    return instance, row[1]


async def _state(deps: Deps, instance: str) -> Instance:
    loaded = await deps.reader.load(address(KIND, instance))
    if loaded is None:
        raise calls.missing("instance")
    return presenters.state_of(loaded, instance)


async def _show(deps: Deps, call: Call) -> Reply:
    """Show the budget and what was spent of it."""
    instance, account = await _visible(deps, call)
    spending = await deps.spendings.spending(account, instance)
    return Reply(_view(await _state(deps, instance), spending, deps.clock.now_ms()))


async def _set(deps: Deps, call: Call) -> Reply:
    """Set the budget, with what is spent of it already, and answer as `_show` does."""
    body: BudgetSet = call.body
    instance, account = await _visible(deps, call)
    spending = await deps.spendings.spending(account, instance)
    budget = convert(body, Budget, from_attributes=True)
    event = events.BudgetChanged(
        budget=budget if limits_of(budget) or budget.cap else None,
        crossings=_crossings(budget, spending),
    )
    answer = await _ask(deps, call, instance, event)
    if answer.stamp is None:
        return calls.pending(answer)
    calls.refuse_if_refused(answer)
    return Reply(_view(await _state(deps, instance), spending, deps.clock.now_ms()))


async def _go_on(deps: Deps, call: Call) -> Reply:
    """Let it go on although its cap pauses it."""
    instance, _ = await _visible(deps, call)
    answer = await _ask(deps, call, instance, events.GoOnRequested(call.body.reason))
    if answer.stamp is None:
        return calls.pending(answer)
    calls.refuse_if_refused(answer)
    view = instance_view(await _state(deps, instance))
    return Reply(replace(view, seq=answer.stamp.seq))


async def _ask(deps: Deps, call: Call, instance: str, event: events.Event) -> Answer:
    return await calls.ask(
        call, event, mailboxes=deps.mailboxes, chance=deps.chance,
        actor=address(KIND, instance), arrival=arrival, dedupe=call.endpoint,
    )  # fmt: skip


def _crossings(budget: Budget, spending: Spending | None) -> tuple[Crossing, ...]:
    """Return how far each limit is used up, where that is known."""
    if spending is None:
        return ()
    found = crossings(limits_of(budget), partial(spent_of, spending), spending.at_ms)
    return tuple(Crossing(**fields_of(one)) for one in found)


def _view(state: Instance, spending: Spending | None, now_ms: int) -> BudgetView:
    """Return the budget of an instance, and what was spent of it."""
    node = spend.node_of(state)
    found = budget_view(node, state.budget, state.meters, spending, now_ms)
    paused = spend.pause_words(state)[:REASON_MAX]
    return replace(found, instance=state.id, paused=paused)

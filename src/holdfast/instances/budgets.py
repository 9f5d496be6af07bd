"""The calls about budgets: showing one beside what was spent, setting it, going on after a pause.

Whether a budget may be is decided in the fold; what was spent is asked of `Spendings`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

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
from holdfast.letters.spend import Crossing, Meter, Spending, spent_of
from holdfast.wire.api.budgets import BudgetSet, BudgetView, LimitView
from holdfast.wire.api.call import Call, Handler, Reply
from holdfast.wire.budget import Budget, Limit, limits_of, period_of
from holdfast.wire.limits import REASON_MAX
from holdfast.wire.money import count_text, tokens_of
from holdfast.wire.times import time_text

_CLOSED: Final = (
    "Its owner lets no counters out, so nothing is measured: no alert comes and the cap holds"
    " nothing; grant counters on the node's page, or: holdfast consent grant"
)
_NO_NODE: Final = "No counters of it have come yet, so nothing is measured until they do"


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
    return Reply(budget_view(await _state(deps, instance), spending, deps.clock.now_ms()))


async def _set(deps: Deps, call: Call) -> Reply:
    """Set the budget, with what is spent of it already, and answer as `_show` does."""
    body: BudgetSet = call.body
    instance, account = await _visible(deps, call)
    spending = await deps.spendings.spending(account, instance)
    budget = convert(body, Budget, from_attributes=True)
    event = events.BudgetChanged(
        budget=budget if limits_of(budget) or budget.cap else None,
        crossings=_crossings(budget, spending, deps.clock.now_ms()),
    )
    answer = await _ask(deps, call, instance, event)
    if answer.stamp is None:
        return calls.pending(answer)
    calls.refuse_if_refused(answer)
    return Reply(budget_view(await _state(deps, instance), spending, deps.clock.now_ms()))


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


def _crossings(budget: Budget, spending: Spending | None, now_ms: int) -> tuple[Crossing, ...]:
    """Return how far each limit is used up, where that is known."""
    if spending is None:
        return ()
    return tuple(
        Crossing(**spend.fields_of(one))
        for one in spend.crossings(limits_of(budget), partial(spent_of, spending), now_ms)
    )


def budget_view(state: Instance, spending: Spending | None, now_ms: int) -> BudgetView:
    """Return the budget of an instance, and what was spent of it, where that is known."""
    note = _note(() if state.budget is None else limits_of(state.budget), spending)
    if spending is not None and not spending.counters and not _is_used(spending):
        spending = None
    limits = () if state.budget is None else limits_of(state.budget)
    return BudgetView(
        instance=state.id,
        budget=state.budget,
        limits=tuple(_limit(state, limit, spending, now_ms) for limit in limits),
        counters=spending is not None and spending.counters,
        paused=spend.pause_words(state)[:REASON_MAX],
        note=note[:REASON_MAX],
        day=None if spending is None else spending.day,
        month=None if spending is None else spending.month,
        projection=None if spending is None else spending.projection,
    )


def _limit(state: Instance, limit: Limit, spending: Spending | None, now_ms: int) -> LimitView:
    found: Meter | None = next(
        (one for one in state.meters if (one.period, one.measure) == (limit.period, limit.measure)),
        None,
    )
    return LimitView(
        period=limit.period,
        measure=limit.measure,
        most=limit.most,
        currency=limit.currency,
        spent=None if spending is None else spent_of(spending, limit),
        level=0 if found is None else found.level,
        alerted=0 if found is None else found.alerted,
        excused=found is not None and found.excused,
        until=time_text(period_of(limit.period, now_ms)[1]),
    )


def _note(limits: tuple[Limit, ...], spending: Spending | None) -> str:
    """Return what the figures leave out, and what keeps a budget from working."""
    if spending is None:
        return _NO_NODE
    if not spending.counters:
        return _CLOSED
    money = next((one for one in limits if one.measure == "money"), None)
    if money is None:
        return ""
    used, said = spending.month, []
    if used.unpriced_tokens:
        said.append(f"{count_text(used.unpriced_tokens)} tokens of this month have no price")
    if used.plan_tokens:
        said.append(f"{count_text(used.plan_tokens)} are paid by a flat rate")
    others = [one.currency for one in used.amounts if one.currency != money.currency and one.micro]
    if others:
        said.append(f"some cost {', '.join(others)}")
    text = "; ".join(said)
    return f"{text[:1].upper()}{text[1:]}: no limit in {money.currency} counts that" if said else ""


def _is_used(spending: Spending) -> bool:
    """Return whether any numbers of this month are known: they stay after a revocation."""
    used = spending.month
    return bool(used.turns or used.amounts or tokens_of(used))

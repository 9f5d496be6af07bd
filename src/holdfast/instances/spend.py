"""The budget of an instance: the fold of what is spent, and the rules for alerts and the cap. Pure.

A meter is what is known of one limit in the period that runs; it is dropped when that is over. The
cap pauses an agent whose desired state stays running: `wanted` says what holds for its machine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from msgspec.structs import replace

from holdfast.actors.definition import Applied, At, Ignored, Refused, Verdict
from holdfast.instances import events
from holdfast.instances.state import Desired, Instance
from holdfast.letters.budgets import crossings
from holdfast.letters.spend import Crossing, Meter, carried, ends_ms, fields_of, is_of
from holdfast.wire.budget import REACHED, Limit, limits_of
from holdfast.wire.consent import node_of_instance
from holdfast.wire.money import amount_text
from holdfast.wire.times import time_text

PAUSED: Final = "paused_by_budget"
"""The refusal of what a cap forbids now."""


def wanted(state: Instance) -> Desired:
    """Return what its machine should be: stopped while its cap pauses it."""
    return "stopped" if state.paused_ms else state.desired


def over(state: Instance) -> Meter | None:
    """Return the limit by which the cap pauses it, that which holds longest; None where none is."""
    if state.budget is None or not state.budget.cap:
        return None
    reached = [one for one in state.meters if one.level >= REACHED and not one.excused]
    return max(reached, key=ends_ms, default=None)


def worst(state: Instance) -> Meter | None:
    """Return the limit that is used up most, of those that there was an alert of."""
    alerted = [one for one in state.meters if one.alerted and one.level]
    return max(alerted, key=lambda one: (one.level, ends_ms(one)), default=None)


def next_end_ms(state: Instance) -> int | None:
    """Return when the first period of a meter is over, in ms since the epoch."""
    return min(map(ends_ms, state.meters), default=None)


def _live(state: Instance, now_ms: int) -> tuple[Meter, ...]:
    """Return the meters whose periods are not over."""
    return tuple(one for one in state.meters if now_ms < ends_ms(one))


def refusal(state: Instance, now_ms: int) -> Refused | None:
    """Return why a start may not be, where the cap pauses it or would at once.

    A period that is over pauses nothing, also where the rules have yet to end it.
    """
    found = over(replace(state, meters=_live(state, now_ms)))
    if found is None:
        return None
    text = f"{used_up(found)}; raise it, or go on: holdfast budget go-on {state.name}"
    return Refused(PAUSED, text)


# ---------------------------------------------------------------------------------- words


def limit_words(found: Crossing) -> str:
    """Return a limit in words: `$10.00 a day`."""
    return f"{amount_text(found.most, found.currency)} a {found.period}"


def used_up(found: Crossing) -> str:
    """Return that a limit is reached."""
    return f"its budget of {limit_words(found)} is used up"


def alert_words(found: Crossing) -> str:
    """Return how far a limit is used up."""
    if found.level >= REACHED:
        return used_up(found)
    return f"{found.level} % of its budget of {limit_words(found)} are used"


def pause_words(state: Instance) -> str:
    """Return why its cap pauses it and how that ends; empty where it does not."""
    found = over(state) if state.paused_ms else None
    if found is None:
        return ""
    until = time_text(ends_ms(found))
    return (
        f"paused by its cap: {used_up(found)}; it goes on at {until}, with a higher budget, or by:"
        f" holdfast budget go-on {state.name}"
    )


# ---------------------------------------------------------------------------------- rules


def steps(state: Instance, now_ms: int) -> tuple[events.Intent, ...]:
    """Return what the budget asks for now: ended periods, alerts, and the begin or end of a pause.

    They are folded in this order, and nothing is left to do after them.
    """
    found: list[events.Intent] = []
    live = _live(state, now_ms)
    if live != state.meters:
        found.append(events.SpendPeriodEnded())
        state = replace(state, meters=live)
    found += [events.SpendAlerted(**fields_of(one)) for one in live if one.level > one.alerted]
    reached = over(state) if state.desired == "running" else None
    if reached is not None and not state.paused_ms:
        found.append(events.BudgetPaused(**fields_of(reached)))
    if reached is None and state.paused_ms:
        found.append(events.BudgetPauseEnded())
    return tuple(found)


def rule_of(found: tuple[events.Intent, ...]) -> tuple[str, str]:
    """Return the rule and the reason of such steps, by the last, which weighs most."""
    match found[-1]:
        case events.BudgetPaused() as paused:
            return "budget.pause", f"{used_up(paused)}, and its cap is on"
        case events.BudgetPauseEnded():
            return "budget.go_on", "no limit of its budget holds it back any more"
        case events.SpendAlerted() as alerted:
            return "budget.alert", alert_words(alerted)
        case _:
            return "budget.period", "a day or month of its budget is over"


# ----------------------------------------------------------------------------------- fold


def _changed(state: Instance, event: events.BudgetChanged, at: At) -> Verdict[Instance]:
    if state.desired == "destroyed":
        return Refused("destroying", "the instance is being destroyed; nothing can be changed")
    budget = event.budget
    if budget is not None and not limits_of(budget):
        if budget.cap:
            return Refused("no_limit", "cap: there is no limit to hold it to; set one, or turn off")
        budget = None
    if budget == state.budget:
        return Ignored("nothing differs")
    old = {(one.period, one.measure): one for one in _live(state, at.now_ms)}
    said = {(one.period, one.measure): one for one in event.crossings if at.now_ms < ends_ms(one)}

    def spent(limit: Limit) -> int:
        key = limit.period, limit.measure
        known = [one for one in (said.get(key), old.get(key)) if one is not None]
        return next((one.spent for one in known if one.currency == limit.currency), 0)

    limits = () if budget is None else limits_of(budget)
    fresh = [
        carried(old.get((one.period, one.measure)), one)
        for one in crossings(limits, spent, at.now_ms)
    ]
    meters = tuple(
        replace(one, at_ms=at.now_ms) for one in fresh if one.level or one.alerted or one.excused
    )
    return Applied(replace(state, budget=budget, meters=meters, budget_turn=state.budget_turn + 1))


def _reported(state: Instance, event: events.SpendReported, at: At) -> Verdict[Instance]:
    if not is_of(event, state.budget):
        return Ignored("its budget has another limit by now")
    if at.now_ms >= ends_ms(event):
        return Ignored("that day or month is over")
    key = event.period, event.measure
    old = next((one for one in state.meters if (one.period, one.measure) == key), None)
    if old is not None and old.starts_ms > event.starts_ms:
        return Ignored("a later day or month is known")
    is_known = old is not None and old.starts_ms == event.starts_ms
    if event.level == (old.level if old is not None and is_known else 0):
        return Ignored("the level is known")
    meter = carried(old, Meter(**fields_of(event), at_ms=at.now_ms))
    others = [one for one in state.meters if one is not old]
    meters = sorted((*others, meter), key=lambda one: (one.period, one.measure))
    return Applied(replace(state, meters=tuple(meters), budget_turn=state.budget_turn + 1))


def _go_on(state: Instance, _event: events.GoOnRequested, _at: At) -> Verdict[Instance]:
    if over(state) is None:
        return Refused("not_paused", "no cap pauses it; nothing is to be gone on with")
    meters = tuple(
        replace(one, excused=True) if one.level >= REACHED else one for one in state.meters
    )
    return Applied(replace(state, meters=meters, budget_turn=state.budget_turn + 1))


def _alerted(state: Instance, event: events.SpendAlerted, _at: At) -> Verdict[Instance]:
    meters = tuple(
        replace(one, alerted=event.level)
        if (one.period, one.measure) == (event.period, event.measure)
        else one
        for one in state.meters
    )
    return Applied(replace(state, meters=meters))


def _period_ended(state: Instance, _event: events.SpendPeriodEnded, at: At) -> Verdict[Instance]:
    live = _live(state, at.now_ms)
    return Applied(replace(state, meters=live, budget_turn=state.budget_turn + 1))


def _paused(state: Instance, _event: events.BudgetPaused, at: At) -> Verdict[Instance]:
    return Applied(replace(state, paused_ms=at.now_ms, restart_wanted=False))


def _pause_ended(state: Instance, _event: events.BudgetPauseEnded, _at: At) -> Verdict[Instance]:
    return Applied(replace(state, paused_ms=0))


def set_back(state: Instance, now_ms: int) -> Instance:
    """Return the state after the clock was set back: periods yet to begin are not known of."""
    meters = tuple(
        replace(one, at_ms=min(one.at_ms, now_ms))
        for one in state.meters
        if one.starts_ms <= now_ms
    )
    known = replace(state, meters=meters)
    return known if over(known) is not None else replace(known, paused_ms=0)


def node_of(state: Instance) -> str:
    """Return the id of its node, by which its spending is measured."""
    return node_of_instance(state.account, state.id)


FOLDS: Final[dict[type, Callable[[Instance, Any, At], Verdict[Instance]]]] = {
    events.BudgetChanged: _changed,
    events.GoOnRequested: _go_on,
    events.SpendReported: _reported,
    events.SpendAlerted: _alerted,
    events.SpendPeriodEnded: _period_ended,
    events.BudgetPaused: _paused,
    events.BudgetPauseEnded: _pause_ended,
}

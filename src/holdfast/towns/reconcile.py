"""The rules of a town in their order, the next deadline, and why one entity waits.

All rules see the same state; an action names what it writes, and the first one that does so for a
bead or an agent is its only one in a plan. What is left is done by the next tick, at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from holdfast.actors.definition import Counted, Plan, Suppressed
from holdfast.kernel.backoff import spread_ms
from holdfast.towns.actions import Action
from holdfast.towns.limits import DAILY_MS
from holdfast.towns.policy import Policy
from holdfast.towns.rules import agents, beads, reviews, town
from holdfast.towns.rules.view import BUSY_ELSEWHERE, Findings, View, Waiting, next_due
from holdfast.towns.state import TERMINAL, State, found, is_closed, is_created

_DAY_MS: Final = 86_400_000


def _rules(view: View) -> Findings:
    """Yield what each group of rules finds; a group that is not reached costs nothing."""
    yield from town.town(view)
    yield from town.violations(view)
    yield from agents.agents(view)
    if not view.closed:
        yield from beads.beads(view)
        yield from reviews.reviews(view)
        yield from reviews.convoys(view)
        yield from agents.messages(view)
        yield from town.escalations(view)
    yield from town.retention(view)


def _planned(view: View) -> Iterator[Action | Suppressed | Waiting]:
    """Yield findings with one action for each bead and each agent."""
    owned: set[str] = set()
    for one in _rules(view):
        if isinstance(one, Suppressed | Waiting):
            yield one
            continue
        writes = {f"b/{one.bead}", f"a/{one.agent}"} - {"b/", "a/"}
        if owned & writes:
            yield Suppressed(one.rule, BUSY_ELSEWHERE, one.entity)
            continue
        owned |= writes
        yield one


def reconcile(state: State, policy: Policy, now_ms: int, number: int) -> Plan[Action]:
    """Return the plan of this tick."""
    if not is_created(state):
        return Plan()
    actions: list[Action] = []
    suppressed: list[Suppressed] = []
    counted: list[Counted] = []
    for one in _planned(View(state, policy, now_ms, number)):
        match one:
            case Suppressed():
                suppressed.append(one)
            case Waiting(rule=rule, because=because, entities=count):
                counted.append(Counted(rule, because, count))
            case _:
                actions.append(one)
    return Plan(tuple(actions), tuple(suppressed), tuple(counted))


def explain(state: State, policy: Policy, now_ms: int, entity: str) -> tuple[Suppressed, ...]:
    """Return why an entity waits, where a plan only counts it."""
    if not is_created(state):
        return ()
    view = View(state, policy, now_ms, 0)
    bead = entity[2:] if entity[:2] == "b/" else ""
    held: list[Suppressed] = []
    for one in _planned(view):
        if isinstance(one, Waiting):
            if bead in view.at(*one.place) and bead not in one.but:
                held.append(Suppressed(one.rule, one.because, entity))
        elif one.entity == entity:
            if not isinstance(one, Suppressed):
                return ()
            held.append(one)
    return tuple(held)


def situation(state: State, bead: str) -> str:
    """Return in words what a bead waits for that no rule holds back, or an empty string."""
    known = state.beads.get(bead)
    if known is None:
        return ""
    if known.status in TERMINAL:
        return f"it is {known.status}"
    if known.attempt:
        return f"{known.assignee} works on it"
    if known.status == "in_review":
        return "its merge request is under way"
    review = known.review
    if review is not None and review.stage in {"gating", "landing"}:
        return "its gates run" if review.stage == "gating" else "it is being landed"
    if known.convoy_of is not None:
        return "its beads are under way"
    if known.escalation is not None:
        return "somebody has to take it on"
    return ""


def deadline(state: State, policy: Policy, now_ms: int) -> int | None:
    """Return when the rules may act without an event: at once while they have something to do."""
    if not is_created(state):
        return None
    if any(
        not isinstance(one, Suppressed | Waiting)
        for one in _planned(View(state, policy, now_ms, 0, counts=False))
    ):
        return now_ms
    moments = [next_due(state, now_ms), _daily(state, now_ms)]
    known = state.town
    if known.drain_nonce:
        moments.append(known.drain_until_ms)
    if known.breaker.state == "open":
        moments.append(known.breaker.until_ms)
    if known.exhausted:
        moments.append((known.spent_day + 1) * _DAY_MS)
    return min((one for one in moments if one is not None and one > now_ms), default=None)


def _daily(state: State, now_ms: int) -> int | None:
    """Return the next daily look, at the town's own time of the day; None once all has ended."""
    if is_closed(state) and not found(state, "busy") and not state.due:
        return None
    phase_ms = spread_ms(DAILY_MS, "daily", state.town.id)
    return now_ms - (now_ms - phase_ms) % DAILY_MS + DAILY_MS


def is_alive(state: State) -> bool:
    """Return whether a town still has something to do, so that it must have a deadline."""
    return is_created(state) and _daily(state, 0) is not None

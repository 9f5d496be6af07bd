"""The rules of a town in their order, the next deadline, and why one entity waits.

All rules see the same state; an action names what it writes, and the first one that does so for a
bead or an agent is its only one in a plan. What is left is done by the next tick, at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from holdfast.actors.definition import Counted, Plan, Suppressed
from holdfast.kernel.backoff import spread_ms
from holdfast.kernel.clock import DAY_MS
from holdfast.towns.actions import Action
from holdfast.towns.limits import DAILY_MS
from holdfast.towns.policy import Policy
from holdfast.towns.rules import agents, beads, hosts, mayors, reviews, town
from holdfast.towns.rules.view import BUSY_ELSEWHERE, Findings, View, Waiting
from holdfast.towns.state import State, busy, counted, found, is_closed, is_created


def _rules(view: View) -> Findings:
    """Yield what each group of rules finds; a group that is not reached costs nothing."""
    yield from town.town(view)
    yield from town.violations(view)
    yield from hosts.hosts(view)
    yield from agents.agents(view)
    if not view.closed:
        yield from mayors.mayors(view)
        yield from beads.beads(view)
        yield from reviews.reviews(view)
        yield from reviews.convoys(view)
        yield from agents.messages(view)
        yield from town.escalations(view)
    else:
        yield from town.ending(view)
    yield from town.retention(view)


def _planned(view: View) -> Iterator[Action | Suppressed | Waiting]:
    """Yield findings with one action for each bead and each agent."""
    owned: set[str] = set()
    for one in _rules(view):
        if isinstance(one, Suppressed | Waiting):
            yield one
            continue
        bead, agent = f"b/{one.bead}", f"a/{one.agent}"
        if bead in owned or agent in owned:
            yield Suppressed(one.rule, BUSY_ELSEWHERE, one.entity)
            continue
        if one.bead:
            owned.add(bead)
        if one.agent:
            owned.add(agent)
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
    return explain_each(state, policy, now_ms, (entity,))[entity]


def explain_each(
    state: State, policy: Policy, now_ms: int, entities: Iterable[str]
) -> dict[str, tuple[Suppressed, ...]]:
    """Return why each of some entities waits, in one look; nothing of one that is acted on."""
    held: dict[str, list[Suppressed] | None] = {entity: [] for entity in entities}
    view = View(state, policy, now_ms, 0)
    for one in _planned(view) if is_created(state) else ():
        if isinstance(one, Waiting):
            at = view.at(*one.place)
            for entity, reasons in held.items():
                bead = entity[2:] if entity[:2] == "b/" else ""
                if reasons is not None and view.stands(bead, at) and bead not in one.but:
                    reasons.append(Suppressed(one.rule, one.because, entity))
        elif isinstance(one, Suppressed):
            reasons = held.get(one.entity)
            if reasons is not None:
                reasons.append(one)
        elif one.entity in held:
            held[one.entity] = None
    return {entity: tuple(reasons or ()) for entity, reasons in held.items()}


def deadline(state: State, policy: Policy, now_ms: int) -> int | None:
    """Return when the rules may act without an event: at once while they have something to do."""
    if not is_created(state):
        return None
    if any(
        not isinstance(one, Suppressed | Waiting)
        for one in _planned(View(state, policy, now_ms, 0, counts=False))
    ):
        return now_ms
    moments = [state.due.next_after(now_ms), state.ended.next_after(now_ms)]
    moments.append(_daily(state, now_ms))
    known = state.town
    if known.retiring_ms:
        moments.append(known.retiring_ms)
    if known.drain_nonce:
        moments.append(known.drain_until_ms)
    if known.breaker.state == "open":
        moments.append(known.breaker.until_ms)
    if known.ending_ms:
        moments.append(known.ending_ms)
    if known.exhausted:
        moments.append((known.spent_day + 1) * DAY_MS)
    return min((one for one in moments if one is not None and one > now_ms), default=None)


def _daily(state: State, now_ms: int) -> int | None:
    """Return the next daily look, at the town's own time of the day; None once all has ended."""
    works = busy(state) or found(state, "release")
    due = state.due or state.ended or state.town.ending_ms
    if is_closed(state) and not (works or due):
        return None
    phase_ms = spread_ms(DAILY_MS, "daily", state.town.id)
    return now_ms - (now_ms - phase_ms) % DAILY_MS + DAILY_MS


def cadence(state: State, policy: Policy) -> int:
    """Return after how many ms a town is looked at again, 0 for one that is not there."""
    if not is_alive(state):
        return 0
    works = busy(state) or any(
        counted(state, "requests", rig) or found(state, "ready", rig) for rig in state.rigs
    )
    return policy.active_ms if works else policy.idle_ms


def is_alive(state: State) -> bool:
    """Return whether a town still has something to do, so that it must have a deadline."""
    return is_created(state) and _daily(state, 0) is not None

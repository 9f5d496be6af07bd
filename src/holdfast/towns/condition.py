"""What a town does, what keeps it from working, its breaker, budgets and caps, in words. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Final

from holdfast.kernel.clock import DAY_MS
from holdfast.towns.invariants import INVARIANTS
from holdfast.towns.policy import Policy
from holdfast.towns.rules.beads import BREAKER, BUDGET, DRAINING, withheld
from holdfast.towns.rules.view import View
from holdfast.towns.state import TERMINAL, Bead, Breaker, Config, State, is_closed, spent_today
from holdfast.towns.words import count_words, cut, moment, money
from holdfast.wire.api.town_board import BoardNote, Trouble

VIOLATIONS_SHOWN: Final = 100
_STATEMENTS: Final = {one.number: one.statement for one in INVARIANTS}


class Census:
    """One pass over a state: what there is of each kind that people are told of.

    `members` are beads by their convoy, `reviews` live merge requests by their source, `waiting`
    beads by what they wait for; `busy` and `ready` count agents at work and issues that could be
    handed out by rig.
    """

    def __init__(self, state: State) -> None:
        self.state = state
        self.issues = defaultdict[str, list[Bead]](list)
        self.requests: list[Bead] = []
        self.convoys: list[Bead] = []
        self.escalations: list[Bead] = []
        self.members = defaultdict[str, list[Bead]](list)
        self.reviews = defaultdict[str, list[Bead]](list)
        self.waiting = defaultdict[str, list[Bead]](list)
        self.blocked_by_failed = 0
        self.ready = Counter[str]()
        for bead in state.beads.values():
            self._add(bead)
        at_work = [
            agent
            for agent in state.agents.values()
            if agent.status in {"working", "stalled"} and agent.role != "mayor"
        ]
        self.busy = Counter(agent.rig for agent in at_work)
        self.silent = sum(
            agent.status == "working" and agent.contact == "silent" for agent in at_work
        )
        broken = [one for one in state.violations.values() if one.status == "open"]
        self.violations = sorted(broken, key=lambda one: (one.since_ms, one.id))

    def _add(self, bead: Bead) -> None:
        is_live = bead.status not in TERMINAL
        if bead.type == "issue":
            self.issues[bead.status].append(bead)
            if bead.convoy and not bead.source:
                self.members[bead.convoy].append(bead)
            rests = bead.status == "open" and not (bead.attempt or bead.held or bead.staged)
            self.ready[bead.rig] += rests and not bead.blocked_by and not bead.due_ms
        elif bead.type == "convoy":
            self.convoys.append(bead)
        elif is_live and bead.review is not None:
            self.requests.append(bead)
            self.reviews[bead.source].append(bead)
        elif is_live and bead.escalation is not None:
            self.escalations.append(bead)
        if is_live:
            self.blocked_by_failed += bead.failed_blockers > 0
            for other in bead.blocked_by:
                self.waiting[other].append(bead)

    @property
    def at_work(self) -> int:
        """Return how many agents work, the mayor not counted."""
        return sum(self.busy.values())

    @property
    def to_do(self) -> int:
        """Return how many issues have not ended."""
        return sum(len(beads) for status, beads in self.issues.items() if status not in TERMINAL)


def doing(census: Census) -> str:
    """Return what a town does in one sentence."""
    if is_closed(census.state):
        return "It was closed."
    if census.state.town.drain_nonce:
        return "It drains: its host goes away, and nothing new is started."
    busy, issues, requests = census.at_work, census.to_do, len(census.requests)
    if not issues and not requests:
        return "Nothing to do." if census.state.rigs else "It has no rig yet."
    parts = [f"{count_words(busy, 'agent')} at work" if busy else "Nobody works"]
    if issues:
        parts.append(f"{count_words(issues, 'issue')} to do")
    if requests:
        parts.append(f"{count_words(requests, 'merge request')} on the way")
    return ", ".join(parts) + "."


def _hurts(census: Census) -> Iterator[tuple[str, int, str, str, str, Trouble]]:
    """Yield what hurts: a code, how many, the noun, the rest for one and for many, how much."""
    yield ("violations", len(census.violations), "invariant", "does not hold", "do not hold", "bad")
    asked = len(census.escalations)
    yield "escalations", asked, "escalation", "waits for somebody", "wait for somebody", "bad"
    yield "silent", census.silent, "agent", "sends no heartbeat", "send no heartbeat", "warn"
    blocked, one, many = census.blocked_by_failed, "waits", "wait"
    rest = "for one that failed"
    yield "blocked_by_failed", blocked, "bead", f"{one} {rest}", f"{many} {rest}", "warn"


def notes(census: Census, policy: Policy, now_ms: int) -> tuple[BoardNote, ...]:
    """Return what keeps a town from working, the worst first."""
    state = census.state
    if is_closed(state):
        return ()
    town, made = state.town, list[BoardNote]()
    because = withheld(View(state, policy, now_ms, 0))
    if because:
        ends = {
            DRAINING: town.drain_until_ms,
            BREAKER: town.breaker.until_ms,
            BUDGET: (town.spent_day + 1) * DAY_MS,
        }
        until_ms = ends.get(because, 0)
        made.append(
            BoardNote(
                code="withheld",
                text=f"Nothing is handed out: {because}.",
                trouble="warn" if town.drain_nonce else "bad",
                until=moment(until_ms) if until_ms > now_ms else None,
            )
        )
    for code, number, noun, one, many, trouble in _hurts(census):
        if number:
            text = f"{count_words(number, noun)} {one if number == 1 else many}."
            made.append(BoardNote(code=code, text=text, trouble=trouble))
    return tuple(made)


def violations(census: Census) -> tuple[BoardNote, ...]:
    """Return the invariants that do not hold, the oldest first."""
    return tuple(
        BoardNote(
            code=str(one.number),
            text=cut(f"{_STATEMENTS.get(one.number, 'It holds.')} Now {one.text}."),
            trouble="bad" if one.alerted else "warn",
            about=one.entity,
            since=moment(one.since_ms),
        )
        for one in census.violations[:VIOLATIONS_SHOWN]
    )


def limits(census: Census, policy: Policy, now_ms: int) -> tuple[BoardNote, ...]:
    """Return the breaker, the budgets and the caps of a town in words.

    What is counted is what the rules count: within their windows, and of this day.
    """
    town, config = census.state.town, census.state.town.config
    attempts = f"A bead fails after {count_words(config.attempts_max, 'failed attempt')}"
    at_cost = f", or when it has cost {money(config.budget_bead)}" if config.budget_bead else ""
    repairs = "are made by themselves" if config.repair else "are switched off"
    lately = sum(at_ms > now_ms - policy.repairs_window_ms for at_ms in town.repairs)
    return (
        _breaker(town.breaker, policy, now_ms),
        _budget(config, spent_today(town, now_ms), exhausted=town.exhausted),
        _caps(config, census.at_work),
        BoardNote(code="attempts", text=f"{attempts}{at_cost}."),
        BoardNote(code="repairs", text=f"Repairs {repairs}; {lately} lately."),
    )


def _breaker(breaker: Breaker, policy: Policy, now_ms: int) -> BoardNote:
    ends = [at_ms for at_ms in breaker.ends if abs(at_ms) > now_ms - policy.breaker_window_ms]
    ended, failed = len(ends), sum(at_ms < 0 for at_ms in ends)
    lately = "no attempt ended lately"
    if ended:
        lately = f"{failed} of {count_words(ended, 'attempt')} failed lately"
    words = {
        "closed": f"The breaker is closed: {lately}.",
        "open": f"The breaker is open, and nothing is handed out: {BREAKER}.",
        "half_open": "The breaker is half open: one attempt tries whether starting works again.",
    }
    is_counting = breaker.state == "open" and breaker.until_ms > now_ms
    return BoardNote(
        code="breaker",
        text=words[breaker.state],
        trouble="info" if breaker.state == "closed" else "bad",
        until=moment(breaker.until_ms) if is_counting else None,
    )


def _budget(config: Config, spent: int, *, exhausted: bool) -> BoardNote:
    if not config.budget_day:
        text = f"{money(spent)} spent today; there is no limit of money."
        return BoardNote(code="budget", text=text)
    text = f"{money(spent)} of {money(config.budget_day)} of today are spent."
    return BoardNote(code="budget", text=text, trouble="bad" if exhausted else "info")


def _caps(config: Config, busy: int) -> BoardNote:
    if not config.town_agents_max:
        return BoardNote(code="agents", text=f"{count_words(busy, 'agent')} at work; no cap.")
    most = config.town_agents_max
    text = f"{busy} of at most {count_words(most, 'agent')} at work."
    return BoardNote(code="agents", text=text, trouble="warn" if busy >= most else "info")

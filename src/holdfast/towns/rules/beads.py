"""Rules about issues: which is handed to whom, which is given up, and what keeps the others.

Rigs take turns, those with the fewest working agents first, so that none starves another. The caps
are the town's, the rig's and the role's. What is cut off as a whole (a drain, the breaker, the
budget) is counted by places of the index, so that thousands of waiting beads cost nothing.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Final

from holdfast.actors.definition import Suppressed
from holdfast.kernel.ids import derive
from holdfast.towns import actions as act
from holdfast.towns.draft import sort_number
from holdfast.towns.limits import AGENTS_MAX, ATTEMPTS_MAX
from holdfast.towns.ordered import Pair
from holdfast.towns.rules.view import Findings, View, Waiting
from holdfast.towns.state import Bead, Rig, busy

ASSIGN: Final = "beads.assign"
CLOSED: Final = "the town is closed"
DRAINING: Final = "the agents' host is going away"
BREAKER: Final = "too many attempts failed lately"
PROBE: Final = "one attempt tries whether starting works again"
BUDGET: Final = "the day's money is used up"
TOWN_CAP: Final = "the town has as many agents at work as it may"
AGENTS_FULL: Final = "the town has as many agents as it may"
RIG_CAP: Final = "its rig has as many agents at work as it may"
ROLE_CAP: Final = "as many polecats work as may"
NO_RIG: Final = "its rig is gone"

_WAITS: Final = (
    ("blocked", "beads.blocked", "it waits for other beads"),
    ("staged", "beads.staged", "its convoy has not been started"),
    ("held", "beads.held", "somebody holds it back"),
    ("cooling", "beads.cooldown", "its last attempt failed a moment ago"),
)


def withheld(view: View) -> str:
    """Return why nothing at all is dispatched, or an empty string."""
    breaker = view.town.breaker
    if view.closed:
        return CLOSED
    if view.draining:
        return DRAINING
    if view.town.exhausted:
        return BUDGET
    if breaker.state == "open":
        return BREAKER
    if breaker.state == "half_open" and breaker.probe and view.at("attempt", breaker.probe):
        return PROBE
    return ""


def worn_out(view: View, bead: Bead) -> str:
    """Return the code by which a bead is given up instead of tried again, or an empty string."""
    config = view.town.config
    if bead.charged >= config.attempts_max:
        return "attempts_exhausted"
    if bead.attempts >= ATTEMPTS_MAX:
        return "attempts_exhausted"
    if config.budget_bead and bead.cost >= config.budget_bead:
        return "budget_exhausted"
    return ""


def beads(view: View) -> Findings:
    """Return what to do about issues."""
    yield from _without_result(view)
    yield from _blocked_by_failed(view)
    cooled = [
        bead
        for bead in view.due("b")
        if bead.type == "issue" and bead.status == "open" and not (bead.held or bead.staged)
        if not bead.blockers
    ]
    left = []
    for bead in cooled:
        if worn_out(view, bead):
            yield give_up(view, bead)
        else:
            left.append(bead)
    yield from _waiting(view, cooled)
    yield from _assign(view, left)


def give_up(view: View, bead: Bead) -> act.FailBead:
    """Return the end of a bead that was tried enough."""
    code = worn_out(view, bead)
    reasons = {
        "attempts_exhausted": "it failed as often as it may",
        "budget_exhausted": "it cost as much as it may",
    }
    return act.FailBead(
        rule="beads.give_up",
        reason=reasons[code],
        expect=act.saw(view.state, bead.id),
        entity=f"b/{bead.id}",
        bead=bead.id,
        code=code,
    )


def _without_result(view: View) -> Findings:
    """Recover beads whose agent ended and never said that it was done."""
    for bead in view.due("b"):
        if bead.status == "in_progress" and bead.attempt:
            yield act.Recover(
                rule="beads.stale",
                reason="its agent ended without a result",
                expect=act.saw(view.state, bead.id),
                entity=f"b/{bead.id}",
                bead=bead.id,
                attempt=bead.attempt,
                code="no_result",
            )


def _blocked_by_failed(view: View) -> Findings:
    """Count what waits for a bead that failed; policies of before named each."""
    rule, because = "beads.blocked_by_failed", "a bead that it waits for failed"
    if view.policy.failed_counted:
        yield from view.waiting(rule, because, ("blocked-by-failed", "issue"))
        return
    for one in sorted(view.at("blocked-by-failed", "issue").ids()):
        yield Suppressed(rule, because, f"b/{one}")


def _waiting(view: View, cooled: list[Bead]) -> Findings:
    """Count what waits for something of its own; those that cooled down wait for an agent."""
    over = [bead.id for bead in cooled]
    for place, rule, because in _WAITS:
        yield from view.waiting(rule, because, (place,), over)


# --------------------------------------------------------------------------------------- assign


class _Rig:
    """A rig's queue while agents are handed out, read as far as agents go."""

    def __init__(self, view: View, rig: Rig, cooled: list[Bead]) -> None:
        self.rig = rig
        self.idle = view.at("idle", "polecat", rig.id).ids()
        self.busy = view.count("busy", rig.id)
        self.cooled = cooled
        self.picked: set[str] = set()
        self.because = ""
        self.view = view
        self._queue: Iterator[Pair] | None = None

    def pop(self) -> Bead | None:
        """Return the next bead, or None: by priority, then by age."""
        if self._queue is None:
            cooled = sorted((sort_number(bead), bead.id) for bead in self.cooled)
            self._queue = heapq.merge(self.view.at("ready", self.rig.id).pairs(), cooled)
        best = next(self._queue, None)
        return None if best is None else self.view.state.beads[best[1]]

    def cap(self, view: View) -> str:
        """Return why this rig gets no more agents, or an empty string."""
        most = self.rig.agents_max or view.town.config.rig_agents_max
        if self.rig.gone:
            return NO_RIG
        return RIG_CAP if most and self.busy >= most else ""


def _assign(view: View, cooled: list[Bead]) -> Findings:
    slots, over = _slots(view)
    because = withheld(view) or ("" if slots else over)
    waiting = [one for one in sorted(view.state.rigs) if view.at("ready", one)]
    if because:
        for bead in cooled:
            yield Suppressed(ASSIGN, because, f"b/{bead.id}")
        for one in waiting:
            yield from view.waiting(ASSIGN, because, ("ready", one))
        return
    names = sorted({*waiting, *(bead.rig for bead in cooled)})
    rigs = [
        _Rig(view, view.state.rigs[one], [bead for bead in cooled if bead.rig == one])
        for one in names
    ]
    yield from _take_turns(view, rigs, slots, over)
    for rig in rigs:
        yield from _left(rig)


def _slots(view: View) -> tuple[int, str]:
    """Return how many polecats may be started at most, and which cap says so."""
    config = view.town.config
    slots, because = AGENTS_MAX, TOWN_CAP
    if config.town_agents_max:
        slots = config.town_agents_max - busy(view.state)
    if config.polecats_max:
        more = config.polecats_max - view.count("busy-role", "polecat")
        if more < slots:
            slots, because = more, ROLE_CAP
    if view.town.breaker.state == "half_open":
        slots, because = min(slots, 1), PROBE if slots > 0 else because
    return max(slots, 0), because


def _take_turns(view: View, rigs: list[_Rig], slots: int, over: str) -> Findings:
    turns = [(rig.busy, rig.rig.id, rig) for rig in rigs]
    heapq.heapify(turns)
    while turns:
        rig = heapq.heappop(turns)[2]
        rig.because = rig.cap(view) or (over if slots <= 0 else "")
        if rig.because:
            continue
        bead = rig.pop()
        if bead is None:
            continue
        code = worn_out(view, bead)
        if code:
            rig.picked.add(bead.id)
            yield give_up(view, bead)
        elif not rig.idle and view.room <= 0:
            rig.because = AGENTS_FULL
            continue
        else:
            create = not rig.idle
            view.room -= create
            yield _dispatch(view, rig, bead, create=create)
            slots -= 1
            rig.busy += 1
        heapq.heappush(turns, (rig.busy, rig.rig.id, rig))


def _dispatch(view: View, rig: _Rig, bead: Bead, *, create: bool) -> act.Dispatch:
    rig.picked.add(bead.id)
    if create:
        agent = f"polecat-{derive(view.town.id, view.number, bead.id)[:12]}"
    else:
        agent = rig.idle.pop(0)
    return act.Dispatch(
        rule=ASSIGN,
        reason="it is open, and waits for nothing",
        expect=act.saw(view.state, bead.id, agent),
        entity=f"b/{bead.id}",
        bead=bead.id,
        agent=agent,
        role="polecat",
        rig=rig.rig.id,
        create=create,
        probe=view.town.breaker.state == "half_open",
    )


def _left(rig: _Rig) -> Iterator[Waiting | Suppressed]:
    """Count what of a rig waits for an agent."""
    for bead in rig.cooled:
        if bead.id not in rig.picked:
            yield Suppressed(ASSIGN, rig.because or TOWN_CAP, f"b/{bead.id}")
    because = rig.because or TOWN_CAP
    yield from rig.view.waiting(ASSIGN, because, ("ready", rig.rig.id), rig.picked)

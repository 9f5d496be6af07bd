"""The recovery ladder: the order of the rungs, and the record of those taken.

Restarts come first, then the last healthy configuration, a fresh installation, the previous
version. A rung that cannot be taken is skipped with its reason. After the last one the agent is
parked for an operator. It must never climb while it is held.
"""

from __future__ import annotations

from dataclasses import replace

from holdfast.machine.controller.supervise.policy import Policy
from holdfast.machine.controller.supervise.state import (
    HISTORY_MAX,
    RISES,
    Climb,
    Ladder,
    Rise,
)


def fail(ladder: Ladder) -> Ladder:
    """Return the ladder after one more failure."""
    return replace(ladder, tries=ladder.tries + 1)


def is_used_up(policy: Policy, ladder: Ladder) -> bool:
    """Return whether the current rung has had its tries."""
    enough = policy.restart_tries if ladder.rung == "restart" else policy.rung_tries
    return ladder.tries >= enough


def next_rung(ladder: Ladder) -> Rise | None:
    """Return the rung above the last one tried, None if only parking is left."""
    if ladder.reached is None:
        return RISES[0]
    index = RISES.index(ladder.reached) + 1
    return RISES[index] if index < len(RISES) else None


def take(ladder: Ladder, rung: Rise, reason: str, at_ms: int) -> Ladder:
    """Return the ladder with this rung under way."""
    return _record(replace(ladder, reached=rung), Climb(rung, reason, at_ms))


def park(ladder: Ladder, reason: str, at_ms: int) -> Ladder:
    """Return the ladder at its end."""
    parked = replace(ladder, rung="parked", reason=reason)
    return _record(parked, Climb("parked", reason, at_ms, done=True))


def is_skipping(ladder: Ladder) -> bool:
    """Return whether a rung was just skipped, so that the next one is due."""
    if not ladder.history:
        return False
    last = ladder.history[-1]
    return last.done is False and last.rung == ladder.reached


def _record(ladder: Ladder, climb: Climb) -> Ladder:
    return replace(ladder, history=(*ladder.history, climb)[-HISTORY_MAX:])


def finish(ladder: Ladder, *, done: bool, detail: str) -> Ladder:
    """Return the ladder after the rung under way was done, or skipped."""
    if not ladder.history or ladder.history[-1].done is not None:
        return ladder
    climb = replace(ladder.history[-1], done=done, detail=detail)
    noted = replace(ladder, history=(*ladder.history[:-1], climb))
    if not done:
        return noted
    return replace(noted, rung=climb.rung, reason=climb.reason, tries=0)


def descend(ladder: Ladder) -> Ladder:
    """Return the ladder at its first rung again; its record and hold are kept."""
    return Ladder(held=ladder.held, history=ladder.history)

"""How often one machine may check in: two allowances, each one number.

Check-ins on the cadence and those that a change caused are counted apart, so that a crashing
agent cannot use up its machine's heartbeat. An allowance is the time at which it would be full
again (the generic cell rate algorithm), so a fleet of 60,000 costs two floats each. Pure.
"""

from __future__ import annotations

from msgspec import Struct

from holdfast.telemetry.limits import (
    CHECKIN_BURST,
    CHECKIN_GAP_MS,
    PROMPT_BURST,
    PROMPT_GAP_MS,
    RATE_SLACK,
)


class Allowance(Struct, gc=False):
    """What one machine has used up: `cadence` and `prompt` are times on the steady clock, in ms."""

    cadence: float = float("-inf")
    prompt: float = float("-inf")


def take(
    used: Allowance,
    steady_ms: float,
    *,
    interval_ms: int,
    prompt: bool,
    gap_ms: int = CHECKIN_GAP_MS,
) -> int:
    """Take one check-in off the allowance; return 0, or the milliseconds to wait when refused.

    `gap_ms` bounds the cadence, unless the machine's own interval is shorter. `prompt` says that
    the sender may check in on a change; one that comes too early for the cadence is then counted
    as such a check-in.
    """
    gap = min(gap_ms, interval_ms)
    wait = _wait(used.cadence, steady_ms, gap, CHECKIN_BURST)
    if wait <= 0:
        used.cadence = max(used.cadence, steady_ms) + gap * (1 - RATE_SLACK)
        return 0
    if not prompt:
        return int(wait) + 1
    wait = _wait(used.prompt, steady_ms, PROMPT_GAP_MS, PROMPT_BURST)
    if wait <= 0:
        used.prompt = max(used.prompt, steady_ms) + PROMPT_GAP_MS * (1 - RATE_SLACK)
        return 0
    return int(wait) + 1


def _wait(full_at: float, now: float, gap: float, burst: int) -> float:
    return full_at - now - gap * (1 - RATE_SLACK) * (burst - 1)

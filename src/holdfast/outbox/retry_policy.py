"""When to send how much, and what an answer means for the next try.

All decisions are here as functions over one value, the `SendState`, so that a test can run through
seven days of outage in a second. It must never read a clock: times are milliseconds of the steady
clock, passed in, so that no step of the time of day matters.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from holdfast.kernel.backoff import Backoff
from holdfast.outbox import limits

NEVER: Final = float("-inf")
AUTH: Final = "auth"
UNREADY: Final = "unready"
TOLD: Final = "told"

_SHORT: Final = Backoff(first_ms=limits.RETRY_FIRST_MS, cap_ms=limits.RETRY_CAP_MS, jitter=0.5)
_LONG: Final = Backoff(first_ms=limits.RETRY_FIRST_MS, cap_ms=limits.RETRY_LONG_CAP_MS, jitter=0.5)
_DEFER: Final = Backoff(first_ms=limits.DEFER_FIRST_MS, cap_ms=limits.DEFER_CAP_MS)


class SendState(NamedTuple):
    """The state between this sender and the other side.

    `hold` is why the next try waits: "auth", "unready", "told" (Retry-After) or "" (backoff).
    """

    seed: str = ""
    last_send_ms: float = NEVER
    failures: int = 0
    failing_since_ms: float = NEVER
    retry_at_ms: float = NEVER
    hold: str = ""
    mark: str = ""
    bytes_max: int = limits.BATCH_BYTES_MAX
    bytes_learned_ms: float = NEVER
    sent: tuple[tuple[float, int], ...] = ()


class Wait(NamedTuple):
    """Do nothing for this time, unless woken."""

    for_ms: float
    because: str


class Send(NamedTuple):
    """Send the oldest, at most so many rows and payload bytes."""

    rows: int
    bytes: int


def decide(
    state: SendState, *, pending: int, now_ms: float, mark: str = "", hurry_since_ms: float = NEVER
) -> Wait | Send:
    """Return what to do now.

    `mark` names the key that would be used; `hurry_since_ms` is when a flush was requested: it ends
    the batching window, and allows one try before a backoff is over.
    """
    if not pending:
        return Wait(limits.TIMER_MS, "empty")
    hurried = state.last_send_ms < hurry_since_ms
    held = _held(state, now_ms=now_ms, mark=mark, hurried=hurried)
    if held is not None:
        return held
    used = _recent(state.sent, now_ms)
    left = limits.RATE_ROWS - sum(count for _, count in used)
    if left <= 0:
        return Wait(used[0][0] + limits.RATE_WINDOW_MS - now_ms, "rate")
    window_end_ms = state.last_send_ms + limits.BATCH_WINDOW_MS
    hurried = hurry_since_ms > NEVER
    if now_ms < window_end_ms and pending < limits.BATCH_ROWS_MAX and not hurried:
        return Wait(window_end_ms - now_ms, "batching")
    return Send(rows=min(left, limits.BATCH_ROWS_MAX), bytes=state.bytes_max)


def _held(state: SendState, *, now_ms: float, mark: str, hurried: bool) -> Wait | None:
    left_ms = state.retry_at_ms - now_ms
    if left_ms <= 0:
        return None
    if state.hold == AUTH:
        if mark != state.mark:
            return None
        return Wait(min(left_ms, limits.HOLD_LOOK_MS), AUTH)
    if state.hold == UNREADY:
        return None if hurried else Wait(left_ms, UNREADY)
    if state.hold == TOLD:
        return Wait(left_ms, TOLD)
    return None if hurried else Wait(left_ms, "backoff")


def _recent(sent: tuple[tuple[float, int], ...], now_ms: float) -> tuple[tuple[float, int], ...]:
    since_ms = now_ms - limits.RATE_WINDOW_MS
    return tuple(entry for entry in sent if entry[0] > since_ms)


def begun(state: SendState, now_ms: float) -> SendState:
    """Return the state once a send has begun."""
    return state._replace(last_send_ms=now_ms)


def succeeded(state: SendState, *, rows: int, now_ms: float) -> SendState:
    """Return the state after the other side took `rows` rows, with any verdict on each."""
    bytes_max, learned_ms = state.bytes_max, state.bytes_learned_ms
    if bytes_max < limits.BATCH_BYTES_MAX and now_ms - learned_ms >= limits.BATCH_BYTES_TRUST_MS:
        bytes_max, learned_ms = min(bytes_max * 2, limits.BATCH_BYTES_MAX), now_ms
    return state._replace(
        failures=0,
        failing_since_ms=NEVER,
        retry_at_ms=NEVER,
        hold="",
        bytes_max=bytes_max,
        bytes_learned_ms=learned_ms,
        sent=(*_recent(state.sent, now_ms), (now_ms, rows)),
    )


def failed(state: SendState, *, now_ms: float, retry_after_ms: int | None = None) -> SendState:
    """Return the state after a try that may work later; Retry-After is a minimum wait."""
    failures = state.failures + 1
    since_ms = state.failing_since_ms if state.failures else now_ms
    backoff = _LONG if now_ms - since_ms >= limits.LONG_OUTAGE_MS else _SHORT
    wait_ms = backoff.delay_ms(failures, state.seed)
    if retry_after_ms is not None:
        after_ms = min(max(retry_after_ms, 0), limits.RETRY_AFTER_MAX_MS)
        # All senders got the same time: spread by up to half a backoff after it.
        wait_ms = max(wait_ms, after_ms + backoff.delay_ms(1, state.seed, failures) // 2)
    return state._replace(
        failures=failures,
        failing_since_ms=since_ms,
        retry_at_ms=now_ms + wait_ms,
        hold=TOLD if retry_after_ms is not None else "",
    )


def unauthorized(state: SendState, *, mark: str, now_ms: float) -> SendState:
    """Return the state after 401 or 403: held until the key changes, or the slow timer."""
    return state._replace(
        failures=state.failures + 1,
        failing_since_ms=state.failing_since_ms if state.failures else now_ms,
        retry_at_ms=now_ms + limits.HOLD_RETRY_MS,
        hold=AUTH,
        mark=mark,
    )


def unready(state: SendState, *, now_ms: float) -> SendState:
    """Return the state while there is no key or no address."""
    return state._replace(retry_at_ms=now_ms + limits.HOLD_LOOK_MS, hold=UNREADY)


def narrowed(state: SendState, *, sent_bytes: int, now_ms: float) -> SendState:
    """Return the state after 413: from now on at most half of what was too large."""
    bytes_max = max(min(sent_bytes, state.bytes_max) // 2, limits.BATCH_BYTES_MIN)
    return state._replace(bytes_max=bytes_max, bytes_learned_ms=now_ms)


def defer_ms(times: int, *seed: str | int) -> int:
    """Return how long a single row that fails where others pass is deferred."""
    return _DEFER.delay_ms(times, *seed)

"""Moves that rules share: begin a start, wait for one, end a child, come to rest."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, TypeAlias

from holdfast.machine.controller.supervise import ladder
from holdfast.machine.controller.supervise.actions import (
    BeginRepair,
    CancelRepair,
    Command,
    Drain,
    Spawn,
    Terminate,
)
from holdfast.machine.controller.supervise.policy import Policy
from holdfast.machine.controller.supervise.state import Repair, State, Termination

Step: TypeAlias = tuple[State, tuple[Command, ...]]

SIGTERM: Final = 15


def fresh(state: State) -> State:
    """Return the state after an operator's start: no failures, no timer."""
    return replace(
        state, failures=0, failing_ms=None, clean_run=0, blocks=0, retry_at_ms=None, parked="",
        blocked="", settle_ms=0, repaired_itself=False, ladder=ladder.descend(state.ladder),
    )  # fmt: skip


def spawn(policy: Policy, state: State, now_ms: int) -> Step:
    """Start a child, at least the gap after the start before it."""
    earliest_ms = now_ms
    if state.started_ms is not None:
        earliest_ms = max(now_ms, state.started_ms + policy.start_gap_ms)
    if earliest_ms > now_ms:
        return replace(state, status="starting", again=False, retry_at_ms=earliest_ms), ()
    number = state.children + 1
    started = replace(
        state, status="starting", child=number, children=number, started_ms=now_ms,
        spawned_ms=None, again=False, retry_at_ms=None, kill_at_ms=None, termination=None,
    )  # fmt: skip
    return started, (Spawn(number),)


def retry(policy: Policy, state: State, delay_ms: int, now_ms: int) -> Step:
    """Start again after a wait."""
    at_ms = now_ms + delay_ms
    if state.started_ms is not None:
        at_ms = max(at_ms, state.started_ms + policy.start_gap_ms)
    if at_ms <= now_ms:
        return spawn(policy, state, now_ms)
    return replace(state, status="crashed", retry_at_ms=at_ms), ()


def delay_ms(policy: Policy, failures: int) -> int:
    """Return the wait; jitter shortens it, but never below the first wait."""
    drawn = policy.backoff.delay_ms(failures, policy.seed)
    return max(drawn, min(policy.backoff.first_ms, policy.backoff.cap_ms))


def repair(state: State, kind: Repair, reason: str) -> Step:
    """Run this repair before the agent's next start."""
    busy = replace(state, status="starting", repair=kind, repair_reason=reason)
    # Named now: a change of the configuration before the repair begins puts that one on trial.
    failed = state.tried.etag if kind == "roll_back" and state.tried is not None else ""
    return busy, (BeginRepair(kind, reason, failed),)


def end(
    policy: Policy, state: State, termination: Termination, now_ms: int, drain_ms: int = 0
) -> Step:
    """End the child or repair; a ready child may first finish its work for `drain_ms`."""
    if state.repair is not None:
        return state, (CancelRepair(),)
    if not state.child:
        return rest(policy, state, now_ms)
    quiet = replace(state, ready_by_ms=None, settle_at_ms=None)
    if drain_ms > 0 and state.ready:
        termination = replace(termination, drains=True, drain_until_ms=now_ms + drain_ms)
        return replace(quiet, termination=termination), (Drain(state.child),)
    return terminate(policy, replace(quiet, termination=termination), SIGTERM, now_ms)


def terminate(
    policy: Policy, state: State, signal: int, now_ms: int, grace_ms: int | None = None
) -> Step:
    """End the child now; SIGKILL follows after the grace, which is never prolonged."""
    kill_at_ms = now_ms + (policy.stop_grace_ms if grace_ms is None else grace_ms)
    if state.kill_at_ms is not None:
        kill_at_ms = min(kill_at_ms, state.kill_at_ms)
    termination = state.termination
    if termination is not None:
        termination = replace(termination, drain_until_ms=None)
    ended = replace(state, termination=termination, kill_at_ms=kill_at_ms)
    return ended, (Terminate(state.child, signal),)


def rest(policy: Policy, state: State, now_ms: int) -> Step:
    """Return what follows a requested end."""
    if state.status == "shutting_down":
        return state, ()
    if state.again:
        return spawn(policy, fresh(state), now_ms)
    return replace(state, status="stopped", retry_at_ms=None), ()

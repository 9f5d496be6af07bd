"""Events of a living child: started or not, ready or not, silent, and time passing."""

from __future__ import annotations

from dataclasses import replace

from holdfast.machine.controller.supervise import ladder
from holdfast.machine.controller.supervise.actions import BeHealthy, Kill
from holdfast.machine.controller.supervise.events import Due, PortTaken, Probed, Spawned, WorkEnded
from holdfast.machine.controller.supervise.policy import Policy
from holdfast.machine.controller.supervise.restarts import (
    SIGTERM,
    Step,
    delay_ms,
    rest,
    retry,
    terminate,
)
from holdfast.machine.controller.supervise.restarts import spawn as spawn_child
from holdfast.machine.controller.supervise.state import Cause, State, Status, Termination, Verdict


def spawned(policy: Policy, state: State, event: Spawned, now_ms: int) -> Step:
    """Record the process; from now on it has to become ready."""
    if not event.child or event.child != state.child:
        return state, ()
    status: Status = "running" if state.status == "starting" else state.status
    within_ms = _ready_within_ms(policy, state) if state.trial is not None else policy.start_ms
    ready_by_ms = now_ms + within_ms if status == "running" else None
    # The gap to the next start is measured from here: starting a process may take a while.
    made = replace(
        state, status=status, started_ms=now_ms, spawned_ms=now_ms, blocked="", blocks=0,
        ready_by_ms=ready_by_ms,
    )  # fmt: skip
    return made, ()


def port_taken(policy: Policy, state: State, event: PortTaken, now_ms: int) -> Step:
    """Wait for the port: no rung of the ladder would free it.

    A child that was started has its port, and its end comes as an exit: such an event is ignored.
    """
    if not state.awaits(event.child):
        return state, ()
    without = replace(state, child=0, termination=None, kill_at_ms=None)
    if state.status != "starting":
        return rest(policy, without, now_ms)
    if event.freed:
        return retry(policy, without, 0, now_ms)
    blocked = replace(without, blocked=event.owner, blocks=state.blocks + 1)
    wait_ms = min(delay_ms(policy, blocked.blocks), policy.blocked_cap_ms)
    return retry(policy, blocked, wait_ms, now_ms)


def probed(policy: Policy, state: State, event: Probed, now_ms: int) -> Step:
    """Track readiness, and end a child that was ready and no longer answers."""
    if event.child != state.child:
        return state, ()
    if state.draining:
        return _probed_draining(policy, state, event, now_ms)
    if state.status != "running":
        return state, ()
    if event.ready:
        return _is_ready(policy, state, now_ms), ()
    if state.ready_by_ms is not None:
        return state, ()  # it has the start's time limit to become ready
    missed = _miss(state, event, now_ms)
    if state.ready and missed.misses >= policy.ready_misses:
        by_ms = now_ms + _ready_within_ms(policy, state) if _is_on_trial(state) else None
        missed = replace(missed, ready=False, ready_ms=None, settle_at_ms=None, ready_by_ms=by_ms)
    if _is_stuck(policy, missed, now_ms):
        for_s = (now_ms - (missed.silent_ms or now_ms)) // 1_000
        return _give_up(policy, missed, "stuck", f"it did not answer for {for_s} s", now_ms)
    return missed, ()


def work_ended(policy: Policy, state: State, event: WorkEnded, now_ms: int) -> Step:
    """End a child whose work is over, or was cut, without further waiting."""
    if event.child != state.child or state.termination is None:
        return state, ()
    termination = state.termination
    if event.cut is None:
        updated = replace(termination, drains=False)
    else:
        updated = replace(termination, drained=termination.drained or not event.cut, cut=event.cut)
    noted = replace(state, termination=updated)
    if updated.drain_until_ms is None:
        return noted, ()
    return terminate(policy, noted, SIGTERM, now_ms)


def due(policy: Policy, state: State, event: Due, now_ms: int) -> Step:
    """Handle the nearest deadline."""
    termination = state.termination
    if termination is not None and _is_past(termination.drain_until_ms, now_ms):
        return terminate(policy, state, SIGTERM, now_ms)
    if _is_past(state.kill_at_ms, now_ms) and state.child:
        again = replace(state, kill_at_ms=now_ms + policy.kill_again_ms)
        return again, (Kill(state.child),)
    if _is_past(state.ready_by_ms, now_ms):
        within_ms = _ready_within_ms(policy, state) if _is_on_trial(state) else policy.start_ms
        text = f"it was not ready within {within_ms // 1_000} s"
        return _give_up(policy, state, "slow", text, now_ms)
    if _is_past(state.settle_at_ms, now_ms):
        return _prove(state, event)
    if _is_past(state.retry_at_ms, now_ms):
        return spawn_child(policy, state, now_ms)
    return state, ()


def _probed_draining(policy: Policy, state: State, event: Probed, now_ms: int) -> Step:
    """Stop waiting for the work of an agent that no longer answers."""
    if event.ready:
        return state, ()
    missed = _miss(state, event, now_ms)
    if _is_stuck(policy, missed, now_ms):
        return terminate(policy, missed, SIGTERM, now_ms)
    return missed, ()


def _miss(state: State, event: Probed, now_ms: int) -> State:
    missed = replace(state, misses=state.misses + 1, silences=0, silent_ms=None)
    if event.answered:
        return missed
    since_ms = now_ms if state.silent_ms is None else state.silent_ms
    return replace(missed, silences=state.silences + 1, silent_ms=since_ms)


def _is_ready(policy: Policy, state: State, now_ms: int) -> State:
    if state.ready and not state.misses:
        return state
    calm = replace(state, ready=True, misses=0, silences=0, silent_ms=None, ready_by_ms=None)
    if state.ready:
        return calm
    wait_ms = max(policy.healthy_ms, state.settle_ms)
    if _is_on_trial(state):
        wait_ms = policy.trial_ms
    return replace(calm, ready_ms=now_ms, settle_at_ms=now_ms + wait_ms)


def _is_on_trial(state: State) -> bool:
    """Return whether the present child runs a configuration on trial."""
    return state.trial is not None and state.child > state.trial.after


def _ready_within_ms(policy: Policy, state: State) -> int:
    """Return the limit in which what is on trial has to be ready."""
    assert state.trial is not None, "it is on trial"
    return policy.version_ready_ms if state.trial.of_version else policy.trial_ready_ms


def _is_stuck(policy: Policy, state: State, now_ms: int) -> bool:
    if state.silent_ms is None or state.silences < policy.stuck_misses:
        return False
    return now_ms - state.silent_ms >= policy.stuck_ms


def _is_past(at_ms: int | None, now_ms: int) -> bool:
    return at_ms is not None and at_ms <= now_ms


def _give_up(policy: Policy, state: State, cause: Cause, reason: str, now_ms: int) -> Step:
    """End a child for what it fails to do; another one follows."""
    termination = Termination(cause, reason, now_ms, was_ready=state.ready)
    leaving = replace(
        state,
        status="stopping",
        again=True,
        termination=termination,
        ready_by_ms=None,
        settle_at_ms=None,
    )
    grace_ms = policy.trial_grace_ms if state.trial is not None else policy.stop_grace_ms
    return terminate(policy, leaving, SIGTERM, now_ms, grace_ms)


def _prove(state: State, event: Due) -> Step:
    """Reset the failures of a child that has proved itself, and keep its configuration."""
    proved = replace(
        state, settle_at_ms=None, failures=0, failing_ms=None, clean_run=0, settle_ms=0,
        repaired_itself=False, ladder=ladder.descend(state.ladder),
    )  # fmt: skip
    if _is_on_trial(state):
        assert state.trial is not None, "it is on trial"
        verdict = Verdict(state.trial.etag, healthy=True, reason="", at_ms=event.at_ms)
        proved = replace(proved, trial=None, verdict=verdict)
    return proved, (BeHealthy(state.child),)

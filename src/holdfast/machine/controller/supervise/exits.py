"""What follows the end of a child, or of a repair."""

from __future__ import annotations

from dataclasses import replace

from holdfast.machine.controller.supervise import ladder as ladders
from holdfast.machine.controller.supervise.events import Exited, Repaired, SpawnFailed
from holdfast.machine.controller.supervise.policy import Policy
from holdfast.machine.controller.supervise.restarts import Step, delay_ms, repair, rest, retry
from holdfast.machine.controller.supervise.state import (
    Cause,
    Exit,
    Goodbye,
    State,
    Termination,
    Verdict,
)


def spawn_failed(policy: Policy, state: State, event: SpawnFailed, now_ms: int) -> Step:
    """Count a process that could not be started as one that ended with 1."""
    if not state.awaits(event.child):
        return state, ()
    return exited(policy, state, Exited(event.child, 1, None, event.at_ms), now_ms)


def exited(policy: Policy, state: State, event: Exited, now_ms: int) -> Step:
    """Decide what follows the child's end; events of an older child are ignored."""
    if not event.child or event.child != state.child:
        return state, ()
    cause: Cause = "" if state.termination is None else state.termination.cause
    requested = cause == "asked"
    healthy = _was_healthy(policy, state, cause, now_ms)
    goodbye = _goodbye(policy, state, event, now_ms)
    ended = replace(
        state, child=0, spawned_ms=None, ready=False, ready_ms=None, misses=0, silences=0,
        silent_ms=None, kill_at_ms=None, ready_by_ms=None, settle_at_ms=None, termination=None,
        goodbye=goodbye or state.goodbye,
        cuts=state.cuts + (goodbye is not None and goodbye.cut is True),
        last_exit=Exit(event.code, event.signal, event.at_ms, requested, cause),
    )  # fmt: skip
    if healthy:
        ended = _forgive(ended)
    if requested:
        return rest(policy, ended, now_ms)
    if state.termination is not None:
        return _ended_by_us(policy, ended, state.termination, event.at_ms, now_ms)
    if event.signal is None and event.code in policy.misconfigured:
        return _misconfigured(policy, ended, event, now_ms)
    if event.signal is None and event.code == 0:
        return _clean(policy, ended, event, now_ms)
    crashed = replace(ended, crashes=ended.crashes + 1)
    return _failed(policy, crashed, _describe(event), event.at_ms, now_ms)


def repaired(policy: Policy, state: State, event: Repaired, now_ms: int) -> Step:
    """Continue after a repair: start again, or try the next step if it did nothing."""
    if state.repair is None or event.repair != state.repair:
        return state, ()
    after = _note(replace(state, repair=None, kill_at_ms=None), event)
    if state.status != "starting":
        return rest(policy, after, now_ms)
    if event.repair == "mend" or event.done:
        return retry(policy, after, 0, now_ms)
    if event.repair == "roll_back":
        if after.trial is not None:
            return retry(policy, after, 0, now_ms)  # changed meanwhile: that one has its trial
        if _is_misconfigured(policy, after) and policy.can_repair and not after.repaired_itself:
            return repair(after, "mend", state.repair_reason)
        reason = f"the trial failed and nothing could be rolled back: {event.detail}"
        return _failed(policy, after, reason, event.at_ms, now_ms)
    return _climb(policy, after, after.ladder.history[-1].reason, event.at_ms, now_ms)


def _note(state: State, event: Repaired) -> State:
    """Return the state with the repair recorded."""
    if event.repair == "mend":
        return replace(state, repaired_itself=True)
    if event.repair == "roll_back":
        trial = state.tried
        if trial is None:
            return state  # nothing has run yet with one that was changed meanwhile
        reason = state.repair_reason
        if not event.done:
            reason = f"{reason}; nothing was rolled back: {event.detail}"
        failed = Verdict(
            trial.etag, healthy=False, reason=reason, at_ms=event.at_ms, rolled_back=event.done
        )
        return replace(state, trial=None, verdict=failed)
    finished = ladders.finish(state.ladder, done=event.done, detail=event.detail)
    return replace(state, ladder=finished)


def _was_healthy(policy: Policy, state: State, cause: Cause, now_ms: int) -> bool:
    """Return whether the ended run was long enough to reset the failures."""
    if state.spawned_ms is None or cause == "slow":
        return False
    enough_ms = max(policy.healthy_ms, state.settle_ms)
    if cause == "stuck":
        enough_ms = policy.calm_ms
    return now_ms - state.spawned_ms >= enough_ms


def _forgive(state: State) -> State:
    return replace(
        state, failures=0, failing_ms=None, clean_run=0, settle_ms=0, repaired_itself=False,
        ladder=ladders.descend(state.ladder),
    )  # fmt: skip


def _goodbye(policy: Policy, state: State, event: Exited, now_ms: int) -> Goodbye | None:
    """Return what became of running work, if we ended the child."""
    termination = state.termination
    if termination is None:
        return None
    killed = event.signal == "SIGKILL" and not termination.drained
    cut: bool | None = None
    if termination.cut or (killed and (termination.was_ready or termination.cause == "stuck")):
        cut = True
    elif termination.drained or not termination.was_ready:
        cut = False
    elif termination.drains:
        cut = termination.drain_until_ms is None
    elif policy.term_drains:
        cut = False
    return Goodbye(termination.reason, cut, now_ms - termination.began_ms, event.at_ms)


def _ended_by_us(
    policy: Policy, state: State, termination: Termination, at_ms: int, now_ms: int
) -> Step:
    """Continue after a child that we ended because it was stuck, or too slow to become ready."""
    if termination.cause == "stuck":
        counted = replace(state, stuck=state.stuck + 1, settle_ms=policy.calm_ms)
    else:
        counted = replace(state, slow=state.slow + 1)
    return _failed(policy, counted, termination.reason, at_ms, now_ms)


def _clean(policy: Policy, state: State, event: Exited, now_ms: int) -> Step:
    counted = replace(state, clean_exits=state.clean_exits + 1, clean_run=state.clean_run + 1)
    if counted.tried is not None and counted.clean_run > 1:
        return _failed(policy, counted, "it ended by itself again", event.at_ms, now_ms)
    calm = replace(counted, failures=0, failing_ms=None)
    wait_ms = 0 if calm.clean_run == 1 else delay_ms(policy, calm.clean_run - 1)
    return retry(policy, calm, wait_ms, now_ms)


def _misconfigured(policy: Policy, state: State, event: Exited, now_ms: int) -> Step:
    """End the trial of a wrong configuration; else try the agent's own repair once; else climb."""
    counted = replace(state, misconfigurations=state.misconfigurations + 1)
    reason = f"exit code {event.code}: the agent's configuration is wrong"
    if counted.tried is not None:
        return _failed(policy, counted, reason, event.at_ms, now_ms)
    if policy.can_repair and not counted.repaired_itself:
        return repair(counted, "mend", reason)
    if counted.repaired_itself:
        reason = f"exit code {event.code} after its own repair: its configuration is wrong"
    return _climb(policy, _count(counted, now_ms), reason, event.at_ms, now_ms)


def _count(state: State, now_ms: int) -> State:
    since_ms = now_ms if state.failing_ms is None else state.failing_ms
    failed = ladders.fail(state.ladder)
    return replace(state, failures=state.failures + 1, failing_ms=since_ms, ladder=failed)


def _failed(policy: Policy, state: State, reason: str, at_ms: int, now_ms: int) -> Step:
    """Handle one failure: end a trial at once; else count it and schedule the next try."""
    if state.tried is not None:
        return repair(state, "roll_back", reason)
    return _climb(policy, _count(state, now_ms), reason, at_ms, now_ms)


def _climb(policy: Policy, state: State, reason: str, at_ms: int, now_ms: int) -> Step:
    """Take the next rung once this one has had its tries; otherwise try again.

    A wrong configuration does not improve by retries, so each of its rungs has one try.
    """
    ladder, hopeless = state.ladder, _is_misconfigured(policy, state)
    wait_ms = delay_ms(policy, max(state.failures, 1))
    due = hopeless or ladders.is_skipping(ladder) or ladders.is_used_up(policy, ladder)
    if ladder.held or not due:
        return retry(policy, state, wait_ms, now_ms)
    rung = ladders.next_rung(ladder)
    if rung is not None:
        climbed = replace(state, ladder=ladders.take(ladder, rung, reason, at_ms))
        return repair(climbed, rung, reason)
    if not hopeless and not _has_failed_long(policy, state, now_ms):
        return retry(policy, state, wait_ms, now_ms)
    ended = ladders.park(ladder, reason, at_ms)
    return replace(state, status="crashed", retry_at_ms=None, parked=reason, ladder=ended), ()


def _is_misconfigured(policy: Policy, state: State) -> bool:
    """Return whether the last child's exit code means a wrong configuration."""
    last = state.last_exit
    return last is not None and last.signal is None and last.code in policy.misconfigured


def _has_failed_long(policy: Policy, state: State, now_ms: int) -> bool:
    return state.failing_ms is not None and now_ms - state.failing_ms >= policy.park_ms


def _describe(event: Exited) -> str:
    if event.signal is not None:
        return f"ended by {event.signal}"
    return f"exit code {event.code}"

"""One step: state, event and time to new state and commands.

The rules of orders are here; those of a living child and of its end have files of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from holdfast.machine.controller.supervise import events, exits, ladder, liveness
from holdfast.machine.controller.supervise.actions import CancelRepair
from holdfast.machine.controller.supervise.events import Event
from holdfast.machine.controller.supervise.policy import Policy
from holdfast.machine.controller.supervise.restarts import Step, end, fresh, spawn, terminate
from holdfast.machine.controller.supervise.state import RISES, State, Termination, Trial


def step(policy: Policy, state: State, event: Event, now_ms: int) -> Step:
    """Return the state after `event` and the commands to execute, in order."""
    return _RULES[type(event)](policy, state, event, now_ms)


def _start(policy: Policy, state: State, _event: events.Start, now_ms: int) -> Step:
    if state.status not in {"stopped", "crashed"}:
        return state, ()
    return spawn(policy, fresh(state), now_ms)


def _stop(policy: Policy, state: State, event: events.Stop, now_ms: int) -> Step:
    if state.status == "stopping":
        return replace(state, again=False, termination=_as_requested(state, event.reason)), ()
    if state.status == "crashed":
        return replace(state, status="stopped", retry_at_ms=None, parked="", blocked=""), ()
    if state.status in {"starting", "running"}:
        stopping = replace(state, status="stopping", again=False, retry_at_ms=None)
        return _end(policy, stopping, event, now_ms)
    return state, ()


def _restart(
    policy: Policy, state: State, event: events.Restart | events.ConfigChanged, now_ms: int
) -> Step:
    if state.status == "shutting_down":
        return state, ()
    if state.status in {"stopped", "crashed"}:
        return spawn(policy, fresh(state), now_ms)
    if state.status == "stopping":
        return replace(state, again=True, termination=_as_requested(state, event.reason)), ()
    again = replace(fresh(state), status="stopping", again=True)
    return _end(policy, again, event, now_ms)


def _end(
    policy: Policy,
    state: State,
    event: events.Stop | events.Restart | events.ConfigChanged,
    now_ms: int,
) -> Step:
    drain_ms = policy.drain_ms if event.drain_ms is None else event.drain_ms
    termination = Termination("asked", event.reason, now_ms, was_ready=state.ready)
    return end(policy, state, termination, now_ms, drain_ms)


def _as_requested(state: State, reason: str) -> Termination | None:
    """Return the end under way as a requested one."""
    if state.termination is None or state.termination.cause == "asked":
        return state.termination
    return replace(state.termination, cause="asked", reason=reason)


def _config_changed(policy: Policy, state: State, event: events.ConfigChanged, now_ms: int) -> Step:
    if state.status == "shutting_down":
        return state, ()
    on_trial = replace(state, trial=Trial(event.etag, after=state.children), settle_at_ms=None)
    if not event.restart or state.status == "stopped":
        return on_trial, ()
    return _restart(policy, on_trial, event, now_ms)


def _shutdown(policy: Policy, state: State, event: events.Shutdown, now_ms: int) -> Step:
    if state.status == "shutting_down":
        return state, ()
    termination = _as_requested(state, "the controller ends") or Termination(
        "asked", "the controller ends", now_ms, was_ready=state.ready
    )
    leaving = replace(
        state, status="shutting_down", again=False, retry_at_ms=None, ready_by_ms=None,
        settle_at_ms=None,
    )  # fmt: skip
    if not state.child:
        return end(policy, leaving, termination, now_ms)
    return terminate(policy, replace(leaving, termination=termination), event.signal, now_ms)


def _hold(_policy: Policy, state: State, event: events.HoldLadder, _now_ms: int) -> Step:
    if state.ladder.held:
        return state, ()
    held = replace(state, ladder=replace(state.ladder, held=True, reason=event.reason))
    return held, (CancelRepair(),) if state.repair in RISES else ()


def _retry(policy: Policy, state: State, _event: events.RetryLadder, now_ms: int) -> Step:
    released = replace(state, ladder=replace(state.ladder, held=False))
    if state.status == "crashed":
        return spawn(policy, fresh(released), now_ms)
    if state.repair is not None:
        return released, ()
    return replace(released, ladder=ladder.descend(released.ladder)), ()


_RULES: Final[dict[type, Callable[[Policy, State, Any, int], Step]]] = {
    events.Start: _start,
    events.Stop: _stop,
    events.Restart: _restart,
    events.ConfigChanged: _config_changed,
    events.Shutdown: _shutdown,
    events.HoldLadder: _hold,
    events.RetryLadder: _retry,
    events.Spawned: liveness.spawned,
    events.SpawnFailed: exits.spawn_failed,
    events.PortTaken: liveness.port_taken,
    events.Exited: exits.exited,
    events.Probed: liveness.probed,
    events.WorkEnded: liveness.work_ended,
    events.Repaired: exits.repaired,
    events.Due: liveness.due,
}

"""The fold of what the rules set out to do.

An intent is folded in the tick that makes it and must apply there, so these folds have no
guards: the rules looked before. They record what is about to happen, so that a crash between
the commit and the call loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from msgspec.structs import replace

from holdfast.actors.definition import Applied, At, Verdict
from holdfast.instances import events, keys, spend
from holdfast.instances.state import TIMES, Instance, Job, PendingCreate
from holdfast.instances.transitions import (
    begin,
    doom,
    end_start,
    fault,
    forget,
    given_up,
    late_create,
    to_running,
    to_stopped,
    went_down,
)

NO_ANSWER: Final = "no_answer"


def _start_begun(state: Instance, event: events.StartBegun, at: At) -> Verdict[Instance]:
    begun = begin(state, "start", event.epoch, at.now_ms)
    machine = replace(state.machine, state="")
    return Applied(replace(begun, machine=machine, blocked="", aim_boot=event.boot))


def _stop_begun(state: Instance, event: events.StopBegun, at: At) -> Verdict[Instance]:
    begun = begin(state, "stop", event.epoch, at.now_ms)
    return Applied(_doubted(begun))


def _doubted(state: Instance) -> Instance:
    """Return the state with its machine's unknown again where a launch may have been done since."""
    if not state.late_launch_ms:
        return state
    return replace(state, machine=replace(state.machine, state=""))


def _restart_begun(state: Instance, event: events.RestartBegun, at: At) -> Verdict[Instance]:
    begun = begin(state, "restart", event.epoch, at.now_ms)
    contact = begun.contact
    if event.silent:
        contact = replace(contact, silent_restarts=contact.silent_restarts + 1)
    return Applied(replace(begun, contact=contact, aim_boot=event.boot))


def _destroy_begun(state: Instance, event: events.DestroyBegun, at: At) -> Verdict[Instance]:
    begun = begin(state, "destroy", event.epoch, at.now_ms)
    return Applied(
        replace(doom(begun, state.machine.id), swept_ms=0, volume_swept=False, volume_tries=0)
    )


def _job(state: Instance, job: Job, **changes: Any) -> Verdict[Instance]:
    return Applied(replace(state, job=job, serial=job.serial, **changes))


def _call_begun(state: Instance, event: events.CallBegun, at: At) -> Verdict[Instance]:
    job = Job(event.serial, event.step, at.now_ms, event.until_ms)
    if event.step == "volume" and not state.volume_id:
        return _job(state, job, volume_asked_ms=at.now_ms)
    return _job(state, job)


def _create_begun(state: Instance, event: events.MachineCreateBegun, at: At) -> Verdict[Instance]:
    job = Job(event.serial, "create", at.now_ms, event.until_ms)
    asked = PendingCreate(event.name, at.now_ms, event.serial)
    return _job(late_create(state), job, pending_create=asked)


def _call_expired(state: Instance, event: events.CallExpired, at: At) -> Verdict[Instance]:
    message = f"{event.step}: no answer within the time"
    if event.step in {"mint", "hand_over"}:
        faults = fault(state, "secrets", (NO_ANSWER, message, at.now_ms))
        held = keys.failed(state.credentials, at.now_ms)
        return Applied(replace(state, job=None, credentials=held, faults=faults))
    return Applied(
        replace(
            given_up(state),
            job=None,
            tries=state.tries + 1,
            tried_ms=at.now_ms,
            tried_step=event.step,
            try_after_ms=0,
            faults=fault(state, state.aim or event.step, (NO_ANSWER, message, at.now_ms)),
        )
    )


def _start_ended(state: Instance, event: events.StartEnded, at: At) -> Verdict[Instance]:
    return Applied(_doubted(end_start(state, event.code, event.message, (at.now_ms, 0))))


def _restart_ended(state: Instance, event: events.RestartEnded, at: At) -> Verdict[Instance]:
    noted = state
    if "restart" not in state.faults:
        faults = fault(state, "restart", (event.code, event.message, at.now_ms))
        noted = replace(state, faults=faults)
    kept = noted.faults.get("restart")
    if event.status == "stopped":
        return Applied(end_start(noted, event.code, event.message, (at.now_ms, 0)))
    running = to_running(noted, at.now_ms)
    if kept is not None:
        running = replace(running, faults={**running.faults, "restart": kept})
    return Applied(replace(running, started_ms=state.started_ms))


def _stop_settled(state: Instance, _event: events.StopSettled, at: At) -> Verdict[Instance]:
    stopped = to_stopped(state, at.now_ms)
    faults = {name: kept for name, kept in state.faults.items() if name != "stop"}
    return Applied(replace(stopped, failures=0, failed_ms=0, faults=faults))


def _stop_overdue(state: Instance, _event: events.StopOverdue, at: At) -> Verdict[Instance]:
    message = "the stop did not settle in time; it goes on"
    faults = fault(state, "stop", ("stop_timeout", message, at.now_ms))
    return Applied(replace(state, status="stopped", since_ms=at.now_ms, faults=faults))


def _down_noticed(state: Instance, event: events.DownNoticed, at: At) -> Verdict[Instance]:
    message = f"the machine was found {state.machine.state} {event.count} time(s)"
    return Applied(went_down(state, "machine_down", message, at.now_ms))


def _silence(state: Instance, _event: events.SilenceNoticed, at: At) -> Verdict[Instance]:
    lost = replace(state.contact, heard="lost", level=1, since_ms=at.now_ms, looked=False)
    return Applied(replace(state, contact=lost))


def _expired(state: Instance, _event: events.ProvisionExpired, _at: At) -> Verdict[Instance]:
    return Applied(replace(state, desired="destroyed"))


def _abandoned(state: Instance, event: events.VolumeAbandoned, at: At) -> Verdict[Instance]:
    message = f"volume {event.volume_id or 'of this sandbox'} could not be deleted"
    faults = fault(state, "destroy_volume", ("volume_abandoned", message, at.now_ms))
    return Applied(replace(state, volume_swept=True, volume_id="", faults=faults))


def _finished(state: Instance, _event: events.DestroyFinished, at: At) -> Verdict[Instance]:
    return Applied(forget(state, status="destroyed", since_ms=at.now_ms))


def _set_back(state: Instance, _event: events.ClockSetBack, at: At) -> Verdict[Instance]:
    """Move every remembered time that lies ahead to now, so that no wait is measured from it."""
    now_ms = at.now_ms
    state = spend.set_back(state, now_ms)
    asked, job, held = state.pending_create, state.job, state.credentials
    if asked is not None:
        asked = replace(asked, requested_ms=min(asked.requested_ms, now_ms))
    if job is not None and job.began_ms > now_ms:
        job = replace(job, began_ms=now_ms, until_ms=now_ms + job.until_ms - job.began_ms)
    return Applied(
        replace(
            state,
            pending_create=asked,
            job=job,
            machine=replace(state.machine, seen_ms=min(state.machine.seen_ms, now_ms)),
            contact=replace(state.contact, since_ms=min(state.contact.since_ms, now_ms)),
            credentials=replace(held, tried_ms=min(held.tried_ms, now_ms)),
            **{name: min(getattr(state, name), now_ms) for name in TIMES},
        )
    )


FOLDS: Final[dict[type, Callable[[Instance, Any, At], Verdict[Instance]]]] = {
    events.StartBegun: _start_begun,
    events.StopBegun: _stop_begun,
    events.RestartBegun: _restart_begun,
    events.DestroyBegun: _destroy_begun,
    events.CallBegun: _call_begun,
    events.MachineCreateBegun: _create_begun,
    events.CallExpired: _call_expired,
    events.StartEnded: _start_ended,
    events.RestartEnded: _restart_ended,
    events.StopSettled: _stop_settled,
    events.StopOverdue: _stop_overdue,
    events.DownNoticed: _down_noticed,
    events.SilenceNoticed: _silence,
    events.ProvisionExpired: _expired,
    events.VolumeAbandoned: _abandoned,
    events.DestroyFinished: _finished,
    events.ClockSetBack: _set_back,
}

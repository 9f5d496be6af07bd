"""The fold of what came of calls to the cloud.

An outcome of an older epoch says nothing about the present aim, but what it *made* is a fact: a
machine that a superseded start created is bound or doomed, never forgotten. Only an answer "not
found" clears an id; a fault of the other side clears nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from msgspec.structs import replace

from holdfast.actors.definition import Applied, At, Ignored, Verdict
from holdfast.instances import events, keys, spend
from holdfast.instances.limits import LISTING_LAG_MS
from holdfast.instances.ports import Seen
from holdfast.instances.state import DOWN, Instance, Machine, PendingCreate, claim_lost, machine_key
from holdfast.instances.transitions import (
    doom,
    end_start,
    fault,
    late_create,
    late_launch,
    observed,
    settled,
    to_running,
    went_down,
    without_machine,
)

NOTHING_MADE: Final = frozenset(
    {
        "capacity",
        "rate_limited",
        "invalid",
        "denied",
        "missing_volume",
        "unsupported",
        "collision",
        "not_found",
    }
)
"""Refusals of a create after which certainly nothing was made."""

ENDS_START: Final = frozenset({"capacity", "collision", "invalid", "denied", "unsupported"})
"""Refusals that asking again within the same start would not change."""

NEEDS_PERSON: Final = frozenset({"collision", "invalid", "unsupported", "volume_lost"})
"""Codes of failures that no retry can mend: an operator has to change something."""

_STALE: Final = "of an older incarnation or an abandoned call"


def _current(state: Instance, event: Any) -> bool:
    """Return whether the answer is to the job under way, or a probe's of this epoch."""
    if event.epoch != state.epoch:
        return False
    return event.serial == 0 or (state.job is not None and state.job.serial == event.serial)


def _create_over(state: Instance, event: Any) -> Instance:
    """Return the state with the pending create answered; another one, or a try, may be late."""
    asked = state.pending_create
    if asked is None or (asked.serial == event.serial and not event.repeated):
        return replace(state, pending_create=None)
    return late_create(state)


def _launch_over(state: Instance, event: Any) -> Instance:
    """Return the state without the launch that succeeded; an earlier try of it may be late."""
    job, over = state.job, settled(state, event.serial)
    if not event.repeated or job is None or job.serial != event.serial:
        return over
    return late_launch(over, job.step, job.began_ms)


def _took(state: Instance, seen: Seen) -> Instance | None:
    """Return the state without right to a machine that another actor has claimed, or None."""
    if claim_lost(state, "machine", machine_key(state, seen.id)):
        return replace(state, machine=Machine(), pending_create=None)
    return None


def _refuse_machine(state: Instance, seen: Seen, at: At) -> Instance:
    """Return the state after a machine turned out to be another instance's."""
    message = f"machine {seen.id} belongs to another instance; a person must look"
    if state.aim in {"start", "restart"}:
        ended = end_start(state, "collision", message, (at.now_ms, 0))
        return replace(ended, blocked="collision")
    return replace(state, faults=fault(state, "find", ("collision", message, at.now_ms)))


def _made(
    state: Instance, event: events.MachineCreated | events.MachineAdopted, at: At
) -> Verdict[Instance]:
    seen = event.machine
    if state.status == "destroyed":
        reopened = replace(
            doom(state, seen.id), status="destroying", aim="destroy", since_ms=at.now_ms
        )
        return Applied(replace(reopened, epoch=state.epoch + 1))
    current = _current(state, event)
    state = _create_over(settled(state, event.serial), event)
    if state.desired == "destroyed":
        return Applied(doom(state, seen.id))
    stranger = _took(state, seen)
    if stranger is not None:
        return Applied(_refuse_machine(stranger, seen, at))
    if state.machine.id and state.machine.id != seen.id:
        return Applied(doom(state, seen.id))
    if isinstance(event, events.MachineAdopted):
        return Applied(progressed(observed(state, seen, at.now_ms), at, current=current))
    launched = {"epoch": event.epoch, "config_version": event.config_version}
    bound = observed(state, seen, at.now_ms, **launched)
    bound = _with_secrets(bound, event)
    if current:
        bound = replace(bound, sent=True)
    return Applied(progressed(bound, at, current=current))


def _updated(state: Instance, event: events.MachineUpdated, at: At) -> Verdict[Instance]:
    if event.machine.id != state.machine.id:
        return Ignored(_STALE)
    current, old = _current(state, event), state.machine.incarnation
    state = _launch_over(state, event)
    bound = observed(
        state, event.machine, at.now_ms, epoch=event.epoch, config_version=event.config_version
    )
    bound = _with_secrets(bound, event)
    if old not in {"", bound.machine.incarnation}:
        bound = replace(bound, machine=replace(bound.machine, before=old))
    if current:
        bound = replace(bound, sent=True)
    return Applied(progressed(bound, at, current=current))


def _with_secrets(
    state: Instance, event: events.MachineCreated | events.MachineUpdated
) -> Instance:
    """Return the state after a launch with these secrets."""
    held = keys.launched(state.credentials, event.key_hash, event.token_version)
    return replace(state, credentials=held)


def _told(
    state: Instance, event: events.MachineStarted | events.MachineStopped, at: At
) -> Verdict[Instance]:
    if event.machine.id != state.machine.id:
        return Ignored(_STALE)
    current = _current(state, event)
    over = (
        settled(state, event.serial)
        if isinstance(event, events.MachineStopped)
        else _launch_over(state, event)
    )
    bound = observed(over, event.machine, at.now_ms)
    if current:
        bound = replace(bound, sent=True)
    return Applied(progressed(bound, at, current=current))


def _described(state: Instance, event: events.MachineDescribed, at: At) -> Verdict[Instance]:
    seen = event.machine
    if not _current(state, event) or seen.id != state.machine.id:
        return Ignored(_STALE)
    if seen.state == "destroyed":
        missing = events.MachineMissing(event.serial, event.epoch, seen.id)
        return _missing(state, missing, at)
    if event.serial == 0 and seen.state == state.machine.state and not state.aim:
        return Ignored("as it was known")
    job, suspect_ms, before = state.job, state.suspect_ms, state.machine.before
    state = settled(state, event.serial)
    if state.sent and before and seen.incarnation == before:
        # The launch was accepted, but this is still the incarnation from before it.
        return Applied(replace(state, tries=1, tried_ms=at.now_ms, tried_step="describe"))
    state = observed(state, seen, at.now_ms)
    if state.aim == "start" and state.sent and seen.state == "stopped":
        return Applied(end_start(state, "machine_stopped", "the machine ended", (at.now_ms, 0)))
    state = progressed(state, at, current=True)
    if job is not None and suspect_ms > job.began_ms and not state.aim:
        state = replace(state, suspect_ms=suspect_ms)
    return Applied(state)


def progressed(state: Instance, at: At, *, current: bool) -> Instance:
    """Return what the machine's newest state means for the status.

    `current` says whether it is about the incarnation that this epoch launched.
    """
    up, failed = state.machine.state == "started", state.machine.state == "failed"
    match state.aim:
        case "start" if current and up:
            return to_running(state, at.now_ms)
        case "start" if current and failed and state.sent:
            return end_start(state, "machine_failed", "the machine failed", (at.now_ms, 0))
        case "restart" if current and up and state.sent:
            return to_running(state, at.now_ms)
        case "restart" if current and failed and state.sent:
            return _failed_restart(state, at)
        case "":
            return _steady(state, at)
        case _:
            return state


def _failed_restart(state: Instance, at: At) -> Instance:
    """Return the state after the machine failed while restarting; an earlier fault is kept."""
    kept = state.faults.get("restart")
    ended = end_start(state, "machine_failed", "the machine failed", (at.now_ms, 0))
    return ended if kept is None else replace(ended, faults={**ended.faults, "restart": kept})


def _steady(state: Instance, at: At) -> Instance:
    """Return what a look at a machine means when nothing is under way."""
    now_ms, seen = at.now_ms, state.machine.state
    looked = replace(state, suspect_ms=0, contact=replace(state.contact, looked=True))
    if spend.wanted(state) != "running":
        return looked
    if seen == "started":
        if state.status == "running":
            return replace(looked, down_count=0)
        return to_running(looked, now_ms)
    if state.status != "running":
        return looked
    if seen == "failed":
        return went_down(looked, "machine_failed", "the machine failed", now_ms)
    if seen in DOWN:
        return replace(looked, down_count=state.down_count + 1)
    return looked


def _missing(state: Instance, event: events.MachineMissing, at: At) -> Verdict[Instance]:
    if event.machine_id in state.doomed:
        return _destroyed(
            state, events.MachineDestroyed(event.serial, event.epoch, event.machine_id), at
        )
    if not _current(state, event) or event.machine_id != state.machine.id:
        return Ignored(_STALE)
    sent, was = state.sent, state.status
    gone = without_machine(settled(state, event.serial))
    message = f"machine {event.machine_id} is gone"
    match state.aim:
        case "start" if not sent:
            return Applied(gone)
        case "start" | "restart":
            return Applied(end_start(gone, "machine_gone", message, (at.now_ms, 0)))
        case "" if was == "running":
            return Applied(went_down(gone, "machine_gone", message, at.now_ms))
        case _:
            return Applied(gone)


def _found(state: Instance, event: events.MachinesFound, at: At) -> Verdict[Instance]:
    if not _current(state, event):
        return Ignored(_STALE)
    ids = tuple(seen.id for seen in event.machines)
    if event.serial == 0 and not state.aim and set(ids) <= {state.machine.id, *state.doomed}:
        return Ignored("as it was known")
    # An answer may be folded long after it was given: it proves nothing later than its question.
    asked_ms = state.job.began_ms if event.serial and state.job is not None else 0
    looked_ms = asked_ms or at.now_ms
    state = replace(settled(state, event.serial), looked=True, looked_ms=looked_ms, twin_ms=0)
    if state.desired == "destroyed":
        swept = 0 if ids else looked_ms
        return Applied(replace(doom(state, *ids), swept_ms=swept))
    if state.machine.id and state.machine.id not in ids:
        # The listing lags, or the machine was replaced without our knowledge (a restored journal):
        # the bound one is asked for before any other is taken for a second one.
        return Applied(replace(state, suspect_ms=at.now_ms))
    if not ids:
        return Applied(_forget_create(state, asked_ms))
    if state.machine.id:
        return Applied(doom(state, *(name for name in ids if name != state.machine.id)))
    living = [seen for seen in event.machines if seen.id not in state.doomed]
    if not living:
        return Applied(_forget_create(state, asked_ms))
    first, others = living[0], living[1:]
    stranger = _took(state, first)
    if stranger is not None:
        return Applied(_refuse_machine(stranger, first, at))
    bound = observed(doom(state, *(seen.id for seen in others)), first, at.now_ms)
    if first.volume_id and not bound.volume_id:
        bound = replace(bound, volume_id=first.volume_id, volume_checked=False)
    return Applied(progressed(bound, at, current=True))


def _forget_create(state: Instance, asked_ms: int) -> Instance:
    """Return the state without an unanswered create, once a listing must have shown it.

    `asked_ms` is when the listing was asked for, 0 where that is not known.
    """
    asked = state.pending_create
    if asked is None or asked_ms - asked.requested_ms < LISTING_LAG_MS:
        return state
    return replace(state, pending_create=None)


def _destroyed(state: Instance, event: events.MachineDestroyed, _at: At) -> Verdict[Instance]:
    if event.machine_id not in state.doomed:
        return Ignored(_STALE)
    doomed = tuple(name for name in state.doomed if name != event.machine_id)
    state = replace(settled(state, event.serial), doomed=doomed, swept_ms=0)
    if state.machine.id == event.machine_id:
        if event.missing and state.desired == "destroyed":
            asked = PendingCreate(state.sandbox_id, state.machine.seen_ms)
            state = replace(state, pending_create=asked)
        state = replace(state, machine=Machine(), verdict="gone")
    return Applied(state)


def _volume_seen(state: Instance, event: events.VolumeSeen, _at: At) -> Verdict[Instance]:
    if state.desired == "destroyed":
        return Applied(replace(state, volume_id=event.volume_id, volume_swept=False))
    if not _current(state, event):
        late = not state.volume_id
        return Applied(replace(state, volume_id=event.volume_id)) if late else Ignored(_STALE)
    state = settled(state, event.serial)
    other = bool(state.volume_id) and state.volume_id != event.volume_id
    if other and state.machine.id:
        state = replace(doom(state, state.machine.id), machine=Machine(), looked=False)
    return Applied(
        replace(state, volume_id=event.volume_id, volume_region=event.region, volume_checked=True)
    )


def _volume_missing(state: Instance, event: events.VolumeMissing, at: At) -> Verdict[Instance]:
    if not _current(state, event):
        return Ignored(_STALE)
    lost = replace(settled(state, event.serial), volume_id="", volume_region="")
    if state.machine.id:
        lost = replace(doom(lost, state.machine.id), machine=Machine(), looked=False)
    if not state.ever_started:
        return Applied(lost)
    message = f"volume {event.volume_id} is gone; start again to go on with an empty one"
    ended = end_start(lost, "volume_lost", message, (at.now_ms, 0))
    return Applied(replace(ended, blocked="volume_lost"))


def _volume_destroyed(state: Instance, event: events.VolumeDestroyed, _at: At) -> Verdict[Instance]:
    if not _current(state, event):
        return Ignored(_STALE)
    return Applied(replace(settled(state, event.serial), volume_id="", volume_swept=True))


def _failed(state: Instance, event: events.CallFailed, at: At) -> Verdict[Instance]:
    if event.serial == 0:
        return Ignored("a probe had no answer; unreachable is not dead")
    if state.job is None or state.job.serial != event.serial:
        asked = state.pending_create
        refused = event.step == "create" and event.code in NOTHING_MADE
        if refused and asked is not None and asked.serial == event.serial:
            return Applied(_create_over(state, event))
        return Ignored(_STALE)
    if event.step in {"mint", "hand_over"}:
        faults = fault(state, "secrets", (event.code, event.message, at.now_ms))
        held = keys.failed(state.credentials, at.now_ms)
        return Applied(replace(state, job=None, credentials=held, faults=faults))
    sure = not event.repeated and (event.code in NOTHING_MADE or event.kind == "conflict")
    if not sure:
        state = late_launch(state, event.step, state.job.began_ms)
    operation = state.aim or event.step
    quiet = event.code == "wait_timeout"
    faults = state.faults
    if not quiet:
        faults = fault(state, operation, (event.code, event.message, at.now_ms))
    state = replace(
        state,
        job=None,
        tries=1 if quiet else state.tries + 1,
        tried_ms=at.now_ms,
        tried_step=event.step,
        try_after_ms=event.retry_after_ms,
        volume_tries=state.volume_tries + (event.step == "destroy_volume"),
        # What holds a volume back may be a machine that no listing showed before.
        swept_ms=0 if event.step == "destroy_volume" else state.swept_ms,
        faults=faults,
    )
    if event.step == "create" and event.code in NOTHING_MADE:
        state = _create_over(state, event)
    if event.kind == "conflict" or event.code == "missing_volume":
        state = replace(state, machine=replace(state.machine, state=""), volume_checked=False)
    return Applied(_failed_aim(state, event, at))


def _failed_aim(state: Instance, event: events.CallFailed, at: At) -> Instance:
    """Return what the refusal means for a start; every other aim is tried again by its rules."""
    if state.aim == "restart" and event.code == "missing_volume":
        return end_start(state, event.code, event.message, (at.now_ms, 0))
    if state.aim != "start" or event.code not in ENDS_START:
        return state
    ended = end_start(state, event.code, event.message, (at.now_ms, event.retry_after_ms))
    return replace(ended, blocked=event.code if event.code in {*NEEDS_PERSON, "denied"} else "")


FOLDS: Final[dict[type, Callable[[Instance, Any, At], Verdict[Instance]]]] = {
    events.MachineCreated: _made,
    events.MachineAdopted: _made,
    events.MachineUpdated: _updated,
    events.MachineStarted: _told,
    events.MachineStopped: _told,
    events.MachineDescribed: _described,
    events.MachineMissing: _missing,
    events.MachinesFound: _found,
    events.MachineDestroyed: _destroyed,
    events.VolumeSeen: _volume_seen,
    events.VolumeMissing: _volume_missing,
    events.VolumeDestroyed: _volume_destroyed,
    events.CallFailed: _failed,
}

"""The few ways in which an instance changes its status; every fold goes through them.

Each keeps together what must change together: the status with its time, the aim with its epoch,
a settled job with its count of tries. Nothing here decides whether a change is wanted.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from msgspec.structs import replace

from holdfast.instances.limits import (
    DOOMED_MAX,
    FAULT_CHARS_MAX,
    HEALTHY_RUN_MS,
    LISTING_LAG_MS,
)
from holdfast.instances.ports import Seen
from holdfast.instances.state import (
    Aim,
    Contact,
    Fault,
    Instance,
    Job,
    Machine,
    PendingCreate,
    Status,
    may_launch_from,
)

_AIM_STATUS: dict[Aim, Status] = {
    "start": "starting",
    "restart": "restarting",
    "destroy": "destroying",
}

_OVER: Final = frozenset({"start", "run", "restart", "stop"})
"""Operations whose faults are over once it runs."""

LAUNCHES: Final = frozenset({"update", "start"})
"""Steps that bring the bound machine up."""

_SHOW: Final = frozenset({"describe", "wait", "stop", "update", "start", "create"})
"""Steps whose success shows the machine's state; without a known machine a listing does."""


def begin(state: Instance, aim: Aim, epoch: int, now_ms: int) -> Instance:
    """Return the state with a new aim under a new epoch; data of the last aim is cleared."""
    status = _AIM_STATUS.get(aim, state.status)
    return replace(
        given_up(state),
        aim=aim,
        epoch=epoch,
        status=status,
        since_ms=now_ms if status != state.status or aim != "stop" else state.since_ms,
        job=None,
        tries=0,
        tried_ms=0,
        try_after_ms=0,
        sent=False,
        looked=False,
        looked_ms=0,
        volume_checked=False,
        suspect_ms=0,
        down_count=0,
        restart_wanted=False,
        aim_boot=None,
    )


def settled(state: Instance, serial: int) -> Instance:
    """Return the state without the job of this serial, which succeeded."""
    job = state.job
    if job is None or job.serial != serial:
        return state
    if may_launch_from(state) and _proves(state, job):
        state = replace(state, late_create_ms=0, late_launch_ms=0)
    return replace(state, job=None, tries=0, tried_ms=0, try_after_ms=0)


def _proves(state: Instance, job: Job) -> bool:
    """Return whether this call's success shows the result of every earlier launch."""
    shows = job.step in _SHOW or (job.step == "find" and not state.machine.id)
    return shows and job.began_ms - may_launch_from(state) >= LISTING_LAG_MS


def given_up(state: Instance) -> Instance:
    """Return the state with the call under way stored if it is a launch: it may yet be done.

    A create is stored as pending until it is answered.
    """
    job = state.job
    return state if job is None else late_launch(state, job.step, job.began_ms)


def late_launch(state: Instance, step: str, asked_ms: int) -> Instance:
    """Return the state with the time of a launch stored that may yet be done."""
    if step not in LAUNCHES:
        return state
    return replace(state, late_launch_ms=max(state.late_launch_ms, asked_ms))


def late_create(state: Instance) -> Instance:
    """Return the state with no create pending; the one that was may yet be done."""
    asked = state.pending_create
    if asked is None:
        return state
    late_ms = max(state.late_create_ms, asked.requested_ms)
    return replace(state, pending_create=None, late_create_ms=late_ms)


def fault(state: Instance, operation: str, at: tuple[str, str, int]) -> dict[str, Fault]:
    """Return the faults with this operation's newest: code, message and time in ms."""
    code, message, at_ms = at
    return {**state.faults, operation: Fault(code, message[:FAULT_CHARS_MAX], at_ms)}


def to_running(state: Instance, now_ms: int) -> Instance:
    """Return the state as running.

    A machine that this epoch launched has reported if another boot than before did: it may be
    sooner than the cloud's answer, and it reports what does not change once only.
    """
    contact = state.contact
    boots = {"", state.aim_boot, contact.boot_id if state.aim_boot is None else ""}
    if state.sent and (contact.heard != "heard" or contact.boot_id in boots):
        contact = Contact(
            since_ms=now_ms,
            silent_restarts=contact.silent_restarts,
            agent_version=contact.agent_version,
            controller_version=contact.controller_version,
            restarts=contact.restarts,
        )
    return replace(
        state,
        status="running",
        aim="",
        since_ms=now_ms,
        started_ms=now_ms,
        ever_started=True,
        job=None,
        tries=0,
        tried_ms=0,
        try_after_ms=0,
        down_count=0,
        suspect_ms=0,
        pending_create=None,
        blocked="",
        verdict="here",
        contact=contact,
        faults={k: v for k, v in state.faults.items() if k not in _OVER},
    )


def to_stopped(state: Instance, now_ms: int) -> Instance:
    """Return the state as stopped, with no aim; a machine's id is kept."""
    contact = state.contact
    return replace(
        state,
        status="stopped",
        aim="",
        since_ms=now_ms,
        stopped_ms=now_ms,
        job=None,
        tries=0,
        tried_ms=0,
        try_after_ms=0,
        down_count=0,
        suspect_ms=0,
        contact=replace(contact, heard="unknown", level=0, looked=False, agent_ready=None),
    )


def end_start(
    state: Instance,
    code: str,
    message: str,
    at: tuple[int, int],
    operation: Literal["start", "run"] = "start",
) -> Instance:
    """Return the state after a failed start: stopped, one failure more, the fault kept.

    `at` is the time and how long the other side asked us to wait, both in ms. The `operation` of a
    machine that ran and ended is `run`: no start failed.
    """
    now_ms, after_ms = at
    stopped = to_stopped(state, now_ms)
    return replace(
        stopped,
        failures=state.failures + 1,
        failed_ms=now_ms,
        retry_after_ms=after_ms,
        faults=fault(state, operation, (code, message, now_ms)),
    )


def went_down(state: Instance, code: str, message: str, now_ms: int) -> Instance:
    """Return the state after a running machine was found down or gone.

    After a healthy run the count of failures begins anew, so that the next start is prompt.
    """
    healthy = state.status == "running" and now_ms - state.started_ms >= HEALTHY_RUN_MS
    counted = replace(state, failures=0) if healthy else state
    return end_start(counted, code, message, (now_ms, 0), "run")


def observed(state: Instance, seen: Seen, now_ms: int, **launched: int) -> Instance:
    """Return the state with what the cloud says of its machine; `launched` sets what it runs."""
    old = state.machine if state.machine.id == seen.id else Machine()
    machine = Machine(
        id=seen.id,
        state=seen.state,
        incarnation=seen.incarnation or old.incarnation,
        before=old.before,
        epoch=launched.get("epoch", old.epoch or seen.epoch),
        config_version=launched.get("config_version", old.config_version),
        seen_ms=now_ms,
        region=seen.region or old.region,
    )
    return replace(late_create(state), machine=machine, verdict="here")


def without_machine(state: Instance) -> Instance:
    """Return the state after the cloud said that its machine is gone.

    One "not found" may be wrong. Until a listing that must show the machine does not, it counts
    like one that was asked for and never answered; its unique name forbids a second one meanwhile.
    """
    return replace(
        late_create(state),
        machine=Machine(),
        pending_create=PendingCreate(state.sandbox_id, state.machine.seen_ms),
        verdict="gone",
        doomed=tuple(name for name in state.doomed if name != state.machine.id),
        looked=False,
    )


def doom(state: Instance, *machine_ids: str) -> Instance:
    """Return the state with machines of ours added to those that must go."""
    new = [name for name in machine_ids if name and name not in state.doomed]
    if not new:
        return state
    doomed = (*state.doomed, *dict.fromkeys(new))[:DOOMED_MAX]
    return replace(state, doomed=doomed, swept_ms=0)


def forget(state: Instance, **changes: Any) -> Instance:
    """Return the tombstone: identity and epoch stay, everything else is gone."""
    return Instance(
        id=state.id,
        account=state.account,
        name=state.name,
        sandbox_id=state.sandbox_id,
        agent=state.agent,
        provider=state.provider,
        desired="destroyed",
        epoch=state.epoch,
        serial=state.serial,
        revision=state.revision,
        created_ms=state.created_ms,
        faults=state.faults,
        **changes,
    )

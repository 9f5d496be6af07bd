"""What is known of a machine by hearing it: when, in which state, and what was told of it.

One row an instance, kept in memory for reading and in a file of its own for the next start. None
of it is in an event log: only a difference between what is so and what was told becomes news.
Pure: these are values, and the rules that compare them.
"""

from __future__ import annotations

from msgspec import Struct

from holdfast.telemetry.counters import Ledger, is_doubled
from holdfast.telemetry.limits import (
    GRACE_MS,
    INTERVAL_DEFAULT_MS,
    INTERVAL_MAX_MS,
    INTERVAL_MIN_MS,
    MISSED_INTERVALS,
)
from holdfast.wire.controller.checkin import CheckIn, Climb, Recovery, Start


class Report(Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """What a machine says about itself that may matter to a decision.

    Restarts and crashes are the instance's, through all boots. `twins` names two machines that
    seem to speak for the instance at once, or is empty. `epoch` is the incarnation that the
    machine believes it is.
    """

    machine_id: str = ""
    boot_id: str = ""
    epoch: int = 0
    twins: tuple[str, ...] = ()
    supervisor_state: str = ""
    agent_ready: bool | None = None
    agent_version: str = ""
    controller_version: str = ""
    phase: str = ""
    degraded: str = ""
    restarts: int = 0
    crashes: int = 0
    last_exit_reason: str = ""
    last_exit_requested: bool = False
    recovery: Recovery | None = None
    pairing_epoch: int = 0
    pairing_count: int = 0


class Contact(Struct, gc=False, kw_only=True, omit_defaults=True):
    """The row of one instance.

    `heard_ms` is 0 until the first check-in. `told_level` is the level of silence that the
    instance's owner has accepted (0: here) for the incarnation `told_epoch`, `told` the report.
    `start` is how the controller's start was told at `start_ms`, `climbs` the rungs of its recovery
    that were tried last.
    `lost_ms` is when the machine was last heard before the loss that was told. `report_key` names
    the moment at which the report became what it is.
    """

    instance: str
    heard_ms: int = 0
    interval_ms: int = INTERVAL_DEFAULT_MS
    told_level: int = 0
    told_epoch: int = 0
    lost_ms: int = 0
    received: int = 0
    refused: int = 0
    ledger: Ledger
    report: Report | None = None
    report_key: str = ""
    told: Report | None = None
    region: str = ""
    load_5m: float = 0
    uptime_s: float = 0
    disk_used: int = 0
    disk_total: int = 0
    agent_kind: str = ""
    confinement: str = ""
    cpus: int = 0
    memory_bytes: int = 0
    failed_checkins: int = 0
    last_error: str = ""
    start: Start | None = None
    start_ms: int = 0
    climbs: tuple[Climb, ...] = ()


def new_contact(instance: str, interval_ms: int = 0) -> Contact:
    """Return the row of an instance that was never heard."""
    return Contact(
        instance=instance, interval_ms=believe_interval(interval_ms), ledger=Ledger(boots=[])
    )


def believe_interval(interval_ms: int) -> int:
    """Return the interval that a machine states, or the default for none and for nonsense."""
    if INTERVAL_MIN_MS <= interval_ms <= INTERVAL_MAX_MS:
        return interval_ms
    return INTERVAL_DEFAULT_MS


def silence_levels(interval_ms: int) -> tuple[int, ...]:
    """Return the levels of silence of an instance: one, three missed check-ins."""
    return (MISSED_INTERVALS * interval_ms + GRACE_MS,)


def twins_of(checkin: CheckIn, ledger: Ledger, *, placed: str) -> tuple[str, ...]:
    """Return the ids of two machines that speak for one instance, sorted; empty for one.

    Either a machine speaks that is not the one `placed` by the plane, or two boots take turns.
    Two controllers in one machine give its id once.
    """
    if placed and checkin.machine_id and placed != checkin.machine_id:
        return tuple(sorted((placed, checkin.machine_id)))
    if not is_doubled(ledger):
        return ()
    return tuple(sorted({boot.machine_id for boot in ledger.boots[-2:]}))


def report_of(checkin: CheckIn, ledger: Ledger, *, placed: str) -> Report:
    """Return what a check-in says that may matter to a decision."""
    return Report(
        machine_id=checkin.machine_id,
        boot_id=checkin.boot_id,
        epoch=checkin.epoch,
        twins=twins_of(checkin, ledger, placed=placed),
        supervisor_state=checkin.supervisor_state,
        agent_ready=checkin.agent_ready,
        agent_version=checkin.openclaw_version or "",
        controller_version=checkin.controller_version,
        phase=checkin.phase,
        degraded=checkin.degraded,
        restarts=ledger.restarts,
        crashes=ledger.crashes,
        last_exit_reason=checkin.last_exit_reason,
        last_exit_requested=checkin.last_exit_requested,
        recovery=checkin.recovery,
        pairing_epoch=checkin.pairing_epoch,
        pairing_count=checkin.pairing_count,
    )


def note(contact: Contact, checkin: CheckIn, *, region: str) -> None:
    """Take what only pages show into the row."""
    contact.interval_ms = believe_interval(checkin.interval_ms)
    contact.region = region
    contact.load_5m = checkin.load_avg_5m
    contact.uptime_s = checkin.uptime_seconds
    contact.disk_used = clamp_bytes(checkin.disk_used_bytes)
    contact.disk_total = clamp_bytes(checkin.disk_total_bytes)
    contact.agent_kind = checkin.agent_kind
    contact.confinement = checkin.confinement
    contact.cpus = checkin.cpus
    contact.memory_bytes = checkin.memory_bytes
    contact.failed_checkins = checkin.failed_checkins
    contact.last_error = checkin.last_error
    contact.start, contact.start_ms = checkin.start, contact.heard_ms
    contact.climbs = checkin.climbs


def clamp_bytes(value: int | None) -> int:
    """Return a size, which may be absent or negative (compat/check-in.md), as at least 0."""
    return 0 if value is None or value < 0 else min(value, 2**53 - 1)


def changed_fields(told: Report | None, report: Report) -> frozenset[str]:
    """Return the names of the fields in which a report is news; all of them for a first one."""
    if told is report:
        return frozenset()
    if told is None:
        return frozenset(Report.__struct_fields__)
    return frozenset(
        name for name in Report.__struct_fields__ if getattr(told, name) != getattr(report, name)
    )

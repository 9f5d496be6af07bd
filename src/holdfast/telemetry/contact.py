"""Last contact: a machine's last check-in, its report, and what its instance has accepted.

One row an instance, kept in memory for reading and in a file of its own for the next start. None
of it is in an event log: only a difference between what was reported and what the instance has
accepted becomes an event. Pure: these are values, and the rules that compare them.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct, structs

from holdfast.letters.machine import Condition, LastContact
from holdfast.telemetry.counters import Ledger, is_doubled
from holdfast.telemetry.limits import (
    GRACE_MS,
    INTERVAL_DEFAULT_MS,
    INTERVAL_MAX_MS,
    INTERVAL_MIN_MS,
    MISSED_INTERVALS,
)
from holdfast.wire.controller.checkin import CheckIn, Climb, MachineStatus, Start


class Report(Condition, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """The condition of a machine, and what else of a check-in is passed on when it changes.

    Restarts and crashes are the instance's, through all boots. `twins` names two machines that
    seem to report for the instance at once, or is empty. `epoch` is the incarnation that the
    machine believes it is. `reason` follows from `degraded` and `last_exit_reason`.
    """

    epoch: int = 0
    twins: tuple[str, ...] = ()
    supervisor_state: str = ""
    crashes: int = 0
    last_exit_reason: str = ""
    last_exit_requested: bool = False
    pairing_epoch: int = 0
    pairing_count: int = 0

    def __post_init__(self) -> None:
        """Derive the reason, which older stored reports do not hold."""
        structs.force_setattr(self, "reason", self.degraded or self.last_exit_reason)


COMPARED: Final = frozenset(Report.__struct_fields__) - {"reason"}
"""The fields by which a report differs from another; `reason` follows from two of them."""

_TAKEN: Final = tuple(sorted(COMPARED & set(CheckIn.__struct_fields__)))
"""The fields that a report takes from a check-in as they are."""


class Contact(Struct, gc=False, kw_only=True, omit_defaults=True):
    """The row of one instance.

    `heard_ms` is 0 until the first check-in. `told_level` is the level of silence that the
    instance has accepted (0: none) for the incarnation `told_epoch`, `told` the report that it has
    accepted. `lost_ms` is the last check-in before the loss that was reported.
    `report_key` names the moment at which the report became what it is. `status` is what the
    check-in at `status_ms` carried beside the report.
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
    status_ms: int = 0
    status: MachineStatus | None = None


class _FlatContact(Struct, gc=False):
    """Fields of rows that were written before the field `status` existed."""

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


_DECODER: Final = msgspec.json.Decoder(Contact)
_FLAT_DECODER: Final = msgspec.json.Decoder(_FlatContact)

encode_contact: Final = msgspec.json.Encoder().encode


def decode_contact(body: bytes | str) -> Contact:
    """Return a stored row, also one from before `status` was one of its fields."""
    contact = _DECODER.decode(body)
    if contact.status is None and contact.heard_ms:
        flat = _FLAT_DECODER.decode(body)
        contact.status_ms = flat.start_ms
        contact.status = MachineStatus(
            uptime_seconds=flat.uptime_s,
            load_avg_5m=flat.load_5m,
            disk_used_bytes=flat.disk_used,
            disk_total_bytes=flat.disk_total,
            agent_kind=flat.agent_kind,
            confinement=flat.confinement,
            cpus=flat.cpus,
            memory_bytes=flat.memory_bytes,
            failed_checkins=flat.failed_checkins,
            last_error=flat.last_error,
            start=flat.start,
            climbs=flat.climbs,
        )
    return contact


def new_contact(instance: str, interval_ms: int = 0) -> Contact:
    """Return the row of an instance whose machine has never checked in."""
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
    """Return the ids of two machines that report for one instance, sorted; empty for one.

    Either a machine reports that is not the one `placed` by the plane, or two boots take turns.
    Two controllers in one machine give its id once.
    """
    if placed and checkin.machine_id and placed != checkin.machine_id:
        return tuple(sorted((placed, checkin.machine_id)))
    if not is_doubled(ledger):
        return ()
    return tuple(sorted({boot.machine_id for boot in ledger.boots[-2:]}))


def report_of(checkin: CheckIn, ledger: Ledger, *, placed: str) -> Report:
    """Return what of a check-in is passed on when it changes."""
    taken: dict[str, Any] = {name: getattr(checkin, name) for name in _TAKEN}
    if not checkin.agent_state:
        taken["agent_state"] = _older_state(checkin)
    return Report(
        **taken,
        twins=twins_of(checkin, ledger, placed=placed),
        agent_version=checkin.openclaw_version or "",
        restarts=ledger.restarts,
        crashes=ledger.crashes,
    )


def _older_state(checkin: CheckIn) -> str:
    """Return the agent's state as far as a controller that does not send it says; or nothing."""
    match checkin.supervisor_state, checkin.agent_ready:
        case "running", True:
            return "ready"
        case "running", False:
            return "unready"
        case "crashed", _:
            return "waiting"
        case ("starting" | "stopping" | "stopped") as state, _:
            return state
        case _:
            return ""


def note(contact: Contact, checkin: CheckIn, *, region: str) -> None:
    """Store the fields that are only shown in the row."""
    contact.interval_ms = believe_interval(checkin.interval_ms)
    contact.region = region
    contact.status = msgspec.convert(checkin, MachineStatus, from_attributes=True)
    contact.status_ms = contact.heard_ms


def last_contact(contact: Contact, *, lost: bool) -> LastContact:
    """Return the `LastContact` of a row; `lost` is the present state, reported or not."""
    report, ledger = contact.report, contact.ledger
    return LastContact(
        heard_ms=contact.heard_ms,
        lost=lost,
        region=contact.region,
        restarts=ledger.restarts,
        crashes=ledger.crashes,
        bytes_in=ledger.bytes_in,
        bytes_out=ledger.bytes_out,
        epoch=report.epoch if report else 0,
        pairing_count=report.pairing_count if report else 0,
        status_ms=contact.status_ms,
        status=contact.status,
    )


def clamp_bytes(value: int | None) -> int:
    """Return a size, which may be absent or negative (compat/check-in.md), as at least 0."""
    return 0 if value is None or value < 0 else min(value, 2**53 - 1)


def changed_fields(told: Report | None, report: Report) -> frozenset[str]:
    """Return the names of the fields in which two reports differ; all of them for a first one."""
    if told is report:
        return frozenset()
    if told is None:
        return COMPARED
    return frozenset(name for name in COMPARED if getattr(told, name) != getattr(report, name))

"""Exact counters from messages that may be lost, repeated or late, or whose answer may be lost.

A controller counts from its own boot, names the boot and numbers its messages. Within a boot a
higher number supersedes a lower one, so the sum over boots of the last counts received is exact
whatever the network did; a machine also repeats the last counts of earlier boots until one of
its messages was answered. Pure: it changes only the ledger it is given.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from msgspec import Struct

from holdfast.telemetry.limits import BOOTS_KEPT, RETURNS_DOUBLED, STREAK_SINGLE
from holdfast.wire.controller.checkin import BootCounters, CheckIn


class Boot(Struct, gc=False, kw_only=True):
    """The counters of one boot of a controller, as last received."""

    id: str
    machine_id: str = ""
    sequence: int = -1
    restarts: int = 0
    crashes: int = 0
    bytes_in: int = 0
    bytes_out: int = 0


class Ledger(Struct, gc=False, kw_only=True):
    """An instance's counters through all boots, and the boots still remembered, oldest first.

    `returns` counts messages from a boot that had been superseded, and `streak` the
    messages in a row from one boot. One late message makes two returns, its own and that of the
    boot it interrupted; a third means that two machines report for one instance.
    """

    restarts: int = 0
    crashes: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    returns: int = 0
    streak: int = 0
    boots: list[Boot] = []


class Delta(NamedTuple):
    """The increments from one message; `fresh` is false for a repeated or late one."""

    fresh: bool
    restarts: int = 0
    crashes: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    rebooted: bool = False
    returned: bool = False


STALE = Delta(fresh=False)


def count_deltas(ledger: Ledger, checkin: CheckIn) -> Delta:
    """Add a check-in of the older form (compat/check-in.md): it sends differences."""
    delta = Delta(
        fresh=True,
        restarts=checkin.restarts_since_last_checkin,
        bytes_in=checkin.bandwidth_bytes_in,
        bytes_out=checkin.bandwidth_bytes_out,
    )
    _add(ledger, delta)
    return delta


def count(ledger: Ledger, checkin: CheckIn) -> Delta:
    """Add a check-in that names its boot and number; a doubled or late one adds nothing."""
    if not checkin.boot_id:
        return count_deltas(ledger, checkin)
    latest = ledger.boots[-1].id if ledger.boots else ""
    known = _find(ledger, checkin.boot_id)
    if known is not None and checkin.sequence <= known.sequence:
        return STALE  # what superseded it carried the same counts of earlier boots, or later ones
    earlier = [_count_boot(ledger, row) for row in checkin.earlier_boots]
    now = _count_boot(ledger, _counters(checkin))
    _to_end(ledger, checkin.boot_id)
    ledger.boots[-1].machine_id = checkin.machine_id
    returned = known is not None and latest != checkin.boot_id
    _note_return(ledger, returned=returned, rebooted=known is None)
    delta = _sum(earlier, now)
    return delta._replace(rebooted=known is None and bool(latest), returned=returned)


def is_doubled(ledger: Ledger) -> bool:
    """Return whether two machines seem to report for one instance."""
    return ledger.returns >= RETURNS_DOUBLED


def _note_return(ledger: Ledger, *, returned: bool, rebooted: bool) -> None:
    """Count returns; a new boot, or a long streak of one, ends the suspicion."""
    ledger.streak = 1 if returned or rebooted else ledger.streak + 1
    if returned:
        ledger.returns += 1
    elif rebooted or ledger.streak >= STREAK_SINGLE:
        ledger.returns = 0


def _counters(checkin: CheckIn) -> BootCounters:
    return BootCounters(
        boot_id=checkin.boot_id,
        sequence=checkin.sequence,
        restarts=checkin.total_restarts,
        crashes=checkin.crashes_total,
        bytes_in=checkin.bytes_in_total,
        bytes_out=checkin.bytes_out_total,
    )


def _count_boot(ledger: Ledger, row: BootCounters) -> Delta:
    """Bring one boot up to date and return what that added.

    A count that fell although the number grew started again from zero.
    """
    boot = _find(ledger, row.boot_id)
    if boot is None:
        boot = _remember(ledger, row.boot_id)
    if row.sequence <= boot.sequence:
        return STALE
    delta = Delta(
        fresh=True,
        restarts=_grown(row.restarts, boot.restarts),
        crashes=_grown(row.crashes, boot.crashes),
        bytes_in=_grown(row.bytes_in, boot.bytes_in),
        bytes_out=_grown(row.bytes_out, boot.bytes_out),
    )
    boot.sequence = row.sequence
    boot.restarts = row.restarts
    boot.crashes = row.crashes
    boot.bytes_in = row.bytes_in
    boot.bytes_out = row.bytes_out
    _add(ledger, delta)
    return delta


def _grown(now: int, before: int) -> int:
    return now - before if now >= before else now


def _find(ledger: Ledger, boot_id: str) -> Boot | None:
    for boot in reversed(ledger.boots):
        if boot.id == boot_id:
            return boot
    return None


def _remember(ledger: Ledger, boot_id: str) -> Boot:
    boot = Boot(id=boot_id)
    ledger.boots.append(boot)
    if len(ledger.boots) > BOOTS_KEPT:
        del ledger.boots[0]
    return boot


def _to_end(ledger: Ledger, boot_id: str) -> None:
    if ledger.boots[-1].id != boot_id:
        ledger.boots.sort(key=lambda boot: boot.id == boot_id)


def _add(ledger: Ledger, delta: Delta) -> None:
    ledger.restarts += delta.restarts
    ledger.crashes += delta.crashes
    ledger.bytes_in += delta.bytes_in
    ledger.bytes_out += delta.bytes_out


def _sum(earlier: Iterable[Delta], now: Delta) -> Delta:
    """Return both together; `fresh` is about the message itself."""
    total = now
    for delta in earlier:
        total = total._replace(
            restarts=total.restarts + delta.restarts,
            crashes=total.crashes + delta.crashes,
            bytes_in=total.bytes_in + delta.bytes_in,
            bytes_out=total.bytes_out + delta.bytes_out,
        )
    return total

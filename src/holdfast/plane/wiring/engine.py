"""Makes the engine: journal, owner, mailbox, alarms, dispatch and probes, in their order.

The order of starting matters and is kept here: the lease before any commit, effects before
probes, alarms and mailboxes last, so that nothing is decided before it can be carried out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.actors.alarms import Alarms
from holdfast.actors.dispatch import Dispatch, Provider
from holdfast.actors.kinds import Kind, Kinds, make_kind, make_kinds
from holdfast.actors.lease import Lease
from holdfast.actors.mailbox import Mailbox
from holdfast.actors.owner import Owner
from holdfast.actors.ports import Journal, Reader
from holdfast.actors.probing import Lookout, Prober
from holdfast.actors.rehearsal_worker import RehearsalWorker
from holdfast.instances.definition import INSTANCE
from holdfast.instances.policy import Policy
from holdfast.kernel.clock import SECOND_MS, Clock
from holdfast.kernel.log import Log
from holdfast.kernel.metrics import Meter
from holdfast.pairing.definition import PAIRING
from holdfast.pairing.definition import Policy as PairingPolicy
from holdfast.plane.settings import Settings
from holdfast.plane.wiring.holder import JOURNAL_FILE
from holdfast.stores.sqlite.journal_reader import SqliteReader


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """The parts, made and not yet started."""

    journal: Journal
    lease: Lease
    owner: Owner
    mailbox: Mailbox
    dispatch: Dispatch
    prober: Prober
    alarms: Alarms
    kinds: Kinds

    async def start(self) -> None:
        """Take the lease, keep the policies, and take up what was left."""
        await self.lease.take()
        for kind in self.kinds.values():
            await self.journal.keep_policy(kind.policy_hash, kind.policy_body)
        self.owner.start()
        await self.dispatch.start()
        await self.prober.start()
        await self.alarms.start()
        await self.mailbox.start()

    async def stop(self) -> None:
        """Stop in the reverse order; every part is stopped even when one before it fails."""
        errors: list[Exception] = []
        for part in (self.mailbox, self.alarms, self.prober, self.dispatch, self.owner):
            try:
                await part.stop()
            except Exception as error:  # noqa: BLE001  raised below, after the others stopped
                errors.append(error)
        if errors:
            raise ExceptionGroup("parts of the engine did not stop cleanly", errors)


def make_engine(
    journal: Journal,
    kinds: Kinds,
    *,
    providers: Mapping[str, Provider],
    lookouts: Mapping[str, Lookout],
    clock: Clock,
    log: Log,
    meter: Meter,
    holder: str,
    code: str,
) -> Engine:
    """Join the parts; whoever calls adds listeners and starts it."""
    lease = Lease(journal, holder=holder, log=log)
    owner = Owner(journal, kinds, lease=lease, clock=clock, log=log, meter=meter, code=code)
    mailbox = Mailbox(journal, owner, clock=clock, log=log)
    alarms = Alarms(journal, owner.wake, clock=clock, log=log, meter=meter)
    dispatch = Dispatch(
        journal,
        kinds,
        providers,
        state_of=owner.state,
        told=mailbox.told,
        clock=clock,
        log=log,
        meter=meter,
    )
    prober = Prober(journal, kinds, lookouts, told=mailbox.told, clock=clock, log=log, meter=meter)
    for listener in (dispatch.hear, alarms.hear, prober.hear):
        owner.listen(listener)
    for halt in (dispatch.halt, prober.halt):
        lease.on_lost(halt)
    return Engine(
        journal=journal,
        lease=lease,
        owner=owner,
        mailbox=mailbox,
        dispatch=dispatch,
        prober=prober,
        alarms=alarms,
        kinds=kinds,
    )


def instance_policy(settings: Settings) -> Policy:
    """Return the policy of instances that these settings ask for."""
    return Policy(
        start_timeout_ms=_ms(settings.start_timeout_s),
        restart_soft_ms=_ms(settings.restart_soft_s),
        restart_hard_ms=_ms(settings.restart_hard_s),
        destroy_retry_ms=_ms(settings.destroy_retry_s),
        stale_provision_ms=_ms(settings.stale_provision_s),
        daily_look_ms=_ms(settings.daily_look_s),
        stop_grace_ms=_ms(settings.stop_grace_s),
    )


def plane_kinds(settings: Settings) -> dict[str, Kind]:
    """Return every kind of actor of this plane, under the policies of these settings."""
    return make_kinds(
        make_kind(INSTANCE, instance_policy(settings)), make_kind(PAIRING, PairingPolicy())
    )


def open_reader(path: str) -> Reader:
    """Open the journal for reading only; the rehearsal process finds this by its name."""
    return SqliteReader(Path(path))


def make_worker(settings: Settings, log: Log) -> RehearsalWorker:
    """Return the process in which rehearsals run, not yet started."""
    here: Sequence[Any] = (str(Path(settings.home) / JOURNAL_FILE),)
    return RehearsalWorker(
        reader="holdfast.plane.wiring.engine:open_reader",
        reader_args=tuple(here),
        kinds="holdfast.plane.wiring.engine:plane_kinds",
        kinds_args=(settings,),
        log=log,
    )


def _ms(seconds: float) -> int:
    """Return seconds as whole milliseconds."""
    return round(seconds * SECOND_MS)

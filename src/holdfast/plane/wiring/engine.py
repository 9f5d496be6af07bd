"""Makes the engine: journal, owner, mailbox, alarms, dispatch and probes, in their order.

The order of starting is defined here: the lease before any commit, effects before probes, alarms
and mailboxes last, so that nothing is decided before it can be carried out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from holdfast.actors.alarms import Alarms
from holdfast.actors.cadence import Cadence
from holdfast.actors.dispatch import Dispatch, Provider
from holdfast.actors.kinds import Kinds, recipes
from holdfast.actors.lease import Lease
from holdfast.actors.mailbox import Mailbox
from holdfast.actors.owner import Owner
from holdfast.actors.ports import Journal, Reader
from holdfast.actors.probing import Lookout, Prober
from holdfast.actors.rehearsal_worker import RehearsalWorker
from holdfast.actors.tasks import why_ended
from holdfast.kernel.clock import Clock
from holdfast.kernel.liveness import Vital
from holdfast.kernel.log import Log, TotalLog
from holdfast.kernel.metrics import Meter, TotalMeter
from holdfast.stores.sqlite.journal_reader import SqliteReader


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """The engine's parts, made and not yet started."""

    journal: Journal
    lease: Lease
    owner: Owner
    mailbox: Mailbox
    dispatch: Dispatch
    prober: Prober
    alarms: Alarms
    cadence: Cadence
    kinds: Kinds

    async def start(self) -> None:
        """Take the lease, store the policies, and load unfinished work."""
        await self.lease.take()
        for kind in self.kinds.values():
            await self.journal.keep_policy(kind.policy_hash, kind.policy_body)
        self.owner.start()
        await self.dispatch.start()
        await self.prober.start()
        await self.alarms.start()
        await self.cadence.start()
        await self.mailbox.start()

    def vitals(self) -> Iterator[Vital]:
        """Yield the loops of the engine; an end because another plane took the lease is no fault.

        None of them has ended before it was started.
        """
        for part in (self.owner, self.mailbox, self.prober, self.alarms, self.cadence):
            yield Vital(type(part).__name__.lower(), partial(self._ended, part))

    def _ended(self, part: Owner | Mailbox | Prober | Alarms | Cadence) -> str | None:
        if self.lease.lost:
            return None
        return self.owner.fault or why_ended(part.task)

    async def stop(self) -> None:
        """Stop in the reverse order; every part is stopped even when one before it fails."""
        errors: list[Exception] = []
        parts = (self.mailbox, self.cadence, self.alarms, self.prober, self.dispatch, self.owner)
        for part in parts:
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
    """Make the engine; the caller adds listeners and starts it.

    The three tables may be filled until it is started.
    """
    log, meter = TotalLog.over(log), TotalMeter.over(meter)
    lease = Lease(journal, holder=holder, log=log)
    owner = Owner(journal, kinds, lease=lease, clock=clock, log=log, meter=meter, code=code)
    mailbox = Mailbox(journal, owner, clock=clock, log=log)
    alarms = Alarms(journal, owner.wake, clock=clock, log=log, meter=meter)
    cadence = Cadence(owner.wake, clock=clock, log=log, meter=meter)
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
    for part in (dispatch.hear, alarms.hear, cadence.hear, prober.hear):
        owner.join(part)
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
        cadence=cadence,
        kinds=kinds,
    )


def open_reader(path: str) -> Reader:
    """Open the journal read-only; the rehearsal process imports this by its dotted path."""
    return SqliteReader(Path(path))


def make_worker(journal: Path, kinds: Kinds, log: Log) -> RehearsalWorker:
    """Return the process in which rehearsals of these kinds run, not yet started."""
    return RehearsalWorker(
        reader="holdfast.plane.wiring.engine:open_reader",
        reader_args=(str(journal),),
        kinds="holdfast.actors.kinds:load_kinds",
        kinds_args=(recipes(kinds),),
        log=log,
    )

"""Makes the stream of corrections: its store, directory, flow, watch, and handlers."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from holdfast.accounts.directory import LOCAL_ACCOUNT
from holdfast.corrections.directory import Directory
from holdfast.corrections.flow import CorrectionsFlow
from holdfast.corrections.handlers import BrainCalls
from holdfast.corrections.ports import CorrectionsStore
from holdfast.corrections.records import Forgotten
from holdfast.corrections.sender_calls import SenderCalls
from holdfast.corrections.watch import Watch
from holdfast.kernel.clock import DAY_MS, Clock
from holdfast.plane.key_folder import prepare_keys
from holdfast.plane.wiring.accounts import account_exists
from holdfast.plane.wiring.core import Core
from holdfast.plane.wiring.files import open_kept
from holdfast.plane.wiring.holder import CORRECTIONS_FILE
from holdfast.plane.wiring.part import HOUR_S, MINUTE_S, Job, Part, every
from holdfast.stores.sqlite.corrections import open_corrections
from holdfast.telemetry.machines import MachineIndex
from holdfast.wire.api.call import Handler
from holdfast.wire.api.plane import DoctorCheck
from holdfast.wire.limits import REASON_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class Brains:
    """The stream of corrections, made and not yet started."""

    store: CorrectionsStore
    directory: Directory
    watch: Watch
    part: Part


class Retention:
    """Periodic work: the doctor's check, and the purge of old rows."""

    def __init__(
        self,
        store: CorrectionsStore,
        directory: Directory,
        watch: Watch,
        keep: Forgotten,
        core: Core,
    ) -> None:
        """Purge by `keep`: how long corrections and events are kept, in ms."""
        self._store = store
        self._directory = directory
        self._watch = watch
        self._keep = keep
        self._clock: Clock = core.clock
        self._log: Any = core.log

    async def check(self) -> DoctorCheck:
        """Return the brains' alerts as a check."""
        brains = self._directory.brains_of(None)
        alerts = await self._watch.alerts(brains)
        if not alerts:
            return DoctorCheck(
                name="brains", result="ok", message=f"nothing is wrong with {len(brains)} brains"
            )
        first = alerts[0]
        named = f"{len(alerts)} alerts; {first.brain_name}: {first.message}"
        return DoctorCheck(
            name="brains", result="warning", message=named[:REASON_MAX], fix=first.fix
        )

    async def purge(self) -> None:
        """Delete rows older than the retention, a part at a time."""
        now_ms, gone = self._clock.now_ms(), 0
        forgotten = Forgotten(now_ms - self._keep.corrections_ms, now_ms - self._keep.events_ms)
        while part := await self._store.purge(forgotten):
            gone += part
        self._directory.forget_senders(forgotten.events_ms)
        if gone:
            self._log.info("intake.purged", rows=gone, before_ms=forgotten.corrections_ms)


def make_brains(core: Core, machine_index: MachineIndex) -> Brains:
    """Open the store and make the stream; what is opened is pushed on `core.closing`."""
    settings, clock, log = core.settings, core.clock, core.log
    store = open_kept(
        core.home / CORRECTIONS_FILE,
        lambda path: open_corrections(
            path, now_ms=clock.now_ms(), revoked_in=prepare_keys(settings)
        ),
    )
    core.closing.push_async_callback(store.close)
    keep = Forgotten(settings.correction_days * DAY_MS, settings.brain_event_days * DAY_MS)
    directory = Directory(store, clock=clock, entropy=secrets.token_bytes)
    flow = CorrectionsFlow(
        store,
        directory,
        clock=clock,
        log=log,
        meter=core.meter,
        publish=core.publish,
        keep=keep,
        corrections_per_minute=settings.corrections_per_minute,
    )
    core.closing.push_async_callback(flow.close)
    watch = Watch(directory, clock=clock, log=log, meter=core.meter, publish=core.publish)
    retention = Retention(store, directory, watch, keep, core)
    senders = SenderCalls(store, directory, flow, clock=clock, publish=core.publish)
    part = Part(
        name="corrections",
        handlers={
            **_people(core, store, directory, watch, machine_index),
            **senders.by_endpoint(),
        },
        start=directory.load,
        vitals=lambda: (store.vital(),),
        troubles=lambda: (f"{CORRECTIONS_FILE}: {store.trouble}",) if str(store.trouble) else (),
        jobs=(
            Job("intake watch", watch.run),
            every("intake.note_uses", directory.flush, MINUTE_S, log),
            every("intake.purge", retention.purge, HOUR_S, log),
        ),
        checks=(retention.check,),
    )
    return Brains(store=store, directory=directory, watch=watch, part=part)


def _people(
    core: Core,
    store: CorrectionsStore,
    directory: Directory,
    watch: Watch,
    machine_index: MachineIndex,
) -> dict[str, Handler]:
    """Return the handlers about brains for people."""

    def instance_owner(instance: str) -> str | None:
        facts = machine_index.of_instance(instance)
        return None if facts is None else facts.account

    return BrainCalls(
        store,
        directory,
        watch,
        publish=core.publish,
        instance_owner=instance_owner,
        account_exists=account_exists(core),
        default_account=LOCAL_ACCOUNT,
    ).by_endpoint()

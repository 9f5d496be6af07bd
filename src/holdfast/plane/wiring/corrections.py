"""Makes the stream of brains: its file, its directory, its flow, its watch, and their handlers."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from holdfast.accounts.register import LOCAL_ACCOUNT
from holdfast.corrections.directory import Directory
from holdfast.corrections.flow import Intake
from holdfast.corrections.handlers import BrainCalls
from holdfast.corrections.ports import IntakeStore, Publish
from holdfast.corrections.records import Forgotten
from holdfast.corrections.sender_calls import SenderCalls
from holdfast.corrections.watch import Watch
from holdfast.kernel.clock import DAY_MS, Clock
from holdfast.kernel.metrics import Meter
from holdfast.plane.settings import Settings
from holdfast.plane.wiring.files import Stores
from holdfast.stores.sqlite.corrections import open_intake
from holdfast.telemetry.machines import MachineBook
from holdfast.wire.api.call import Handler
from holdfast.wire.api.plane import DoctorCheck
from holdfast.wire.limits import REASON_MAX

INTAKE_FILE: Final = "intake.db"
_FLUSH_S: Final = 60.0
_PURGE_S: Final = 3_600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeRoom:
    """The parts, made and not yet started."""

    store: IntakeStore
    directory: Directory
    flow: Intake
    watch: Watch
    handlers: dict[str, Handler]
    keep: Forgotten
    clock: Clock
    log: Any

    async def start(self) -> set[asyncio.Task[None]]:
        """Take in what is known; return what runs beside it, for whoever stops the plane."""
        await self.directory.load()
        jobs = {
            "watch": self.watch.run(),
            "key uses": self._repeat("intake.note_uses", self.directory.flush, _FLUSH_S),
            "purge": self._repeat("intake.purge", self._purge, _PURGE_S),
        }
        return {
            asyncio.create_task(job, name=f"holdfast-intake {name}") for name, job in jobs.items()
        }

    async def check(self) -> DoctorCheck:
        """Look at what is wrong with brains."""
        brains = self.directory.brains_of(None)
        alerts = await self.watch.alerts(brains)
        if not alerts:
            return DoctorCheck(
                name="brains", result="ok", message=f"nothing is wrong with {len(brains)} brains"
            )
        first = alerts[0]
        named = f"{len(alerts)} alerts; {first.brain_name}: {first.message}"
        return DoctorCheck(
            name="brains", result="warning", message=named[:REASON_MAX], fix=first.fix
        )

    async def _purge(self) -> None:
        """Forget what is older than it is kept, a part at a time."""
        now_ms, gone = self.clock.now_ms(), 0
        forgotten = Forgotten(now_ms - self.keep.corrections_ms, now_ms - self.keep.events_ms)
        while part := await self.store.purge(forgotten):
            gone += part
        self.directory.forget_senders(forgotten.events_ms)
        if gone:
            self.log.info("intake.purged", rows=gone, before_ms=forgotten.corrections_ms)

    async def _repeat(self, name: str, job: Callable[[], Awaitable[None]], every_s: float) -> None:
        """Do a job again and again; a failure is a log line and tried next time."""
        while True:
            await asyncio.sleep(every_s)
            try:
                await job()
            except Exception as error:
                self.log.exception("housekeeping.failed", job=name, reason=str(error))


def make_intake(
    home: Path,
    settings: Settings,
    closing: AsyncExitStack,
    *,
    stores: Stores,
    book: MachineBook,
    clock: Clock,
    log: Any,
    meter: Meter,
    publish: Publish,
) -> IntakeRoom:
    """Open the file and join the parts; what is opened is given to `closing`."""
    store = open_intake(home / INTAKE_FILE, now_ms=clock.now_ms())
    closing.push_async_callback(store.close)
    keep = Forgotten(settings.correction_days * DAY_MS, settings.brain_event_days * DAY_MS)
    directory = Directory(store, clock=clock, entropy=secrets.token_bytes)
    flow = Intake(
        store,
        directory,
        clock=clock,
        log=log,
        meter=meter,
        publish=publish,
        keep=keep,
        corrections_per_minute=settings.corrections_per_minute,
    )
    closing.push_async_callback(flow.close)
    watch = Watch(directory, clock=clock, log=log, meter=meter, publish=publish)

    def instance_owner(instance: str) -> str | None:
        facts = book.of_instance(instance)
        return None if facts is None else facts.account

    async def account_exists(name: str) -> bool:
        return name in {account.name for account in await stores.accounts.accounts()}

    people = BrainCalls(
        store,
        directory,
        watch,
        publish=publish,
        instance_owner=instance_owner,
        account_exists=account_exists,
        default_account=LOCAL_ACCOUNT,
    )
    senders = SenderCalls(store, directory, flow, clock=clock, publish=publish)
    return IntakeRoom(
        store=store,
        directory=directory,
        flow=flow,
        watch=watch,
        handlers={**people.by_endpoint(), **senders.by_endpoint()},
        keep=keep,
        clock=clock,
        log=log,
    )

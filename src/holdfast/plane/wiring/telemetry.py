"""Makes the stream of check-ins: the index of machines, last contact, charts, lifecycle points.

A transition of a machine becomes an event of its instance; the machines that there are come from
the committed rows of instances.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from holdfast.actors.committed_tick import CommittedTick
from holdfast.actors.owner import Listener
from holdfast.actors.ports import Mailboxes
from holdfast.instances import events
from holdfast.instances.definition import KIND, arrival
from holdfast.instances.views import MACHINE_VIEW, decode_machine
from holdfast.kernel.clock import SECOND_MS
from holdfast.kernel.failure import brief
from holdfast.kernel.ids import address
from holdfast.plane.settings import Settings
from holdfast.plane.wiring.core import Core
from holdfast.plane.wiring.lifecycle import follow_lifecycle
from holdfast.plane.wiring.part import Part, vitals_of
from holdfast.telemetry.checkins import Telemetry
from holdfast.telemetry.contact import Report
from holdfast.telemetry.handlers import ChartCalls, ControllerCalls
from holdfast.telemetry.machines import MachineIndex
from holdfast.wire.controller.checkin import CommandOutcome

PAGE: Final = 1_000

_PAIRING_ALONE: Final = frozenset({"pairing_epoch", "pairing_count"})
_PAIRING_NEWS: Final = _PAIRING_ALONE | {"machine_id", "boot_id", "epoch", "agent_ready"}
"""Changes of a report after which other pairing requests may wait."""

PairingNews = Callable[[str], None]
"""Called with the instance whose machine may have other pairing requests than before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetryMade:
    """The stream of check-ins; `part` starts after the engine."""

    telemetry: Telemetry
    part: Part


def machines_part(core: Core, machine_index: MachineIndex) -> Part:
    """Return the index of machines as a part; it is filled before anything is decided."""

    async def fill() -> None:
        reader, after = core.stores.reader, ""
        while page := await reader.views(MACHINE_VIEW, account=None, after=after, limit=PAGE):
            for key, body, _seq in page:
                try:
                    machine_index.put(decode_machine(body))
                except ValueError as error:  # its machine is refused until its row is made again
                    core.log.error("machines.row_damaged", sandbox=key, reason=brief(error))  # noqa: TRY400  the port
            after = page[-1][0]

    return Part(
        name="machines",
        start=fill,
        on_commit=(follow_machines(machine_index),),
    )


def make_telemetry(
    core: Core, machine_index: MachineIndex, pairing_news: PairingNews | None = None
) -> TelemetryMade:
    """Return the stream of check-ins, which puts events into the mailboxes of instances.

    A new process has no pairing requests: `pairing_news` is called at the start for every machine
    that reported some, and then whenever a machine reports that they changed.
    """
    settings, stores, clock = core.settings, core.stores, core.clock
    telemetry = Telemetry(
        clock=clock,
        log=core.log,
        machines=machine_index,
        contacts=stores.contacts,
        analytics=stores.analytics,
        transitions=InstanceTransitions(core.mailbox, pairing_news),
        interval_ms=_interval_ms(settings),
        checkin_gap_ms=round(settings.checkin_min_s * SECOND_MS),
        flush_ms=max(1, round(settings.telemetry_buffer_s * SECOND_MS)),
    )
    core.closing.push_async_callback(telemetry.close)
    machine_index.listen(telemetry)

    def account_of(instance: str) -> str | None:
        facts = machine_index.of_instance(instance)
        return facts.account if facts else None

    async def start() -> None:
        await telemetry.start()
        if pairing_news is None:
            return
        for facts in machine_index.everyone():
            contact = telemetry.contact(facts.instance)
            if contact is not None and contact.pairing_count:
                pairing_news(facts.instance)

    machines = ControllerCalls(
        telemetry,
        machine_index,
        clock=clock,
        secret=core.token_secret.reveal(),
        publish=core.publish,
    )
    charts = ChartCalls(
        stores.analytics, clock=clock, account_of=account_of, interval_ms=_interval_ms(settings)
    )
    part = Part(
        name="telemetry",
        handlers={
            "controller.checkin": machines.checkin,
            "controller.wake": machines.wake,
            "instance.fleet-charts": charts.fleet,
            "instance.charts": charts.instance,
        },
        on_commit=(follow_lifecycle(telemetry.points.record),),
        start=start,
        vitals=lambda: vitals_of(telemetry.running()),
        release=telemetry.release,
    )
    return TelemetryMade(telemetry=telemetry, part=part)


class InstanceTransitions:
    """Makes events of an instance of what telemetry has noticed about its machine."""

    def __init__(self, mailboxes: Mailboxes, pairing_news: PairingNews | None = None) -> None:
        """Put events into `mailboxes`, which return when they are durable.

        Pending pairing requests are no events: `pairing_news` is called to have them read again.
        """
        self._mailboxes = mailboxes
        self._pairing_news = pairing_news

    async def contact_lost(
        self, instance: str, *, level: int, epoch: int, since_ms: int, at_ms: int, dedupe: str
    ) -> None:
        """Add the event that the machine is silent."""
        del epoch, since_ms, at_ms
        await self._send(instance, events.ContactLost(level), dedupe)

    async def contact_regained(self, instance: str, *, epoch: int, at_ms: int, dedupe: str) -> None:
        """Add the event that the machine checked in again."""
        del epoch, at_ms
        await self._send(instance, events.ContactRegained(), dedupe)

    async def reported(
        self, instance: str, report: Report, *, changed: frozenset[str], at_ms: int, dedupe: str
    ) -> None:
        """Add the event of the new report; before it, that two machines report, if so."""
        del at_ms
        if self._pairing_news is not None and changed & _PAIRING_NEWS:
            self._pairing_news(instance)
        if changed <= _PAIRING_ALONE:
            return
        if "twins" in changed and report.twins:
            await self._send(instance, events.TwinSeen(report.twins), f"{dedupe}:twins")
        event = msgspec.convert(report, events.MachineReported, from_attributes=True)
        await self._send(instance, event, dedupe)

    async def commands_done(
        self, instance: str, outcomes: tuple[CommandOutcome, ...], *, at_ms: int, dedupe: str
    ) -> None:
        """Do nothing: no effect is leased to machines yet."""

    async def _send(self, instance: str, event: events.Event, dedupe: str) -> None:
        row = arrival(event, dedupe=dedupe, source="contact")
        await self._mailboxes.tell([(address(KIND, instance), row)])


def follow_machines(machine_index: MachineIndex) -> Listener:
    """Return a listener that keeps the index of machines as it is committed."""

    def on_commit(committed: CommittedTick) -> None:
        for view in committed.tick.views if committed.commit is not None else ():
            if view.view != MACHINE_VIEW:
                continue
            if view.body is None:
                facts = machine_index.lookup(view.key)
                if facts is not None:
                    machine_index.remove(facts.instance)
            else:
                machine_index.put(decode_machine(view.body))

    return on_commit


def _interval_ms(settings: Settings) -> int:
    return round(settings.checkin_interval_s * SECOND_MS)

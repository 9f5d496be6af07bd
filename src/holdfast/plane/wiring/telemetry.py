"""Makes the stream of check-ins: the index of machines, last contact, charts, lifecycle points.

Transitions of a machine are sent as events to its instance; the index of machines is updated from
committed rows of instances.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from msgspec import structs

from holdfast.actors.flights import CommittedTick
from holdfast.actors.owner import Listener
from holdfast.actors.ports import Mailboxes
from holdfast.instances import events
from holdfast.instances.definition import KIND, arrival
from holdfast.instances.ports import Reported
from holdfast.instances.views import MACHINE_VIEW, MachineRow, decode_machine
from holdfast.kernel.clock import SECOND_MS
from holdfast.kernel.ids import address
from holdfast.plane.settings import Settings
from holdfast.plane.wiring.core import Core
from holdfast.plane.wiring.lifecycle import follow_lifecycle
from holdfast.plane.wiring.part import Part, vitals_of
from holdfast.telemetry.checkins import Telemetry
from holdfast.telemetry.contact import Report
from holdfast.telemetry.handlers import ChartCalls, ControllerCalls
from holdfast.telemetry.machines import MachineIndex
from holdfast.telemetry.ports import MachineFacts
from holdfast.wire.confinement import Confinement
from holdfast.wire.controller.checkin import CommandOutcome

PAGE: Final = 1_000

_PAIRING_ALONE: Final = frozenset({"pairing_epoch", "pairing_count"})
_PAIRING_NEWS: Final = _PAIRING_ALONE | {"machine_id", "boot_id", "epoch", "agent_ready"}
"""Changes of a report after which other pairing requests may wait."""

PairingNews = Callable[[str], None]
"""Called with an instance whose machine may have other pairing requests than before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetryMade:
    """The stream of check-ins; `part` starts after the engine."""

    telemetry: Telemetry
    part: Part


def machines_part(core: Core, machine_index: MachineIndex) -> Part:
    """Return the index of machines as a part; it is filled before the engine starts."""
    interval_ms = _interval_ms(core.settings)

    async def fill() -> None:
        reader, after = core.stores.reader, ""
        while page := await reader.views(MACHINE_VIEW, account=None, after=after, limit=PAGE):
            for _key, body, _seq in page:
                machine_index.put(facts_of(decode_machine(body), interval_ms=interval_ms))
            after = page[-1][0]

    return Part(
        name="machines",
        start=fill,
        on_commit=(follow_machines(machine_index, interval_ms=interval_ms),),
    )


def make_telemetry(
    core: Core, machine_index: MachineIndex, pairing_news: PairingNews | None = None
) -> TelemetryMade:
    """Return the stream of check-ins, which sends events to instances.

    A new process has no pairing requests in memory: `pairing_news` is called at the start for
    every machine that last reported some, and then for each report of other ones.
    """
    settings, stores, clock = core.settings, core.stores, core.clock
    telemetry = Telemetry(
        clock=clock,
        log=core.log,
        machines=machine_index,
        contacts=stores.contacts,
        analytics=stores.analytics,
        transitions=InstanceTransitions(core.mailbox, pairing_news),
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
    """Sends transitions of machines to their instances' actors."""

    def __init__(self, mailboxes: Mailboxes, pairing_news: PairingNews | None = None) -> None:
        """Send through `mailboxes`, which return when the event is durable.

        Pairing requests make no event: `pairing_news` is called instead.
        """
        self._mailboxes = mailboxes
        self._pairing_news = pairing_news

    async def contact_lost(
        self, instance: str, *, level: int, epoch: int, since_ms: int, at_ms: int, dedupe: str
    ) -> None:
        """Send that contact was lost."""
        del epoch, since_ms, at_ms
        await self._send(instance, events.ContactLost(level), dedupe)

    async def contact_regained(self, instance: str, *, epoch: int, at_ms: int, dedupe: str) -> None:
        """Send that contact was regained."""
        del epoch, at_ms
        await self._send(instance, events.ContactRegained(), dedupe)

    async def reported(
        self, instance: str, report: Report, *, changed: frozenset[str], at_ms: int, dedupe: str
    ) -> None:
        """Send changes of the machine's report; a second machine of the instance comes first."""
        del at_ms
        if self._pairing_news is not None and changed & _PAIRING_NEWS:
            self._pairing_news(instance)
        if changed <= _PAIRING_ALONE:
            return
        if "twins" in changed and report.twins:
            await self._send(instance, events.TwinSeen(report.twins), f"{dedupe}:twins")
        event = events.MachineReported(
            machine_id=report.machine_id,
            boot_id=report.boot_id,
            agent_ready=report.agent_ready,
            agent_version=report.agent_version,
            controller_version=report.controller_version,
            restarts=report.restarts,
            reason=report.degraded or report.last_exit_reason,
            recovery=report.recovery,
        )
        await self._send(instance, event, dedupe)

    async def commands_done(
        self, instance: str, outcomes: tuple[CommandOutcome, ...], *, at_ms: int, dedupe: str
    ) -> None:
        """Ignore outcomes of leased commands; no effect is leased to machines yet."""

    async def _send(self, instance: str, event: events.Event, dedupe: str) -> None:
        row = arrival(event, dedupe=dedupe, source="contact")
        await self._mailboxes.tell([(address(KIND, instance), row)])


class LastContacts:
    """The port `Contacts` of instances, over telemetry."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def of(self, instance_id: str) -> Reported | None:
        """Return the machine's last report, or None if there was none."""
        view = self._telemetry.contact(instance_id)
        if view is None or view.heard_ms is None:
            return None
        return Reported(
            last_contact_ms=view.heard_ms,
            load=view.load_5m,
            restarts=view.restarts,
            cpus=view.cpus,
            epoch=view.epoch,
            start=view.start,
            start_ms=view.start_ms,
            climbs=view.climbs,
            confinement=view.confinement,
        )

    def confinement(self, instance_id: str) -> Confinement:
        """Return the confinement that the machine reported last."""
        view = self._telemetry.contact(instance_id)
        return "unknown" if view is None else view.confinement


def facts_of(row: MachineRow, *, interval_ms: int) -> MachineFacts:
    """Return the facts of an instance's machine row."""
    return MachineFacts(interval_ms=interval_ms, **structs.asdict(row))


def follow_machines(machine_index: MachineIndex, *, interval_ms: int) -> Listener:
    """Return a listener that updates the index of machines on commits."""

    def on_commit(committed: CommittedTick) -> None:
        for view in committed.tick.views if committed.commit is not None else ():
            if view.view != MACHINE_VIEW:
                continue
            if view.body is None:
                facts = machine_index.lookup(view.key)
                if facts is not None:
                    machine_index.remove(facts.instance)
            else:
                machine_index.put(facts_of(decode_machine(view.body), interval_ms=interval_ms))

    return on_commit


def _interval_ms(settings: Settings) -> int:
    return round(settings.checkin_interval_s * SECOND_MS)

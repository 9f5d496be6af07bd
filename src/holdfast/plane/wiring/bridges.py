"""Bridges between rooms that do not know each other: telemetry, instances, clouds and pages.

Each is a few lines that turn one room's words into another's. None of them decides anything; a
bridge that needs an `if` about a domain is in the wrong place.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from msgspec import structs

from holdfast.actors.owner import Landed
from holdfast.actors.ports import Mailboxes
from holdfast.instances import events
from holdfast.instances.definition import KIND, arrival
from holdfast.instances.ports import LogChunk, Reported
from holdfast.instances.views import MACHINE_VIEW, MachineRow, decode_machine
from holdfast.kernel.ids import address
from holdfast.kernel.outcome import Ok
from holdfast.telemetry.checkins import Telemetry
from holdfast.telemetry.contact import Report
from holdfast.telemetry.machines import MachineBook
from holdfast.telemetry.ports import MachineFacts
from holdfast.wire.confinement import Confinement
from holdfast.wire.controller.checkin import CommandOutcome
from holdfast.world.clouds.port import Cloud, Machine

_PAIRING_ALONE: Final = frozenset({"pairing_epoch", "pairing_count"})
_PAIRING_NEWS: Final = _PAIRING_ALONE | {"machine_id", "boot_id", "epoch", "agent_ready"}
"""What of a report may mean that other requests wait than before."""

Publish = Callable[[str, str, str], object]


class SystemChance:
    """Ids and keys from the system's generator."""

    def token(self, prefix: str) -> str:
        """Return the prefix and 256 random bits as URL-safe text."""
        return prefix + secrets.token_urlsafe(32)

    def uuid(self) -> str:
        """Return a random UUID, canonical and in lower case."""
        return str(uuid.uuid4())


class InstanceTransitions:
    """Tells an instance's actor what telemetry has noticed about its machine."""

    def __init__(
        self, mailboxes: Mailboxes, pairing_news: Callable[[str], None] | None = None
    ) -> None:
        """Tell through `mailboxes`, which return when the event is durable.

        What waits for pairing is no event: whoever keeps it in memory is told to look.
        """
        self._mailboxes = mailboxes
        self._pairing_news = pairing_news

    async def contact_lost(
        self, instance: str, *, level: int, epoch: int, since_ms: int, at_ms: int, dedupe: str
    ) -> None:
        """Say that the machine is silent."""
        del epoch, since_ms, at_ms
        await self._tell(instance, events.ContactLost(level), dedupe)

    async def contact_regained(self, instance: str, *, epoch: int, at_ms: int, dedupe: str) -> None:
        """Say that it speaks again."""
        del epoch, at_ms
        await self._tell(instance, events.ContactRegained(), dedupe)

    async def reported(
        self, instance: str, report: Report, *, changed: frozenset[str], at_ms: int, dedupe: str
    ) -> None:
        """Say what is new about the machine; two machines for one instance are said first."""
        del at_ms
        if self._pairing_news is not None and changed & _PAIRING_NEWS:
            self._pairing_news(instance)
        if changed <= _PAIRING_ALONE:
            return
        if "twins" in changed and report.twins:
            await self._tell(instance, events.TwinSeen(report.twins), f"{dedupe}:twins")
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
        await self._tell(instance, event, dedupe)

    async def commands_done(
        self, instance: str, outcomes: tuple[CommandOutcome, ...], *, at_ms: int, dedupe: str
    ) -> None:
        """Hear what came of leased commands; no effect is leased to machines yet."""

    async def _tell(self, instance: str, event: events.Event, dedupe: str) -> None:
        row = arrival(event, dedupe=dedupe, source="contact")
        await self._mailboxes.tell([(address(KIND, instance), row)])


class HeardContacts:
    """What telemetry knows, as the instance room reads it."""

    def __init__(self, telemetry: Telemetry) -> None:
        """Read from `telemetry`."""
        self._telemetry = telemetry

    def of(self, instance_id: str) -> Reported | None:
        """Return what the machine said last, or None when it never did."""
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
        """Return what the machine told last of what confines its agent."""
        view = self._telemetry.contact(instance_id)
        return "unknown" if view is None else view.confinement


class CloudLogs:
    """The output of machines, from the cloud that runs them."""

    def __init__(self, clouds: Mapping[str, Cloud]) -> None:
        """Ask the cloud of the provider's name."""
        self._clouds = clouds

    async def tail(self, provider: str, machine_id: str, *, lines: int) -> LogChunk:
        """Return the newest lines; the note says why there are none."""
        cloud = self._clouds.get(provider)
        if cloud is None:
            return LogChunk((), f"no cloud called {provider!r} is configured here")
        outcome = await cloud.log_tail(machine_id, lines=lines)
        if isinstance(outcome, Ok):
            return LogChunk(outcome.value, "" if outcome.value else "it has printed nothing yet")
        return LogChunk((), f"{outcome.code}: {outcome.message}")


def facts_of(row: MachineRow, *, interval_ms: int) -> MachineFacts:
    """Return an instance's machine row in telemetry's words."""
    return MachineFacts(interval_ms=interval_ms, **structs.asdict(row))


def follow_machines(book: MachineBook, *, interval_ms: int) -> Callable[[Landed], None]:
    """Return a listener that keeps the book of machines as it is committed."""

    def hear(landed: Landed) -> None:
        for view in landed.tick.views if landed.commit is not None else ():
            if view.view != MACHINE_VIEW:
                continue
            if view.body is None:
                facts = book.lookup(view.key)
                if facts is not None:
                    book.remove(facts.instance)
            else:
                book.put(facts_of(decode_machine(view.body), interval_ms=interval_ms))

    return hear


def follow_views(publish: Publish) -> Callable[[Landed], None]:
    """Return a listener that publishes (view, key, account) of each committed row."""

    def hear(landed: Landed) -> None:
        for view in landed.tick.views if landed.commit is not None else ():
            publish(view.view, view.key, view.account)

    return hear


def watch_exits(
    mailboxes: Mailboxes, run: Callable[[Coroutine[Any, Any, Any]], None]
) -> Callable[[Machine], None]:
    """Return what a cloud calls when a machine ended by itself: its instance is told at once."""

    def ended(machine: Machine) -> None:
        instance = machine.labels.get("holdfast_instance", "")
        if not instance:
            return
        event = events.MachineWatched(machine.id, machine.state)
        dedupe = f"watched:{machine.id}:{machine.incarnation}:{machine.state}"
        row = arrival(event, dedupe=dedupe, source="probe")
        run(mailboxes.tell([(address(KIND, instance), row)]))

    return ended

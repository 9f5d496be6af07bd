"""The stream of check-ins: counted and answered in memory, written each second.

A check-in changes three things here: its row of contact, the datapoints that wait for the
analytics store, and, where its report differs from what its instance has accepted, a notice that
is delivered until it is accepted. No answer to a machine depends on a disk. A crash
loses at most the last second of contact and of datapoints; the counters of our own protocol lose
nothing by it, because the next message repeats their sums.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from holdfast.kernel.clock import Clock
from holdfast.kernel.failure import brief
from holdfast.kernel.log import Log
from holdfast.letters.machine import LastContact, MachineFacts
from holdfast.telemetry import counters as ledgers
from holdfast.telemetry import views
from holdfast.telemetry.accept import Admitted
from holdfast.telemetry.contact import (
    Contact,
    last_contact,
    new_contact,
    note,
    report_of,
    silence_levels,
)
from holdfast.telemetry.limits import CHECKIN_GAP_MS, FLUSH_MS, WHEEL_STEP_MS
from holdfast.telemetry.long_poll import WakeHub
from holdfast.telemetry.notifier import Notifier, PendingNotice
from holdfast.telemetry.ports import (
    Analytics,
    Commands,
    ContactStore,
    Machines,
    NoCommands,
    Transitions,
)
from holdfast.telemetry.rate import Allowance, take
from holdfast.telemetry.silence import Silent, Watch, Wheel
from holdfast.telemetry.writers import ContactSink, PointSink
from holdfast.wire.controller.directive import Directive

ACCEPTED: Final = 0


class _Entry:
    """What is held in memory of one instance beside its row."""

    __slots__ = ("allowance", "contact", "epoch", "notice", "watch")

    def __init__(self, contact: Contact) -> None:
        self.contact = contact
        self.allowance = Allowance()
        self.epoch = contact.told_epoch
        self.watch: Watch | None = None
        self.notice = PendingNotice(contact)


class Telemetry:
    """Check-ins in, contact and datapoints out; made once, by plane/wiring."""

    def __init__(
        self,
        *,
        clock: Clock,
        log: Log,
        machines: Machines,
        contacts: ContactStore,
        analytics: Analytics,
        transitions: Transitions,
        commands: Commands | None = None,
        interval_ms: int = 0,
        checkin_gap_ms: int = CHECKIN_GAP_MS,
        flush_ms: int = FLUSH_MS,
    ) -> None:
        """Join the parts; nothing runs before `start`. Durations are in milliseconds.

        `interval_ms` is the interval of check-ins that machines are asked for; 0 leaves it to them.
        """
        self.hub = WakeHub()
        self.points = PointSink(analytics, clock=clock, log=log, flush_ms=flush_ms)
        self._clock = clock
        self._log = log
        self._machines = machines
        self._contacts = contacts
        self._sink = ContactSink(contacts, clock=clock, log=log, flush_ms=flush_ms)
        self._notifier = Notifier(transitions, clock=clock, log=log, settled=self._sink.mark)
        self._commands = commands or NoCommands()
        self._interval_ms = interval_ms
        self._gap_ms = checkin_gap_ms
        self._entries: dict[str, _Entry] = {}
        self._wheel = Wheel(clock.steady_ms())
        self._tasks: list[asyncio.Task[None]] = []
        self._writers: list[asyncio.Task[None]] = []
        self._heard: list[Callable[[str], None]] = []
        self._loaded = False
        self._closing = False

    def listen(self, heard: Callable[[str], None]) -> None:
        """Call `heard` with the instance's id at each check-in; it must return quickly."""
        self._heard.append(heard)

    async def start(self) -> None:
        """Load what was known, begin to listen; nothing is silent until one full level later."""
        for contact in await self._contacts.load():
            self._entries[contact.instance] = _Entry(contact)
        self._loaded = True
        for facts in self._machines.everyone():
            self.machine_changed(facts)
        for entry in self._entries.values():
            self._notifier.enqueue(entry.notice)
        self._writers = [
            asyncio.create_task(self._sink.run(), name="contact writer"),
            asyncio.create_task(self.points.run(), name="datapoint writer"),
        ]
        self._tasks = [
            asyncio.create_task(self._turn_wheel(), name="contact wheel"),
            *self._notifier.start(),
        ]

    def running(self) -> tuple[asyncio.Task[None], ...]:
        """Return the loops that must not end before `close`."""
        return (*self._tasks, *self._writers)

    def release(self) -> None:
        """Send every long poll home and hold none any more: the plane is about to stop."""
        self._closing = True
        self.hub.wake_all()

    async def close(self) -> None:
        """Stop listening and write what is pending; the stores stay open, they are the caller's."""
        self.release()
        for task in self._tasks:
            task.cancel()
        self._sink.stop()
        self.points.stop()
        ended = await asyncio.gather(*self._tasks, *self._writers, return_exceptions=True)
        self._tasks, self._writers = [], []
        for error in ended:
            if isinstance(error, Exception):
                raise error
        await self._sink.flush()
        await self.points.flush()

    def receive(self, admitted: Admitted) -> int:
        """Take a proven check-in; return 0, or the milliseconds to wait when it came too soon.

        Even a refused one counts as contact: a machine that sends too often is not silent.
        """
        facts, checkin = admitted.facts, admitted.checkin
        entry = self._entry(facts)
        contact = entry.contact
        now_ms = self._clock.now_ms()
        self._hear(entry, now_ms)
        wait_ms = take(
            entry.allowance,
            self._clock.steady_ms(),
            interval_ms=contact.interval_ms,
            prompt=admitted.ours,
            gap_ms=self._gap_ms,
        )
        if wait_ms:
            contact.refused += 1
            return wait_ms
        if checkin.outcomes:
            self._notifier.enqueue(entry.notice, checkin.outcomes)
        if admitted.ours:
            delta = ledgers.count(contact.ledger, checkin)
        else:
            delta = ledgers.count_deltas(contact.ledger, checkin)
        if not delta.fresh:
            return ACCEPTED
        contact.received += 1
        note(contact, checkin, region=admitted.region)
        report = report_of(checkin, contact.ledger, placed=facts.machine_id)
        if report != contact.report:
            contact.report = report
            contact.report_key = f"{now_ms}:{contact.received}"
            self._notifier.enqueue(entry.notice)
        self.points.offer(views.checkin_point(facts, checkin, contact, delta=delta, seen_ms=now_ms))
        return ACCEPTED

    def directive(self, facts: MachineFacts) -> Directive:
        """Return the present directive of a machine."""
        commands = self._commands.due(facts.instance, now_ms=self._clock.now_ms())
        return views.directive(facts, commands, interval_ms=self._interval_ms)

    async def directive_after(
        self, sandbox: str, revision: int, *, wait_s: float
    ) -> Directive | None:
        """Return a directive newer than `revision`, waiting for it; None when none came in time.

        Commands that are due count as news. Raise wake.FullError when too many wait.
        """
        deadline = self._clock.steady_ms() + wait_s * 1_000
        while True:
            facts = self._machines.lookup(sandbox)
            if facts is None:
                return None
            directive = self.directive(facts)
            if directive.revision > revision or directive.commands:
                return directive
            left_ms = deadline - self._clock.steady_ms()
            if left_ms <= 0 or self._closing:
                return None
            await self.hub.wait(sandbox, left_ms / 1_000)

    def contact(self, instance: str) -> LastContact | None:
        """Return what is known of an instance's machine from its check-ins, or None."""
        entry = self._entries.get(instance)
        if entry is None:
            return None
        return last_contact(entry.contact, lost=entry.notice.level > 0)

    def machine_changed(self, facts: MachineFacts) -> None:
        """Take in new facts: wakes long polls, and watches for silence where it is expected."""
        self.hub.wake(facts.sandbox)
        if not self._loaded:
            return  # `start` handles all machines, once their rows are loaded
        if facts.expected:
            entry = self._entry(facts)
            if entry.watch is not None and facts.epoch != entry.epoch:
                self._unwatch(entry)  # a new incarnation has its own time for a first check-in
            entry.epoch = facts.epoch
            if not facts.heard:
                self._report_again(entry.contact)
            if entry.watch is None:
                self._watch(entry)
            return
        known = self._entries.get(facts.instance)
        if known is not None and known.watch is not None and not known.notice.level:
            self._unwatch(known)

    def _report_again(self, contact: Contact) -> None:
        """Deliver the next report even if it is the same: the instance discarded the last one.

        An instance that stopped and runs again with the same boot of the same machine would
        otherwise never get the report that it accepted before.
        """
        if contact.report is not None and contact.report == contact.told:
            contact.report = contact.told = None

    def machine_gone(self, facts: MachineFacts) -> None:
        """Forget a machine whose instance was destroyed."""
        self.hub.wake(facts.sandbox)
        entry = self._entries.pop(facts.instance, None)
        if entry is not None:
            self._unwatch(entry)
            self._notifier.forget(entry.notice)
        self._sink.forget(facts.instance)

    def _entry(self, facts: MachineFacts) -> _Entry:
        entry = self._entries.get(facts.instance)
        if entry is None:
            entry = _Entry(new_contact(facts.instance, self._interval_ms))
            self._entries[facts.instance] = entry
        return entry

    def _hear(self, entry: _Entry, now_ms: int) -> None:
        """Record that a machine checked in now."""
        contact = entry.contact
        contact.heard_ms = now_ms
        self._sink.mark(contact)
        for heard in self._heard:
            heard(contact.instance)
        watch = entry.watch or self._watch(entry)
        self._wheel.hear(watch, silence_levels(contact.interval_ms))
        if entry.notice.level:
            entry.notice.level = 0
            self._notifier.enqueue(entry.notice)

    def _watch(self, entry: _Entry) -> Watch:
        """Watch from now on; an accepted loss of this incarnation is not delivered again."""
        contact = entry.contact
        levels = silence_levels(contact.interval_ms)
        level = contact.told_level if contact.told_epoch == entry.epoch else 0
        entry.watch = self._wheel.watch(contact.instance, levels, level=level)
        return entry.watch

    def _unwatch(self, entry: _Entry) -> None:
        self._wheel.forget(entry.contact.instance)
        entry.watch = None

    async def _turn_wheel(self) -> None:
        while True:
            await asyncio.sleep(WHEEL_STEP_MS / 1_000)
            try:
                self.advance()
            except Exception as error:  # noqa: BLE001  every machine relies on this one loop
                self._log.error("wheel.fault", exc_info=error)

    def advance(self) -> None:
        """Find machines that fell silent; called by the loop, and by tests that own the clock."""
        for silent in self._wheel.advance(self._clock.steady_ms()):
            try:
                self._silent(silent)
            except Exception as error:  # noqa: BLE001  the other machines are still looked after
                reason = brief(error)
                self._log.warning("silence not noted", instance=silent.key, error=reason)

    def _silent(self, silent: Silent) -> None:
        """Enqueue the notice that a machine is silent, unless it is expected to be."""
        entry = self._entries.get(silent.key)
        if entry is None:
            return
        facts = self._machines.of_instance(silent.key)
        if facts is None or not facts.expected:
            self._unwatch(entry)
            return
        entry.notice.level = silent.level
        entry.notice.epoch = facts.epoch
        entry.notice.since_ms = entry.contact.heard_ms
        self._notifier.enqueue(entry.notice)

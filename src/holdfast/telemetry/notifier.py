"""Delivers changes of contact and of reports to the instances concerned, until they are accepted.

A pending notice is a difference between the present state and what was accepted last, so notices
cannot pile up: a machine that was lost and regained before either could be delivered leaves
none. Each delivery carries a deduplication key that stays the same when it is repeated, and what
was accepted is written with the contact, so a crash repeats at most what the instance then
recognises. A delivery that failed may have been accepted all the same: what it said stays in
doubt, and pending, until a later one was accepted. It must never hold up a check-in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from holdfast.kernel.backoff import Backoff
from holdfast.kernel.clock import Clock
from holdfast.kernel.failure import brief
from holdfast.kernel.log import Log
from holdfast.telemetry.contact import Contact, changed_fields
from holdfast.telemetry.limits import (
    NOTICE_TIMEOUT_S,
    NOTIFIERS,
    OUTCOMES_KEPT,
    RETRY_CAP_MS,
    RETRY_FIRST_MS,
)
from holdfast.telemetry.ports import Transitions
from holdfast.wire.controller.checkin import CommandOutcome


class PendingNotice:
    """What is to be delivered to one instance. `level` is the present level of silence.

    `contact_doubted` and `fields_doubted` (of the report) mark what the instance may have accepted
    in another form than the row holds, because a delivery failed.
    """

    __slots__ = (
        "contact",
        "contact_doubted",
        "epoch",
        "failures",
        "fields_doubted",
        "gone",
        "level",
        "outcomes",
        "queued",
        "since_ms",
    )

    def __init__(self, contact: Contact) -> None:
        """Begin with the differences that the row itself shows."""
        self.contact = contact
        self.level = contact.told_level
        self.epoch = contact.told_epoch
        self.since_ms = contact.lost_ms
        self.outcomes: dict[str, CommandOutcome] = {}
        self.contact_doubted = False
        self.fields_doubted: frozenset[str] = frozenset()
        self.failures = 0
        self.queued = False
        self.gone = False

    def is_due(self) -> bool:
        """Return whether anything is to be delivered."""
        contact = self.contact
        return not self.gone and bool(
            self.outcomes
            or self.is_contact_due()
            or self.fields_doubted
            or (contact.report is not None and contact.report != contact.told)
        )

    def is_contact_due(self) -> bool:
        """Return whether a loss, of this incarnation, or its end is yet to be delivered."""
        contact = self.contact
        return (
            self.contact_doubted
            or self.level != contact.told_level
            or (self.level > 0 and self.epoch != contact.told_epoch)
        )


class Notifier:
    """A few workers that deliver notices, each instance's by one of them at a time."""

    def __init__(
        self,
        transitions: Transitions,
        *,
        clock: Clock,
        log: Log,
        settled: Callable[[Contact], None],
    ) -> None:
        """Deliver to `transitions`; call `settled` with each row that had something accepted."""
        self._transitions = transitions
        self._clock = clock
        self._log = log
        self._settled = settled
        self._queue: asyncio.Queue[PendingNotice] = asyncio.Queue()
        self._backoff = Backoff(first_ms=RETRY_FIRST_MS, cap_ms=RETRY_CAP_MS)
        self.dropped_outcomes = 0

    def start(self) -> list[asyncio.Task[None]]:
        """Start the workers and return their tasks, which the caller has to cancel."""
        return [
            asyncio.create_task(self._work(), name=f"contact notifier {number}")
            for number in range(NOTIFIERS)
        ]

    def enqueue(self, notice: PendingNotice, outcomes: tuple[CommandOutcome, ...] = ()) -> None:
        """Queue a notice for delivery, unless it is empty or queued already."""
        for outcome in outcomes:
            notice.outcomes[outcome.id] = outcome
        while len(notice.outcomes) > OUTCOMES_KEPT:
            del notice.outcomes[next(iter(notice.outcomes))]
            self.dropped_outcomes += 1
            self._log.warning("command outcome dropped", instance=notice.contact.instance)
        if not notice.queued and notice.is_due():
            notice.queued = True
            self._queue.put_nowait(notice)

    def forget(self, notice: PendingNotice) -> None:
        """Deliver nothing to this instance any more."""
        notice.gone = True

    async def _work(self) -> None:
        while True:
            notice = await self._queue.get()
            try:
                async with asyncio.timeout(NOTICE_TIMEOUT_S):
                    await self._deliver(notice)
            except Exception as error:  # noqa: BLE001  whatever it was, it is delivered again
                self._later(notice, error)
                continue
            notice.failures = 0
            notice.queued = False
            self.enqueue(notice)

    def _later(self, notice: PendingNotice, error: Exception) -> None:
        """Try again after a while; the notice stays queued meanwhile."""
        notice.failures += 1
        instance = notice.contact.instance
        delay_ms = self._backoff.delay_ms(notice.failures, instance)
        self._log.warning(
            "transition not accepted",
            instance=instance,
            failures=notice.failures,
            retry_ms=delay_ms,
            error=brief(error),
        )
        asyncio.get_running_loop().call_later(delay_ms / 1_000, self._queue.put_nowait, notice)

    async def _deliver(self, notice: PendingNotice) -> None:
        """Deliver everything that is pending, in the order contact, report, outcomes."""
        if notice.gone:
            return
        await self._deliver_contact(notice)
        await self._deliver_report(notice)
        await self._deliver_outcomes(notice)

    async def _deliver_contact(self, notice: PendingNotice) -> None:
        contact, level, epoch = notice.contact, notice.level, notice.epoch
        if not notice.is_contact_due():
            return
        now_ms, instance = self._clock.now_ms(), contact.instance
        notice.contact_doubted = True
        if level:
            # Noted before the delivery: the key of the end of this loss is made of it.
            since_ms = contact.lost_ms = notice.since_ms
            await self._transitions.contact_lost(
                instance,
                level=level,
                epoch=epoch,
                since_ms=since_ms,
                at_ms=now_ms,
                dedupe=f"lost:{epoch}:{since_ms}:{level}",
            )
        else:
            await self._transitions.contact_regained(
                instance, epoch=epoch, at_ms=now_ms, dedupe=f"regained:{epoch}:{contact.lost_ms}"
            )
        notice.contact_doubted = False
        contact.told_level, contact.told_epoch = level, epoch
        self._settled(contact)

    async def _deliver_report(self, notice: PendingNotice) -> None:
        contact, report = notice.contact, notice.contact.report
        if report is None:
            return
        changed = changed_fields(contact.told, report) | notice.fields_doubted
        if not changed:
            return
        notice.fields_doubted = changed
        await self._transitions.reported(
            contact.instance,
            report,
            changed=changed,
            at_ms=self._clock.now_ms(),
            dedupe=f"report:{contact.report_key}",
        )
        notice.fields_doubted = frozenset()
        contact.told = report
        self._settled(contact)

    async def _deliver_outcomes(self, notice: PendingNotice) -> None:
        outcomes = tuple(notice.outcomes.values())
        if not outcomes:
            return
        await self._transitions.commands_done(
            notice.contact.instance,
            outcomes,
            at_ms=self._clock.now_ms(),
            dedupe="commands:" + ",".join(sorted(outcome.id for outcome in outcomes)),
        )
        for outcome in outcomes:
            notice.outcomes.pop(outcome.id, None)

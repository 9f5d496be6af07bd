"""News that is owed to the owners of instances, told until it is accepted.

A debt is a difference between what is so and what was told, so it cannot pile up: a machine that
was lost and heard again before anybody could be told owes nothing. Each telling carries a key
that stays the same when it is repeated, and what was accepted is written with the contact, so a
crash repeats at most what the owner then recognises. A telling that failed may have been accepted
all the same: what it said stays in doubt, and is owed, until a later one was accepted. It must
never hold up a check-in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from holdfast.kernel.backoff import Backoff
from holdfast.kernel.clock import Clock
from holdfast.kernel.log import Log
from holdfast.telemetry.contact import Contact, changed_fields
from holdfast.telemetry.limits import (
    OUTCOMES_KEPT,
    RETRY_CAP_MS,
    RETRY_FIRST_MS,
    TELL_TIMEOUT_S,
    TELLERS,
)
from holdfast.telemetry.ports import Transitions
from holdfast.wire.controller.checkin import CommandOutcome


class Debt:
    """What one instance's owner has yet to hear. `level` is the silence that is so now.

    `contact_doubted` and `fields_doubted` (of the report) say of what the owner may have heard
    something else than the row believes.
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
        """Owe nothing beyond what the row itself says."""
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
        """Return whether anything is owed."""
        contact = self.contact
        return not self.gone and bool(
            self.outcomes
            or self.is_contact_due()
            or self.fields_doubted
            or (contact.report is not None and contact.report != contact.told)
        )

    def is_contact_due(self) -> bool:
        """Return whether a loss, of this incarnation, or its end is yet to be told."""
        contact = self.contact
        return (
            self.contact_doubted
            or self.level != contact.told_level
            or (self.level > 0 and self.epoch != contact.told_epoch)
        )


class Teller:
    """A few workers that pay debts, each instance by one of them at a time."""

    def __init__(
        self,
        transitions: Transitions,
        *,
        clock: Clock,
        log: Log,
        settled: Callable[[Contact], None],
    ) -> None:
        """Tell `transitions`; call `settled` with each row of which something was accepted."""
        self._transitions = transitions
        self._clock = clock
        self._log = log
        self._settled = settled
        self._queue: asyncio.Queue[Debt] = asyncio.Queue()
        self._backoff = Backoff(first_ms=RETRY_FIRST_MS, cap_ms=RETRY_CAP_MS)
        self.dropped_outcomes = 0

    def start(self) -> list[asyncio.Task[None]]:
        """Start the workers and return them; whoever stops them cancels them."""
        return [
            asyncio.create_task(self._work(), name=f"contact teller {number}")
            for number in range(TELLERS)
        ]

    def owe(self, debt: Debt, outcomes: tuple[CommandOutcome, ...] = ()) -> None:
        """Have a debt paid soon; one that is empty, or queued already, costs nothing."""
        for outcome in outcomes:
            debt.outcomes[outcome.id] = outcome
        while len(debt.outcomes) > OUTCOMES_KEPT:
            del debt.outcomes[next(iter(debt.outcomes))]
            self.dropped_outcomes += 1
            self._log.warning("command outcome dropped", instance=debt.contact.instance)
        if not debt.queued and debt.is_due():
            debt.queued = True
            self._queue.put_nowait(debt)

    def forget(self, debt: Debt) -> None:
        """Owe this instance nothing any more."""
        debt.gone = True

    async def _work(self) -> None:
        while True:
            debt = await self._queue.get()
            try:
                async with asyncio.timeout(TELL_TIMEOUT_S):
                    await self._pay(debt)
            except Exception as error:  # noqa: BLE001  whatever it was, it is told again
                self._later(debt, error)
                continue
            debt.failures = 0
            debt.queued = False
            self.owe(debt)

    def _later(self, debt: Debt, error: Exception) -> None:
        """Try again after a while; the debt stays queued meanwhile."""
        debt.failures += 1
        instance = debt.contact.instance
        delay_ms = self._backoff.delay_ms(debt.failures, instance)
        self._log.warning(
            "transition not accepted",
            instance=instance,
            failures=debt.failures,
            retry_ms=delay_ms,
            error=f"{type(error).__name__}: {error}",
        )
        asyncio.get_running_loop().call_later(delay_ms / 1_000, self._queue.put_nowait, debt)

    async def _pay(self, debt: Debt) -> None:
        """Tell everything that is owed, in the order contact, report, outcomes."""
        if debt.gone:
            return
        await self._pay_contact(debt)
        await self._pay_report(debt)
        await self._pay_outcomes(debt)

    async def _pay_contact(self, debt: Debt) -> None:
        contact, level, epoch = debt.contact, debt.level, debt.epoch
        if not debt.is_contact_due():
            return
        now_ms, instance = self._clock.now_ms(), contact.instance
        debt.contact_doubted = True
        if level:
            # Noted before it is told, since the end of this loss is named by it.
            since_ms = contact.lost_ms = debt.since_ms
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
        debt.contact_doubted = False
        contact.told_level, contact.told_epoch = level, epoch
        self._settled(contact)

    async def _pay_report(self, debt: Debt) -> None:
        contact, report = debt.contact, debt.contact.report
        if report is None:
            return
        changed = changed_fields(contact.told, report) | debt.fields_doubted
        if not changed:
            return
        debt.fields_doubted = changed
        await self._transitions.reported(
            contact.instance,
            report,
            changed=changed,
            at_ms=self._clock.now_ms(),
            dedupe=f"report:{contact.report_key}",
        )
        debt.fields_doubted = frozenset()
        contact.told = report
        self._settled(contact)

    async def _pay_outcomes(self, debt: Debt) -> None:
        outcomes = tuple(debt.outcomes.values())
        if not outcomes:
            return
        await self._transitions.commands_done(
            debt.contact.instance,
            outcomes,
            at_ms=self._clock.now_ms(),
            dedupe="commands:" + ",".join(sorted(outcome.id for outcome in outcomes)),
        )
        for outcome in outcomes:
            debt.outcomes.pop(outcome.id, None)

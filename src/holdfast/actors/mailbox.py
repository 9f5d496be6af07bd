"""The mailbox: how handlers, effects, probes and letters reach an actor, and how they hear back.

Accepting only inserts: no actor is locked, and a repeated dedupe key returns the first event. The
answer is on the event itself, so whoever asked waits for its stamp and never looks at a view to
guess. What was accepted is durable before anybody is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from holdfast.actors.limits import MAILBOX_PENDING_MAX, POLL_MS, WAITING_PAGE
from holdfast.actors.owner import CommittedTick, Owner, pending_row
from holdfast.actors.ports import (
    Accepted,
    Answer,
    Arrival,
    Journal,
    KeyReusedError,
    MailboxFullError,
    Stamp,
)
from holdfast.kernel.clock import Clock
from holdfast.kernel.ids import Address, EventId, derive
from holdfast.kernel.log import Log

_FULL_PAGE_POLL_S = 0.05


class Mailbox:
    """The port `Mailboxes`, over a journal and the owner of its actors."""

    def __init__(
        self,
        journal: Journal,
        owner: Owner,
        *,
        clock: Clock,
        log: Log,
        poll_ms: int = POLL_MS,
        pending_max: int = MAILBOX_PENDING_MAX,
    ) -> None:
        """Ask the store every `poll_ms` for events that another process accepted."""
        self._journal = journal
        self._owner = owner
        self._clock = clock
        self._log = log
        self._poll_ms = poll_ms
        self._pending_max = pending_max
        self._asking: dict[EventId, list[asyncio.Future[Stamp | None]]] = {}
        self._poller: asyncio.Task[None] | None = None
        owner.listen(self._hear)

    async def start(self) -> None:
        """Wake whoever has events waiting from before, and keep looking."""
        full = await self._look()
        self._poller = asyncio.create_task(self._poll(full), name="holdfast-mailbox")

    async def stop(self) -> None:
        """Look no more; whoever still waits for an answer gets its operation instead."""
        if self._poller is not None:
            self._poller.cancel()
            await asyncio.gather(self._poller, return_exceptions=True)
            self._poller = None

    async def ask(self, actor: Address, arrival: Arrival, *, wait_ms: int) -> Answer:
        """Accept an event, wake its owner, and wait up to `wait_ms` for the stamp.

        Raise MailboxFullError when too many events wait for the actor already, and KeyReusedError
        where its key came before with another body.
        """
        waiting = self._owner.waiting(actor)
        if waiting >= self._pending_max:
            message = (
                f"{actor}: {waiting} events wait for it already, {self._pending_max} may;"
                " try again when some were taken"
            )
            raise MailboxFullError(message)
        event_id = EventId(derive(str(actor), arrival.dedupe))
        # Before the event: after a crash in between, the same call is made again and is the same.
        if arrival.asked and await self._journal.keep_asked(event_id, arrival.asked) != (
            arrival.asked
        ):
            raise KeyReusedError
        future: asyncio.Future[Stamp | None] = asyncio.get_running_loop().create_future()
        self._asking.setdefault(event_id, []).append(future)
        try:
            (accepted,) = await self.tell([(actor, arrival)])
            stamp = None
            if not accepted.fresh:
                stamp = await self._journal.stamp(accepted.id)
            if stamp is None:
                stamp = await self._wait(future, event_id, wait_ms)
        finally:
            self._leave(event_id, future)
        return Answer(event=accepted.id, fresh=accepted.fresh, stamp=stamp)

    async def tell(self, arrivals: Sequence[tuple[Address, Arrival]]) -> list[Accepted]:
        """Accept events and wake their owners; return when they are durable."""
        accepted = await self._journal.accept(arrivals)
        for (actor, arrival), answer in zip(arrivals, accepted, strict=True):
            self.told(actor, arrival, answer)
        return accepted

    def told(self, actor: Address, arrival: Arrival, accepted: Accepted) -> None:
        """Take note of an event that this process accepted by another way."""
        if accepted.fresh:
            self._owner.keep(actor, pending_row(accepted.id, arrival, self._clock.now_ms()))
        else:
            self._owner.wake(actor)

    async def _wait(
        self, future: asyncio.Future[Stamp | None], event_id: EventId, wait_ms: int
    ) -> Stamp | None:
        """Wait for a stamp; at the end of the time ask the store, since another may own it."""
        if wait_ms > 0:
            # A timer that ends the future costs a fifth of asyncio.wait, and every call waits.
            timer = asyncio.get_running_loop().call_later(wait_ms / 1_000, _expire, future)
            try:
                stamp = await future
            finally:
                timer.cancel()
            if stamp is not None:
                return stamp
        elif future.done():
            return future.result()
        return await self._journal.stamp(event_id)

    def _leave(self, event_id: EventId, future: asyncio.Future[Stamp | None]) -> None:
        """Wait no more for an event."""
        waiting = self._asking.get(event_id, [])
        if future in waiting:
            waiting.remove(future)
        if not waiting:
            self._asking.pop(event_id, None)

    def _hear(self, committed: CommittedTick) -> None:
        """Answer whoever asked for an event of this tick."""
        if not self._asking:
            return
        for stamp in committed.tick.stamps:
            for future in self._asking.get(stamp.id, ()):
                if not future.done():
                    future.set_result(stamp)

    async def _poll(self, full: int) -> None:
        """Look again and again; soon when there was more than one look brings."""
        while True:
            more = full >= WAITING_PAGE
            await asyncio.sleep(_FULL_PAGE_POLL_S if more else self._poll_ms / 1_000)
            try:
                full = await self._look()
            except Exception as error:  # noqa: BLE001  looked at again; the store may be away
                full = 0
                self._log.error("mailbox.poll_failed", exc_info=error)

    async def _look(self) -> int:
        """Wake the actors whose events wait in the store; return how many there were."""
        actors = await self._journal.waiting_actors(WAITING_PAGE)
        for actor in actors:
            self._owner.look_again(actor)
        return len(actors)


def _expire(future: asyncio.Future[Stamp | None]) -> None:
    """End a wait without an answer."""
    if not future.done():
        future.set_result(None)

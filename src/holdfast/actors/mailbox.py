"""The mailbox: how handlers, effects and probes send events to an actor and get the result.

Accepting only inserts: no actor is locked, and a repeated dedupe key returns the first event. The
result is the event's stamp, so a caller waits for the stamp instead of reading views. An event is
durable before `ask` or `tell` returns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from holdfast.actors.committed_tick import CommittedTick, pending_row
from holdfast.actors.limits import MAILBOX_PENDING_MAX, POLL_MS, WAITING_PAGE
from holdfast.actors.owner import Owner
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
        """Poll the store every `poll_ms` for events that another process accepted."""
        self._journal = journal
        self._owner = owner
        self._clock = clock
        self._log = log
        self._poll_ms = poll_ms
        self._pending_max = pending_max
        self._waiters: dict[EventId, list[asyncio.Future[Stamp | None]]] = {}
        self._skip = 0
        self.task: asyncio.Task[None] | None = None
        owner.join(self._on_tick)

    async def start(self) -> None:
        """Wake actors with pending events, and begin to poll."""
        full = await self._look()
        self.task = asyncio.create_task(self._poll(full), name="holdfast-mailbox")

    async def stop(self) -> None:
        """Stop polling; callers that still wait for an answer get its operation instead."""
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
            self.task = None

    async def ask(self, actor: Address, arrival: Arrival, *, wait_ms: int) -> Answer:
        """Accept an event, wake its owner, and wait up to `wait_ms` for the stamp.

        Raise MailboxFullError when too many events wait for the actor already, and KeyReusedError
        where its key came before with another body.
        """
        waiting = self._owner.backlog(actor)[0]
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
        self._waiters.setdefault(event_id, []).append(future)
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
        """Add an event that this process accepted outside of `ask` and `tell`."""
        if accepted.fresh:
            self._owner.keep(actor, pending_row(accepted.id, arrival, self._clock.now_ms()))
        else:
            self._owner.wake(actor)

    async def _wait(
        self, future: asyncio.Future[Stamp | None], event_id: EventId, wait_ms: int
    ) -> Stamp | None:
        """Wait for a stamp; then read the store, since another process may own the actor."""
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
        """Remove a waiting call."""
        waiting = self._waiters.get(event_id, [])
        if future in waiting:
            waiting.remove(future)
        if not waiting:
            self._waiters.pop(event_id, None)

    def _on_tick(self, committed: CommittedTick) -> None:
        """Complete the calls that wait for an event of this tick."""
        if not self._waiters:
            return
        for stamp in committed.tick.stamps:
            for future in self._waiters.get(stamp.id, ()):
                if not future.done():
                    future.set_result(stamp)

    async def _poll(self, full: int) -> None:
        """Look again and again; soon when there is more than one look brings."""
        while True:
            more = full >= WAITING_PAGE
            await asyncio.sleep(_FULL_PAGE_POLL_S if more else self._poll_ms / 1_000)
            try:
                full = await self._look()
            except Exception as error:  # noqa: BLE001  polled again; the store may be unavailable
                full = 0
                self._log.error("mailbox.poll_failed", exc_info=error)

    async def _look(self) -> int:
        """Wake actors whose events wait in the store; return how many there were.

        A full page is followed by the next one at the next look, since the events of a whole page
        may wait for what does not come, and must not hide those behind them.
        """
        actors = await self._journal.waiting_actors(WAITING_PAGE, self._skip)
        for actor in actors:
            self._owner.look_again(actor)
        self._skip = self._skip + len(actors) if len(actors) >= WAITING_PAGE else 0
        return len(actors)


def _expire(future: asyncio.Future[Stamp | None]) -> None:
    """End a wait without a stamp."""
    if not future.done():
        future.set_result(None)

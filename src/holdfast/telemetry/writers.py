"""What waits to be written: contact rows and datapoints, each bounded in number and in time.

A store that is slow, failing or absent changes no answer: rows are kept and tried again, the
oldest datapoints are dropped beyond the bound, and both are counted and said in the log. Contact
rows need no bound of their own, there is one an instance.
"""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import islice

from holdfast.kernel.clock import Clock
from holdfast.kernel.failure import brief
from holdfast.kernel.log import Log
from holdfast.telemetry.contact import Contact
from holdfast.telemetry.limits import BATCH_ROWS_MAX, BUFFER_ROWS_MAX
from holdfast.telemetry.ports import Analytics, CheckinPoint, ContactStore, LifecyclePoint
from holdfast.telemetry.write_loop import Sink, WriteLoop


class ContactSink:
    """Rows that changed since they were last written."""

    def __init__(self, store: ContactStore, *, clock: Clock, log: Log, flush_ms: int) -> None:
        """Write to `store` each `flush_ms`, the loss window of a crash."""
        self._store = store
        self._clock = clock
        self._log = log
        self._dirty: dict[str, Contact] = {}
        self._gone: set[str] = set()
        self._lock = asyncio.Lock()
        self._loop = WriteLoop(flush_ms=flush_ms)
        self.failures = 0

    def mark(self, contact: Contact) -> None:
        """Have a row written soon."""
        self._dirty[contact.instance] = contact

    def forget(self, instance: str) -> None:
        """Have a row removed soon."""
        self._dirty.pop(instance, None)
        self._gone.add(instance)

    async def run(self) -> None:
        """Write until stopped."""
        await self._loop.run(self.flush, self._failed)

    def stop(self) -> None:
        """Have `run` write once more and return."""
        self._loop.stop()

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        self._log.warning("contact not written", waiting=len(self._dirty), error=brief(error))

    async def flush(self) -> None:
        """Write what has changed; on failure it stays marked, and the error is raised."""
        async with self._lock:
            while self._gone:
                gone = list(islice(self._gone, BATCH_ROWS_MAX))
                await self._store.forget(gone)
                self._gone.difference_update(gone)
            while self._dirty:
                await self._save(list(islice(self._dirty.values(), BATCH_ROWS_MAX)))

    async def _save(self, rows: list[Contact]) -> None:
        for row in rows:
            del self._dirty[row.instance]
        try:
            await self._store.save(rows)
        except BaseException:
            for row in rows:
                if row.instance not in self._gone:
                    self._dirty.setdefault(row.instance, row)
            raise


class PointSink(Sink):
    """Datapoints on their way to the analytics store; it is the `Lifecycle` port as well."""

    def __init__(
        self,
        analytics: Analytics,
        *,
        clock: Clock,
        log: Log,
        flush_ms: int,
        rows_max: int = BUFFER_ROWS_MAX,
    ) -> None:
        """Write to `analytics` each `flush_ms`; keep `rows_max` rows of each kind at most."""
        super().__init__(
            analytics.settle, clock=clock, log=log, flush_ms=flush_ms, name="datapoints"
        )
        self._analytics = analytics
        self._rows_max = rows_max
        self._checkins: deque[CheckinPoint] = deque()
        self._events: deque[LifecyclePoint] = deque()

    @property
    def waiting(self) -> int:
        """Return how many points wait."""
        return len(self._checkins) + len(self._events)

    def offer(self, point: CheckinPoint) -> None:
        """Keep a check-in; drop the oldest when there is no room."""
        if len(self._checkins) >= self._rows_max:
            self._checkins.popleft()
            self._tally.dropped += 1
        self._checkins.append(point)

    def record(self, point: LifecyclePoint) -> None:
        """Keep a lifecycle event; drop the oldest when there is no room."""
        if len(self._events) >= self._rows_max:
            self._events.popleft()
            self._tally.dropped += 1
        self._events.append(point)

    async def flush(self) -> None:
        """Write what waits; on failure it waits on, and the error is raised."""
        async with self._lock:
            while self._checkins or self._events:
                checkins = [*islice(self._checkins, BATCH_ROWS_MAX)]
                events = [*islice(self._events, BATCH_ROWS_MAX)]
                dropped = self._tally.dropped
                await self._write(checkins, events)
                self._take_off(checkins, events, overtaken=self._tally.dropped > dropped)

    def _take_off(
        self, checkins: list[CheckinPoint], events: list[LifecyclePoint], *, overtaken: bool
    ) -> None:
        """Remove what was written; where rows were dropped meanwhile, look at each."""
        for queue, rows in ((self._checkins, checkins), (self._events, events)):
            for row in rows:
                if overtaken and (not queue or queue[0] is not row):
                    continue
                queue.popleft()

    async def _write(self, checkins: list[CheckinPoint], events: list[LifecyclePoint]) -> None:
        """Write one batch; a row that the store can never take is set aside, and counted."""
        try:
            await self._analytics.write(checkins, events)
        except ValueError as error:
            rows = len(checkins) + len(events)
            if rows == 1:
                self._refused(error)
                return
            for half in _halves(checkins, events):
                await self._write(*half)
            return
        self._tally.written += len(checkins) + len(events)


def _halves(
    checkins: list[CheckinPoint], events: list[LifecyclePoint]
) -> tuple[tuple[list[CheckinPoint], list[LifecyclePoint]], ...]:
    """Split a batch of at least two rows in two: by kind, else in the middle."""
    if checkins and events:
        return (checkins, []), ([], events)
    middle = max(len(checkins), len(events)) // 2
    return (checkins[:middle], events[:middle]), (checkins[middle:], events[middle:])

"""Ticks on their way to their store: bounded in number, and what is lost is counted.

A store that is slow, failing or absent delays no tick: points are kept and tried again, and the
oldest are dropped beyond the bound.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice

from holdfast.kernel.clock import Clock
from holdfast.kernel.log import Log
from holdfast.telemetry.limits import BATCH_ROWS_MAX, BUFFER_ROWS_MAX
from holdfast.telemetry.ticks import TickPoint, Ticks
from holdfast.telemetry.write_loop import Sink


class TickSink(Sink):
    """Points that wait for their write."""

    def __init__(
        self,
        ticks: Ticks,
        *,
        clock: Clock,
        log: Log,
        flush_ms: int,
        rows_max: int = BUFFER_ROWS_MAX,
    ) -> None:
        """Write to `ticks` each `flush_ms`; keep `rows_max` points at most."""
        super().__init__(ticks.settle, clock=clock, log=log, flush_ms=flush_ms, name="ticks")
        self._ticks = ticks
        self._rows_max = rows_max
        self._points: deque[TickPoint] = deque()

    @property
    def waiting(self) -> int:
        """Return how many points wait."""
        return len(self._points)

    def offer(self, point: TickPoint) -> None:
        """Keep a point; drop the oldest when there is no room. Never blocks, never raises."""
        if len(self._points) >= self._rows_max:
            self._points.popleft()
            self._tally.dropped += 1
        self._points.append(point)

    async def flush(self) -> None:
        """Write what waits; on failure it waits on, and the error is raised."""
        async with self._lock:
            while self._points:
                rows = [*islice(self._points, BATCH_ROWS_MAX)]
                dropped = self._tally.dropped
                await self._write(rows)
                # What was dropped meanwhile was the oldest, and so among the rows just written.
                for _ in range(max(0, len(rows) - (self._tally.dropped - dropped))):
                    self._points.popleft()

    async def _write(self, rows: Sequence[TickPoint]) -> None:
        """Write one batch; a row that the store can never take is set aside, and counted."""
        try:
            await self._ticks.write(rows)
        except ValueError as error:
            if len(rows) == 1:
                self._refused(error)
                return
            middle = len(rows) // 2
            await self._write(rows[:middle])
            await self._write(rows[middle:])
            return
        self._tally.written += len(rows)

"""Check-ins and lifecycle events in DuckDB, `telemetry.duckdb`: one writer thread, one reader.

A batch goes in as one JSON text and one statement, so that the GIL is free while the engine works.
Fleet panels come from a roll-up by the minute, the five minutes and the hour, which `settle`
recomputes from the earliest point written since; so late points and steps of the clock come out
right. Memory and threads are bounded. The file must not be opened by two processes, and nothing
here blocks the event loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from holdfast.kernel.clock import DAY_MS, HOUR_MS, Clock
from holdfast.stores.duckdb.file import DuckdbFile
from holdfast.telemetry.ports import (
    CheckinPoint,
    FleetBucket,
    LifecyclePoint,
    MachineBucket,
    Restarts,
    Span,
    dirty_from,
)
from holdfast.telemetry.views import STEPS_S

MEMORY_MB: Final = 192
"""Memory of the engine before it spills into a folder beside the file."""

MINUTES_KEPT_MS: Final = 2 * DAY_MS
"""How long the roll-up keeps its minutes; longer windows use longer steps."""

SETTLE_CHUNK_MS: Final = 6 * HOUR_MS
"""Time that one statement of the roll-up covers, which bounds memory."""

BYTES_MAX_FLOOR: Final = 16_777_216
"""The least `bytes_max`: space is freed by groups of 122,880 rows, about 7 MB."""

PRUNE_GAP_MS: Final = 10 * 60_000
"""Between two checks for points that are too old or too many."""

PRUNE_TRIES_MAX: Final = 64
"""Days dropped in one check when the file is too large."""


class DuckdbAnalytics(DuckdbFile):
    """Datapoints in a file."""

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock,
        keep_days: int = 30,
        bytes_max: int | None = None,
        memory_mb: int = MEMORY_MB,
    ) -> None:
        """Open the file; raise MigrationError when it is newer, duckdb.IOException when locked.

        Points are kept for `keep_days`, and fewer when they take more than `bytes_max` bytes;
        raise ValueError when that is below the least size that the store can hold.
        """
        if bytes_max is not None and bytes_max < BYTES_MAX_FLOOR:
            raise ValueError(f"bytes_max {bytes_max}: want at least {BYTES_MAX_FLOOR}")
        super().__init__(path, "telemetry", clock=clock, memory_mb=memory_mb)
        self._keep_ms = keep_days * DAY_MS
        self._bytes_max = bytes_max
        self._prune_at_ms = 0

    async def write(
        self, checkins: Sequence[CheckinPoint], events: Sequence[LifecyclePoint]
    ) -> None:
        """Keep the points; all or none. Raise ValueError for a point that does not fit."""
        await self._work(lambda: self._write(checkins, events))

    async def settle(self, now_ms: int) -> None:
        """Bring the roll-up up to date and drop what is older than the retention."""
        await self._work(lambda: self._settle(now_ms))

    async def fleet(self, span: Span, account: str = "") -> Sequence[FleetBucket]:
        """Return the steps that have check-ins, oldest first, from the roll-up."""
        rows = await self._read("fleet", {**_values(span), "account": account})
        return [FleetBucket(*row) for row in rows]

    async def machine(self, span: Span, instance: str) -> Sequence[MachineBucket]:
        """Return the steps in which this instance checked in, oldest first."""
        rows = await self._read("machine", {**_values(span), "instance": instance})
        return [MachineBucket(*row) for row in rows]

    async def restarts(self, span: Span, *, limit: int, account: str = "") -> Sequence[Restarts]:
        """Return the most restarted instances, most first."""
        rows = await self._read("restarts", {**_values(span), "account": account, "limit": limit})
        return [Restarts(*row) for row in rows]

    async def count(self) -> tuple[int, int]:
        """Return how many check-ins and lifecycle events are stored."""
        checkins = await self._read("checkins_count", {})
        events = await self._read("lifecycle_count", {})
        return checkins[0][0], events[0][0]

    def _write(self, checkins: Sequence[CheckinPoint], events: Sequence[LifecyclePoint]) -> None:
        from_ms = dirty_from(checkins)
        with self._points():
            if from_ms is not None:
                self._run("checkins_insert", rows=msgspec.json.encode(checkins).decode())
                self._run("dirty_mark", from_ms=from_ms)
            if events:
                self._run("lifecycle_insert", rows=msgspec.json.encode(events).decode())

    def _settle(self, now_ms: int) -> None:
        """Compute the roll-up from the earliest new point on, one span at a time."""
        dirty_ms = self._run("dirty_get")[0][0]
        while dirty_ms is not None and not self._closing.is_set():
            from_ms, newest_ms = self._run("extent", from_ms=dirty_ms)[0]
            dirty_ms = None
            if from_ms is not None:
                until_ms = (from_ms // SETTLE_CHUNK_MS + 1) * SETTLE_CHUNK_MS
                self._roll_up(from_ms, min(until_ms, newest_ms + 1))
                dirty_ms = until_ms if newest_ms >= until_ms else None
            self._run("dirty_clear", from_ms=dirty_ms)
        if now_ms >= self._prune_at_ms:
            self._prune(now_ms)
            self._prune_at_ms = now_ms + PRUNE_GAP_MS

    def _roll_up(self, from_ms: int, until_ms: int) -> None:
        """Recompute every step that overlaps the span, all or none."""
        with self._transaction():
            for step_s in STEPS_S:
                step_ms = step_s * 1_000
                within = {
                    "step_s": step_s,
                    "from_ms": from_ms // step_ms * step_ms,
                    "until_ms": -(-until_ms // step_ms) * step_ms,
                }
                self._run("rollup_delete", **within)
                self._run("rollup_insert", **within)

    def _prune(self, now_ms: int) -> None:
        """Drop points that are too old, then whole days while the file is too large."""
        self._drop_before(now_ms, now_ms - self._keep_ms)
        if self._bytes_max is None:
            return
        for _ in range(PRUNE_TRIES_MAX):
            self._connection.execute("CHECKPOINT")
            if self._used_bytes() <= self._bytes_max:
                return
            oldest_ms = self._run("oldest")[0][0]
            if oldest_ms is None:
                return
            self._drop_before(now_ms, (oldest_ms // DAY_MS + 1) * DAY_MS)

    def _drop_before(self, now_ms: int, before_ms: int) -> None:
        self._run("checkins_prune", before_ms=before_ms)
        self._run("lifecycle_prune", before_ms=before_ms)
        minutes_ms = max(before_ms, now_ms - MINUTES_KEPT_MS)
        self._run("rollup_prune", before_s=before_ms // 1_000, minutes_before_s=minutes_ms // 1_000)


def _values(span: Span) -> dict[str, int]:
    return {
        **span._asdict(),
        "since_ms": span.since_s * 1_000,
        "until_ms": span.until_s * 1_000,
    }

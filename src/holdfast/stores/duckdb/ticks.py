"""Ticks of towns in DuckDB, `town_ticks.duckdb`: six hours from the ticks, longer by the minute.

`settle` recomputes the minutes from the earliest point written since, so that late points come out
right. Ticks are kept for fewer days than minutes, because a town that works ticks every few
seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from holdfast.kernel.clock import DAY_MS, HOUR_MS, MINUTE_MS, Clock
from holdfast.stores.duckdb.file import DuckdbFile
from holdfast.telemetry.ports import Span
from holdfast.telemetry.ticks import (
    Depth,
    TickBucket,
    TickPoint,
    TypeBucket,
    dirty_from,
    is_raw,
)

MEMORY_MB: Final = 192
"""Memory of the engine before it spills into a folder beside the file."""

SETTLE_CHUNK_MS: Final = HOUR_MS
"""Time that one statement of the roll-up covers, which bounds memory."""

PRUNE_GAP_MS: Final = 10 * MINUTE_MS
"""Between two checks for points that are too old or too many."""

PRUNE_TRIES_MAX: Final = 64
"""Days dropped in one check when the file is too large."""


class DuckdbTicks(DuckdbFile):
    """Ticks in a file."""

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock,
        keep_days: int = 7,
        minutes_days: int = 30,
        bytes_max: int | None = None,
        memory_mb: int = MEMORY_MB,
    ) -> None:
        """Open the file; raise MigrationError when it is newer, duckdb.IOException when locked.

        Ticks are kept for `keep_days`, and fewer when the file takes more than `bytes_max` bytes;
        minutes are kept for `minutes_days`.
        """
        super().__init__(path, "ticks", clock=clock, memory_mb=memory_mb)
        self._keep_ms, self._minutes_ms = keep_days * DAY_MS, minutes_days * DAY_MS
        self._bytes_max = bytes_max
        self._prune_at_ms = 0

    async def write(self, points: Sequence[TickPoint]) -> None:
        """Keep the points; all or none. Raise ValueError for a point that does not fit."""
        await self._work(lambda: self._write(points))

    async def settle(self, now_ms: int) -> None:
        """Bring the roll-up up to date and drop what is older than the retention."""
        await self._work(lambda: self._settle(now_ms))

    async def buckets(
        self, span: Span, *, town: str = "", account: str = ""
    ) -> Sequence[TickBucket]:
        """Return the steps that have ticks, oldest first."""
        rows = await self._read("buckets", _values(span, town, account), source=_source(span))
        return [TickBucket(*row) for row in rows]

    async def types(self, span: Span, *, town: str = "", account: str = "") -> Sequence[TypeBucket]:
        """Return the actions by step, oldest first, and within it by type."""
        name = "raw_types" if is_raw(span) else "minute_types"
        return [TypeBucket(*row) for row in await self._read(name, _values(span, town, account))]

    async def depths(self, span: Span, *, town: str = "", account: str = "") -> Sequence[Depth]:
        """Return the latest tick of each town, by town; of equal times the deeper queue."""
        rows = await self._read("depths", _values(span, town, account), source=_source(span))
        return [Depth(*row) for row in rows]

    async def count(self) -> int:
        """Return how many ticks are kept."""
        rows = await self._read("ticks_count", {})
        return int(rows[0][0])

    def _write(self, points: Sequence[TickPoint]) -> None:
        from_ms = dirty_from(points)
        if from_ms is None:
            return
        with self._points():
            self._run("ticks_insert", rows=msgspec.json.encode(points).decode())
            self._run("dirty_mark", from_ms=from_ms)

    def _settle(self, now_ms: int) -> None:
        """Compute the minutes from the earliest new point on, one span at a time."""
        dirty_ms = self._run("dirty_get")[0][0]
        while dirty_ms is not None and not self._closing.is_set():
            from_ms, newest_ms = self._run("extent", from_ms=dirty_ms)[0]
            dirty_ms = None
            if from_ms is not None:
                until_ms = (from_ms // SETTLE_CHUNK_MS + 1) * SETTLE_CHUNK_MS
                self._roll_up(from_ms // MINUTE_MS * MINUTE_MS, until_ms)
                dirty_ms = until_ms if newest_ms >= until_ms else None
            self._run("dirty_clear", from_ms=dirty_ms)
        if now_ms >= self._prune_at_ms:
            self._prune(now_ms)
            self._prune_at_ms = now_ms + PRUNE_GAP_MS

    def _roll_up(self, from_ms: int, until_ms: int) -> None:
        """Recompute the minutes of a span, all or none."""
        with self._transaction():
            for name in ("minutes_delete", "types_delete", "minutes_insert", "types_insert"):
                self._run(name, from_ms=from_ms, until_ms=until_ms)

    def _prune(self, now_ms: int) -> None:
        """Drop what is too old, then whole days of ticks while the file is too large."""
        self._run("ticks_prune", before_ms=now_ms - self._keep_ms)
        for name in ("minutes_prune", "types_prune"):
            self._run(name, before_ms=now_ms - self._minutes_ms)
        if self._bytes_max is None:
            return
        for _ in range(PRUNE_TRIES_MAX):
            self._connection.execute("CHECKPOINT")
            oldest_ms = self._run("oldest")[0][0]
            if oldest_ms is None or self._used_bytes() <= self._bytes_max:
                return
            self._run("ticks_prune", before_ms=(oldest_ms // DAY_MS + 1) * DAY_MS)


def _values(span: Span, town: str, account: str) -> dict[str, Any]:
    return {
        "step_s": span.step_s,
        "since_ms": span.since_s * 1_000,
        "until_ms": span.until_s * 1_000,
        "town": town,
        "account": account,
    }


def _source(span: Span) -> tuple[str, str]:
    return ("FROM minutes", "FROM single_ticks" if is_raw(span) else "FROM minutes")

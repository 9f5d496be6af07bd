"""Ticks of towns in memory: the twin for tests.

Every panel is computed from the ticks themselves; the roll-up of the DuckDB store is compared with
that. It is for as many points as a test makes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import msgspec

from holdfast.kernel.clock import DAY_MS
from holdfast.kernel.failure import OperationError
from holdfast.telemetry.ports import Span
from holdfast.telemetry.ticks import Depth, TickBucket, TickPoint, TypeBucket

_decode_types = msgspec.json.Decoder(dict[str, int]).decode


class MemoryTicks:
    """Ticks, in memory."""

    def __init__(self, *, keep_days: int = 7) -> None:
        """Keep points for `keep_days`."""
        self.points: list[TickPoint] = []
        self._keep_ms = keep_days * DAY_MS
        self._closed = False
        self.failing = False

    async def write(self, points: Sequence[TickPoint]) -> None:
        """Write the points; all or none."""
        self._check()
        self.points += points

    async def settle(self, now_ms: int) -> None:
        """Drop points older than the retention; there is no roll-up to update."""
        self._check()
        self.points = [one for one in self.points if one.seen_ms >= now_ms - self._keep_ms]

    async def buckets(
        self, span: Span, *, town: str = "", account: str = ""
    ) -> Sequence[TickBucket]:
        """Return the steps that have ticks, oldest first."""
        groups = defaultdict[int, list[TickPoint]](list)
        for point in self._within(span, town, account):
            groups[point.seen_ms // (span.step_s * 1_000) * span.step_s].append(point)
        return [_bucket(at, groups[at], one_town=bool(town)) for at in sorted(groups)]

    async def types(self, span: Span, *, town: str = "", account: str = "") -> Sequence[TypeBucket]:
        """Return the actions by step, oldest first, and within it by type."""
        counts = defaultdict[tuple[int, str], int](int)
        for point in self._within(span, town, account):
            for name, count in _decode_types(point.by_type).items():
                counts[point.seen_ms // (span.step_s * 1_000) * span.step_s, name] += count
        return [TypeBucket(*key, counts[key]) for key in sorted(counts)]

    async def depths(self, span: Span, *, town: str = "", account: str = "") -> Sequence[Depth]:
        """Return the latest tick of each town, by town; of equal times the deeper queue."""
        latest: dict[str, tuple[int, int]] = {}
        for point in self._within(span, town, account):
            mine = (point.seen_ms, point.pending)
            latest[point.town] = max(latest.get(point.town, mine), mine)
        return [Depth(name, *latest[name]) for name in sorted(latest)]

    async def count(self) -> int:
        """Return how many ticks are stored."""
        self._check()
        return len(self.points)

    async def close(self) -> None:
        """Make further calls fail."""
        self._closed = True

    def _within(self, span: Span, town: str, account: str) -> list[TickPoint]:
        self._check()
        return [
            point
            for point in self.points
            if span.since_s * 1_000 <= point.seen_ms < span.until_s * 1_000
            and town in {"", point.town}
            and account in {"", point.account}
        ]

    def _check(self) -> None:
        """Raise when closed, or when set to fail, as a full disk would."""
        if self._closed:
            raise RuntimeError("the store of ticks is closed")
        if self.failing:
            raise OperationError("the store of ticks was told to fail")


def _bucket(bucket_s: int, points: Sequence[TickPoint], *, one_town: bool) -> TickBucket:
    def total(field: str) -> int:
        return sum(getattr(point, field) for point in points)

    latest = max((point.seen_ms, point.pending) for point in points)
    return TickBucket(
        bucket_s=bucket_s,
        ticks=len(points),
        wall_sum=sum(point.wall_ms for point in points),
        wall_max=max(point.wall_ms for point in points),
        drained=total("drained"),
        drained_max=max(point.drained for point in points),
        actions=total("actions"),
        attempted=total("attempted"),
        succeeded=total("succeeded"),
        failed=total("failed"),
        violations=total("violations"),
        pending=latest[1] if one_town else None,
    )

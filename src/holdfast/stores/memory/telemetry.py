"""Check-ins and lifecycle events in memory: the twin for tests and the simulator.

Every panel is computed from the points themselves; the roll-up of the DuckDB store is compared
with that. It is for as many points as a test makes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from holdfast.kernel.clock import DAY_MS
from holdfast.kernel.failure import OperationError
from holdfast.telemetry.ports import (
    CheckinPoint,
    FleetBucket,
    LifecyclePoint,
    MachineBucket,
    Restarts,
    Span,
)

POINTS_MAX: Final = 1_000_000
"""Points of one kind; more is an error of the test."""


class MemoryAnalytics:
    """Datapoints, in memory."""

    def __init__(self, *, keep_days: int = 30, points_max: int = POINTS_MAX) -> None:
        """Keep points for `keep_days`, and at most `points_max` of each kind."""
        self.checkins: list[CheckinPoint] = []
        self.events: list[LifecyclePoint] = []
        self._keep_ms = keep_days * DAY_MS
        self._points_max = points_max
        self._closed = False
        self.failing = False

    async def write(
        self, checkins: Sequence[CheckinPoint], events: Sequence[LifecyclePoint]
    ) -> None:
        """Write the points; all or none."""
        self._check()
        if max(len(self.checkins) + len(checkins), len(self.events) + len(events)) > (
            self._points_max
        ):
            raise OperationError(f"more than {self._points_max} points in memory")
        self.checkins += checkins
        self.events += events

    async def settle(self, now_ms: int) -> None:
        """Drop points older than the retention; there is no roll-up to update."""
        self._check()
        before_ms = now_ms - self._keep_ms
        self.checkins = [point for point in self.checkins if point.seen_ms >= before_ms]
        self.events = [point for point in self.events if point.seen_ms >= before_ms]

    async def fleet(self, span: Span, account: str = "") -> Sequence[FleetBucket]:
        """Return the steps that have check-ins, oldest first."""
        self._check()
        groups = _by_bucket(self._within(span, account), span.step_s)
        return [_fleet_bucket(bucket_s, points) for bucket_s, points in sorted(groups.items())]

    async def machine(self, span: Span, instance: str) -> Sequence[MachineBucket]:
        """Return the steps in which this instance checked in, oldest first."""
        self._check()
        points = [point for point in self._within(span, "") if point.instance == instance]
        groups = _by_bucket(points, span.step_s)
        return [_machine_bucket(bucket_s, group) for bucket_s, group in sorted(groups.items())]

    async def restarts(self, span: Span, *, limit: int, account: str = "") -> Sequence[Restarts]:
        """Return the most restarted instances, most first."""
        self._check()
        times: dict[str, int] = defaultdict(int)
        crashes: dict[str, int] = defaultdict(int)
        for point in self._within(span, account):
            times[point.instance] += point.restarts
            crashes[point.instance] += point.crashes
        rows = [Restarts(name, count, crashes[name]) for name, count in times.items() if count]
        return sorted(rows, key=lambda row: (-row.restarts, row.instance))[:limit]

    async def count(self) -> tuple[int, int]:
        """Return how many check-ins and lifecycle events are stored."""
        self._check()
        return len(self.checkins), len(self.events)

    async def close(self) -> None:
        """Make further calls fail."""
        self._closed = True

    def _within(self, span: Span, account: str) -> list[CheckinPoint]:
        return [
            point
            for point in self.checkins
            if span.since_s * 1_000 <= point.seen_ms < span.until_s * 1_000
            and account in {"", point.account}
        ]

    def _check(self) -> None:
        """Raise when closed, or when set to fail, as a full disk would."""
        if self._closed:
            raise RuntimeError("the analytics store is closed")
        if self.failing:
            raise OperationError("the analytics store was told to fail")


def _by_bucket(points: Sequence[CheckinPoint], step_s: int) -> dict[int, list[CheckinPoint]]:
    groups: dict[int, list[CheckinPoint]] = defaultdict(list)
    for point in points:
        groups[point.seen_ms // (step_s * 1_000) * step_s].append(point)
    return groups


def _fleet_bucket(bucket_s: int, points: Sequence[CheckinPoint]) -> FleetBucket:
    loads = [point.load_5m for point in points]
    disks = [point.disk_used / point.disk_total for point in points if point.disk_total]
    return FleetBucket(
        bucket_s=bucket_s,
        checkins=len(points),
        machines=len({point.instance for point in points}),
        load_p50=_quantile(loads, 0.5),
        load_p95=_quantile(loads, 0.95),
        restarts=sum(point.restarts for point in points),
        crashes=sum(point.crashes for point in points),
        bytes_in=sum(point.bytes_in for point in points),
        bytes_out=sum(point.bytes_out for point in points),
        disk_p50=_quantile(disks, 0.5) if disks else None,
        disk_p95=_quantile(disks, 0.95) if disks else None,
    )


def _machine_bucket(bucket_s: int, points: Sequence[CheckinPoint]) -> MachineBucket:
    return MachineBucket(
        bucket_s=bucket_s,
        checkins=len(points),
        load_mean=sum(point.load_5m for point in points) / len(points),
        load_max=max(point.load_5m for point in points),
        restarts=sum(point.restarts for point in points),
        crashes=sum(point.crashes for point in points),
        bytes_in=sum(point.bytes_in for point in points),
        bytes_out=sum(point.bytes_out for point in points),
        disk_used=max(point.disk_used for point in points),
        disk_total=max(point.disk_total for point in points),
    )


def _quantile(values: Sequence[float], share: float) -> float:
    """Return the quantile, interpolated between the two nearest values."""
    ordered = sorted(values)
    at = (len(ordered) - 1) * share
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)

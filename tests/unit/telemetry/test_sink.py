"""Datapoints on their way: bounded, counted, poison set aside, nothing written twice."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from holdfast.kernel.clock import ManualClock
from holdfast.stores.memory.telemetry import MemoryAnalytics
from holdfast.telemetry.limits import BATCH_ROWS_MAX
from holdfast.telemetry.ports import CheckinPoint, LifecyclePoint
from holdfast.telemetry.writers import PointSink
from tests.support.toys.machines import Quiet


def event(number: int) -> LifecyclePoint:
    return LifecyclePoint(seen_ms=number, event=f"e{number}")


def sink_of(analytics: MemoryAnalytics, rows_max: int = 100) -> PointSink:
    return PointSink(analytics, clock=ManualClock(), log=Quiet(), flush_ms=1, rows_max=rows_max)


class Poisoned(MemoryAnalytics):
    """Refuses batches with a multiple of seven in them."""

    async def write(
        self, checkins: Sequence[CheckinPoint], events: Sequence[LifecyclePoint]
    ) -> None:
        if any(point.seen_ms % 7 == 0 for point in events):
            raise ValueError("a point does not fit")
        await super().write(checkins, events)


async def test_the_oldest_are_dropped_beyond_the_bound_and_counted() -> None:
    analytics = MemoryAnalytics()
    sink = sink_of(analytics)
    for number in range(130):
        sink.record(event(number))
    assert (sink.loss().dropped, sink.loss().waiting) == (30, 100)
    await sink.flush()
    assert [point.seen_ms for point in analytics.events] == list(range(30, 130))
    assert (sink.loss().written, sink.loss().waiting) == (100, 0)


async def test_poison_is_set_aside_and_the_rest_is_kept() -> None:
    analytics = Poisoned()
    sink = sink_of(analytics)
    for number in range(100):
        sink.record(event(number))
    await sink.flush()
    assert sink.loss().poisoned == 15
    assert sorted(point.seen_ms for point in analytics.events) == [
        number for number in range(100) if number % 7
    ]


async def test_batches_are_bounded() -> None:
    sizes: list[int] = []

    class Measured(MemoryAnalytics):
        async def write(
            self, checkins: Sequence[CheckinPoint], events: Sequence[LifecyclePoint]
        ) -> None:
            sizes.append(len(checkins) + len(events))

    sink = sink_of(Measured(), rows_max=10_000)
    for number in range(2 * BATCH_ROWS_MAX + 1):
        sink.record(event(number))
    await sink.flush()
    assert sizes == [BATCH_ROWS_MAX, BATCH_ROWS_MAX, 1]


async def test_what_is_dropped_while_it_is_being_written_is_not_taken_off_twice() -> None:
    entered, go = asyncio.Event(), asyncio.Event()

    class Slow(MemoryAnalytics):
        async def write(
            self, checkins: Sequence[CheckinPoint], events: Sequence[LifecyclePoint]
        ) -> None:
            entered.set()
            await go.wait()
            await super().write(checkins, events)

    analytics = Slow()
    sink = sink_of(analytics, rows_max=10)
    for number in range(10):
        sink.record(event(number))
    flushing = asyncio.create_task(sink.flush())
    await entered.wait()
    for number in range(10, 14):
        sink.record(event(number))
    go.set()
    await flushing
    assert [point.seen_ms for point in analytics.events] == list(range(14))
    assert sink.loss().waiting == 0


async def test_a_stop_during_a_write_writes_once_and_then_the_rest() -> None:
    entered, go = asyncio.Event(), asyncio.Event()

    class Slow(MemoryAnalytics):
        async def write(
            self, checkins: Sequence[CheckinPoint], events: Sequence[LifecyclePoint]
        ) -> None:
            entered.set()
            await go.wait()
            await super().write(checkins, events)

    analytics = Slow()
    sink = sink_of(analytics)
    sink.record(event(1))
    running = asyncio.create_task(sink.run())
    await entered.wait()
    sink.stop()
    sink.record(event(2))
    go.set()
    await running
    await sink.flush()
    assert [point.seen_ms for point in analytics.events] == [1, 2]


async def test_a_failed_write_keeps_everything() -> None:
    analytics = MemoryAnalytics()
    analytics.failing = True
    sink = sink_of(analytics)
    sink.record(event(1))
    with pytest.raises(OSError, match="told to fail"):
        await sink.flush()
    assert sink.loss().waiting == 1

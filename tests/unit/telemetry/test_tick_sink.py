"""Ticks on their way: bounded, counted, poison set aside, nothing written twice."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from holdfast.kernel.clock import ManualClock
from holdfast.kernel.failure import OperationError
from holdfast.stores.memory.ticks import MemoryTicks
from holdfast.telemetry.limits import BATCH_ROWS_MAX
from holdfast.telemetry.tick_sink import TickSink
from holdfast.telemetry.ticks import TickPoint
from tests.support.logs import Lines
from tests.support.patience import until


def point(number: int) -> TickPoint:
    return TickPoint(seen_ms=number, town="t", account="a")


def sink_of(ticks: MemoryTicks, log: Lines | None = None, rows_max: int = 100) -> TickSink:
    return TickSink(ticks, clock=ManualClock(), log=log or Lines(), flush_ms=1, rows_max=rows_max)


async def test_the_oldest_are_dropped_beyond_the_bound_and_counted() -> None:
    ticks = MemoryTicks()
    sink = sink_of(ticks)
    for number in range(130):
        sink.offer(point(number))
    assert (sink.loss().dropped, sink.loss().waiting) == (30, 100)
    await sink.flush()
    assert [one.seen_ms for one in ticks.points] == list(range(30, 130))
    assert (sink.loss().written, sink.loss().waiting) == (100, 0)


async def test_poison_is_set_aside_and_the_rest_is_kept() -> None:
    class Poisoned(MemoryTicks):
        async def write(self, points: Sequence[TickPoint]) -> None:
            if any(one.seen_ms % 7 == 0 for one in points):
                raise ValueError("a point does not fit")
            await super().write(points)

    ticks = Poisoned()
    sink = sink_of(ticks)
    for number in range(100):
        sink.offer(point(number))
    await sink.flush()
    assert sink.loss().poisoned == 15
    assert [one.seen_ms for one in ticks.points] == [n for n in range(100) if n % 7]


async def test_what_is_dropped_during_a_write_is_neither_written_twice_nor_lost_twice() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    class Slow(MemoryTicks):
        async def write(self, points: Sequence[TickPoint]) -> None:
            assert len(points) <= BATCH_ROWS_MAX
            begun.set()
            await go_on.wait()
            await super().write(points)

    ticks = Slow()
    sink = sink_of(ticks, rows_max=10)
    for number in range(10):
        sink.offer(point(number))
    flushing = asyncio.create_task(sink.flush())
    await begun.wait()
    for number in range(10, 25):
        sink.offer(point(number))
    go_on.set()
    await flushing
    assert [one.seen_ms for one in ticks.points] == [*range(10), *range(15, 25)]


async def test_a_store_that_fails_loses_nothing_and_is_tried_again() -> None:
    ticks, log = MemoryTicks(), Lines()
    ticks.failing = True
    sink = sink_of(ticks, log)
    sink.offer(point(1))
    with pytest.raises(OperationError):
        await sink.flush()
    running = asyncio.create_task(sink.run())
    await until(lambda: sink.loss().failures)
    assert log.named("ticks.not_written")[0]["waiting"] == 1
    ticks.failing = False
    await until(lambda: sink.loss().written)
    sink.stop()
    await running
    assert (sink.loss().written, sink.loss().dropped) == (1, 0)

"""Every store of ticks gives the same answers, and the roll-up the same as the ticks."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator
from pathlib import Path

import duckdb
import msgspec
import pytest

from holdfast.kernel.clock import DAY_MS, HOUR_MS, MINUTE_MS, ManualClock
from holdfast.stores.duckdb.ticks import DuckdbTicks
from holdfast.stores.memory.ticks import MemoryTicks
from holdfast.telemetry.ports import Span
from holdfast.telemetry.ticks import (
    RAW_MAX_S,
    STEPS_S,
    Depth,
    TickPoint,
    Ticks,
    exact_ms,
    is_raw,
    span_of,
)

NOW_MS = 1_760_000_000_000
TOWNS = ("north", "south", "west")


def point(town: str = "north", *, seen_ms: int = NOW_MS, **more: object) -> TickPoint:
    made = TickPoint(seen_ms=seen_ms, town=town, account="bob" if town == "west" else "ann")
    return msgspec.structs.replace(made, **more)


def some_points(count: int, *, seed: int, width_ms: int) -> list[TickPoint]:
    chance = random.Random(seed)
    made = []
    for _ in range(count):
        types = {name: chance.randrange(1, 4) for name in chance.sample("abcd", 2)}
        made.append(
            point(
                chance.choice(TOWNS),
                seen_ms=NOW_MS + chance.randrange(width_ms),
                wall_ms=exact_ms(chance.random() * 9),
                drained=chance.randrange(64),
                actions=sum(types.values()),
                attempted=chance.randrange(5),
                succeeded=chance.randrange(5),
                failed=chance.randrange(2),
                violations=chance.choice([0, 0, 0, 2]),
                pending=chance.randrange(200),
                by_type=json.dumps(types),
                broken="7:a/one",
            )
        )
    return made


def make(kind: str, folder: Path, **more: int) -> Ticks:
    if kind == "memory":
        return MemoryTicks(**more)
    return DuckdbTicks(folder / "town_ticks.duckdb", clock=ManualClock(), **more)


@pytest.fixture(params=["memory", "duckdb"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Ticks]:
    made = make(request.param, tmp_path)
    yield made
    await made.close()


def around(step_s: int, *, width_s: int = RAW_MAX_S) -> Span:
    since_s = NOW_MS // 1_000 // 21_600 * 21_600
    return Span(since_s, since_s + width_s, step_s)


async def test_a_tick_without_any_decision_is_a_point_like_all_others(store: Ticks) -> None:
    await store.write([point(wall_ms=0.25)])
    await store.settle(NOW_MS)
    found = await store.buckets(around(60))
    assert [(one.ticks, one.wall_sum, one.drained, one.pending) for one in found] == [
        (1, 0.25, 0, None)
    ]
    assert await store.types(around(60)) == []
    assert await store.count() == 1


async def test_the_queue_is_the_latest_row_of_each_town_and_never_a_mean(store: Ticks) -> None:
    await store.write(
        [
            point("north", seen_ms=NOW_MS, pending=150),
            point("north", seen_ms=NOW_MS + 5_000, pending=3),
            point("south", seen_ms=NOW_MS + 1, pending=60),
            point("south", seen_ms=NOW_MS + 1, pending=40),
            point("west", seen_ms=NOW_MS - 10, pending=0),
        ]
    )
    await store.settle(NOW_MS)
    for width_s in (RAW_MAX_S, 10 * RAW_MAX_S):
        span = around(60, width_s=width_s)
        assert await store.depths(span) == [
            Depth("north", NOW_MS + 5_000, 3),
            Depth("south", NOW_MS + 1, 60),
            Depth("west", NOW_MS - 10, 0),
        ]
        assert [one.town for one in await store.depths(span, account="bob")] == ["west"]
        assert (await store.buckets(span, town="north"))[-1].pending == 3


@pytest.mark.parametrize("step_s", STEPS_S)
async def test_the_roll_up_is_equal_to_the_ticks(tmp_path: Path, step_s: int) -> None:
    points = some_points(3_000, seed=step_s, width_ms=26 * HOUR_MS)
    truth, stored = make("memory", tmp_path), make("duckdb", tmp_path)
    try:
        for begin in range(0, len(points), 700):  # late ones among them: the order is by chance
            for one in (truth, stored):
                await one.write(points[begin : begin + 700])
                await one.settle(NOW_MS)
        for width_s in (RAW_MAX_S, 2 * 86_400):
            span = around(step_s, width_s=width_s)
            assert is_raw(span) == (width_s == RAW_MAX_S)
            for town, account in (("", ""), ("south", ""), ("", "ann")):
                who = {"town": town, "account": account}
                buckets = await stored.buckets(span, **who)
                assert buckets
                assert buckets == await truth.buckets(span, **who)
                assert await stored.types(span, **who) == await truth.types(span, **who)
                assert await stored.depths(span, **who) == await truth.depths(span, **who)
    finally:
        await stored.close()


async def test_a_crash_between_the_points_and_the_roll_up_is_made_good(tmp_path: Path) -> None:
    span = around(60, width_s=10 * RAW_MAX_S)
    store = make("duckdb", tmp_path)
    await store.write([point(pending=9)])
    await store.close()
    store = make("duckdb", tmp_path)
    assert await store.buckets(span) == []
    await store.settle(NOW_MS)
    assert [one.ticks for one in await store.buckets(span)] == [1]
    await store.close()


async def test_ticks_leave_before_their_minutes(tmp_path: Path) -> None:
    store = make("duckdb", tmp_path, keep_days=2, minutes_days=5)
    await store.write([point(seen_ms=NOW_MS), point(seen_ms=NOW_MS + 3 * DAY_MS)])
    span = around(21_600, width_s=10 * 86_400)
    await store.settle(NOW_MS + 3 * DAY_MS)
    assert await store.count() == 1
    assert [one.ticks for one in await store.buckets(span)] == [1, 1]
    await store.settle(NOW_MS + 6 * DAY_MS)
    assert await store.count() == 0
    assert [one.ticks for one in await store.buckets(span)] == [1]
    await store.close()


async def test_a_file_that_is_too_large_loses_its_oldest_days(tmp_path: Path) -> None:
    store = make("duckdb", tmp_path, bytes_max=1)
    await store.write([point(seen_ms=NOW_MS), point(seen_ms=NOW_MS + 3 * DAY_MS)])
    await store.settle(NOW_MS + 3 * DAY_MS)
    assert await store.count() == 0
    await store.close()


async def test_a_point_that_does_not_fit_is_refused_and_nothing_of_its_batch_kept(
    tmp_path: Path,
) -> None:
    store = make("duckdb", tmp_path)
    with pytest.raises(ValueError, match="does not fit"):
        await store.write([point(), point(drained=2**40)])
    assert await store.count() == 0
    await store.close()


async def test_the_view_has_a_row_a_tick_and_one_more_for_each_that_broke_something(
    tmp_path: Path,
) -> None:
    store = make("duckdb", tmp_path)
    await store.write(
        [
            point(wall_ms=1.5, drained=1, actions=2, attempted=3, succeeded=4, failed=5,
                  violations=6, pending=7, by_type='{"nudge":2}', broken="7:a/x"),
            point("west", seen_ms=NOW_MS + 1),
        ]
    )  # fmt: skip
    await store.close()
    with duckdb.connect(str(tmp_path / "town_ticks.duckdb"), read_only=True) as read:
        rows = read.execute(
            "SELECT index1, blob1, blob2, blob6, blob10, double1, double2, double3, double4,"
            " double5, double6, double7, double8 FROM gastown_events ORDER BY timestamp, index1"
        ).fetchall()
    broken = "reconciler.invariant_violations"
    tick = "reconciler_tick"
    assert rows == [
        (broken, broken, "ann", "north", "7:a/x", 0, 6, 0, 0, 0, 0, 0, 0),
        (tick, tick, "ann", "north", '{"nudge":2}', 1.5, 1, 2, 3, 4, 5, 6, 7),
        (tick, tick, "bob", "west", "{}", 0, 0, 0, 0, 0, 0, 0, 0),
    ]


def test_every_window_has_few_enough_steps_of_whole_minutes() -> None:
    for width_s in (900, 3_600, 21_600, 86_400, 604_800, 2_592_000):
        span = span_of(width_s, now_ms=NOW_MS)
        assert (span.until_s - span.since_s) // span.step_s <= 400
        assert span.since_s % 60 == 0
        assert span.since_s <= NOW_MS // 1_000 < span.until_s
    assert span_of(MINUTE_MS // 1_000, now_ms=NOW_MS).step_s == 60

"""Every analytics store gives the same answers, and the roll-up the same as the points."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from holdfast.kernel.clock import DAY_MS, HOUR_MS, ManualClock
from holdfast.stores.duckdb.telemetry import BYTES_MAX_FLOOR, DuckdbAnalytics
from holdfast.stores.memory.telemetry import MemoryAnalytics
from holdfast.telemetry.ports import Analytics, CheckinPoint, LifecyclePoint, Span
from holdfast.telemetry.views import STEPS_S

NOW_MS = 1_760_000_000_000


def point(number: int, *, seen_ms: int, account: str = "ann", **more: object) -> CheckinPoint:
    made = CheckinPoint(
        seen_ms=seen_ms,
        sandbox=f"ki_{number:032x}",
        instance=f"instance-{number}",
        account=account,
        controller_version="1.2.3",
        controller_commit="abcdef",
        agent_version="2026.9.6",
        agent_commit="",
        supervisor_state="running",
        region="fra",
        machine_id=f"m{number}",
        last_exit_reason="",
        restarts=number % 3,
        restarts_total=number,
        uptime_s=1.5,
        load_5m=number / 7,
        bytes_in=number * 1_000,
        bytes_out=number * 10,
        disk_used=number,
        disk_total=1_000 if number % 4 else 0,
        agent_ready=None if number % 2 else True,
    )
    return msgspec.structs.replace(made, **more)


def some_points(count: int, *, seed: int, width_ms: int = 3 * HOUR_MS) -> list[CheckinPoint]:
    chance = random.Random(seed)
    return [
        point(
            chance.randrange(20),
            seen_ms=NOW_MS + chance.randrange(width_ms),
            account=chance.choice(["ann", "bob", ""]),
            load_5m=chance.random() * 4,
            crashes=chance.randrange(3),
        )
        for _ in range(count)
    ]


def make(kind: str, folder: Path, **more: int) -> Analytics:
    if kind == "memory":
        return MemoryAnalytics(**more)
    return DuckdbAnalytics(folder / "telemetry.duckdb", clock=ManualClock(), **more)


@pytest.fixture(params=["memory", "duckdb"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Analytics]:
    made = make(request.param, tmp_path)
    yield made
    await made.close()


def wide(step_s: int) -> Span:
    since_s = NOW_MS // 1_000 // 3_600 * 3_600 - 7_200
    return Span(since_s, since_s + 10 * 3_600, step_s)


async def test_points_are_counted(store: Analytics) -> None:
    await store.write([point(1, seen_ms=NOW_MS)], [LifecyclePoint(seen_ms=NOW_MS, event="x")])
    await store.write([], [])
    assert await store.count() == (1, 1)


async def test_an_empty_store_answers_nothing(store: Analytics) -> None:
    await store.settle(NOW_MS)
    assert list(await store.fleet(wide(60))) == []
    assert list(await store.machine(wide(60), "instance-1")) == []
    assert list(await store.restarts(wide(60), limit=5)) == []


async def test_a_fleet_bucket_says_what_was_reported(store: Analytics) -> None:
    at = NOW_MS // 60_000 * 60_000
    await store.write(
        [
            point(1, seen_ms=at, load_5m=1.0, restarts=1, disk_used=100, disk_total=1_000),
            point(2, seen_ms=at + 59_999, load_5m=3.0, restarts=2, disk_total=0),
            point(2, seen_ms=at + 60_000, load_5m=9.0),
        ],
        [],
    )
    await store.settle(at)
    first, second = await store.fleet(Span(at // 1_000, at // 1_000 + 120, 60))
    assert (first.bucket_s, first.checkins, first.machines) == (at // 1_000, 2, 2)
    assert first.load_p50 == 2.0
    assert first.load_p95 == pytest.approx(2.9)
    assert (first.restarts, first.bytes_in, first.bytes_out) == (3, 3_000, 30)
    assert (first.disk_p50, first.disk_p95) == (0.1, 0.1)
    assert (second.bucket_s, second.load_p50) == (at // 1_000 + 60, 9.0)
    assert first.machines == 2


async def test_a_bucket_without_disks_has_none(store: Analytics) -> None:
    await store.write([point(4, seen_ms=NOW_MS)], [])
    await store.settle(NOW_MS)
    (bucket,) = await store.fleet(wide(3_600))
    assert (bucket.disk_p50, bucket.disk_p95) == (None, None)


async def test_an_account_sees_only_its_own(store: Analytics) -> None:
    await store.write(
        [
            point(1, seen_ms=NOW_MS, account="ann"),
            point(2, seen_ms=NOW_MS, account="bob"),
            point(2, seen_ms=NOW_MS, account="bob"),
        ],
        [],
    )
    await store.settle(NOW_MS)
    assert [b.checkins for b in await store.fleet(wide(300), "ann")] == [1]
    assert [b.checkins for b in await store.fleet(wide(300), "bob")] == [2]
    assert [b.checkins for b in await store.fleet(wide(300))] == [3]
    assert list(await store.fleet(wide(300), "eve")) == []
    assert [r.instance for r in await store.restarts(wide(300), limit=9, account="bob")] == [
        "instance-2"
    ]


async def test_the_most_restarted_come_first(store: Analytics) -> None:
    points = [point(n, seen_ms=NOW_MS + n, restarts=n % 3, crashes=n % 2) for n in range(9)]
    await store.write(points, [])
    rows = await store.restarts(wide(60), limit=4)
    assert [(row.instance, row.restarts) for row in rows] == [
        ("instance-2", 2),
        ("instance-5", 2),
        ("instance-8", 2),
        ("instance-1", 1),
    ]


async def test_a_point_that_does_not_fit_is_a_value_error_and_spoils_nothing(
    tmp_path: Path,
) -> None:
    store = make("duckdb", tmp_path)
    with pytest.raises(ValueError, match="does not fit"):
        await store.write([point(1, seen_ms=NOW_MS), point(2, seen_ms=NOW_MS, cpus=2**40)], [])
    assert await store.count() == (0, 0)
    await store.write([point(1, seen_ms=NOW_MS)], [])
    assert await store.count() == (1, 0)
    await store.close()


async def test_texts_come_through_whole(tmp_path: Path) -> None:
    store = DuckdbAnalytics(tmp_path / "telemetry.duckdb", clock=ManualClock())
    odd = "quote \" backslash \\ zero \x00 newline \n smile 😀 ' ; --"
    await store.write([point(1, seen_ms=NOW_MS, last_exit_reason=odd)], [])
    read = store._connection.execute("SELECT last_exit_reason FROM checkins").fetchall()
    assert read == [(odd,)]
    await store.close()


async def test_old_points_go_and_young_ones_stay(store: Analytics) -> None:
    await store.write(
        [point(1, seen_ms=NOW_MS - 31 * DAY_MS), point(2, seen_ms=NOW_MS)],
        [LifecyclePoint(seen_ms=NOW_MS - 31 * DAY_MS, event="x")],
    )
    await store.settle(NOW_MS)
    assert await store.count() == (1, 0)
    since_s = NOW_MS // 1_000 - 40 * 86_400
    span = Span(since_s // 3_600 * 3_600, NOW_MS // 1_000 + 3_600, 3_600)
    assert [bucket.machines for bucket in await store.fleet(span)] == [1]


async def test_a_closed_store_refuses(store: Analytics) -> None:
    await store.close()
    with pytest.raises(RuntimeError, match="closed"):
        await store.write([point(1, seen_ms=NOW_MS)], [])


@pytest.mark.parametrize("seed", range(5))
async def test_both_stores_give_the_same_answers(tmp_path: Path, seed: int) -> None:
    """Points come late and out of order, and the roll-up is settled at odd moments."""
    points = some_points(400, seed=seed)
    stores = [make("memory", tmp_path), make("duckdb", tmp_path)]
    for store in stores:
        chance = random.Random(seed)
        left = list(points)
        while left:
            count = chance.randrange(1, 90)
            await store.write(left[:count], [])
            del left[:count]
            if chance.random() < 0.4:
                await store.settle(NOW_MS)
        await store.settle(NOW_MS)
    memory, duck = stores
    for step_s in STEPS_S:
        for account in ("", "ann", "bob"):
            ours = await memory.fleet(wide(step_s), account)
            theirs = await duck.fleet(wide(step_s), account)
            assert [pytest.approx(b) for b in ours] == list(theirs)
        ours_one = await memory.machine(wide(step_s), "instance-3")
        theirs_one = await duck.machine(wide(step_s), "instance-3")
        assert [pytest.approx(b) for b in ours_one] == list(theirs_one)
    for limit in (1, 3, 50):
        assert list(await memory.restarts(wide(60), limit=limit)) == list(
            await duck.restarts(wide(60), limit=limit)
        )
    for store in stores:
        await store.close()


async def test_a_roll_up_cut_short_by_a_crash_is_made_good(tmp_path: Path) -> None:
    first = make("duckdb", tmp_path)
    await first.write([point(1, seen_ms=NOW_MS)], [])
    await first.close()
    second = make("duckdb", tmp_path)
    assert list(await second.fleet(wide(60))) == []
    await second.settle(NOW_MS)
    assert [bucket.checkins for bucket in await second.fleet(wide(60))] == [1]
    await second.close()


async def test_a_file_that_grows_too_large_loses_its_oldest_days(tmp_path: Path) -> None:
    store = DuckdbAnalytics(
        tmp_path / "telemetry.duckdb", clock=ManualClock(), bytes_max=BYTES_MAX_FLOOR
    )
    await store.write([point(1, seen_ms=NOW_MS)], [])
    many = (
        "INSERT INTO checkins SELECT c.* REPLACE (seen_ms + n * 1440 AS seen_ms,"
        " md5(n::VARCHAR) AS boot_id, md5((n + 1)::VARCHAR) AS degraded)"
        " FROM checkins AS c, range(600_000) AS r(n)"
    )
    store._connection.execute(many)
    await store.settle(NOW_MS + 10 * DAY_MS)
    kept, _ = await store.count()
    assert 100_000 < kept < 500_000
    assert store._used_bytes() <= BYTES_MAX_FLOOR
    left = store._connection.execute("SELECT max(seen_ms) FROM checkins").fetchall()
    assert left == [(NOW_MS + 599_999 * 1_440,)]
    await store.close()


async def test_a_size_that_cannot_be_kept_to_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="bytes_max 1000"):
        make("duckdb", tmp_path, bytes_max=1_000)


async def test_the_views_have_the_contracts_layout(tmp_path: Path) -> None:
    store = DuckdbAnalytics(tmp_path / "telemetry.duckdb", clock=ManualClock())
    await store.write(
        [point(5, seen_ms=NOW_MS, last_exit_reason="code:1")],
        [
            LifecyclePoint(
                seen_ms=NOW_MS, event="instance.started", account="ann", label="l", value=2.5
            )
        ],
    )
    run = store._connection.execute
    blobs = ", ".join(f"blob{n}" for n in range(1, 10))
    doubles = ", ".join(f"double{n}" for n in range(1, 9))
    row = run(
        f"SELECT index1, epoch_ms(timestamp), {blobs}, {doubles} FROM kiloclaw_controller_telemetry"
    ).fetchone()
    sandbox = f"ki_{5:032x}"
    assert row == (
        *(sandbox, NOW_MS, sandbox, "1.2.3", "abcdef", "2026.9.6", "", "running", "fra", "m5"),
        *("code:1", 2.0, 5.0, 1.5, 5 / 7, 5_000.0, 50.0, 5.0, 1_000.0),
    )
    row = run(
        "SELECT index1, blob1, blob2, blob13, double1, double2 FROM kiloclaw_events"
    ).fetchone()
    assert row == ("instance.started", "instance.started", "ann", "l", 0.0, 2.5)
    await store.close()

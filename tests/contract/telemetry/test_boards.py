"""The boards of Grafana: their files are fresh, and ClickHouse answers them as DuckDB does.

The queries are those of the committed files, with Grafana's macros filled in as its plugin does.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import pytest

import holdfast.monitoring
from holdfast.kernel.clock import HOUR_MS, ManualClock
from holdfast.kernel.metrics import CATALOGUE
from holdfast.stores.duckdb.ticks import DuckdbTicks
from holdfast.telemetry.ports import Span
from holdfast.telemetry.ticks import Ticks
from tests.contract.telemetry.test_ticks import NOW_MS, some_points
from tests.support.real_parts import want_package
from tools import boards

MONITORING = Path(holdfast.monitoring.__file__).parent
SPAN = Span(NOW_MS // 1_000 // 60 * 60, NOW_MS // 1_000 // 60 * 60 + 4 * 3_600, 60)

Ask: TypeAlias = Callable[[int], list[list[Any]]]


def panels(name: str) -> dict[int, dict[str, Any]]:
    board = json.loads((boards.FOLDER / name).read_text(encoding="utf-8"))
    return {panel["id"]: panel for panel in board["panels"] if panel["type"] != "row"}


def test_the_committed_boards_are_what_the_command_writes() -> None:
    committed = {path.name: path.read_text(encoding="utf-8") for path in boards.FOLDER.iterdir()}
    assert committed == boards.texts(), "make boards"


def test_both_boards_have_the_same_panels_with_the_thresholds_of_the_contract() -> None:
    prometheus, clickhouse = panels("towns-prometheus.json"), panels("towns-clickhouse.json")
    assert list(prometheus) == list(clickhouse)
    for one, other in zip(prometheus.values(), clickhouse.values(), strict=True):
        without = {"targets", "datasource"}
        assert {k: v for k, v in one.items() if k not in without} == {
            k: v for k, v in other.items() if k not in without
        }
    steps = {
        number: [
            (step["value"], step["color"])
            for step in prometheus[number]["fieldConfig"]["defaults"]["thresholds"]["steps"]
        ]
        for number in (204, 205, 206)
    }
    assert steps == {
        204: [(None, "green"), (1, "red")],
        205: [(None, "green"), (100, "yellow"), (500, "red")],
        206: [(None, "green"), (25, "yellow"), (50, "red")],
    }
    assert prometheus[206]["fieldConfig"]["defaults"]["max"] == 200
    assert prometheus[204]["options"]["colorMode"] == "background"


def test_every_figure_that_the_board_asks_prometheus_for_is_one_that_is_measured() -> None:
    asked = set[str]()
    for panel in panels("towns-prometheus.json").values():
        for target in panel["targets"]:
            asked |= set(re.findall(r"holdfast_\w+", target["expr"]))
    measured = {metric.name for metric in CATALOGUE}
    assert {re.sub(r"_(sum|count|bucket)$", "", name) for name in asked} <= measured
    assert len(asked) == 14


@pytest.fixture(scope="module")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ask, Path]]:
    """Give the same ticks to DuckDB, and by a file to ClickHouse; ask the latter for a panel."""
    want_package("chdb", "that ClickHouse answers the board as DuckDB does")
    folder = tmp_path_factory.mktemp("ticks")
    path, copy = folder / "town_ticks.duckdb", folder / "gastown_events.parquet"
    store = DuckdbTicks(path, clock=ManualClock())

    async def fill() -> None:
        await store.write(some_points(4_000, seed=1, width_ms=4 * HOUR_MS))
        await store.settle(NOW_MS)
        await store.close()

    asyncio.run(fill())
    with duckdb.connect(str(path), read_only=True) as read:
        read.execute(f"COPY gastown_events TO '{copy}' (FORMAT parquet)")
    session: Any = importlib.import_module("chdb.session").Session()  # large, without types
    session.query((MONITORING / "clickhouse" / "gastown_events.sql").read_text(encoding="utf-8"))
    session.query(f"INSERT INTO gastown_events SELECT * FROM file('{copy}', 'Parquet')")
    asked = panels("towns-clickhouse.json")

    def ask(panel: int) -> list[list[Any]]:
        (target,) = asked[panel]["targets"]
        answer = json.loads(str(session.query(filled(target["rawSql"]), "JSONCompact")))
        rows: list[list[Any]] = answer["data"]
        return rows

    yield ask, path
    session.close()


def filled(sql: str) -> str:
    """Return a query with the macros as Grafana's plugin fills them in."""
    within = (
        f"timestamp >= fromUnixTimestamp64Milli({SPAN.since_s}000, 'UTC')"
        f" AND timestamp < fromUnixTimestamp64Milli({SPAN.until_s}000, 'UTC')"
    )
    step = (
        f"toUnixTimestamp(toStartOfInterval(toDateTime(timestamp), INTERVAL {SPAN.step_s} second))"
    )
    sql = sql.replace("$__timeFilter(timestamp)", within)
    return sql.replace("$__timeInterval(timestamp)", step)


@pytest.fixture
async def ticks(clickhouse: tuple[Ask, Path]) -> Any:
    store = DuckdbTicks(clickhouse[1], clock=ManualClock())
    yield store
    await store.close()


async def test_clickhouse_and_duckdb_agree_on_the_six_panels_to_the_last_bit(
    clickhouse: tuple[Ask, Path], ticks: Ticks
) -> None:
    ask, _ = clickhouse
    buckets = await ticks.buckets(SPAN)
    assert len(buckets) > 200
    assert ask(201) == [[b.bucket_s, b.drained / b.ticks, b.drained_max] for b in buckets]
    types = await ticks.types(SPAN)
    assert [[at, name, int(count)] for at, name, count in ask(202)] == [list(t) for t in types]
    assert ask(203) == [
        [b.bucket_s, b.attempted / b.ticks, b.succeeded / b.ticks, b.failed / b.ticks]
        for b in buckets
    ]
    assert ask(204) == [[sum(b.violations for b in buckets)]]
    assert ask(205) == [[b.bucket_s, b.wall_sum / b.ticks] for b in buckets]
    depths = await ticks.depths(SPAN)
    assert len(depths) == 3
    assert ask(206) == [[max(depth.pending for depth in depths)]]


def test_the_panels_of_ours_are_answered_too(clickhouse: tuple[Ask, Path]) -> None:
    ask, _ = clickhouse
    for panel in (211, 212, 213, 216):
        assert len(ask(panel)) > 200
    assert ask(214) == [[0]]
    assert [[int(row[0])] for row in ask(215)] == [[0]]

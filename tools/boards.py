"""Write the boards of towns for Grafana: one reads Prometheus, one ClickHouse, the panels are one.

`make boards` runs it; a test holds that the committed files are what it writes. The ClickHouse
queries read `gastown_events` in the layout of docs/compat/towns.md. The SDK has no builder for the
queries of the ClickHouse plugin, so one is here. No Grafana runs in the suite: the queries are run
by the engines they are for, and the boards were never rendered.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from grafana_foundation_sdk.builders import common, dashboard, gauge, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    GraphDrawStyle,
    GraphTresholdsStyleMode,
    StackingMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    DynamicConfigValue,
    FieldColor,
    FieldColorModeId,
    GridPos,
    Threshold,
    ThresholdsMode,
)

from holdfast.telemetry.ticks import PANEL_LIMITS

FOLDER: Final = (
    Path(__file__).resolve().parent.parent / "src" / "holdfast" / "monitoring" / "grafana"
)
PROMETHEUS: Final = "prometheus"
CLICKHOUSE: Final = "grafana-clickhouse-datasource"
REFRESH: Final = "5s"

Kind: TypeAlias = Literal["lines", "bars", "stat", "gauge"]


class Line(NamedTuple):
    """One series: its legend, the PromQL of it, and its colour where it has one."""

    legend: str
    promql: str
    color: str = ""


class Spec(NamedTuple):
    """One panel.

    `thresholds` are values and colours, the first below all. `sql` gives a column for each line, or
    one named `value` for each text of a column beside the time.
    """

    id: int
    title: str
    about: str
    kind: Kind
    unit: str
    lines: tuple[Line, ...]
    sql: str
    thresholds: tuple[tuple[float, str], ...] = ()
    max: float | None = None


class ClickHouseQuery(Dataquery):
    """A query of Grafana's ClickHouse plugin (4.x), as that stores it."""

    def __init__(self, sql: str, *, ref_id: str, is_series: bool) -> None:
        self._sql = sql
        self._ref_id = ref_id
        self._is_series = is_series

    def to_json(self) -> dict[str, object]:
        """Return the query; `format` is 0 for series over time and 1 for a table."""
        return {
            "datasource": {"type": CLICKHOUSE, "uid": "${datasource}"},
            "editorType": "sql",
            "format": 0 if self._is_series else 1,
            "queryType": "timeseries" if self._is_series else "table",
            "rawSql": self._sql,
            "refId": self._ref_id,
        }


class ClickHouse(Builder[ClickHouseQuery]):
    """The builder of that query."""

    def __init__(self, sql: str, *, is_series: bool) -> None:
        self._query = ClickHouseQuery(sql, ref_id="A", is_series=is_series)

    def build(self) -> ClickHouseQuery:
        """Return the query."""
        return self._query


def rate(metric: str) -> str:
    """Return the rate of a counter over all of the plane's labels."""
    return f"sum(rate({metric}[$__rate_interval]))"


def grown(metric: str) -> str:
    """Return how much a counter grew."""
    return f"sum(increase({metric}[$__rate_interval]))"


def a_tick(metric: str) -> str:
    """Return how much a counter grew for each tick."""
    return f"{rate(metric)} / {rate('holdfast_town_ticks_total')}"


_BY_TYPE: Final = "sum by (type) (increase(holdfast_town_actions_total[$__rate_interval]))"
_VIOLATIONS: Final = "sum(increase(holdfast_town_invariant_violations_total[$__range]))"
_TICKS: Final = "FROM gastown_events\nWHERE blob1 = 'reconciler_tick' AND $__timeFilter(timestamp)"
_BY_TIME: Final = f"{_TICKS}\nGROUP BY time\nORDER BY time"
_TIME: Final = "SELECT\n    $__timeInterval(timestamp) AS time"


def mean(column: str) -> str:
    """Return the mean of a number, weighted by what each row stands for."""
    return f"sum({column} * _sample_interval) / sum(_sample_interval)"


def latest(column: str) -> str:
    """Return the largest of the latest numbers of each town: never a mean, never just any town."""
    return (
        "SELECT max(latest) AS value\nFROM (\n"  # noqa: S608  the columns are named here
        f"    SELECT blob6 AS town, argMax({column}, (timestamp, {column})) AS latest\n"
        "    FROM gastown_events\n"
        "    WHERE blob1 = 'reconciler_tick' AND $__timeFilter(timestamp)\n"
        "    GROUP BY town\n)"
    )


def _limits(panel: str) -> tuple[tuple[float, str], ...]:
    """Return the thresholds of a panel, those that the town's page has too."""
    colours = ("yellow", "red")[-len(PANEL_LIMITS[panel]) :]
    return ((0, "green"), *zip(PANEL_LIMITS[panel], colours, strict=True))


CONTRACT: Final = (
    Spec(
        id=201, title="Events Drained per Tick", kind="lines", unit="short",
        about="Events that a tick took. A tick takes at most 64.",
        lines=(Line("mean", a_tick("holdfast_town_events_drained_total")),),
        sql=f"{_TIME},\n    {mean('double2')} AS mean,\n    max(double2) AS max\n{_BY_TIME}",
    ),
    Spec(
        id=202, title="Actions Emitted per Tick by Type", kind="bars", unit="short",
        about="Actions that the rules decided.",
        lines=(Line("{{type}}", _BY_TYPE),),
        sql=(
            f"{_TIME},\n    entry.1 AS type,\n    sum(entry.2 * _sample_interval) AS value\n"
            "FROM gastown_events\n"
            "ARRAY JOIN JSONExtractKeysAndValues(blob10, 'UInt64') AS entry\n"
            "WHERE blob1 = 'reconciler_tick' AND $__timeFilter(timestamp)\n"
            "GROUP BY time, type\nORDER BY time, type"
        ),
    ),
    Spec(
        id=203, title="Side Effects", kind="lines", unit="short",
        about="Calls to the outside, a tick: those it committed, and the outcomes that it took.",
        lines=tuple(
            Line(name, a_tick(f'holdfast_town_calls_total{{result="{name}"}}'), color)
            for name, color in (("attempted", "blue"), ("succeeded", "green"), ("failed", "red"))
        ),
        sql=(
            f"{_TIME},\n    {mean('double4')} AS attempted,\n    {mean('double5')} AS succeeded,\n"
            f"    {mean('double6')} AS failed\n{_BY_TIME}"
        ),
    ),
    Spec(
        id=204, title="Invariant Violations", kind="stat", unit="short",
        about="Violations that were open after a tick, counted again by each tick.",
        lines=(Line("violations", _VIOLATIONS),),
        sql=f"SELECT sum(double7 * _sample_interval) AS value\n{_TICKS}",
        thresholds=_limits("violations"),
    ),
    Spec(
        id=205, title="Reconciler Wall Clock Time", kind="lines", unit="ms",
        about="The time of a tick without its commit. Healthy below 100 ms, bad above 500 ms.",
        lines=(
            Line(
                "mean",
                f"1000 * {rate('holdfast_town_tick_seconds_sum')}"
                f" / {rate('holdfast_town_tick_seconds_count')}",
            ),
        ),
        sql=f"{_TIME},\n    {mean('double1')} AS mean\n{_BY_TIME}",
        thresholds=_limits("wall"),
    ),
    Spec(
        id=206, title="Pending Event Queue Depth", kind="gauge", unit="short",
        about="The queue after the latest tick of each town, the deepest of them.",
        lines=(Line("pending", "max(holdfast_town_pending_events)"),),
        sql=latest("double8"),
        thresholds=_limits("pending"),
        max=200,
    ),
)  # fmt: skip
"""The six panels of docs/compat/towns.md, with their ids and thresholds."""

OURS: Final = (
    Spec(
        id=211, title="Events Not Applied", kind="lines", unit="short",
        about="Events that were refused, ignored, or put into quarantine.",
        lines=tuple(
            Line(name, grown(f'holdfast_events_total{{kind="town",outcome="{name}"}}'))
            for name in ("quarantined", "refused", "ignored")
        ),
        sql=(
            f"{_TIME},\n    sum(double12 * _sample_interval) AS quarantined,\n"
            "    sum(double13 * _sample_interval) AS refused,\n"
            f"    sum(double14 * _sample_interval) AS ignored\n{_BY_TIME}"
        ),
    ),
    Spec(
        id=212, title="Actions in Conflict", kind="lines", unit="short",
        about="Actions that found something else than they expected.",
        lines=(
            Line(
                "conflicts",
                grown('holdfast_decisions_total{kind="town",result="conflict"}') + " or vector(0)",
            ),
        ),
        sql=f"{_TIME},\n    sum(double15 * _sample_interval) AS conflicts\n{_BY_TIME}",
    ),
    Spec(
        id=213, title="Violations Opened and Resolved", kind="lines", unit="short",
        about="Changes, where Invariant Violations counts each tick of what lasts.",
        lines=tuple(
            Line(name, grown(f'holdfast_town_violation_changes_total{{change="{name}"}}'))
            for name in ("opened", "resolved")
        ),
        sql=(
            f"{_TIME},\n    sum(double17 * _sample_interval) AS opened,\n"
            f"    sum(double18 * _sample_interval) AS resolved\n{_BY_TIME}"
        ),
    ),
    Spec(
        id=214, title="Oldest Pending Event", kind="gauge", unit="s",
        about="Age of the oldest event that waited after the latest tick of any town.",
        lines=(Line("age", "max(holdfast_town_oldest_pending_seconds)"),),
        sql=latest("double19 / 1000"),
        thresholds=((0, "green"), (60, "yellow"), (300, "red")),
        max=600,
    ),
    Spec(
        id=215, title="Breakers Open", kind="stat", unit="short",
        about="Towns that start no agents now because too many attempts failed.",
        lines=(Line("open", 'sum(holdfast_town_breakers{state="open"})'),),
        sql=(
            "SELECT countIf(breaker = 'open') AS value\nFROM (\n"
            "    SELECT blob6 AS town, argMax(blob17, (timestamp, double8)) AS breaker\n"
            "    FROM gastown_events\n"
            "    WHERE blob1 = 'reconciler_tick' AND $__timeFilter(timestamp)\n"
            "    GROUP BY town\n)"
        ),
        thresholds=((0, "green"), (1, "red")),
    ),
    Spec(
        id=216, title="Ticks Late", kind="lines", unit="short",
        about="Ticks more than a second after their alarm.",
        lines=(Line("late", grown("holdfast_town_ticks_late_total")),),
        sql=f"{_TIME},\n    sumIf(_sample_interval, double20 > 1000) AS late\n{_BY_TIME}",
    ),
)  # fmt: skip
"""Panels of what Holdfast measures besides."""

Made: TypeAlias = timeseries.Panel | stat.Panel | gauge.Panel


def panel(spec: Spec, source: str, at: GridPos) -> Made:
    """Return a panel that reads from a kind of data source."""
    made: Made
    match spec.kind:
        case "lines" | "bars":
            made = _series(spec)
        case "stat":
            background = BigValueColorMode.BACKGROUND
            made = stat.Panel().color_mode(background).reduce_options(_last())
        case "gauge":
            made = gauge.Panel().reduce_options(_last()).min(0)
    if spec.max is not None:
        made.max(spec.max)
    if spec.thresholds:
        made.thresholds(_thresholds(spec.thresholds))
    made.id(spec.id).title(spec.title).description(spec.about).unit(spec.unit).grid_pos(at)
    made.datasource(DataSourceRef(type_val=source, uid="${datasource}"))
    for target in _targets(spec, source):
        made.with_target(target)
    return made


def _series(spec: Spec) -> timeseries.Panel:
    """Return a panel over time: lines with thresholds drawn, or stacked bars."""
    made = timeseries.Panel().legend(common.VizLegendOptions().calcs(["mean", "max"]))
    if spec.kind == "bars":
        made.draw_style(GraphDrawStyle.BARS).fill_opacity(80)
        made.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    if spec.thresholds:
        drawn = common.GraphThresholdsStyleConfig().mode(GraphTresholdsStyleMode.LINE_AND_AREA)
        made.thresholds_style(drawn)
    for line in spec.lines:
        if line.color:
            color = FieldColor(mode=FieldColorModeId.FIXED, fixed_color=line.color)
            made.override_by_name(line.legend, [DynamicConfigValue(id_val="color", value=color)])
    return made


def _last() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"])


def _thresholds(steps: Sequence[tuple[float, str]]) -> dashboard.ThresholdsConfig:
    """Return thresholds; the first is below all, which Grafana writes as null."""
    made = [
        Threshold(value=None if not n else at, color=color) for n, (at, color) in enumerate(steps)
    ]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(made)


def _targets(spec: Spec, source: str) -> list[Builder[Any]]:
    if source == CLICKHOUSE:
        return [ClickHouse(spec.sql, is_series=spec.kind in {"lines", "bars"})]
    is_instant = spec.kind in {"stat", "gauge"}
    made: list[Builder[Any]] = []
    for number, line in enumerate(spec.lines):
        query = prometheus.Dataquery().expr(line.promql).legend_format(line.legend)
        query.ref_id("ABCDEF"[number])
        made.append(query.instant() if is_instant else query.range())
    return made


def board(source: str, title: str, uid: str) -> dashboard.Dashboard:
    """Return the board for one kind of data source."""
    made = (
        dashboard.Dashboard(title)
        .uid(uid)
        .tags(["holdfast", "towns"])
        .refresh(REFRESH)
        .time("now-6h", "now")
        .timezone("utc")
        .readonly()
        .with_variable(dashboard.DatasourceVariable("datasource").type(source).label("Source"))
    )
    top = 0
    for name, specs in (("Reconciler", CONTRACT), ("Reconciler: more", OURS)):
        made.with_row(dashboard.Row(name).grid_pos(GridPos(h=1, w=24, x=0, y=top)))
        for number, spec in enumerate(specs):
            at = GridPos(h=8, w=8, x=number % 3 * 8, y=top + 1 + number // 3 * 8)
            made.with_panel(panel(spec, source, at))
        top += 1 + -(-len(specs) // 3) * 8
    return made


def texts() -> dict[str, str]:
    """Return the boards' files by their names."""
    made = {
        "towns-prometheus.json": board(PROMETHEUS, "Holdfast towns", "holdfast-towns"),
        "towns-clickhouse.json": board(
            CLICKHOUSE, "Holdfast towns (ClickHouse)", "holdfast-towns-clickhouse"
        ),
    }
    return {
        name: json.dumps(one.build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"
        for name, one in made.items()
    }


def main() -> None:
    """Write the files."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in texts().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(f"  {name}: {text.count('rawSql') or text.count('expr')} queries")


if __name__ == "__main__":
    main()

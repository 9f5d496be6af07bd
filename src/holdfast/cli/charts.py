"""`holdfast charts`: the charts of an instance, or of the fleet, as figures."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from holdfast.cli.connection import connect
from holdfast.cli.naming import resolve
from holdfast.cli.output import JSON_OPTION, say, show_json, show_table
from holdfast.cli.tables import Column
from holdfast.wire.api.instances import ChartSeries

_SERIES: Final = (
    Column("chart"), Column("series"), Column("last"), Column("least"), Column("most"),
    Column("unit", drop=1),
)  # fmt: skip


def charts(
    name: Annotated[str, typer.Argument(help="Its name or id; without one, the fleet's.")] = "",
    window: Annotated[str, typer.Option(help="15m, 1h, 6h, 24h or 7d.")] = "1h",
    as_json: bool = JSON_OPTION,
) -> None:
    """Show the last, least and most of each line of the charts; --json has every point."""
    plane, query = connect(), {"window": window}
    if name:
        path = {"id": resolve(plane, name)}
        found = plane.call("instance.charts", path=path, query=query)
    else:
        found = plane.call("instance.fleet-charts", query=query)
    if as_json:
        show_json(found)
        return
    rows = [(chart.title, *_figures(line)) for chart in found.charts for line in chart.series]
    show_table(_SERIES, rows, empty="Nothing was measured yet.")
    say(f"from {found.since} to {found.until} (UTC)")


def _figures(line: ChartSeries) -> tuple[str, ...]:
    """Return a line's name, figures and unit."""
    known = [value for value in line.values if value is not None]
    if not known:
        return line.name, "none", "", "", line.unit
    figures = (known[-1], min(known), max(known))
    return line.name, *(f"{one:.4g}" for one in figures), line.unit

"""Makes what towns' ticks are measured by: datapoints, gauges, panels, and reports to Sentry."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from holdfast import __version__
from holdfast.kernel.clock import SECOND_MS
from holdfast.kernel.log import Log
from holdfast.plane.settings import SettingError
from holdfast.plane.wiring.core import Core
from holdfast.plane.wiring.part import Job, Part, vitals_of
from holdfast.plane.wiring.town_ticks import TownTicks
from holdfast.telemetry.handlers import PanelCalls
from holdfast.telemetry.tick_sink import TickSink
from holdfast.towns.calls import find_town
from holdfast.wire.api.call import Call
from holdfast.world.reports.port import NoReports, Reports

MEASURE_S: Final = 1.0
"""Between two settings of the gauges; they are late by this much at most."""


def town_metrics_part(core: Core) -> Part:
    """Return the part; it hears every tick of a town, and writes points until the plane ends."""
    reports = make_reports(core.settings.sentry_dsn, core.log)
    core.closing.push_async_callback(reports.close)
    sink = TickSink(
        core.stores.ticks,
        clock=core.clock,
        log=core.log,
        flush_ms=max(1, round(core.settings.telemetry_buffer_s * SECOND_MS)),
    )
    heard = TownTicks(
        backlog=core.engine.owner.backlog,
        waiting=core.engine.owner.progress.waiting,
        offer=sink.offer,
        reports=reports,
        meter=core.meter,
        clock=core.clock,
    )
    running: list[asyncio.Task[None]] = []

    async def start() -> None:
        running.append(asyncio.create_task(sink.run(), name="tick writer"))

    async def close() -> None:
        sink.stop()
        await asyncio.gather(*running)
        running.clear()
        await sink.flush()

    async def measure() -> None:
        while True:
            heard.measure(sink.loss())
            await asyncio.sleep(MEASURE_S)

    core.closing.push_async_callback(close)
    look = partial(_look, core)
    panels = PanelCalls(core.stores.ticks, clock=core.clock, look=look)
    return Part(
        name="town metrics",
        handlers={"towns.panels": panels.town},
        on_commit=(heard.hear,),
        jobs=(Job("towns.measure", measure),),
        start=start,
        vitals=lambda: vitals_of(running),
    )


async def _look(core: Core, call: Call) -> str:
    """Return the town of the path; refuse one that does not exist or is not the caller's."""
    return (await find_town(call, core.stores.reader)).id


def make_reports(dsn: str, log: Log) -> Reports:
    """Return where reports go; raise SettingError when the package for it is not installed."""
    if not dsn:
        return NoReports()
    try:
        from holdfast.world.reports.sentry import SentryReports  # noqa: PLC0415  an extra
    except ImportError as error:
        text = f"sentry_dsn is set, and {error.name} is not installed: pip install holdfast[sentry]"
        raise SettingError(text) from error
    return SentryReports(dsn, release=__version__, log=log)

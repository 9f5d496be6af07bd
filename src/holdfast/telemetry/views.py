"""What telemetry shows: directives to machines, datapoints to the store, charts to people.

Pure functions from facts and panels to messages. A chart has one value for each step of its
window and null where nothing was measured, so that a gap looks like a gap. Nothing here may carry
content or a credential.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

from holdfast.letters.machine import MachineFacts
from holdfast.telemetry.contact import Contact, clamp_bytes
from holdfast.telemetry.counters import Delta
from holdfast.telemetry.limits import INTERVAL_MAX_MS, INTERVAL_MIN_MS
from holdfast.telemetry.ports import (
    CheckinPoint,
    FleetBucket,
    MachineBucket,
    Span,
)
from holdfast.wire.api.instances import Chart, ChartSeries
from holdfast.wire.controller.checkin import PROTOCOL, CheckIn
from holdfast.wire.controller.directive import Command, Directive

STEPS_S: Final = (60, 300, 3_600)
"""Seconds of a step of the roll-up: a minute, the usual interval of check-ins, an hour."""

WINDOWS_S: Final[Mapping[str, int]] = {
    "15m": 900,
    "1h": 3_600,
    "6h": 21_600,
    "24h": 86_400,
    "7d": 604_800,
    "30d": 2_592_000,
}
WINDOW_DEFAULT: Final = "1h"

_STEP_POINTS_MAX: Final = 400
"""Points of a series that a page still draws well."""

_Bucket = TypeVar("_Bucket", FleetBucket, MachineBucket)
_Line = tuple[str, str, Callable[[_Bucket, int], float | None]]


def directive(
    facts: MachineFacts, commands: tuple[Command, ...] = (), *, interval_ms: int = 0
) -> Directive:
    """Return the directive for a machine: the desired state, and the commands leased to it.

    An `interval_ms` that is out of bounds leaves the interval of check-ins to the machine.
    """
    return Directive(
        protocol=PROTOCOL,
        revision=facts.revision,
        epoch=facts.epoch,
        desired=facts.desired,
        checkin_interval_ms=interval_ms if INTERVAL_MIN_MS <= interval_ms <= INTERVAL_MAX_MS else 0,
        ladder=facts.ladder,
        ladder_turn=facts.ladder_turn,
        commands=commands,
    )


def checkin_point(
    facts: MachineFacts, checkin: CheckIn, contact: Contact, *, delta: Delta, seen_ms: int
) -> CheckinPoint:
    """Return the datapoint of a check-in that was counted into its contact's ledger."""
    ledger = contact.ledger
    return CheckinPoint(
        seen_ms=seen_ms,
        sandbox=facts.sandbox,
        instance=facts.instance,
        account=facts.account,
        controller_version=checkin.controller_version,
        controller_commit=checkin.controller_commit,
        agent_version=checkin.openclaw_version or "",
        agent_commit=checkin.openclaw_commit or "",
        supervisor_state=checkin.supervisor_state,
        region=contact.region,
        machine_id=checkin.machine_id,
        last_exit_reason=checkin.last_exit_reason,
        restarts=delta.restarts,
        restarts_total=checkin.total_restarts,
        uptime_s=checkin.uptime_seconds,
        load_5m=checkin.load_avg_5m,
        bytes_in=delta.bytes_in,
        bytes_out=delta.bytes_out,
        disk_used=clamp_bytes(checkin.disk_used_bytes),
        disk_total=clamp_bytes(checkin.disk_total_bytes),
        protocol=checkin.protocol or 0,
        boot_id=checkin.boot_id,
        sequence=checkin.sequence,
        crashes=delta.crashes,
        agent_ready=checkin.agent_ready,
        agent_kind=checkin.agent_kind,
        phase=checkin.phase,
        degraded=checkin.degraded,
        cpus=checkin.cpus,
        memory_bytes=checkin.memory_bytes,
        failed_checkins=checkin.failed_checkins,
        restarts_lifetime=ledger.restarts,
        crashes_lifetime=ledger.crashes,
        bytes_in_lifetime=ledger.bytes_in,
        bytes_out_lifetime=ledger.bytes_out,
    )


def span(window: str, *, now_ms: int, interval_ms: int) -> Span:
    """Return the steps of a window that ends now.

    A step is never shorter than the fleet's check-in interval, for which most steps would be
    empty, unless that would leave fewer than four. Raise KeyError for an unknown window.
    """
    width_s = WINDOWS_S[window]
    fitting = [step for step in STEPS_S if width_s // step <= _STEP_POINTS_MAX]
    wanted = [s for s in fitting if s * 1_000 >= interval_ms and width_s // s >= 4]  # noqa: PLR2004
    step_s = wanted[0] if wanted else fitting[0]
    until_s = (now_ms // 1_000 // step_s + 1) * step_s
    return Span(until_s - width_s, until_s, step_s)


def fleet_charts(span: Span, buckets: Sequence[FleetBucket]) -> tuple[Chart, ...]:
    """Return the five charts of the fleet page."""
    return (
        _chart(
            "reporting",
            "Machines reporting",
            span,
            buckets,
            (
                ("machines", "machines", lambda b, _: b.machines),
                ("check-ins", "check-ins", lambda b, _: b.checkins),
            ),
        ),
        _chart(
            "load",
            "Load (5 min average)",
            span,
            buckets,
            (
                ("p50", "load", lambda b, _: b.load_p50),
                ("p95", "load", lambda b, _: b.load_p95),
            ),
        ),
        _chart("restarts", "Agent restarts", span, buckets, _RESTART_LINES),
        _chart("bandwidth", "Bandwidth", span, buckets, _BANDWIDTH_LINES),
        _chart(
            "disk",
            "Disk used",
            span,
            buckets,
            (
                ("p50", "%", lambda b, _: _percent(b.disk_p50)),
                ("p95", "%", lambda b, _: _percent(b.disk_p95)),
            ),
        ),
    )


def machine_charts(span: Span, buckets: Sequence[MachineBucket]) -> tuple[Chart, ...]:
    """Return the four charts of an instance's page."""
    return (
        _chart(
            "load",
            "Load (5 min average)",
            span,
            buckets,
            (
                ("mean", "load", lambda b, _: b.load_mean),
                ("highest", "load", lambda b, _: b.load_max),
            ),
        ),
        _chart("restarts", "Agent restarts", span, buckets, _RESTART_LINES),
        _chart("bandwidth", "Bandwidth", span, buckets, _BANDWIDTH_LINES),
        _chart(
            "disk",
            "Disk",
            span,
            buckets,
            (
                ("used", "bytes", lambda b, _: b.disk_used if b.disk_total else None),
                ("size", "bytes", lambda b, _: b.disk_total or None),
            ),
        ),
    )


_RESTART_LINES: Final[Sequence[_Line[FleetBucket | MachineBucket]]] = (  # type: ignore[type-var]
    ("restarts", "restarts", lambda b, _: b.restarts),
    ("crashes", "crashes", lambda b, _: b.crashes),
)
_BANDWIDTH_LINES: Final[Sequence[_Line[FleetBucket | MachineBucket]]] = (  # type: ignore[type-var]
    ("in", "bytes/s", lambda b, step_s: b.bytes_in / step_s),
    ("out", "bytes/s", lambda b, step_s: b.bytes_out / step_s),
)


def _chart(
    name: str,
    title: str,
    span: Span,
    buckets: Sequence[_Bucket],
    lines: Sequence[_Line[_Bucket]],
) -> Chart:
    """Return a chart with one value a step, null where no machine checked in."""
    by_time = {bucket.bucket_s: bucket for bucket in buckets}
    at_s = tuple(range(span.since_s, span.until_s, span.step_s))
    series = tuple(
        ChartSeries(
            name=label,
            unit=unit,
            values=tuple(
                None if (bucket := by_time.get(at)) is None else read(bucket, span.step_s)
                for at in at_s
            ),
        )
        for label, unit, read in lines
    )
    return Chart(name=name, title=title, at_s=at_s, series=series)


def _percent(share: float | None) -> float | None:
    return None if share is None else round(share * 100, 2)

"""Each figure of telemetry is told under its own name: none is swapped."""

from __future__ import annotations

import pytest

from holdfast.letters.machine import MachineFacts
from holdfast.telemetry import views
from holdfast.telemetry.contact import Contact
from holdfast.telemetry.counters import Delta, Ledger
from holdfast.telemetry.limits import INTERVAL_MAX_MS, INTERVAL_MIN_MS
from holdfast.telemetry.ports import CheckinPoint, FleetBucket, MachineBucket, Span
from holdfast.wire.api.instances import Chart
from holdfast.wire.controller.checkin import PROTOCOL, CheckIn
from holdfast.wire.controller.directive import Command, Directive

FACTS = MachineFacts(
    instance="i1", sandbox="s1", account="acme", api_key_hash="h", epoch=3, desired="stopped",
    revision=17, ladder="auto", ladder_turn=5,
)  # fmt: skip
CHECKIN = CheckIn(
    sandbox_id="s1", controller_version="1.2", controller_commit="c0", supervisor_state="running",
    openclaw_version="2026.5", openclaw_commit="oc", total_restarts=40,
    restarts_since_last_checkin=1, uptime_seconds=60.5, load_avg_5m=0.75, bandwidth_bytes_in=1,
    bandwidth_bytes_out=2, machine_id="m1", last_exit_reason="exit code 1", protocol=2,
    boot_id="boot", sequence=9, agent_ready=True, agent_kind="openclaw", phase="serving",
    degraded="no pairing", cpus=4, memory_bytes=8_000, failed_checkins=6, disk_used_bytes=-1,
    disk_total_bytes=500,
)  # fmt: skip
CONTACT = Contact(
    instance="i1", region="eu",
    ledger=Ledger(restarts=100, crashes=101, bytes_in=102, bytes_out=103),
)  # fmt: skip
DELTA = Delta(fresh=True, restarts=11, crashes=12, bytes_in=13, bytes_out=14)
POINT = CheckinPoint(
    seen_ms=77, sandbox="s1", instance="i1", account="acme", controller_version="1.2",
    controller_commit="c0", agent_version="2026.5", agent_commit="oc", supervisor_state="running",
    region="eu", machine_id="m1", last_exit_reason="exit code 1", restarts=11, restarts_total=40,
    uptime_s=60.5, load_5m=0.75, bytes_in=13, bytes_out=14, disk_used=0, disk_total=500,
    protocol=2, boot_id="boot", sequence=9, crashes=12, agent_ready=True, agent_kind="openclaw",
    phase="serving", degraded="no pairing", cpus=4, memory_bytes=8_000, failed_checkins=6,
    restarts_lifetime=100, crashes_lifetime=101, bytes_in_lifetime=102, bytes_out_lifetime=103,
)  # fmt: skip
SPAN = Span(since_s=600, until_s=780, step_s=60)


def test_the_datapoint_of_a_checkin() -> None:
    assert views.checkin_point(FACTS, CHECKIN, CONTACT, delta=DELTA, seen_ms=77) == POINT


def test_what_an_older_machine_does_not_report_is_empty() -> None:
    old = CheckIn(
        sandbox_id="s1", controller_version="1.2", controller_commit="c0",
        supervisor_state="running", openclaw_version=None, openclaw_commit=None, total_restarts=0,
        restarts_since_last_checkin=0, uptime_seconds=0, load_avg_5m=0, bandwidth_bytes_in=0,
        bandwidth_bytes_out=0,
    )  # fmt: skip
    point = views.checkin_point(FACTS, old, CONTACT, delta=DELTA, seen_ms=77)
    assert (point.agent_version, point.agent_commit, point.protocol) == ("", "", 0)
    assert (point.disk_used, point.disk_total, point.agent_ready) == (0, 0, None)


@pytest.mark.parametrize(
    ("interval_ms", "told_ms"),
    [
        (0, 0),
        (INTERVAL_MIN_MS - 1, 0),
        (INTERVAL_MIN_MS, INTERVAL_MIN_MS),
        (INTERVAL_MAX_MS, INTERVAL_MAX_MS),
        (INTERVAL_MAX_MS + 1, 0),
    ],
)
def test_the_directive_of_a_machine(interval_ms: int, told_ms: int) -> None:
    commands = (Command(id="c1", name="checkin.now"),)
    assert views.directive(FACTS, commands, interval_ms=interval_ms) == Directive(
        protocol=PROTOCOL, revision=17, epoch=3, desired="stopped", checkin_interval_ms=told_ms,
        ladder="auto", ladder_turn=5, commands=commands,
    )  # fmt: skip
    assert views.directive(FACTS).checkin_interval_ms == 0


def lines(charts: tuple[Chart, ...]) -> dict[str, tuple[str, tuple[float | None, ...]]]:
    assert all(chart.at_s == (600, 660, 720) for chart in charts)
    return {
        f"{chart.name} {series.name}": (series.unit, series.values)
        for chart in charts
        for series in chart.series
    }


def test_the_charts_of_the_fleet_have_a_gap_where_nothing_was_measured() -> None:
    full = FleetBucket(
        bucket_s=660, checkins=8, machines=4, load_p50=0.5, load_p95=0.9, restarts=3, crashes=2,
        bytes_in=600, bytes_out=1_200, disk_p50=0.123456, disk_p95=0.5,
    )  # fmt: skip
    bare = full._replace(bucket_s=720, disk_p50=None, disk_p95=None)
    assert lines(views.fleet_charts(SPAN, (full, bare))) == {
        "reporting machines": ("machines", (None, 4, 4)),
        "reporting check-ins": ("check-ins", (None, 8, 8)),
        "load p50": ("load", (None, 0.5, 0.5)),
        "load p95": ("load", (None, 0.9, 0.9)),
        "restarts restarts": ("restarts", (None, 3, 3)),
        "restarts crashes": ("crashes", (None, 2, 2)),
        "bandwidth in": ("bytes/s", (None, 10.0, 10.0)),
        "bandwidth out": ("bytes/s", (None, 20.0, 20.0)),
        "disk p50": ("%", (None, 12.35, None)),
        "disk p95": ("%", (None, 50.0, None)),
    }


def test_the_charts_of_a_machine_have_no_disk_where_it_reports_none() -> None:
    full = MachineBucket(
        bucket_s=600, checkins=2, load_mean=0.5, load_max=0.9, restarts=3, crashes=2,
        bytes_in=600, bytes_out=1_200, disk_used=0, disk_total=100,
    )  # fmt: skip
    bare = full._replace(bucket_s=660, disk_total=0)
    assert lines(views.machine_charts(SPAN, (full, bare))) == {
        "load mean": ("load", (0.5, 0.5, None)),
        "load highest": ("load", (0.9, 0.9, None)),
        "restarts restarts": ("restarts", (3, 3, None)),
        "restarts crashes": ("crashes", (2, 2, None)),
        "bandwidth in": ("bytes/s", (10.0, 10.0, None)),
        "bandwidth out": ("bytes/s", (20.0, 20.0, None)),
        "disk used": ("bytes", (0, None, None)),
        "disk size": ("bytes", (100, None, None)),
    }

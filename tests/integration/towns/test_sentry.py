"""Reports as they leave: the SDK's envelope, received by a real server."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import duckdb
import pytest

from holdfast import __version__
from holdfast.kernel.clock import ManualClock
from holdfast.kernel.metrics import NoMeter
from holdfast.plane.settings import SettingError, load_settings
from holdfast.plane.wiring.town_metrics import make_reports
from holdfast.plane.wiring.town_ticks import TownTicks
from holdfast.stores.duckdb.ticks import DuckdbTicks
from holdfast.telemetry.tick_sink import TickSink
from holdfast.world.reports.port import NoReports, Report
from holdfast.world.reports.sentry import SENT
from tests.support.broken_town import broken_town, committed, touches
from tests.support.logs import Lines

REPORT = Report(
    message="invariant 7 is broken: it works, and on nothing",
    fingerprint=("holdfast", "invariant", "t", "7", "a/x0"),
    tags={"invariant": "7", "townId": "t"},
    extra={"invariant": 7, "message": "it works, and on nothing", "townId": "t"},
)


class Received:
    """A project of Sentry's that keeps the events of what it was sent."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.items: list[tuple[dict[str, Any], dict[str, Any]]] = []
        received = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                received.take(self.path, body)
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base's
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.dsn = f"http://key@127.0.0.1:{self.server.server_port}/42"

    def take(self, path: str, body: bytes) -> None:
        lines = [json.loads(line) for line in body.splitlines() if line]
        self.paths.append(path)
        self.items += zip(lines[1::2], lines[2::2], strict=True)


@pytest.fixture
def project() -> Iterator[Received]:
    received = Received()
    thread = threading.Thread(target=received.server.serve_forever)
    thread.start()
    yield received
    received.server.shutdown()
    received.server.server_close()
    thread.join()


async def test_a_report_is_one_event_with_its_fingerprint_tags_and_numbers(
    project: Received,
) -> None:
    reports = make_reports(project.dsn, Lines())
    reports.send(REPORT)
    await reports.close()
    assert project.paths == ["/api/42/envelope/"]
    [(header, event)] = project.items
    assert header["type"] == "event"
    assert event["level"] == "error"
    assert event["release"] == __version__
    assert event["message"] == REPORT.message
    assert event["fingerprint"] == list(REPORT.fingerprint)
    assert event["tags"] == REPORT.tags
    assert event["extra"] == REPORT.extra


async def test_the_same_violation_for_a_thousand_ticks_is_one_event_and_a_thousand_rows(
    project: Received, tmp_path: Path
) -> None:
    reports = make_reports(project.dsn, Lines())
    ticks = DuckdbTicks(tmp_path / "town_ticks.duckdb", clock=ManualClock())
    sink = TickSink(ticks, clock=ManualClock(), log=Lines(), flush_ms=1)
    heard = TownTicks(
        backlog=lambda _actor: (0, 0), waiting=lambda: (), offer=sink.offer, reports=reports,
        meter=NoMeter(), clock=ManualClock(),
    )  # fmt: skip
    town = broken_town()
    for _ in range(1_000):
        heard.hear(committed(town, town.rows(*touches())))
    await reports.close()
    await sink.flush()
    await ticks.close()
    [(_, event)] = project.items
    assert event["tags"] == {"invariant": "7", "townId": "t"}
    with duckdb.connect(str(ticks.path), read_only=True) as read:
        rows = read.execute(
            "SELECT count(*), min(double2), max(blob10) FROM gastown_events"
            " WHERE index1 = 'reconciler.invariant_violations' AND blob6 = 't'"
        ).fetchall()
    assert rows == [(1_000, 1.0, "7:a/x0")]


async def test_nothing_else_leaves_with_it_and_nothing_of_other_code_is_sent(
    project: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENTRY_ENVIRONMENT", "private-environment")
    reports = make_reports(project.dsn, Lines())
    import logging  # noqa: PLC0415  what the SDK listens to by default

    import sentry_sdk  # noqa: PLC0415

    logging.getLogger("elsewhere").error("a line of the log with a secret")
    sentry_sdk.capture_message("somebody else's")
    reports.send(REPORT)
    await reports.close()
    [(_, event)] = project.items
    assert set(event) <= SENT
    assert "secret" not in json.dumps(project.items)
    assert "private-environment" not in json.dumps(project.items)


async def test_a_project_that_is_gone_stops_nothing() -> None:
    gone = Received()
    gone.server.server_close()
    reports = make_reports(gone.dsn, Lines())
    reports.send(REPORT)
    await reports.close()


def test_without_a_dsn_nothing_is_made() -> None:
    assert isinstance(make_reports("", Lines()), NoReports)


@pytest.mark.parametrize("dsn", ["sentry.example.com", "https://sentry.example.com/1", "x"])
def test_what_is_no_dsn_is_refused_by_its_setting(dsn: str) -> None:
    with pytest.raises(SettingError, match=r"(?i)sentry_dsn.*want a DSN"):
        load_settings({"HOLDFAST_SENTRY_DSN": dsn}, home="~/.nowhere")

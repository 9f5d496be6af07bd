"""What is told of a controller's start and of the rungs that its agent tried."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.instances import start_report
from holdfast.letters.machine import LastContact
from holdfast.wire.api import instances as api
from holdfast.wire.controller.checkin import Climb, MachineStatus, Start, StartPhase
from holdfast.wire.limits import REASON_MAX

AT_MS = 1_780_000_000_000
AT = "2026-05-28T20:26:40.000Z"
LATER = "2026-05-28T20:26:45.000Z"
PHASES = (
    StartPhase(name="keys", state="done", deadline_ms=2_000, took_ms=70, critical=True),
    StartPhase(name="agent", state="failed", deadline_ms=3_000, took_ms=90, reason="no room"),
)
CLIMBS = (
    Climb(rung="restart", at_ms=AT_MS, reason="exit code 1", done=True, detail="it went well"),
    Climb(rung="reinstall", at_ms=AT_MS + 5_000, reason="exit code 2"),
)


def view(status: str = "running", epoch: int = 3) -> api.InstanceView:
    values: dict[str, Any] = {
        "id": "i1", "name": "alpha", "account": "acme", "provider": "sim", "agent": "demo",
        "desired": "running", "status": status, "status_since": AT, "created_at": AT,
        "config_version": 1, "restarts": 0, "last_contact_at": None, "epoch": epoch,
    }  # fmt: skip
    fields = {name for name in api.InstanceView.__struct_fields__ if name in values}
    return api.InstanceView(**{name: values[name] for name in fields})


def last(epoch: int = 3, *, again_ms: int = 0) -> LastContact:
    start = Start(phases=PHASES, again_in_ms=again_ms)
    status = MachineStatus(
        uptime_seconds=1, load_avg_5m=0, start=start, climbs=CLIMBS, confinement="landlock"
    )
    return LastContact(epoch=epoch, status_ms=AT_MS, status=status)


def start(**changes: Any) -> api.StartView:
    return api.StartView(phases=(api.StartPhase(name="agent", **changes),), told_at=AT)


@pytest.mark.parametrize(
    ("shown", "contact", "known"),
    [
        (view(), last(), True),
        (view("stopped"), last(), False),
        (view(), None, False),
        (view(epoch=4), last(), False),
        (view(epoch=0), last(), True),
        (view(), last(epoch=0), True),
    ],
    ids=["present", "stopped", "silent", "another", "unnumbered", "unnamed"],
)
def test_only_the_present_machines_report_is_shown(
    shown: api.InstanceView, contact: LastContact | None, *, known: bool
) -> None:
    assert (start_report.status_of(shown, contact) is not None) is known
    assert (start_report.start_view(shown, contact) is not None) is known
    assert len(start_report.climbs_view(shown, contact)) == (2 if known else 0)


def test_each_phase_and_when_it_is_tried_again() -> None:
    phases = (
        api.StartPhase(name="keys", state="done", deadline_ms=2_000, took_ms=70, critical=True),
        api.StartPhase(
            name="agent", state="failed", deadline_ms=3_000, took_ms=90, reason="no room"
        ),
    )
    once = api.StartView(phases=phases, told_at=AT)
    assert start_report.start_view(view(), last()) == once
    again = start_report.start_view(view(), last(again_ms=5_000))
    assert again == api.StartView(phases=phases, told_at=AT, again_at=LATER)


def test_a_machine_that_reports_no_start_has_none() -> None:
    bare = LastContact(status=MachineStatus(uptime_seconds=1, load_avg_5m=0))
    assert start_report.start_view(view(), bare) is None


def test_each_rung() -> None:
    assert start_report.climbs_view(view(), last()) == (
        api.Climb(rung="restart", at=AT, reason="exit code 1", done=True, detail="it went well"),
        api.Climb(rung="reinstall", at=LATER, reason="exit code 2"),
    )


def test_what_confines_the_agent() -> None:
    assert start_report.confinement_of(None) == "unknown"
    assert start_report.confinement_of(last().status) == "landlock"


@pytest.mark.parametrize(
    ("told", "code", "text", "at"),
    [
        (
            start(state="running", deadline_ms=2_500), "start.running",
            "its controller is in the phase agent of its start, which may take 2.5 s", None,
        ),
        (
            start(state="running"), "start.running",
            "its controller is in the phase agent of its start", None,
        ),
        (
            start(state="failed", reason="no room"), "start.failed",
            "its controller's start failed in the phase agent: no room", AT,
        ),
    ],
)  # fmt: skip
def test_the_phase_that_runs_or_failed_is_told(
    told: api.StartView, code: str, text: str, at: str | None
) -> None:
    assert start_report.start_fact(told) == api.Fact(code=code, text=text, at=at)


def test_a_start_that_is_done_is_not_told() -> None:
    assert start_report.start_fact(None) is None
    assert start_report.start_fact(start(state="done")) is None
    failed = start_report.start_fact(start(state="failed", reason="x" * REASON_MAX))
    assert failed is not None
    assert len(failed.text) == REASON_MAX


def test_what_can_be_done_about_a_start_that_failed() -> None:
    fixes = [
        start_report.start_fix(told, "alpha")
        for told in (
            None,
            start(state="done", critical=True),
            start(state="failed", critical=False),
            start(state="failed", critical=True),
            api.StartView(
                phases=start(state="failed", critical=True).phases, told_at=AT, again_at=LATER
            ),
        )
    ]
    assert fixes == [
        "",
        "",
        "Look at its log, then: holdfast instance retry alpha",
        "Put its keys and settings right, then: holdfast instance restart alpha",
        "",
    ]

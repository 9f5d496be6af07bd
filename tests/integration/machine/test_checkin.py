"""What the plane receives, and when; and how the machine handles the answers."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.wire.controller.checkin import CommandOutcome
from holdfast.wire.controller.directive import Command, Directive
from tests.integration.machine.rig import (
    API_KEY,
    TOKEN,
    Plane,
    run_machine,
    run_plane,
    until,
)

SOON = {"HOLDFAST_CHECKIN_FIRST_MS": "50", "HOLDFAST_CHECKIN_INTERVAL_MS": "1000"}
LATER = {"HOLDFAST_CHECKIN_FIRST_MS": "600000", "HOLDFAST_CHECKIN_INTERVAL_MS": "600000"}


def has_asked(plane: Plane, revision: int) -> bool:
    return plane.wakes[-1]["revision"] == str(revision)


def outcomes_told(plane: Plane) -> dict[str, CommandOutcome]:
    return {outcome.id: outcome for report in plane.heard for outcome in report.outcomes}


@pytest.fixture
async def plane() -> AsyncIterator[Plane]:
    async with run_plane() as found:
        yield found


async def test_a_report_says_who_what_and_how(tmp_path: Path, plane: Plane) -> None:
    async with run_machine(
        tmp_path,
        HOLDFAST_PLANE_URL=plane.url,
        HOLDFAST_MACHINE_ID="m-1",
        HOLDFAST_MACHINE_EPOCH="3",
        **SOON,
    ) as machine:
        await machine.opened()
        report = await until(
            lambda: plane.heard and plane.last.agent_ready and plane.last, "a ready report"
        )
    assert (report.sandbox_id, report.machine_id, report.epoch) == ("sandbox-1", "m-1", 3)
    assert (report.supervisor_state, report.agent_kind, report.phase) == (
        "running", "demo", "ready",
    )  # fmt: skip
    assert (report.protocol, report.degraded, report.last_exit_reason) == (1, "", "")
    assert report.cpus > 0
    assert report.memory_bytes > 0
    assert report.disk_used_bytes is not None
    assert report.disk_total_bytes is not None
    assert 0 < report.disk_used_bytes < report.disk_total_bytes
    for headers in plane.headers:
        assert headers["Authorization"] == f"Bearer {API_KEY}"
        assert headers["x-kiloclaw-gateway-token"] == TOKEN
        assert headers["x-holdfast-gateway-token"] == TOKEN
    assert len({heard.boot_id for heard in plane.heard}) == 1
    assert [heard.sequence for heard in plane.heard] == list(range(1, len(plane.heard) + 1))


async def test_a_change_is_told_at_once(tmp_path: Path, plane: Plane) -> None:
    async with run_machine(tmp_path, HOLDFAST_PLANE_URL=plane.url, **LATER) as machine:
        await machine.opened()
        status = await machine.ready()
        await until(lambda: plane.heard and plane.last.agent_ready, "ready")
        await until(lambda: plane.last.openclaw_version == "2026.1.0", "the version")
        os.kill(status["pid"], signal.SIGKILL)
        down = await until(lambda: plane.last.crashes_total == 1 and plane.last, "the crash")
        assert (down.last_exit_reason, down.last_exit_requested) == ("signal:SIGKILL", False)
        assert down.last_exit_at_ms is not None
        await until(lambda: plane.last.crashes_total == 1 and plane.last.agent_ready, "back")


async def test_a_failure_keeps_the_baselines_and_is_told_afterwards(
    tmp_path: Path, plane: Plane
) -> None:
    async with run_machine(tmp_path, HOLDFAST_PLANE_URL=plane.url, **SOON) as machine:
        await machine.opened()
        await machine.ready()
        await until(lambda: plane.heard and plane.last.agent_ready, "ready")
        plane.refuse = 500
        await machine.fault("crash")
        await until(lambda: len(machine.events("checkin.failed")) >= 2, "two failures")
        await machine.ready()
        plane.refuse = 0
        heard = len(plane.heard)
        after = await until(lambda: len(plane.heard) > heard and plane.heard[heard], "a report")
        assert after.restarts_since_last_checkin == 1, "the failed reports settled nothing"
        assert after.total_restarts == 1
        assert after.failed_checkins >= 2
        assert after.last_error == "http_500"
        following = await until(
            lambda: len(plane.heard) > heard + 1 and plane.heard[heard + 1], "another"
        )
        assert (following.restarts_since_last_checkin, following.total_restarts) == (0, 1)
        assert (following.failed_checkins, following.last_error) == (0, "")


async def test_one_request_at_a_time_and_none_swallows_a_change(
    tmp_path: Path, plane: Plane
) -> None:
    async with run_machine(tmp_path, HOLDFAST_PLANE_URL=plane.url, **LATER) as machine:
        await machine.opened()
        await machine.ready()
        await until(lambda: plane.heard and plane.last.openclaw_version, "settled")
        plane.hold = asyncio.Event()
        begun = len(plane.headers)
        assert (await machine.ask("POST", "/_kilo/gateway/restart"))[0] == 200
        await until(lambda: len(plane.headers) == begun + 1, "a report held open")
        await machine.ready()
        await machine.ask("POST", "/_kilo/gateway/stop")
        assert len(plane.headers) == begun + 1, "one in flight at most"
        plane.hold.set()
        plane.hold = None
        await until(lambda: plane.last.supervisor_state == "stopped", "what came meanwhile")


async def test_new_credentials_are_used_from_the_next_send_on(tmp_path: Path, plane: Plane) -> None:
    file = tmp_path / "credentials.json"

    def put(key: str, token: str) -> None:
        fresh = tmp_path / "fresh"
        fresh.write_text(json.dumps({"apiKey": key, "gatewayToken": token}))
        fresh.replace(file)

    put("key-1", "token-1")
    async with run_machine(
        tmp_path,
        HOLDFAST_PLANE_URL=plane.url,
        HOLDFAST_CREDENTIALS_FILE=str(file),
        **SOON,
    ) as machine:
        await machine.opened()
        await until(lambda: plane.headers, "a report")
        assert plane.headers[-1]["x-holdfast-gateway-token"] == "token-1"
        plane.accepts = lambda headers: headers["x-holdfast-gateway-token"] == "token-2"
        put("key-2", "token-2")
        heard = len(plane.heard)
        await until(lambda: len(plane.heard) > heard, "a report with the new ones")
        assert plane.headers[-1]["Authorization"] == "Bearer key-2"
        assert (await machine.ask("GET", "/_kilo/version", "token-2"))[0] == 200
        assert (await machine.ask("GET", "/_kilo/version", "token-1"))[0] == 401
        file.write_text("{half")
        heard = len(plane.heard)
        await until(lambda: len(plane.heard) > heard, "a report with the last good ones")
        text = (tmp_path / "machine.log").read_text()
        assert "token-2" not in text
        assert "key-2" not in text


async def test_the_interval_of_a_directive_is_followed(tmp_path: Path, plane: Plane) -> None:
    plane.answer = lambda _: Directive(checkin_interval_ms=1_000)
    async with run_machine(tmp_path, HOLDFAST_PLANE_URL=plane.url, **LATER) as machine:
        await machine.opened()
        await until(lambda: len([r for r in plane.heard if r.interval_ms == 1_000]) >= 2, "pace")


async def test_stopped_by_a_directive_it_reports_and_stays_up(tmp_path: Path, plane: Plane) -> None:
    async with run_machine(tmp_path, HOLDFAST_PLANE_URL=plane.url, **LATER) as machine:
        await machine.opened()
        await machine.ready()
        await until(lambda: plane.wakes, "the long poll")
        assert plane.wakes[0]["x-holdfast-sandbox-id"] == "sandbox-1"
        assert plane.wakes[0]["revision"] == "0"
        plane.wake(Directive(revision=5, desired="stopped"))
        # A report from before its first start has stopped too, but no exit.
        await until(lambda: plane.heard and plane.last.last_exit_requested, "stopped as asked")
        assert plane.last.supervisor_state == "stopped"
        assert (await machine.status())["restarts"] == 0
        await until(lambda: plane.wakes[-1]["revision"] == "5", "the next long poll")
        plane.wake(Directive(revision=6))
        await machine.ready()


async def test_commands_are_done_once_and_their_outcomes_told(tmp_path: Path, plane: Plane) -> None:
    restart = Command(id="c-1", name="agent.restart", epoch=2)
    late = Command(id="c-2", name="agent.stop", epoch=2, valid_until_ms=1)
    other = Command(id="c-3", name="agent.stop", epoch=1)
    async with run_machine(
        tmp_path, HOLDFAST_PLANE_URL=plane.url, HOLDFAST_MACHINE_EPOCH="2", **LATER
    ) as machine:
        await machine.opened()
        before = (await machine.ready())["pid"]
        await until(lambda: plane.wakes, "the long poll")
        plane.wake(Directive(revision=1, epoch=1, desired="stopped", commands=(restart,)))
        await until(lambda: machine.events("directive.stale"), "of an older incarnation")
        commands = (restart, late, other)
        for revision in (2, 3, 4):
            plane.wake(Directive(revision=revision, epoch=2, commands=commands))
            await until(functools.partial(has_asked, plane, revision), "taken")
        told = await until(
            lambda: found if len(found := outcomes_told(plane)) == 3 else None,
            "three outcomes",
        )
        assert (told["c-1"].ok, told["c-2"].code, told["c-3"].code) == (
            True, "expired", "wrong_epoch",
        )  # fmt: skip
        status = await machine.ready()
        assert status["pid"] != before
        assert len(machine.events("agent.spawned")) == 2, "one restart"
        delivered = [o.id for r in plane.heard for o in r.outcomes]
        assert sorted(delivered) == ["c-1", "c-2", "c-3"], "each told once"


async def test_an_agent_stopped_by_hand_stays_stopped(tmp_path: Path, plane: Plane) -> None:
    plane.answer = lambda _: Directive(revision=1)
    async with run_machine(tmp_path, HOLDFAST_PLANE_URL=plane.url, **LATER) as machine:
        await machine.opened()
        await machine.ready()
        await until(lambda: plane.heard, "a report")
        await machine.ask("POST", "/_kilo/gateway/stop")
        await until(lambda: plane.last.supervisor_state == "stopped", "told")
        assert (await machine.status())["state"] == "stopped"


async def test_a_plane_of_the_contract_is_not_asked_for_more(tmp_path: Path, plane: Plane) -> None:
    async with run_machine(
        tmp_path,
        HOLDFAST_SANDBOX_ID="",
        HOLDFAST_API_KEY="",
        HOLDFAST_GATEWAY_TOKEN="",
        KILOCLAW_SANDBOX_ID="sandbox-k",
        KILOCODE_API_KEY="key-k",
        OPENCLAW_GATEWAY_TOKEN=TOKEN,
        KILOCLAW_CHECKIN_URL=f"{plane.url}/api/controller/checkin",
    ) as machine:
        await machine.opened()
        await until(lambda: plane.heard and plane.last.agent_ready, "a report")
        assert plane.last.sandbox_id == "sandbox-k"
        assert plane.headers[-1]["Authorization"] == "Bearer key-k"
        assert not plane.wakes
        assert not machine.events("checkin.failed"), "204 without a body is a success"


async def test_why_a_long_poll_failed_is_in_the_log(tmp_path: Path, plane: Plane) -> None:
    wrong = f"{plane.url}/nothing"
    async with run_machine(
        tmp_path, HOLDFAST_PLANE_URL=plane.url, HOLDFAST_WAKE_URL=wrong, **LATER
    ) as machine:
        await until(lambda: machine.events("wake.failed"), "the long poll")
        assert machine.events("wake.failed")[0]["error"] == "http_404"


async def test_without_a_plane_nothing_is_sent(tmp_path: Path) -> None:
    async with run_machine(tmp_path, **SOON) as machine:
        await machine.opened()
        await machine.ready()
        assert not [row for row in machine.log if row["event"].startswith(("checkin", "wake"))]

"""The doctor as a job: one at a time, followed while it runs, cancelled, limited, recorded."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from holdfast.kernel.clock import ManualClock
from holdfast.machine.controller.doctor.jobs import CUT, DoctorJobs, Tail
from holdfast.machine.controller.doctor.run import launch_with
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.process.commands import Commands
from holdfast.machine.controller.process.priority_lock import PriorityLock
from tests.integration.machine.rig import Machine, run_machine, until
from tests.support.patience import patience


def configure(home: Path, text: str) -> None:
    state = home / "agent" / "state"
    state.mkdir(parents=True, exist_ok=True)
    (state / "demo.json").write_text(text)


async def ended(machine: Machine) -> dict[str, Any]:
    async def look() -> dict[str, Any] | None:
        _, body = await machine.ask("GET", "/_kilo/doctor/status")
        return body if body["status"] != "running" else None

    found: dict[str, Any] = await until(look, "the doctor's end")
    return found


async def test_one_run_from_start_to_end(tmp_path: Path) -> None:
    configure(tmp_path, '{"doctorS": 0.4}')
    async with run_machine(tmp_path) as machine:
        await machine.opened()
        await machine.ready()
        assert (await machine.ask("GET", "/_kilo/doctor/status"))[1]["hasRun"] is False
        status, answer = await machine.ask("POST", "/_kilo/doctor/cancel")
        assert (status, answer["code"]) == (409, "openclaw_doctor_no_active_run")
        for wrong in ({"fix": "yes"}, {"fix": 1}):
            status, answer = await machine.ask("POST", "/_kilo/doctor/start", body=wrong)
            assert (status, answer["field"]) == (400, "fix")
        assert (await machine.ask("GET", "/_kilo/doctor/status?after=-1"))[1]["field"] == "after"

        status, started = await machine.ask("POST", "/_kilo/doctor/start")
        assert (status, started["ok"]) == (200, True)
        status, answer = await machine.ask("POST", "/_kilo/doctor/start", body={"fix": False})
        assert (status, answer["code"]) == (409, "openclaw_doctor_already_active")

        # Followed while it runs: each answer goes on where the one before ended.
        pieces, position, running = [], 0, 0
        while True:
            _, now = await machine.ask("GET", f"/_kilo/doctor/status?after={position}")
            pieces.append(now["output"])
            position = now["nextOffset"]
            running += now["status"] == "running" and bool(now["output"])
            if now["status"] != "running":
                break
        whole = (await ended(machine))["output"]
        assert "".join(pieces) == whole
        assert running, "some of it was seen before the end"
        assert whole.splitlines()[-1].endswith("doctor has looked")
        assert (now["status"], now["exitCode"], now["error"]) == ("completed", 0, None)
        assert (now["runId"], now["fix"]) == (started["runId"], True)
        assert now["startedAt"] == started["startedAt"] <= now["finishedAt"]

    async with run_machine(tmp_path) as machine:  # and it is remembered
        await machine.opened()
        _, again = await machine.ask("GET", "/_kilo/doctor/status")
        assert (again["runId"], again["output"]) == (started["runId"], whole)


async def test_a_run_that_is_cancelled_and_will_not_hear_is_killed(tmp_path: Path) -> None:
    configure(tmp_path, '{"doctorS": 60, "doctorStubborn": true}')
    async with run_machine(tmp_path) as machine:
        await machine.opened()
        await machine.ready()
        await machine.ask("POST", "/_kilo/doctor/start")

        async def printed() -> bool:
            _, body = await machine.ask("GET", "/_kilo/doctor/status")
            return "doctor is looking" in body["output"]

        await until(printed, "it looks")
        assert (await machine.ask("POST", "/_kilo/doctor/cancel"))[1] == {"ok": True}
        record = await ended(machine)
        assert (record["status"], record["exitCode"]) == ("cancelled", -9)


async def test_a_run_that_a_killed_controller_left_is_closed(tmp_path: Path) -> None:
    configure(tmp_path, '{"doctorS": 60}')
    record = tmp_path / "run" / "doctor" / "record.json"
    async with run_machine(tmp_path) as machine:
        await machine.opened()
        await machine.ready()
        await machine.ask("POST", "/_kilo/doctor/start")
        printed = record.with_name("output.log")
        await until(lambda: record.exists() and printed.read_text(), "the record and some output")
        machine.process.kill()
        await machine.process.wait()
    assert json.loads(record.read_text())["status"] == "running"
    async with run_machine(tmp_path) as machine:
        await machine.opened()
        found = await ended(machine)
        assert (found["status"], found["error"]) == ("failed", "interrupted by controller restart")
        assert found["output"]
        assert (await machine.ask("POST", "/_kilo/doctor/start"))[0] == 200
    assert record.stat().st_mode & 0o777 == 0o600


async def test_a_repair_has_the_agent_stopped_and_started_again(tmp_path: Path) -> None:
    configure(tmp_path, '{"doctorS": 0.3}')
    async with run_machine(tmp_path) as machine:
        await machine.opened()
        first = (await machine.ready())["pid"]
        await machine.ask("POST", "/_kilo/doctor/start", body={"fix": False})
        assert (await ended(machine))["status"] == "completed"
        assert (await machine.status())["pid"] == first, "who only looks disturbs nobody"

        await machine.ask("POST", "/_kilo/doctor/start")

        async def looking() -> bool:
            _, body = await machine.ask("GET", "/_kilo/doctor/status")
            return "doctor is looking" in body["output"]

        await until(looking, "it looks")
        assert (await machine.status())["pid"] is None
        assert (await ended(machine))["status"] == "completed"
        assert (await machine.ready())["pid"] != first
        assert (await machine.ask("POST", "/_kilo/gateway/stop"))[0] == 200
        await machine.ask("POST", "/_kilo/doctor/start")
        assert (await ended(machine))["status"] == "completed"
        assert (await machine.status())["state"] == "stopped", "it was down before"


async def test_a_repair_that_is_given_up_before_the_agent_ended_leaves_it_running(
    tmp_path: Path,
) -> None:
    async with run_machine(tmp_path, HOLDFAST_STOP_GRACE_MS="700") as machine:
        await machine.opened()
        await machine.ready()
        await machine.fault("hang")  # so that it takes its time to end
        await machine.ask("POST", "/_kilo/doctor/start")
        assert (await machine.ask("POST", "/_kilo/doctor/cancel"))[0] == 200
        assert (await ended(machine))["status"] == "cancelled"
        await machine.ready()


class Pretended:
    """A process controlled by the test."""

    def __init__(self) -> None:
        self.line: Any = None
        self.exit: Any = None
        self.heard: list[str] = []

    def launch(self, *, fix: bool, on_line: Any, on_exit: Any) -> Pretended:
        self.line, self.exit = on_line, on_exit
        return self

    def send(self, number: int) -> None:
        self.heard.append("term")

    def kill(self) -> None:
        self.heard.append("kill")
        self.exit(-9)


def make(tmp_path: Path, process: Pretended, limit_s: float = 60) -> DoctorJobs:
    return DoctorJobs(
        tmp_path / "doctor", process.launch, draw=lambda size: "ab" * size,
        clock=ManualClock(5), log=Log(ManualClock(5)), limit_s=limit_s, kill_s=0.02,
    )  # fmt: skip


def _launch_nothing(*_given: Any, **_named: Any) -> Any:
    raise AssertionError("the doctor is started by its own launch")


class Beside:
    """A running agent, with other command lines beside it, and its supervisor."""

    def __init__(self) -> None:
        self.lock, self.process, self.events = PriorityLock(), Pretended(), list[str]()
        self.commands = Commands(self.lock, _launch_nothing)
        self.profile = SimpleNamespace(doctor_alone=True)
        self.state = SimpleNamespace(child=True, status="running")

    def call_doctor(self, *, fix: bool, on_line: Any, on_exit: Any) -> Pretended:
        assert not self.lock.take_now(), "it runs in its turn"
        self.events.append("doctor")
        return self.process.launch(fix=fix, on_line=on_line, on_exit=on_exit)

    async def stop(self, _reason: str) -> None:
        self.events.append("stop")

    def start(self) -> bool:
        self.events.append("start")
        return True

    def jobs(self, folder: Path) -> DoctorJobs:
        both: Any = self
        launch = launch_with(both, both, closing=lambda: False)
        return DoctorJobs(
            folder / "doctor", launch, draw=lambda size: "ab" * size,
            clock=ManualClock(5), log=Log(ManualClock(5)), kill_s=0.02,
        )  # fmt: skip


@pytest.mark.parametrize("fix", [False, True])
async def test_it_waits_until_no_other_command_of_the_agents_runs(
    tmp_path: Path, *, fix: bool
) -> None:
    beside = Beside()
    assert beside.lock.take_now(), "somebody pairs"
    jobs = beside.jobs(tmp_path)
    jobs.start(fix=fix)
    await asyncio.sleep(0.02)
    assert beside.events == [], "the agent is not stopped for a run that cannot begin"
    beside.lock.give_back()
    await until(lambda: "doctor" in beside.events, "its start")
    beside.process.exit(0)
    assert (await jobs.wait()).status == "completed"
    assert beside.events == (["stop", "doctor", "start"] if fix else ["doctor"])
    assert beside.lock.take_now(), "it was given back"
    await jobs.close()


async def test_at_once_it_takes_the_lock_too_and_releases_it(tmp_path: Path) -> None:
    beside = Beside()
    jobs = beside.jobs(tmp_path)
    jobs.start(fix=False)
    assert beside.events == ["doctor"]
    assert not beside.lock.take_now()
    beside.process.exit(3)
    assert beside.lock.take_now()
    await jobs.close()


@pytest.mark.parametrize("pause_s", [None, 0.02])
async def test_a_run_that_is_cancelled_before_it_has_the_lock_touches_nothing(
    tmp_path: Path, pause_s: float | None
) -> None:
    beside = Beside()
    assert beside.lock.take_now()
    jobs = beside.jobs(tmp_path)
    jobs.start(fix=True)
    if pause_s is not None:
        await asyncio.sleep(pause_s)
    jobs.cancel()
    async with asyncio.timeout(patience(5)):
        assert (await jobs.wait()).status == "cancelled"
    beside.lock.give_back()
    assert beside.events == []
    assert beside.lock.take_now(), "nobody kept it"
    await jobs.close()


async def test_a_run_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    process = Pretended()
    jobs = make(tmp_path, process, limit_s=0.05)
    jobs.start(fix=False)
    record = await jobs.wait()
    assert process.heard == ["term", "kill"]
    assert (record.status, record.error) == ("failed", "not within 0.05 s")
    await jobs.close()


async def test_the_end_does_not_wait_for_a_run_that_will_not_hear(tmp_path: Path) -> None:
    process = Pretended()
    jobs = DoctorJobs(
        tmp_path / "doctor", process.launch, draw=lambda size: "ab" * size,
        clock=ManualClock(5), log=Log(ManualClock(5)), kill_s=3_600,
    )  # fmt: skip
    jobs.start(fix=True)
    await jobs.close()
    assert process.heard == ["term", "kill"]
    assert "interrupted" in (tmp_path / "doctor" / "record.json").read_text()


async def test_secrets_are_not_kept_and_a_failure_is_one(tmp_path: Path) -> None:
    process = Pretended()
    jobs = make(tmp_path, process)
    jobs.start(fix=True)
    process.line("stderr", "using apiKey=sk-abcdefghijklmn")
    process.exit(3)
    record = await jobs.wait()
    assert (record.status, record.exit_code, record.error) == ("failed", 3, "exit code 3")
    await jobs.close()
    assert "sk-abc" not in (tmp_path / "doctor" / "output.log").read_text()
    assert "apiKey" in (tmp_path / "doctor" / "output.log").read_text()


async def test_a_program_that_is_not_there_says_so(tmp_path: Path) -> None:
    async with run_machine(
        tmp_path, HOLDFAST_AGENT="openclaw", HOLDFAST_OPENCLAW_HOME=str(tmp_path / "nothing")
    ) as machine:
        await machine.opened()
        status, answer = await machine.ask("POST", "/_kilo/doctor/start")
        assert (status, answer["code"]) == (500, "openclaw_doctor_start_failed")


def test_the_output_keeps_its_end_and_says_that_it_was_cut() -> None:
    tail = Tail(limit=20)
    for number in range(10):
        tail.add(f"line {number}")
    assert tail.since(0) == (CUT + "line 8\nline 9\n", 70, True)
    assert tail.since(63) == ("line 9\n", 70, False)
    assert tail.since(70) == ("", 70, False)
    assert tail.since(500) == ("", 70, False)


@pytest.mark.parametrize("text", ["é" * 100, "\udcff"])
def test_the_output_takes_any_text(text: str) -> None:
    tail = Tail()
    tail.add(text)
    assert tail.since(0).text.endswith("\n")


async def test_whoever_waits_is_not_held_up_by_the_disk(tmp_path: Path) -> None:
    (tmp_path / "doctor").write_text("no folder")
    process = Pretended()
    jobs = make(tmp_path, process)
    jobs.start(fix=True)
    process.exit(0)
    async with asyncio.timeout(patience(5)):
        assert (await jobs.wait()).status == "completed"
        await jobs.close()

"""Machines of the process cloud through the death of planes."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from holdfast.disk.process_environ import PROC, read_environ
from holdfast.kernel.outcome import Conflict, Ok, Retryable
from holdfast.world.clouds.port import LABEL_SANDBOX, NAME_TAKEN, TRANSIENT
from holdfast.world.clouds.process_record import Record, load, save
from holdfast.world.processes.table import MARKER, identify, is_alive, scan
from tests.integration.clouds.conftest import (
    STUB_PATH,
    Opener,
    create,
    spec,
    until,
    until_gone,
    value,
)

KILLS = int(os.environ.get("HOLDFAST_TEST_KILLS", "8"))
"""How often a busy plane is killed; the figure of 200 was run by hand with this variable."""

CHURN = (sys.executable, str(Path(__file__).with_name("churn_program.py")))
PLANE = (sys.executable, str(Path(__file__).with_name("plane_program.py")))


def record_of(home: Path, name: str = "box-1") -> Record:
    return load(home / "machines" / name / "machine.json")


def stubs_of(home: Path) -> list[int]:
    """Return the pids of machine programs whose home lies below this one."""
    marker = f"HOME={home}/machines/".encode()
    found: list[int] = []
    for stat in scan():
        try:
            held = read_environ(stat.pid)
        except OSError:
            continue
        if stat.state != "Z" and any(part.startswith(marker) for part in held):
            found.append(stat.pid)
    return found


def homes_of(home: Path) -> list[str]:
    """Return the home of each leader that has become its program: once for each that runs."""
    found: list[str] = []
    for pid in stubs_of(home):
        try:
            argv = (PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
            held = read_environ(pid)
        except OSError:  # it ended meanwhile
            continue
        if argv[0] != b"/bin/sh":  # still at the barrier: it has done nothing and will end
            found.extend(part.decode() for part in held if part.startswith(b"HOME="))
    return found


def start_plane(home: Path, *names: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*PLANE, str(home), str(STUB_PATH), *names],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": "src"},
    )


def kill_plane(plane: subprocess.Popen[str]) -> None:
    plane.kill()
    plane.communicate()


async def test_a_new_plane_finds_the_machines_of_a_killed_one(
    tmp_path: Path, opened: Opener
) -> None:
    plane = start_plane(tmp_path, "box-1", "box-2")
    assert plane.stdout is not None
    lines = [plane.stdout.readline().split() for _ in range(3)]
    kill_plane(plane)
    before = {name: record_of(tmp_path, name).leader for name in ("box-1", "box-2")}
    assert all(is_alive(leader) for leader in before.values())

    cloud = await opened()
    assert {one.spec.name for one in cloud.adoption.running} == {"box-1", "box-2"}
    for name, machine_id in lines[1:]:
        machine = value(await cloud.describe(machine_id))
        assert (machine.name, machine.state) == (name, "started")
        again = await cloud.create(spec(name), idempotency_key=name, timeout_ms=20_000)
        assert isinstance(again, Conflict)
        assert (again.code, again.holder) == (NAME_TAKEN, machine_id)
        assert value(await cloud.start(machine_id)).incarnation == machine.incarnation
    assert {name: record_of(tmp_path, name).leader for name in before} == before
    assert len(stubs_of(tmp_path)) == 2

    machine_id = lines[1][1]
    await cloud.stop(machine_id, grace_ms=5_000)
    stopped = await cloud.wait(machine_id, state="stopped", incarnation="", timeout_ms=15_000)
    assert value(stopped).state == "stopped"
    assert len(stubs_of(tmp_path)) == 1


@pytest.mark.parametrize("after_ms", [0, 2, 4, 6, 8, 11, 14, 18, 25])
async def test_a_plane_killed_while_creating_leaves_nothing_unknown(
    tmp_path: Path, opened: Opener, after_ms: int
) -> None:
    plane = start_plane(tmp_path, *(f"box-{number}" for number in range(6)))
    assert plane.stdout is not None
    assert plane.stdout.readline() == "ready\n"
    await asyncio.sleep(after_ms / 1_000)
    kill_plane(plane)

    cloud = await opened()
    assert cloud.adoption.unreadable == ()
    found = await cloud.find({})
    assert isinstance(found, Ok)
    for number in range(6):  # whatever the first plane did, each ends up with one machine
        name = f"box-{number}"
        made = await cloud.create(spec(name), idempotency_key=name, timeout_ms=20_000)
        if isinstance(made, Conflict):
            assert made.holder is not None
            made = await cloud.start(made.holder)
        assert value(made).state == "started"
    leaders = {record_of(tmp_path, f"box-{number}").leader for number in range(6)}
    # A process at the barrier ends with its plane; nothing but the six leaders may stay.
    pids = {leader.pid for leader in leaders if leader is not None}

    async def only_leaders() -> bool:
        return set(stubs_of(tmp_path)) == pids

    await until(only_leaders)


async def test_planes_killed_again_and_again_while_busy_double_and_orphan_nothing(
    tmp_path: Path, opened: Opener
) -> None:
    chance = random.Random(20)
    for round_number in range(KILLS):
        plane = subprocess.Popen(  # noqa: ASYNC220 - it is there at once
            [*CHURN, str(tmp_path), str(STUB_PATH), str(round_number)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": "src"},
        )
        assert plane.stdout is not None
        plane.stdout.readline()
        await asyncio.sleep(chance.random() * 0.12)
        kill_plane(plane)
        seen = sorted(homes_of(tmp_path))
        assert len(seen) == len(set(seen)), f"round {round_number}: a machine runs twice"

    cloud = await opened()
    assert cloud.adoption.unreadable == ()

    async def steady() -> bool:
        found = await cloud.find({})
        assert isinstance(found, Ok)
        return all(one.state in {"started", "stopped", "created"} for one in found.value)

    await until(steady)
    names = [one for one in (tmp_path / "machines").iterdir() if not one.name.startswith(".")]
    records = [record_of(tmp_path, one.name) for one in names]
    leaders = {one.leader.pid for one in records if one.leader is not None}

    async def only_leaders() -> bool:
        return set(stubs_of(tmp_path)) <= leaders

    await until(only_leaders)
    claims = {int(link.name) for link in (tmp_path / "machines" / ".ports").iterdir()}
    assert {one.port for one in records} <= claims
    assert len({one.port for one in records}) == len(records)


async def test_two_planes_cannot_double_a_machine(tmp_path: Path, opened: Opener) -> None:
    async def runs_once() -> None:
        async def there() -> bool:  # while a process executes its program it has no environment
            return bool(homes_of(tmp_path))

        await until(there)
        assert len(stubs_of(tmp_path)) == 1

    one, two = await opened(), await opened()
    clouds = (one, two) * 4
    answers = await asyncio.gather(
        *(cloud.create(spec(), idempotency_key="k", timeout_ms=20_000) for cloud in clouds)
    )
    assert sum(isinstance(answer, Ok) for answer in answers) == 1
    await runs_once()
    found = await two.find({LABEL_SANDBOX: "box-1"})
    assert isinstance(found, Ok)
    machine = found.value[0]
    await one.stop(machine.id, grace_ms=5_000)
    await two.wait(machine.id, state="stopped", incarnation="", timeout_ms=15_000)
    started = await asyncio.gather(*(cloud.start(machine.id) for cloud in clouds))
    assert len({value(answer).incarnation for answer in started}) == 1
    await runs_once()


@pytest.fixture
def innocent() -> Iterator[subprocess.Popen[bytes]]:
    """A process unrelated to any machine."""
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("change", ["start_ticks", "boot_id"])
async def test_a_reused_pid_is_never_signalled(
    tmp_path: Path, opened: Opener, innocent: subprocess.Popen[bytes], change: str
) -> None:
    cloud = await opened()
    machine = await create(cloud, spec())
    await cloud.stop(machine.id, grace_ms=5_000)
    await cloud.wait(machine.id, state="stopped", incarnation="", timeout_ms=15_000)
    await cloud.close()
    forged = identify(innocent.pid)
    assert forged is not None
    old = {"start_ticks": forged.start_ticks - 1, "boot_id": "an-earlier-boot"}
    leader = replace(forged, **{change: old[change]})
    record = replace(record_of(tmp_path), phase="running", leader=leader)
    save(tmp_path / "machines" / "box-1" / "machine.json", record)

    later = await opened()
    assert later.adoption.running == ()
    assert value(await later.describe(machine.id)).state == "stopped"
    await later.stop(machine.id, grace_ms=0)
    value(await later.start(machine.id))
    assert await later.destroy(machine.id) == Ok(None)
    assert innocent.poll() is None


async def test_a_stop_that_a_plane_did_not_finish_is_finished(
    tmp_path: Path, opened: Opener
) -> None:
    first = await opened()
    machine = await create(first, spec("box-1", "deaf"))
    await first.stop(machine.id, grace_ms=1_500)
    await first.close()
    assert record_of(tmp_path).phase == "stopping"
    second = await opened()
    stopped = await second.wait(machine.id, state="stopped", incarnation="", timeout_ms=15_000)
    assert value(stopped).state == "stopped"
    assert stubs_of(tmp_path) == []


async def test_an_update_that_a_plane_did_not_finish_is_finished(
    tmp_path: Path, opened: Opener
) -> None:
    first = await opened()
    machine = await create(first, spec())
    await first.close()
    # The intent was written and the plane died before it signalled the program.
    later_ms = record_of(tmp_path).updated_at_ms + 3_600_000
    record = replace(record_of(tmp_path), phase="updating", stop_by_ms=later_ms, spec=spec(epoch=5))
    save(tmp_path / "machines" / "box-1" / "machine.json", record)
    second = await opened()
    started = value(
        await second.wait(machine.id, state="started", incarnation="", timeout_ms=15_000)
    )
    assert started.incarnation != machine.incarnation
    assert started.labels["holdfast_epoch"] == "5"
    assert len(stubs_of(tmp_path)) == 1


async def test_a_destroy_that_a_plane_did_not_finish_is_finished(
    tmp_path: Path, opened: Opener
) -> None:
    first = await opened()
    machine = await create(first, spec())
    await first.close()
    record = replace(record_of(tmp_path), phase="destroying")
    save(tmp_path / "machines" / "box-1" / "machine.json", record)
    second = await opened()
    await second.wait(machine.id, state="destroyed", incarnation="", timeout_ms=15_000)
    await until_gone(record.leader, machine.id)
    assert not (tmp_path / "machines" / "box-1").exists()


async def test_a_machine_that_ended_while_no_plane_ran_is_stopped(
    tmp_path: Path, opened: Opener
) -> None:
    first = await opened()
    machine = await create(first, spec("box-1", "stray"))
    await first.close()
    leader = record_of(tmp_path).leader
    assert leader is not None
    os.kill(leader.pid, signal.SIGKILL)
    second = await opened()
    stopped = await second.wait(machine.id, state="stopped", incarnation="", timeout_ms=15_000)
    assert value(stopped).state == "stopped"
    await until_gone(leader, machine.id)  # what it left behind is cleared away


async def test_an_unreadable_record_is_never_an_absent_machine(
    tmp_path: Path, opened: Opener
) -> None:
    first = await opened()
    machine = await create(first, spec())
    await first.close()
    path = tmp_path / "machines" / "box-1" / "machine.json"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    second = await opened()
    assert second.adoption.unreadable == ("box-1",)
    described = await second.describe(machine.id)
    assert isinstance(described, Retryable)
    assert described.code == TRANSIENT
    again = await second.create(spec(), idempotency_key="box-1", timeout_ms=20_000)
    assert isinstance(again, Conflict)
    assert again.code == NAME_TAKEN
    assert len(stubs_of(tmp_path)) == 1
    path.write_bytes(whole)
    assert value(await second.describe(machine.id)).state == "started"


async def test_a_folder_without_a_record_is_cleared_away(tmp_path: Path, opened: Opener) -> None:
    (tmp_path / "machines" / "box-1" / "home").mkdir(parents=True)
    (tmp_path / "machines" / ".ports").mkdir()
    (tmp_path / "machines" / ".ports" / "20000").symlink_to("box-1")
    cloud = await opened()
    assert not (tmp_path / "machines" / "box-1").exists()
    assert list((tmp_path / "machines" / ".ports").iterdir()) == []
    await create(cloud, spec())


def test_the_marker_is_what_machines_carry() -> None:
    assert MARKER == "HOLDFAST_MACHINE_ID"

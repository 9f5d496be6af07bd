"""One machine of the process cloud: its environment, its end, its files."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest
import uvloop

from holdfast.kernel.clock import SystemClock
from holdfast.kernel.outcome import Conflict, Ok, Permanent, Retryable
from holdfast.kernel.secret import Secret
from holdfast.world.clouds.port import INVALID, TRANSIENT, Machine, VolumeSpec
from holdfast.world.clouds.process import ProcessCloud
from holdfast.world.clouds.process_ports import PORTS_PER_MACHINE, Ports
from holdfast.world.clouds.process_record import load
from holdfast.world.processes.table import Identity, members
from tests.integration.clouds.conftest import (
    STUB,
    Opener,
    create,
    said,
    spec,
    until,
    until_gone,
    value,
)


def leader_of(home: Path, name: str = "box-1") -> Identity:
    leader = load(home / "machines" / name / "machine.json").leader
    assert leader is not None
    return leader


async def env_of(cloud: ProcessCloud, machine: Machine) -> dict[str, str]:
    tail = await cloud.log_tail(machine.id, lines=200)
    assert isinstance(tail, Ok)
    pairs = [line.removeprefix("env ") for line in tail.value if line.startswith("env ")]
    return dict(pair.split("=", 1) for pair in pairs)


async def test_a_machine_sees_its_own_environment_and_no_secret_of_the_plane(
    tmp_path: Path, opened: Opener
) -> None:
    environ = {"PATH": os.environ["PATH"], "HOLDFAST_ADMIN_PASSWORD": "plane-secret", "LANG": "C"}
    cloud = await opened(environ=environ, keys=lambda _spec: Secret("the-key"))
    machine = await create(
        cloud,
        spec(
            epoch=4,
            env={"STUB": "env", "COLOUR": "blue", "HOLDFAST_MACHINE_EPOCH": "99"},
            sealed={"API_KEY": "enc:v1:abcd"},
        ),
    )
    env = await env_of(cloud, machine)
    root = tmp_path / "machines" / "box-1"
    port = machine.address.removeprefix("127.0.0.1:")
    assert {
        "COLOUR": "blue",
        "HOLDFAST_ENC_API_KEY": "enc:v1:abcd",
        "HOLDFAST_ENV_KEY": "the-key",
        "HOLDFAST_SANDBOX_ID": "box-1",
        "HOLDFAST_INSTANCE_ID": "instance-box-1",
        "HOLDFAST_MACHINE_ID": machine.id,
        "HOLDFAST_MACHINE_EPOCH": "4",  # ours take precedence over the requested ones
        "HOLDFAST_CONTROLLER_PORT": port,
        "HOLDFAST_AGENT_PORT": str(int(port) + 1),
        "HOLDFAST_AGENT": "demo",
        "HOLDFAST_AGENT_HOME": str(root / "home"),
        "HOLDFAST_STATE_DIR": str(root / "state"),
        "HOME": str(root / "home"),
        "TMPDIR": str(root / "tmp"),
    }.items() <= env.items()
    assert "plane-secret" not in env.values()
    on_disk = b"".join(
        place.read_bytes()
        for place in root.rglob("*")
        if place.is_file() and place.name != "machine.log"
    )
    assert b"the-key" not in on_disk
    assert (root / "machine.json").stat().st_mode & 0o777 == 0o600
    assert root.joinpath("home").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"name": "../escape"}, "name"),
        ({"name": ""}, "name"),
        ({"env": {"not a name": "x"}}, "not a name"),
        ({"env": {"HOLDFAST_ENV_KEY": "x"}}, "HOLDFAST_ENV_KEY"),
        ({"env": {"A": "x\0y"}}, "NUL"),
        ({"sealed": {"TOKEN": "plain"}}, "TOKEN"),
    ],
)
async def test_a_spec_that_cannot_be_run_is_refused_by_name(
    opened: Opener, tmp_path: Path, changes: dict[str, object], named: str
) -> None:
    cloud = await opened()
    refused = await cloud.create(spec(**changes), idempotency_key="k", timeout_ms=20_000)  # type: ignore[arg-type]
    assert isinstance(refused, Permanent)
    assert refused.code == INVALID
    assert named in refused.message
    assert "plain" not in refused.message.replace("plain text", "")
    assert not (tmp_path / "escape").exists()


async def test_stop_kills_what_will_not_listen(tmp_path: Path, opened: Opener) -> None:
    cloud = await opened()
    machine = await create(cloud, spec("box-1", "deaf", "child", "stray"))
    leader = leader_of(tmp_path)
    assert len(members(leader, machine.id)) == 3
    asked = value(await cloud.stop(machine.id, grace_ms=100))
    assert asked.state == "stopping"
    stopped = value(
        await cloud.wait(machine.id, state="stopped", incarnation="", timeout_ms=15_000)
    )
    assert stopped.exit_code == -signal.SIGKILL
    await until_gone(leader, machine.id)


async def test_while_it_stops_it_can_neither_be_started_nor_updated(opened: Opener) -> None:
    cloud = await opened()
    machine = await create(cloud, spec("box-1", "deaf"))
    await cloud.stop(machine.id, grace_ms=60_000)
    assert isinstance(await cloud.start(machine.id), Conflict)
    assert isinstance(await cloud.update(machine.id, spec()), Conflict)
    await cloud.stop(machine.id, grace_ms=0)  # a shorter grace counts
    stopped = await cloud.wait(machine.id, state="stopped", incarnation="", timeout_ms=15_000)
    assert value(stopped).state == "stopped"


async def test_a_clean_end_has_its_exit_code(opened: Opener) -> None:
    cloud = await opened()
    machine = value(
        await cloud.create(spec("box-1", "exit"), idempotency_key="k", timeout_ms=20_000)
    )
    stopped = await cloud.wait(machine.id, state="stopped", incarnation="", timeout_ms=15_000)
    assert value(stopped).exit_code == 7


async def test_an_end_from_outside_is_noticed_and_told(tmp_path: Path, opened: Opener) -> None:
    cloud = await opened()
    told: list[Machine] = []
    cloud.on_exit = told.append
    machine = await create(cloud, spec("box-1", "child"))
    leader = leader_of(tmp_path)
    os.kill(leader.pid, signal.SIGKILL)

    async def heard() -> bool:
        return bool(told)

    await until(heard)
    assert [(one.id, one.state, one.exit_code) for one in told] == [(machine.id, "stopped", -9)]
    await until_gone(leader, machine.id)
    assert value(await cloud.start(machine.id)).incarnation != machine.incarnation


async def test_destroy_leaves_nothing(tmp_path: Path, opened: Opener) -> None:
    cloud = await opened()
    machine = await create(cloud, spec("box-1", "deaf", "child", "stray"))
    leader = leader_of(tmp_path)
    assert await cloud.destroy(machine.id) == Ok(None)
    assert members(leader, machine.id) == []
    machines = tmp_path / "machines"
    assert not (machines / "box-1").exists()
    assert list((machines / ".ports").iterdir()) == []

    async def purged() -> bool:
        return list((machines / ".trash").iterdir()) == []

    await until(purged)


async def test_two_machines_have_ports_of_their_own(opened: Opener) -> None:
    cloud = await opened()
    first = await create(cloud, spec("box-1"))
    second = await create(cloud, spec("box-2"))
    ports = sorted(int(one.address.split(":")[1]) for one in (first, second))
    assert ports[1] - ports[0] >= PORTS_PER_MACHINE


async def test_a_port_that_a_stranger_took_is_given_up(opened: Opener) -> None:
    cloud = await opened()
    machine = await create(cloud, spec())
    port = int(machine.address.split(":")[1])
    await cloud.stop(machine.id, grace_ms=5_000)
    await cloud.wait(machine.id, state="stopped", incarnation="", timeout_ms=15_000)
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind(("127.0.0.1", port + 1))
        stranger.listen()
        again = value(await cloud.start(machine.id))
    assert abs(int(again.address.split(":")[1]) - port) >= PORTS_PER_MACHINE


def test_ranges_run_out_and_come_back(tmp_path: Path) -> None:
    ports = Ports(tmp_path, first=28_000, last=28_007)
    first, second = ports.claim("one"), ports.claim("two")
    assert {first, second} == {28_000, 28_004}
    assert ports.claim("three") is None
    assert first is not None
    ports.release(first, "not-its-owner")
    assert ports.claim("three") is None
    ports.release(first, "one")
    assert ports.claim("three") == first


async def test_a_long_log_is_rotated_and_its_tail_kept(tmp_path: Path, opened: Opener) -> None:
    cloud = await opened(log_bytes_max=20_000, rotate_every_s=0.05)
    made = await cloud.create(spec("box-1", "noise"), idempotency_key="k", timeout_ms=20_000)
    machine = value(made)
    await said(cloud, machine.id, "noise over")
    log = tmp_path / "machines" / "box-1" / "log" / "machine.log"

    async def rotated() -> bool:
        return log.with_name("machine.log.1").exists() and log.stat().st_size <= 20_000

    await until(rotated)
    tail = await cloud.log_tail(machine.id, lines=1)
    assert tail == Ok(("noise over",))


async def test_what_a_machine_uses_is_reported(opened: Opener) -> None:
    cloud = await opened()
    machine = await create(cloud, spec("box-1", "child"))
    usage = value(await cloud.describe(machine.id)).usage
    assert usage is not None
    assert usage.processes == 2
    assert usage.rss_bytes > 1_000_000
    assert usage.disk_bytes is not None


async def test_exec_has_the_machines_environment_and_limits(opened: Opener) -> None:
    cloud = await opened()
    machine = await create(cloud, spec())
    ran = await cloud.exec(
        machine.id, ("sh", "-c", "echo $HOLDFAST_SANDBOX_ID; pwd; exit 3"), timeout_ms=10_000
    )
    assert isinstance(ran, Ok)
    assert ran.value.exit_code == 3
    assert ran.value.stdout.split()[0] == "box-1"
    assert ran.value.stdout.split()[1].endswith("/machines/box-1/home")
    flood = await cloud.exec(
        machine.id, ("sh", "-c", "head -c 900000 /dev/zero"), timeout_ms=10_000
    )
    assert isinstance(flood, Ok)
    assert flood.value.truncated
    assert len(flood.value.stdout) == 262_144
    slow = await cloud.exec(machine.id, ("sleep", "60"), timeout_ms=100)
    assert isinstance(slow, Retryable)
    assert slow.code == TRANSIENT
    missing = await cloud.exec(machine.id, ("no-such-program",), timeout_ms=1_000)
    assert isinstance(missing, Permanent)


async def test_a_volume_is_the_home_and_keeps_its_files(tmp_path: Path, opened: Opener) -> None:
    cloud = await opened()
    made = await cloud.create_volume(VolumeSpec(name="hf_1"), idempotency_key="k", timeout_ms=9_000)
    assert isinstance(made, Ok)
    again = await cloud.create_volume(
        VolumeSpec(name="hf_1"), idempotency_key="k", timeout_ms=9_000
    )
    assert again == made  # the key makes it idempotent here
    machine = await create(cloud, spec(volume_id=made.value.id))
    wrote = await cloud.exec(
        machine.id, ("sh", "-c", 'echo kept > "$HOME/note"'), timeout_ms=10_000
    )
    assert isinstance(wrote, Ok)
    await cloud.destroy(machine.id)
    later = await create(cloud, spec(volume_id=made.value.id))
    read = await cloud.exec(later.id, ("sh", "-c", 'cat "$HOME/note"'), timeout_ms=10_000)
    assert isinstance(read, Ok)
    assert read.value.stdout == "kept\n"
    fork = await cloud.create_volume(
        VolumeSpec(name="hf_2", source_volume_id=made.value.id),
        idempotency_key="k",
        timeout_ms=9_000,
    )
    assert isinstance(fork, Ok)
    copied = tmp_path / "volumes" / fork.value.id / "data" / "note"
    assert copied.read_text() == "kept\n"


async def test_a_program_that_cannot_be_started_is_a_stopped_machine(opened: Opener) -> None:
    cloud = await opened(program=("/no/such/program",))
    made = await cloud.create(spec(), idempotency_key="k", timeout_ms=20_000)
    stopped = await cloud.wait(value(made).id, state="stopped", incarnation="", timeout_ms=15_000)
    assert value(stopped).exit_code == 127


async def test_a_call_whose_time_runs_out_may_still_be_done(tmp_path: Path, opened: Opener) -> None:
    cloud = await opened()
    gave_up = await cloud.create(spec(), idempotency_key="k", timeout_ms=0)
    assert isinstance(gave_up, Retryable)

    async def there() -> bool:
        found = await cloud.find({})
        return isinstance(found, Ok) and [one.state for one in found.value] == ["started"]

    await until(there)
    assert SystemClock().now_ms() > load(tmp_path / "machines/box-1/machine.json").created_at_ms - 1


def test_it_runs_on_the_loop_that_the_plane_uses(tmp_path: Path) -> None:
    async def life() -> None:
        async with ProcessCloud(tmp_path, clock=SystemClock(), program=STUB) as cloud:
            told: list[Machine] = []
            cloud.on_exit = told.append
            machine = await create(cloud, spec("box-1", "deaf"))
            ran = await cloud.exec(machine.id, ("true",), timeout_ms=10_000)
            assert isinstance(ran, Ok)
            await cloud.stop(machine.id, grace_ms=50)
            stopped = value(
                await cloud.wait(machine.id, state="stopped", incarnation="", timeout_ms=15_000)
            )
            assert stopped.exit_code == -signal.SIGKILL
            await cloud.destroy(machine.id)

    uvloop.run(life())

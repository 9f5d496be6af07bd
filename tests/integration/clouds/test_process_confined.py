"""Machines of the process cloud, confined: their commands, their processes, their variables."""

from __future__ import annotations

import base64
import os
import secrets
import signal
from collections.abc import Container
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace

from holdfast.kernel.outcome import Ok, Permanent
from holdfast.kernel.secret import Secret
from holdfast.machine.confine.probing import Kind
from holdfast.machine.confine.sandbox import Wanted
from holdfast.world.clouds.port import Execution, Machine
from holdfast.world.clouds.process import ProcessCloud
from holdfast.world.clouds.process_host import PROGRAM
from holdfast.world.clouds.process_record import load
from holdfast.world.processes.confine import Confine
from holdfast.world.processes.table import Identity, members, usage_of
from tests.integration.clouds.conftest import Opener, spec, until, until_gone, value
from tests.integration.clouds.test_process_controller import TOKEN, get, seal
from tests.support.confinement import KINDS, need
from tests.support.patience import patience

SECRET = "the-plane's-secret"


async def start(
    opened: Opener, home: Path, kind: Wanted, **env: str
) -> tuple[ProcessCloud, Machine]:
    """Start the real controller with the demo agent, confined so, and wait for its agent."""
    need(kind)
    key = secrets.token_bytes(32)
    cloud = await opened(
        program=PROGRAM, keys=lambda _spec: Secret(base64.b64encode(key).decode()),
        confine=Confine(kind=kind, hidden=(str(home),)),
    )  # fmt: skip
    given = {"OPENCLAW_GATEWAY_TOKEN": TOKEN, "KILOCODE_API_KEY": "key", "MODEL_KEY": SECRET}
    sealed = {name: seal(key, text) for name, text in given.items()}
    wanted = replace(spec(env=env, agent="demo"), sealed=sealed)
    machine = value(await cloud.create(wanted, idempotency_key="k", timeout_ms=20_000))

    async def ready() -> bool:
        status, body = await get(machine, "/_kilo/gateway/status")
        return status == 200 and '"ready":true' in body.replace(" ", "")

    await until(ready)
    return cloud, machine


async def settled(leader: Identity, sizes: Container[int]) -> list[psutil.Process]:
    """Return the agent and its sandbox, once the commands of the start have ended."""
    found: list[psutil.Process] = []

    async def is_alone() -> bool:
        found[:] = psutil.Process(leader.pid).children(recursive=True)
        return len(found) in sizes

    await until(is_alone)
    return found


async def run(cloud: ProcessCloud, machine: Machine, script: str) -> Execution:
    """Run a shell command in the machine."""
    ran = await cloud.exec(machine.id, ("/bin/sh", "-c", script), timeout_ms=20_000)
    assert isinstance(ran, Ok), ran
    return ran.value


@pytest.mark.parametrize("kind", KINDS)
async def test_a_command_is_confined_and_its_end_exact(
    tmp_path: Path, opened: Opener, kind: Kind
) -> None:
    (tmp_path / "keyring").write_text(SECRET)
    cloud, machine = await start(opened, tmp_path, kind)
    hidden = await run(cloud, machine, f"cat {tmp_path}/keyring")
    assert (SECRET in hidden.stdout) == (kind == "none")
    kept = await run(cloud, machine, "echo kept > file && cat file && pwd")
    assert kept.stdout.split() == ["kept", str(tmp_path / "machines/box-1/home")]
    told = (await run(cloud, machine, "env")).stdout
    assert "HOLDFAST_MACHINE_ID=" in told
    for ours in ("HOLDFAST_ENV_KEY", "HOLDFAST_ENC_", "HOLDFAST_CONFINE", TOKEN):
        assert ours not in told
    for script, code in (("exit 3", 3), ("exit 137", 137), ("kill -9 $$", -9), ("kill $$", -15)):
        assert (await run(cloud, machine, script)).exit_code == code, script
    missing = await cloud.exec(machine.id, ("no-such-program",), timeout_ms=20_000)
    assert isinstance(missing, Permanent)


@pytest.mark.parametrize("kind", KINDS)
async def test_the_processes_of_a_confined_agent_are_known_and_end_with_its_machine(
    tmp_path: Path, opened: Opener, kind: Kind
) -> None:
    cloud, machine = await start(opened, tmp_path, kind)
    leader = load(tmp_path / "machines" / "box-1" / "machine.json").leader
    assert leader is not None
    children = await settled(leader, {3 if "bubblewrap" in kind else 1})
    family = {one.pid for one in children}
    assert {one.pid for one in members(leader, machine.id)} == {leader.pid, *family}
    assert usage_of(leader, machine.id, disk_bytes=None).processes == len(family) + 1
    # Without its controller they are found by their mark.
    os.kill(leader.pid, signal.SIGSTOP)
    alone = {one.pid for one in members(None, machine.id)}
    assert alone == {leader.pid, *family}
    os.kill(leader.pid, signal.SIGCONT)
    assert isinstance(await cloud.destroy(machine.id), Ok)
    await until_gone(leader, machine.id)
    _, left = psutil.wait_procs(children, timeout=patience(10))
    assert not [one for one in left if one.status() != psutil.STATUS_ZOMBIE]


async def test_an_owners_variable_that_loads_code_is_the_agents_alone(
    tmp_path: Path, opened: Opener
) -> None:
    given = {"LD_PRELOAD": "/nowhere/evil.so", "OPENSSL_CONF": "/nowhere/evil.cnf", "MINE": "1"}
    cloud, machine = await start(opened, tmp_path, "auto", **given)
    leader = load(tmp_path / "machines" / "box-1" / "machine.json").leader
    assert leader is not None
    controller = psutil.Process(leader.pid).environ()
    assert not {"LD_PRELOAD", "OPENSSL_CONF"} & controller.keys()
    agents = await settled(leader, {1, 3})
    seen = agents[-1].environ()
    assert given.items() <= seen.items()
    assert not [name for name in seen if name.startswith("HOLDFAST_AGENT_ENV_")]
    assert not [one for one in agents[:-1] if "LD_PRELOAD" in one.environ()], "nor its sandbox"
    told = (await run(cloud, machine, "env")).stdout
    assert "LD_PRELOAD=/nowhere/evil.so" in told

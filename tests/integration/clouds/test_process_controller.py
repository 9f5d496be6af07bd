"""The process cloud with the real controller and the bundled agent."""

from __future__ import annotations

import asyncio
import base64
import secrets
from contextlib import closing
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec.structs import replace

from holdfast.kernel.outcome import Ok
from holdfast.kernel.secret import Secret
from holdfast.world.clouds.port import Machine
from holdfast.world.clouds.process import ProcessCloud
from holdfast.world.clouds.process_host import PROGRAM
from holdfast.world.clouds.process_record import load
from holdfast.world.processes.table import members
from tests.integration.clouds.conftest import Opener, spec, until, until_gone, value

TOKEN = "t" * 64


async def get(machine: Machine, path: str) -> tuple[int, str]:
    """Call the controller of a machine; 0 while it does not answer."""
    host, _, port = machine.address.partition(":")
    head = f"GET {path} HTTP/1.1\r\nHost: {machine.address}\r\nConnection: close\r\n"
    try:
        async with asyncio.timeout(1):
            reader, writer = await asyncio.open_connection(host, int(port))
            with closing(writer):
                writer.write(f"{head}Authorization: Bearer {TOKEN}\r\n\r\n".encode())
                answer = (await reader.read()).decode()
    except (OSError, TimeoutError):
        return 0, ""
    if not answer:
        return 0, ""
    return int(answer.split()[1]), answer.partition("\r\n\r\n")[2]


async def until_running(machine: Machine) -> None:
    async def running() -> bool:
        status, body = await get(machine, "/_kilo/gateway/status")
        return status == 200 and '"running"' in body

    await until(running)


def seal(key: bytes, text: str) -> str:
    nonce = secrets.token_bytes(12)
    return (
        "enc:v1:"
        + base64.b64encode(nonce + AESGCM(key).encrypt(nonce, text.encode(), None)).decode()
    )


async def start_demo(cloud: ProcessCloud, key: bytes) -> Machine:
    credentials = {"OPENCLAW_GATEWAY_TOKEN": TOKEN, "KILOCODE_API_KEY": "key-of-the-owner"}
    wanted = spec(
        env={}, agent="demo", sealed={name: seal(key, text) for name, text in credentials.items()}
    )
    machine = value(await cloud.create(wanted, idempotency_key="k", timeout_ms=20_000))
    await until_running(machine)
    return machine


async def test_a_demo_agent_runs_ends_and_leaves_nothing(tmp_path: Path, opened: Opener) -> None:
    key = secrets.token_bytes(32)
    written = Secret(base64.b64encode(key).decode())
    cloud = await opened(program=PROGRAM, keys=lambda _spec: written)
    machine = await start_demo(cloud, key)
    record = tmp_path / "machines" / "box-1" / "machine.json"

    async def both() -> bool:
        return len(members(load(record).leader, machine.id)) >= 2

    await until(both)  # the controller and its agent
    leader = load(record).leader

    await cloud.close()  # another plane takes over; the machine does not notice
    cloud = await opened(program=PROGRAM, keys=lambda _spec: written)
    assert (await get(machine, "/_kilo/health"))[0] == 200

    await cloud.stop(machine.id, grace_ms=15_000)
    stopped = value(
        await cloud.wait(machine.id, state="stopped", incarnation="", timeout_ms=20_000)
    )
    assert stopped.exit_code == 0
    await until_gone(leader, machine.id)

    again = value(await cloud.start(machine.id))
    assert again.address == machine.address
    await until_running(again)
    leader = load(tmp_path / "machines" / "box-1" / "machine.json").leader
    assert await cloud.destroy(machine.id) == Ok(None)
    assert members(leader, machine.id) == []
    assert (await get(machine, "/_kilo/health"))[0] == 0


async def test_an_agents_files_and_variables_are_not_loaded_by_its_controller(
    tmp_path: Path, opened: Opener
) -> None:
    key = secrets.token_bytes(32)
    written = Secret(base64.b64encode(key).decode())
    cloud = await opened(program=PROGRAM, keys=lambda _spec: written)
    machine = await start_demo(cloud, key)
    await cloud.stop(machine.id, grace_ms=15_000)
    value(await cloud.wait(machine.id, state="stopped", incarnation="", timeout_ms=20_000))

    home, seen = tmp_path / "machines" / "box-1" / "home", tmp_path / "seen"
    planted = f"import os\nopen({str(seen)!r}, 'w').write(os.environ['HOLDFAST_ENV_KEY'])\n"
    for name in ("aiohttp.py", "msgspec.py", "sitecustomize.py"):
        (home / name).write_text(planted)
    record = load(tmp_path / "machines" / "box-1" / "machine.json")
    hostile = replace(record.spec, env={"PYTHONPATH": str(home)})
    machine = value(await cloud.update(machine.id, hostile))
    await until_running(machine)
    assert not seen.exists()

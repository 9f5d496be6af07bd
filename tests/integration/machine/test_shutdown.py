"""The end of the controller: the first signal wins, it is bounded, and a failure of it exits 1."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.machine.controller.process.orphans import find_orphans
from tests.integration.machine.rig import ROOT, alive, run_plane, run_program, until
from tests.support.patience import patience


async def test_the_first_signal_wins_and_repeats_are_ignored(tmp_path: Path) -> None:
    async with run_program(tmp_path, HOLDFAST_STOP_GRACE_MS="1000") as machine:
        await machine.opened()
        agent = (await machine.ready())["pid"]
        await machine.fault("hang")
        machine.process.send_signal(signal.SIGINT)
        await until(lambda: machine.events("controller.stopping"), "the end has begun")
        machine.process.send_signal(signal.SIGTERM)
        machine.process.send_signal(signal.SIGTERM)
        assert await machine.end(signal.SIGINT) == 0
        (row,) = machine.events("controller.stopping")
        assert row["signal"] == signal.SIGINT
        assert not alive(agent)


async def test_a_signal_during_the_start_ends_it(tmp_path: Path) -> None:
    async with run_program(tmp_path) as machine:
        path = Path(f"/proc/{machine.process.pid}/status")
        # Two handlers, as the kernel lists them: the signals are taken, the start has just begun.
        await until(lambda: caught(path, signal.SIGTERM) or machine.gone(), "signals are taken")
        assert await machine.end() == 0
        assert not machine.events("controller.ready")


def caught(path: Path, number: int) -> bool:
    (line,) = (row for row in path.read_text().splitlines() if row.startswith("SigCgt"))
    return bool(int(line.split()[1], 16) >> (number - 1) & 1)


async def test_nothing_is_reported_once_the_end_has_begun(tmp_path: Path) -> None:
    async with run_plane() as plane:
        async with run_program(
            tmp_path, HOLDFAST_PLANE_URL=plane.url, HOLDFAST_STOP_GRACE_MS="2500"
        ) as machine:
            await machine.opened()
            await machine.ready()
            await until(lambda: plane.heard and plane.last.agent_ready, "a report")
            await machine.fault("hang")  # so that the end takes longer than reports are apart
            machine.process.send_signal(signal.SIGTERM)
            await until(lambda: machine.events("controller.stopping"), "the end has begun")
            heard = len(plane.heard)
            assert await machine.end() == 0
        assert len(plane.heard) == heard


BROKEN = """
import asyncio, os, sys
from holdfast.machine.controller import __main__ as entry, boot, limits
{sabotage}
limits.SHUTDOWN_SLACK_S = 0.3
from holdfast.machine.controller import shutdown
shutdown.SHUTDOWN_SLACK_S, shutdown.LAST_RESORT_SLACK_S = 0.3, 0.5
sys.exit(entry.main())
"""
RAISES = """
from holdfast.machine.controller.agent.supervisor import Supervisor
async def shutdown(self, number):
    raise RuntimeError("told to")
Supervisor.shutdown = shutdown
"""
NEVER_ENDS = """
from holdfast.machine.controller.agent.supervisor import Supervisor
async def shutdown(self, number):
    await asyncio.Event().wait()
Supervisor.shutdown = shutdown
"""
IGNORES_THE_DEADLINE = """
from holdfast.machine.controller.agent.supervisor import Supervisor
async def shutdown(self, number):
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue
Supervisor.shutdown = shutdown
"""
BLOCKS_THE_LOOP = """
import threading
from holdfast.machine.controller.agent.supervisor import Supervisor
async def shutdown(self, number):
    threading.Event().wait()
Supervisor.shutdown = shutdown
"""
WORKER_STUCK = """
import threading
from holdfast.machine.controller.agent.supervisor import Supervisor
real = Supervisor.shutdown
async def shutdown(self, number):
    asyncio.get_running_loop().run_in_executor(None, threading.Event().wait)
    await real(self, number)
Supervisor.shutdown = shutdown
"""


@pytest.mark.parametrize(
    "sabotage", [RAISES, NEVER_ENDS, IGNORES_THE_DEADLINE, BLOCKS_THE_LOOP, WORKER_STUCK]
)
async def test_an_end_that_fails_exits_1_and_never_hangs(tmp_path: Path, sabotage: str) -> None:
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "src"),
        "HOLDFAST_MACHINE_HOME": str(tmp_path),
        "HOLDFAST_CONTROLLER_PORT": "0",
        "HOLDFAST_AGENT_PORT": "0",
        "HOLDFAST_API_KEY": "key-of-the-owner",
        "HOLDFAST_GATEWAY_TOKEN": "token-of-the-machine",
        "HOLDFAST_STOP_GRACE_MS": "300",
    }
    command = (sys.executable, "-c", BROKEN.format(sabotage=sabotage))
    process = await asyncio.create_subprocess_exec(
        *command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        await until(lambda: find_orphans(str(tmp_path / "agent")), "the agent")
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(patience(15)):
            assert await process.wait() == 1
        await until(lambda: not find_orphans(str(tmp_path / "agent")), "nothing is left")
    finally:
        if process.returncode is None:
            process.kill()

"""The agent's command lines under one lock: repair, version, lists and orders never overlap."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from holdfast.kernel.clock import SystemClock
from holdfast.machine.agents.catalogue import DEMO
from holdfast.machine.agents.pairing import Place
from holdfast.machine.confine.sandbox import unconfined
from holdfast.machine.controller.agent.processes import AgentProcesses
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.pairing.command_line import CommandLine
from holdfast.machine.controller.process.children import ChildProcesses
from holdfast.machine.controller.settings import read_running
from tests.integration.machine.rig import until

ALONE = """
import os, sys, time
lock, log = sys.argv[1:3]
os.close(os.open(lock, os.O_CREAT | os.O_EXCL))
open(log, "a").write(sys.argv[3] + "\\n")
time.sleep(float(sys.argv[4]))
os.unlink(lock)
print("X 2026.1.1")
"""


class Bench:
    """An agent whose command lines fail if one of them runs already."""

    def __init__(self, agent: AgentProcesses, folder: Path) -> None:
        self.agent = agent
        self.lock, self.ran = folder / "lock", folder / "ran"
        self.commands = CommandLine(
            lambda: self.argv("list", 0.05), agent.commands, hidden=(),
            clock=SystemClock(), log=agent._log,
        )  # fmt: skip

    def argv(self, name: str, takes_s: float) -> tuple[str, ...]:
        return (
            sys.executable,
            "-S",
            "-c",
            ALONE,
            str(self.lock),
            str(self.ran),
            name,
            str(takes_s),
        )

    def names(self) -> list[str]:
        return self.ran.read_text().split() if self.ran.exists() else []


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    child_processes = ChildProcesses(unconfined())
    child_processes.open()
    place = Place(home=str(tmp_path / "agent"), port=1, token="", python=sys.executable)
    async with aiohttp.ClientSession() as session:
        agent = AgentProcesses(
            replace(DEMO, version_argv=lambda _place: made.argv("version", 0.05)), place,
            read_running({}), child_processes=child_processes, session=session,
            log=Log(SystemClock(), 2),
        )  # fmt: skip
        made = Bench(agent, tmp_path)
        agent.prepare()
        yield made


async def test_none_meets_another_whoever_runs_it(bench: Bench) -> None:
    agent, repair = bench.agent, bench.argv("mend", 0.1)
    ended = await asyncio.gather(
        bench.commands.run("order"), agent.query_version(), agent.run(repair, timeout_s=20),
        bench.commands.run("order"), agent.run(repair, timeout_s=20), agent.query_version(),
    )  # fmt: skip
    assert [one if isinstance(one, str) else one.code for one in ended] == [
        0, "X 2026.1.1", 0, 0, 0, "X 2026.1.1",
    ]  # fmt: skip
    assert bench.names() == ["list", "mend", "mend", "list", "version", "version"]


async def test_a_repair_that_is_ended_early_releases_the_lock_once_it_is_gone(
    bench: Bench,
) -> None:
    repairing = asyncio.create_task(bench.agent.run(bench.argv("mend", 60), timeout_s=60))
    await until(bench.names, "the mending")
    repairing.cancel()
    await asyncio.gather(repairing, return_exceptions=True)
    bench.lock.unlink()
    assert (await bench.commands.run("order")).code == 0


async def test_what_cannot_be_started_keeps_no_lock(bench: Bench) -> None:
    with pytest.raises(OSError, match="No such file"):
        await bench.agent.run(("/nowhere/at/all",), timeout_s=1)
    with pytest.raises(TimeoutError):
        await bench.agent.run(bench.argv("mend", 60), timeout_s=0.5)
    assert bench.agent.lock.take_now()

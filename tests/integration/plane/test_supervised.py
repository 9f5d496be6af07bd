"""A part that must not end: when one does, health fails and the process ends and says why."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.kernel.clock import SystemClock
from holdfast.plane.serve import EXIT_FAULT
from holdfast.plane.settings import load_settings
from holdfast.plane.wiring.plane import Plane, make_plane
from tests.support.asgi import call
from tests.support.logs import Lines
from tests.support.patience import patience
from tests.support.planes import PlaneProcess

DYING = """
import asyncio, os
from pathlib import Path
from holdfast.actors.{module} import {part}
from holdfast.cli.main import main

async def end_when_told(self, *given):
    while not (Path(os.environ["HOLDFAST_HOME"]) / "end").exists():
        await asyncio.sleep(0.05)
    raise RuntimeError("a bug that nobody foresaw")

{part}.{loop} = end_when_told
import sys
sys.argv[1:] = ["serve"]
main()
"""
NAMES = {
    "owner", "mailbox", "prober", "alarms", "contact wheel", "contact writer", "datapoint writer",
    "contact notifier 0", "journal-write", "accounts-write", "contact-write", "corrections-write",
    "journal.prune", "instances.watch", "intake watch",
}  # fmt: skip


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Plane]:
    settings = load_settings(
        {}, home=str(tmp_path / "home"), public_url="http://plane.test", accept_unconfined=True
    )
    made = await make_plane(settings, clock=SystemClock(), log=Lines(), url="http://plane.test")
    await made.start()
    yield made
    await made.stop()


async def test_everything_that_must_not_end_is_watched(plane: Plane) -> None:
    names = {vital.name for vital in plane.supervisor.vitals}
    assert names >= NAMES
    assert plane.supervisor.fault() is None


async def test_a_job_that_is_done_once_may_end(plane: Plane) -> None:
    (once,) = (t for t in asyncio.all_tasks() if t.get_name() == "holdfast-confinement.log")
    async with asyncio.timeout(patience(20)):
        await once
    assert plane.supervisor.fault() is None


@pytest.mark.parametrize("name", ["holdfast-alarms", "contact wheel", "holdfast-instances.watch"])
async def test_a_loop_that_ends_makes_health_fail_at_once(plane: Plane, name: str) -> None:
    assert (await call(plane.app, "GET", "/health")).status == 200
    (task,) = (task for task in asyncio.all_tasks() if task.get_name() == name)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    answer = await call(plane.app, "GET", "/health")
    assert (answer.status, answer.json()["status"]) == (503, "failed")
    async with asyncio.timeout(patience(10)):
        assert "it was cancelled" in await plane.supervisor.wait()


@pytest.mark.parametrize(
    ("module", "part", "loop"), [("owner", "Owner", "_run"), ("alarms", "Alarms", "_run")]
)
def test_the_process_ends_with_a_clear_last_line(
    tmp_path: Path, module: str, part: str, loop: str
) -> None:
    program = DYING.format(module=module, part=part, loop=loop)
    running = PlaneProcess(tmp_path / "home", (sys.executable, "-c", program))
    running.start()
    (running.home / "end").touch()
    process = running.process
    assert process is not None
    assert process.wait(patience(60)) == EXIT_FAULT
    last = json.loads(running.log().splitlines()[-1])
    assert (last["event"], last["level"]) == ("plane.failed", "critical")
    assert last["reason"].startswith(f"{module}: it raised RuntimeError at ")
    assert "nobody foresaw" not in running.log(), "texts of exceptions may quote what is secret"
    assert last["fix"]

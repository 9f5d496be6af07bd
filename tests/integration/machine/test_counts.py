"""A boot's counts outlive it: the real controller, killed, and the plane's real counting."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from aiohttp import web

from holdfast.kernel.clock import SystemClock
from holdfast.letters.machine import LastContact
from holdfast.machine.controller.report.boot_counters import COUNTERS_FILE, Saved
from holdfast.stores.memory.contact import MemoryContacts
from holdfast.stores.memory.telemetry import MemoryAnalytics
from holdfast.telemetry.accept import Admitted
from holdfast.telemetry.checkins import Telemetry
from holdfast.telemetry.machines import MachineIndex
from holdfast.wire.controller.checkin import BootCounters, CheckIn
from tests.integration.machine.rig import Machine, Plane, run_machine, run_plane, until
from tests.support.toys.machines import Ear, Quiet, facts

ONE = facts()
PACE = {
    "HOLDFAST_SANDBOX_ID": ONE.sandbox,
    "HOLDFAST_CHECKIN_FIRST_MS": "30",
    "HOLDFAST_CHECKIN_INTERVAL_MS": "1000",
}
UP, MUTE, DOWN = "up", "it hears but its answers are lost", "down"
BOOTS = (
    (UP, 1), (DOWN, 2), (DOWN, 1), (MUTE, 1), (MUTE, 0),
    (DOWN, 1), (UP, 1), (MUTE, 2), (UP, 0), (DOWN, 1),
)  # fmt: skip
"""The plane's state during each boot, and how often the agent dies in it."""


@dataclass
class CountingPlane(Plane):
    """Passes what it receives to the real stream of check-ins."""

    telemetry: Telemetry | None = None
    condition: str = UP
    begun: int = 0

    async def checkin(self, request: web.Request) -> web.Response:
        report = msgspec.json.decode(await request.read(), type=CheckIn)
        self.begun += 1
        if self.hold is not None:
            await self.hold.wait()
        if self.condition == DOWN:
            return web.Response(status=503)
        assert self.telemetry is not None
        if self.telemetry.receive(Admitted(ONE, report, "", ours=True)):
            return web.Response(status=429)
        self.heard.append(report)
        return web.Response(status=502 if self.condition == MUTE else 204)

    @property
    def view(self) -> LastContact:
        assert self.telemetry is not None
        view = self.telemetry.contact(ONE.instance)
        assert view is not None, "heard at least once"
        return view


@asynccontextmanager
async def counting_plane() -> AsyncIterator[CountingPlane]:
    book = MachineIndex()
    book.put(ONE)
    telemetry = Telemetry(
        clock=SystemClock(), log=Quiet(), machines=book, contacts=MemoryContacts(),
        analytics=MemoryAnalytics(), transitions=Ear(),
    )  # fmt: skip
    await telemetry.start()
    plane = CountingPlane(telemetry=telemetry)
    try:
        async with run_plane(plane):
            yield plane
    finally:
        await telemetry.close()


@pytest.fixture
async def plane() -> AsyncIterator[CountingPlane]:
    async with counting_plane() as found:
        yield found


def saved(home: Path) -> tuple[BootCounters, ...]:
    path = home / "run" / COUNTERS_FILE
    return msgspec.json.decode(path.read_bytes(), type=Saved).boots if path.exists() else ()


async def kill_agent(machine: Machine, *, deaths: int, known: set[str]) -> None:
    """Kill the agent for the `deaths`th time in this boot, and wait until that is on disk."""

    def written() -> bool:
        boots = saved(machine.home)
        return bool(boots) and boots[-1].boot_id not in known and boots[-1].crashes == deaths

    status = await machine.reached(lambda status: status["pid"] is not None)
    os.kill(status["pid"], signal.SIGKILL)
    await until(written, "the count on the disk")


async def live_and_die(home: Path, plane: CountingPlane, deaths: int) -> None:
    """Run a controller until the plane received at least one report, and kill it."""
    known = {row.boot_id for row in saved(home)}
    before = len(plane.heard)
    async with run_machine(home, HOLDFAST_PLANE_URL=plane.url, **PACE) as machine:
        await machine.opened()
        for death in range(deaths):
            await kill_agent(machine, deaths=death + 1, known=known)
        if plane.condition == DOWN:
            await until(lambda: machine.events("checkin.failed"), "a failure")
        else:
            await until(lambda: len(plane.heard) > before, "a report heard")
        await machine.end(signal.SIGKILL)


@pytest.mark.slow
async def test_nothing_counted_is_lost_through_ten_reboots(
    tmp_path: Path, plane: CountingPlane
) -> None:
    for condition, deaths in BOOTS:
        plane.condition = condition
        await live_and_die(tmp_path, plane, deaths)
    truth = sum(deaths for _, deaths in BOOTS)
    plane.condition = UP
    async with run_machine(tmp_path, HOLDFAST_PLANE_URL=plane.url, **PACE) as machine:
        await machine.opened()
        await until(lambda: len(saved(tmp_path)) == 1, "every earlier boot heard")
        assert (plane.view.restarts, plane.view.crashes) == (truth, truth)
        heard = len(plane.heard)
        await until(lambda: len(plane.heard) > heard, "one more")
        assert not plane.heard[-1].earlier_boots
        assert (plane.view.restarts, plane.view.crashes) == (truth, truth)
    boots = {row.boot_id for report in plane.heard for row in report.earlier_boots}
    assert len(boots) == len(BOOTS), "each was told, whether or not it had been heard"


async def test_a_death_is_written_while_a_report_is_on_its_way(
    tmp_path: Path, plane: CountingPlane
) -> None:
    plane.hold = asyncio.Event()
    async with run_machine(tmp_path, HOLDFAST_PLANE_URL=plane.url, **PACE) as machine:
        await machine.opened()
        await until(lambda: plane.begun, "a report held open")
        await kill_agent(machine, deaths=1, known=set())
        assert plane.begun == 1, "it was no report that wrote it"
        (row,) = saved(tmp_path)
        assert row.sequence == 2, "newer than what is on its way"
        await machine.end(signal.SIGKILL)
    plane.hold.set()
    plane.hold = None
    async with run_machine(tmp_path, HOLDFAST_PLANE_URL=plane.url, **PACE):
        await until(lambda: plane.heard and plane.view.crashes == 1, "told by the next boot")


@pytest.mark.parametrize("content", ["{half", '{"x": ' + "[" * 100_000], ids=["cut", "deep"])
async def test_a_damaged_file_is_told_and_replaced(
    content: str, tmp_path: Path, plane: CountingPlane
) -> None:
    path = tmp_path / "run" / COUNTERS_FILE
    path.parent.mkdir()
    path.write_text(content)
    async with run_machine(tmp_path, HOLDFAST_PLANE_URL=plane.url, **PACE) as machine:
        await until(lambda: plane.heard, "a report")
        assert len(machine.events("counters.unreadable")) == 1
        assert json.loads(path.read_text())["sandboxId"] == ONE.sandbox


async def test_a_disk_that_refuses_does_not_silence_the_machine(
    tmp_path: Path, plane: CountingPlane
) -> None:
    (tmp_path / "run" / COUNTERS_FILE).mkdir(parents=True)
    async with run_machine(tmp_path, HOLDFAST_PLANE_URL=plane.url, **PACE) as machine:
        await until(lambda: len(plane.heard) > 1, "two reports")
        assert machine.events("counters.write_failed")

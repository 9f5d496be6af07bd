"""A town's dry run in the process that rehearses: nothing on the disk changes, nobody is called."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import msgspec
import psutil
import pytest

from holdfast.actors.rehearsal_worker import Ahead
from holdfast.kernel.clock import HOUR_MS
from holdfast.plane.wiring.engine import make_worker
from holdfast.plane.wiring.holder import JOURNAL_FILE
from holdfast.plane.wiring.part import kinds_of
from tests.integration.towns.test_api import order
from tests.support.patience import patience
from tests.support.real_plane import end, make

TICKS = 20


def files(home: Path) -> dict[str, str]:
    """Return the hashes of all files; -shm is the readers' own book-keeping."""
    return {
        str(path.relative_to(home)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(home.rglob("*"))
        if path.is_file() and not path.name.endswith("-shm")
    }


def sockets(process: psutil.Process) -> set[str]:
    """Return the sockets of a process and of its children, but for those between themselves."""
    every = [process, *process.children(recursive=True)]
    return {str(one.laddr) for each in every for one in each.net_connections(kind="inet")}


@pytest.mark.timeout(240)
async def test_a_dry_run_of_a_town_writes_no_byte_and_opens_no_connection(tmp_path: Path) -> None:
    home = tmp_path / "home"
    made = await make(home)
    worker = make_worker(home / JOURNAL_FILE, kinds_of(made.plane.subjects.parts), made.log)
    try:
        town = await order(made, "/api/towns", {"name": "elm"})
        where = f"/api/towns/{town['id']}"
        await order(made, f"{where}/rigs", {"name": "web"})
        for _ in range(5):
            await order(made, f"{where}/beads", {"rig": "web", "title": "Mend"})
        invented = [
            {"type": "BeadCreated", "bead": {"id": f"x{number}", "rig": "web"}}
            for number in range(30)
        ]
        asked = Ahead(
            actor=f"town/{town['id']}",
            now_ms=made.plane.core.clock.now_ms() + HOUR_MS,
            ticks=TICKS,
            events=tuple(msgspec.json.encode(one) for one in invented),
        )
        first = await worker.dry_run(asked)
        decided = {decision.rule for step in first.steps for decision in step.decisions}
        assert "beads.assign" in decided
        assert any(step.calls for step in first.steps)

        here = psutil.Process()
        connected, rehearsed, before = sockets(here), 0, files(home)
        async with asyncio.timeout(patience(60)):
            while rehearsed < 3:  # a second in which the plane itself wrote is no proof
                before = files(home)
                again = await worker.dry_run(asked)
                assert len(again.steps) == len(first.steps)
                rehearsed += files(home) == before
        assert sockets(here) == connected
        assert len(before) > 5
    finally:
        await worker.stop()
        await end(made)

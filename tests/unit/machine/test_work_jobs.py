"""Attempts that an agent is handed: who waits for whom, and which record is on disk in the end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from holdfast.kernel.clock import ManualClock
from holdfast.machine.controller.errors import RefusedError
from holdfast.machine.controller.work.jobs import WorkJobs
from holdfast.machine.controller.work.records import Record, work_id
from holdfast.wire.controller.work import WorkOrder, WorkPart, WorkStop
from tests.support.patience import patience


class Child:
    def __init__(self, end: Callable[[int], None]) -> None:
        self._end = end

    def send(self, _number: int) -> None:
        self._end(-15)

    def kill(self) -> None: ...


class Agent:
    """An agent whose programs are nothing; git of the attempts in `slow` does not end."""

    def __init__(self, home: Path) -> None:
        self.place = SimpleNamespace(home=str(home), python="/usr/bin/python3")
        self.profile = SimpleNamespace(name="demo", work_argv=lambda _place, _files: ("work",))
        self.env = {"PATH": "/bin"}
        self.slow: set[str] = set()
        self.says: tuple[str, int] = ("", 0)
        self.ends: list[Callable[[int], None]] = []

    def launch(self, argv: Any, on_line: Any, on_exit: Any, **_: Any) -> Child:
        if argv[0] == "work":
            self.ends.append(on_exit)
            return Child(on_exit)
        if not any(one in word for one in self.slow for word in argv):
            text, status = self.says
            on_line("stderr", text)
            asyncio.get_running_loop().call_soon(on_exit, status)
        return Child(lambda _: None)


class Scene:
    def __init__(self, folder: Path) -> None:
        home = folder / "agent"
        home.mkdir()
        self.folder = folder / "work"
        self.folder.mkdir()
        self.agent = Agent(home)
        agent: Any = self.agent
        log: Any = SimpleNamespace(emit=lambda *_, **__: None)
        self.jobs = WorkJobs(
            agent, self.folder, is_ready=lambda: True, clock=ManualClock(), log=log
        )

    def clones(self) -> list[Path]:
        return list(Path(self.agent.place.home, "work").iterdir())

    def kept(self) -> list[Path]:
        return list(self.folder.iterdir())

    def on_disk(self) -> list[Record]:
        return self.jobs._records.load()


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def order(agent: str, attempt: str, epoch: int = 1) -> WorkOrder:
    return WorkOrder(
        town="t", agent=agent, attempt=attempt, epoch=epoch, role="polecat", branch="b/1",
        base="0" * 40, prompt="p",
    )  # fmt: skip


async def until(ready: Callable[[], bool]) -> None:
    async with asyncio.timeout(patience(20)):
        while not ready():  # noqa: ASYNC110  nothing tells
            await asyncio.sleep(0)


async def test_a_slow_clone_holds_up_its_own_agent_alone(scene: Scene) -> None:
    scene.agent.slow.add(work_id("t", "a1"))
    slow = asyncio.create_task(scene.jobs.start(order("ada", "a1")))
    await until(lambda: len(scene.on_disk()) == 1)
    assert (await scene.jobs.start(order("bob", "b1"))).status == "running"
    await scene.jobs.take(WorkPart(town="t", attempt="c1", offset=0, data=b"x"))
    await scene.jobs.stop(WorkStop(town="t", agent="bob", epoch=1))
    stop = asyncio.create_task(scene.jobs.stop(WorkStop(town="t", agent="ada", epoch=1)))
    await asyncio.sleep(0)
    assert not slow.done()
    assert not stop.done()
    for one in (slow, stop):
        one.cancel()
    await asyncio.gather(slow, stop, return_exceptions=True)


async def test_the_last_record_on_disk_is_the_latest(scene: Scene) -> None:
    save, held = scene.jobs._records.save, threading.Event()
    writing = threading.Event()

    def slowly(record: Record) -> None:
        if record.status == "running":
            writing.set()
            assert held.wait(patience(20))
        save(record)

    scene.jobs._records.save = slowly  # type: ignore[method-assign]
    start = asyncio.create_task(scene.jobs.start(order("ada", "a1")))
    await until(writing.is_set)
    scene.agent.ends[0](3)
    for _ in range(50):  # time for a write that does not wait
        await asyncio.sleep(0.001)
    held.set()
    await start
    await until(lambda: not scene.jobs._saving)
    assert [one.status for one in scene.on_disk()] == ["ended"]


@pytest.mark.parametrize(
    ("said", "status", "refused"),
    [
        ("fatal: not a git repository", 128, 409),
        ("fatal: Refusing to create empty bundle.", 128, 409),
        ("fatal: write error: No space left on device", 128, 503),
        ("error: pack-objects died of signal 9", 128, 503),
        ("", -9, 503),
    ],
)
async def test_a_bundle_that_failed_in_passing_may_be_asked_for_again(
    scene: Scene, said: str, status: int, refused: int
) -> None:
    await scene.jobs.start(order("ada", "a1"))
    scene.agent.says = (said, status)
    with pytest.raises(RefusedError) as found:
        await scene.jobs.bundle("t", "a1")
    assert found.value.status == refused


async def test_what_is_dropped_leaves_nothing_and_what_runs_is_not(scene: Scene) -> None:
    await scene.jobs.take(WorkPart(town="t", attempt="a1", offset=0, data=b"x"))
    await scene.jobs.start(order("ada", "a1"))
    with pytest.raises(RefusedError, match="work_runs"):
        await scene.jobs.drop("t", "a1")
    scene.agent.ends[0](0)
    await until(lambda: not scene.jobs._saving)
    assert len(scene.clones()) == 1
    await scene.jobs.drop("t", "a1")
    await scene.jobs.drop("t", "a1")
    assert scene.clones() == scene.kept() == []
    await scene.jobs.take(WorkPart(town="t", attempt="a2", offset=0, data=b"x"))
    await scene.jobs.drop("t", "a2")  # it was never started
    assert scene.kept() == []

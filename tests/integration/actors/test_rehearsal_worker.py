"""The rehearsal process: it answers from the real store and touches nothing of it."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from holdfast.actors import rehearsal_worker
from holdfast.actors.definition import EffectCall
from holdfast.actors.dispatch import Provider
from holdfast.actors.kinds import make_kind
from holdfast.actors.limiter import Limiter
from holdfast.actors.rehearsal_worker import (
    Ahead,
    Back,
    RehearsalTimeoutError,
    RehearsalWorker,
    Why,
)
from holdfast.actors.stored import UnknownActorError
from holdfast.kernel.clock import SystemClock
from holdfast.kernel.outcome import Ok, Outcome
from holdfast.plane.wiring.engine import make_engine
from holdfast.stores.sqlite.journal import SqliteJournal
from tests.support.logs import Lines
from tests.support.patience import patience
from tests.support.toys.lamp import LAMP, BulbAdded, Made, Policy, SwitchedOff, SwitchedOn
from tests.unit.actors.rig import Figures, arrive, lamp

HERE = "tests.integration.actors.lamps"


def fingerprints(path: Path) -> dict[str, str]:
    """Hash the journal and its WAL; the shared memory is only an index of them."""
    files = sorted(path.parent.glob(f"{path.name}*"))
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
        if not file.name.endswith("-shm")
    }


async def lit(_call: EffectCall) -> Outcome[None]:
    return Ok(None)


@pytest.fixture
async def lived(tmp_path: Path) -> AsyncIterator[Path]:
    """A journal in which a lamp has lived and two events wait; it stays open, as in the plane."""
    path = tmp_path / "journal.db"
    clock = SystemClock()
    journal = SqliteJournal(path, clock=clock)
    engine = make_engine(
        journal,
        {"lamp": make_kind(LAMP, Policy())},
        holder="test",
        clock=clock,
        log=Lines(),
        meter=Figures(),
        providers={"grid": Provider(execute=lit, gate=Limiter(clock))},
        lookouts={},
        code="test",
    )
    await engine.start()
    scenario = [Made("sun"), BulbAdded("a"), BulbAdded("b"), SwitchedOn(), SwitchedOff()]
    for n, event in enumerate(scenario):
        answer = await engine.mailbox.ask(lamp("hall"), arrive(event, f"{n}"), wait_ms=10_000)
        assert answer.stamp is not None
    async with asyncio.timeout(patience(20)):
        while len(engine.dispatch) or await journal.pending(lamp("hall"), 1):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await engine.stop()
    await journal.accept([(lamp("hall"), arrive(SwitchedOn(), "on"))])
    await journal.accept([(lamp("hall"), arrive(BulbAdded("c"), "c"))])
    yield path
    await journal.close()


async def test_every_rehearsal_answers_and_leaves_the_store_as_it_was(lived: Path) -> None:
    worker = RehearsalWorker(
        reader=f"{HERE}:open_reader", reader_args=(str(lived),), kinds=f"{HERE}:kinds", log=Lines()
    )
    before = fingerprints(lived)
    try:
        run = await worker.dry_run(Ahead(actor="lamp/hall", now_ms=2_000_000_000_000))
        assert [one.entity for one in run.steps[0].decisions] == ["a", "b", "c"]
        replay = await worker.replay(Back(actor="lamp/hall"))
        assert replay.divergences == ()
        assert replay.bit_equal
        assert replay.ticks >= 5
        why = await worker.explain(Why(actor="lamp/hall", entity="a", now_ms=2_000_000_000_000))
        assert [one.because for one in why.suppressed] == ["the lamp is off"]
        with pytest.raises(UnknownActorError, match="lamp/none"):
            await worker.dry_run(Ahead(actor="lamp/none", now_ms=0))
    finally:
        await worker.stop()
    assert fingerprints(lived) == before
    assert set(before) == {"journal.db", "journal.db-wal"}


PLANE = """
import asyncio, sys
from holdfast.actors.rehearsal_worker import Ahead, RehearsalWorker
from tests.support.logs import Lines

async def main():
    where = "tests.integration.actors.lamps"
    worker = RehearsalWorker(
        reader=f"{where}:open_reader", reader_args=(sys.argv[1],), kinds=f"{where}:kinds",
        log=Lines(),
    )
    await worker.dry_run(Ahead(actor="lamp/hall", now_ms=2_000_000_000_000))
    print(*worker._pool._processes, flush=True)
    await asyncio.sleep(3_600)

asyncio.run(main())
"""


async def test_the_process_ends_with_a_plane_that_is_killed(lived: Path) -> None:
    plane = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PLANE, str(lived), stdout=asyncio.subprocess.PIPE
    )
    assert plane.stdout is not None
    async with asyncio.timeout(patience(30)):
        process = psutil.Process(int(await plane.stdout.readline()))
    plane.kill()
    await plane.wait()
    async with asyncio.timeout(patience(20)):
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_a_process_that_dies_is_replaced_and_one_that_hangs_is_ended(lived: Path) -> None:
    log = Lines()
    worker = RehearsalWorker(
        reader=f"{HERE}:open_deadly",
        reader_args=(str(lived),),
        kinds=f"{HERE}:kinds",
        log=log,
    )
    try:
        run = await worker.dry_run(Ahead(actor="lamp/hall", now_ms=0))
        assert run.steps
        assert log.named("rehearsal.process_died")
        lived.with_suffix(".hang").write_text("now")
        worker._timeout_s = 0.5
        with pytest.raises(RehearsalTimeoutError, match="ask for less"):
            await worker.dry_run(Ahead(actor="lamp/hall", now_ms=0))
        lived.with_suffix(".hang").unlink()
        worker._timeout_s = 60.0
        assert (await worker.dry_run(Ahead(actor="lamp/hall", now_ms=0))).steps
    finally:
        await worker.stop()


async def test_nobody_waits_for_others_rehearsals_for_ever(lived: Path) -> None:
    worker = RehearsalWorker(
        reader=f"{HERE}:open_deadly",
        reader_args=(str(lived),),
        kinds=f"{HERE}:kinds",
        log=Lines(),
        turn_s=0.2,
    )
    asked = Ahead(actor="lamp/hall", now_ms=0)
    lived.with_suffix(".died").write_text("once")
    try:
        async with worker._lock:
            waits = [asyncio.create_task(worker.dry_run(asked)) for _ in range(3)]
            answers = await asyncio.gather(*waits, return_exceptions=True)
        assert [type(answer).__name__ for answer in answers] == ["RehearsalTimeoutError"] * 3
        assert "ask later" in str(answers[0])
        assert (await worker.dry_run(asked)).steps, "and the next one has its turn"
    finally:
        await worker.stop()


async def test_a_start_that_takes_long_is_not_begun_anew_by_each_who_waits_for_it(
    lived: Path,
) -> None:
    worker = RehearsalWorker(
        reader=f"{HERE}:open_when_let",
        reader_args=(str(lived),),
        kinds=f"{HERE}:kinds",
        log=Lines(),
        timeout_s=0.4,
    )
    asked = Ahead(actor="lamp/hall", now_ms=0)
    try:
        for _ in range(3):
            with pytest.raises(RehearsalTimeoutError, match="still starting; ask later"):
                await worker.dry_run(asked)
        assert worker._pool is not None
        starting = set(worker._pool._processes)
        lived.with_suffix(".let").touch()
        worker._timeout_s = patience(60)
        assert (await worker.dry_run(asked)).steps
        assert set(worker._pool._processes) == starting, "the first process has started"
    finally:
        await worker.stop()


async def test_a_start_that_never_ends_is_given_up(
    lived: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearsal_worker, "REHEARSAL_START_S", 0.0)
    worker = RehearsalWorker(
        reader=f"{HERE}:open_when_let",
        reader_args=(str(lived),),
        kinds=f"{HERE}:kinds",
        log=Lines(),
        timeout_s=0.2,
    )
    asked = Ahead(actor="lamp/hall", now_ms=0)
    try:
        with pytest.raises(RehearsalTimeoutError):
            await worker.dry_run(asked)
        lived.with_suffix(".let").touch()
        worker._timeout_s = patience(60)
        assert (await worker.dry_run(asked)).steps
    finally:
        await worker.stop()


async def test_who_waits_behind_a_rehearsal_that_hangs_is_answered(lived: Path) -> None:
    worker = RehearsalWorker(
        reader=f"{HERE}:open_deadly", reader_args=(str(lived),), kinds=f"{HERE}:kinds", log=Lines()
    )
    lived.with_suffix(".died").write_text("once")
    asked = Ahead(actor="lamp/hall", now_ms=0)
    try:
        assert (await worker.dry_run(asked)).steps
        lived.with_suffix(".hang").write_text("now")
        worker._timeout_s = 1.0
        hangs = asyncio.create_task(worker.dry_run(asked))
        await asyncio.sleep(0.3)
        waits = [asyncio.create_task(worker.dry_run(asked)) for _ in range(3)]
        await asyncio.sleep(0.3)
        lived.with_suffix(".hang").unlink()
        worker._timeout_s = 60.0
        with pytest.raises(RehearsalTimeoutError):
            await hangs
        answers = await asyncio.gather(*waits, return_exceptions=True)
        assert [type(answer).__name__ for answer in answers] == ["DryRun"] * 3
    finally:
        await worker.stop()

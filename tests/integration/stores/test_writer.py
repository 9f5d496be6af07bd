"""The writing thread: what shares a commit, where errors go, and that nothing ends it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import apsw
import pytest

from holdfast.stores.sqlite import writer as writing
from holdfast.stores.sqlite.database import open_reader, open_writer
from holdfast.stores.sqlite.writer import CallWriter, ClosedError, GroupWriter, Job
from tests.support.patience import patience


async def test_a_fault_while_tidying_up_leaves_the_thread_at_work() -> None:
    faults = [OSError("no room to tidy up")] * 2

    def tidy(_idle: bool) -> None:  # noqa: FBT001  the writer's callback has it
        if faults:
            raise faults.pop()

    def apply(jobs: list[Job]) -> None:
        for job in jobs:
            job.result = "written"

    writer: GroupWriter[Job] = GroupWriter(
        name="test-write", apply=apply, tidy=tidy, finish=lambda: None
    )
    async with asyncio.timeout(patience(10)):
        assert [await writer.write(Job()) for _ in range(3)] == ["written"] * 3
        await writer.close()
    assert faults == []


async def test_a_thread_that_ends_is_known_and_leaves_nobody_waiting() -> None:
    begun, go = threading.Event(), threading.Event()

    def apply(_jobs: list[Job]) -> None:
        begun.set()
        go.wait(60)
        raise SystemExit("the thread ends")

    writer: GroupWriter[Job] = GroupWriter(name="test-write", apply=apply, finish=lambda: None)
    assert writer.vital().ended() is None
    async with asyncio.timeout(patience(10)):
        first = asyncio.ensure_future(writer.write(Job()))
        await asyncio.to_thread(begun.wait, 60)
        others = [asyncio.ensure_future(writer.write(Job())) for _ in range(3)]
        go.set()
        for one in (first, *others):
            with pytest.raises(ClosedError, match="the thread that writes has ended"):
                await one
        with pytest.raises(ClosedError):
            await writer.write(Job())
        while writer.vital().ended() is None:  # noqa: ASYNC110  a thread tells no loop of its end
            await asyncio.sleep(0)
        assert "SystemExit" in str(writer.vital().ended())
        await writer.close()


@pytest.fixture
def connection(tmp_path: Path) -> apsw.Connection:
    opened = open_writer(tmp_path / "some.db")
    opened.execute("CREATE TABLE rows (n INTEGER PRIMARY KEY, body TEXT)")
    return opened


@pytest.fixture
async def writer(connection: apsw.Connection) -> AsyncIterator[CallWriter]:
    made = CallWriter(connection, name="test-write")
    yield made
    await made.close()


def insert(connection: apsw.Connection, n: int, body: str = "") -> int:
    connection.execute("INSERT INTO rows VALUES (?, ?)", (n, body))
    return n


def inserting(n: int, body: str = "") -> Callable[[apsw.Connection], int]:
    return lambda connection: insert(connection, n, body)


async def held(writer: CallWriter) -> tuple[threading.Event, asyncio.Task[None]]:
    """Keep the thread in a call until the event is set, so that what comes next is one group."""
    begun, go = threading.Event(), threading.Event()

    def wait(_connection: apsw.Connection) -> None:
        begun.set()
        go.wait(60)

    task = asyncio.ensure_future(writer.call(wait))
    assert await asyncio.to_thread(begun.wait, 60)
    return go, task


def numbers(path: Path) -> list[int]:
    reader = open_reader(path)
    found = [int(str(n)) for (n,) in reader.execute("SELECT n FROM rows ORDER BY n")]
    reader.close()
    return found


async def test_calls_that_wait_share_a_commit_and_one_that_fails_takes_back_its_own(
    writer: CallWriter, connection: apsw.Connection, tmp_path: Path
) -> None:
    commits: list[int] = []

    def count() -> bool:
        commits.append(1)
        return False

    connection.set_commit_hook(count)

    def fail(inner: apsw.Connection) -> None:
        insert(inner, 3)
        raise LookupError("not this one")

    go, first = await held(writer)
    waiting = [
        asyncio.ensure_future(writer.call(call))
        for call in (inserting(1), fail, inserting(1), inserting(4))
    ]
    await asyncio.sleep(0)
    go.set()
    await first
    done = await asyncio.gather(*waiting, return_exceptions=True)
    assert [done[0], done[3]] == [1, 4]
    assert isinstance(done[1], LookupError)
    assert isinstance(done[2], apsw.ConstraintError)
    assert numbers(tmp_path / "some.db") == [1, 4]
    assert len(commits) == 2  # one for the call before them, and one for all four


async def test_a_full_disk_fails_the_whole_group_and_the_next_one_is_written(
    writer: CallWriter, connection: apsw.Connection, tmp_path: Path
) -> None:
    pages = int(str(connection.execute("PRAGMA page_count").get))
    connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    go, first = await held(writer)
    waiting = [
        asyncio.ensure_future(writer.call(inserting(n, "x" * 100_000 * n))) for n in range(2)
    ]
    await asyncio.sleep(0)
    go.set()
    await first
    done = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(answer) for answer in done] == [apsw.FullError] * 2
    assert await writer.call(inserting(7)) == 7
    assert numbers(tmp_path / "some.db") == [7]


async def test_a_call_whose_caller_went_away_is_not_begun(
    writer: CallWriter, tmp_path: Path
) -> None:
    go, first = await held(writer)
    gone = asyncio.ensure_future(writer.call(inserting(1)))
    await asyncio.sleep(0)
    gone.cancel()
    stays = asyncio.ensure_future(writer.call(inserting(2)))
    await asyncio.sleep(0)
    go.set()
    assert await stays == 2
    await first
    assert gone.cancelled()
    assert numbers(tmp_path / "some.db") == [2]


async def test_whoever_brings_more_than_may_wait_waits_for_room(
    connection: apsw.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "WAITING_MAX", 3)
    writer = CallWriter(connection, name="test-write")
    go, first = await held(writer)
    calls = [asyncio.ensure_future(writer.call(inserting(n))) for n in range(9)]
    await asyncio.sleep(0)
    assert writer.waiting == 3
    go.set()
    await first
    assert await asyncio.gather(*calls) == list(range(9))
    assert writer.waiting == 0
    await writer.close()
    assert numbers(tmp_path / "some.db") == list(range(9))


async def test_closing_writes_what_was_asked_in_order_and_takes_nothing_more(
    writer: CallWriter, tmp_path: Path
) -> None:
    order: list[int] = []

    def noting(n: int) -> Callable[[apsw.Connection], None]:
        return lambda connection: order.append(insert(connection, n))

    go, first = await held(writer)
    calls = [asyncio.ensure_future(writer.call(noting(n))) for n in range(5)]
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(writer.close())
    await asyncio.sleep(0)
    go.set()
    await closing
    await asyncio.gather(first, *calls)
    with pytest.raises(ClosedError):
        await writer.call(inserting(9))
    assert order == numbers(tmp_path / "some.db") == list(range(5))

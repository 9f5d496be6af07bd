"""Threads that write at the same time: one commit for all, and each hears of its own."""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from holdfast.outbox import Outbox, open_outbox
from holdfast.outbox.database import UnavailableError
from holdfast.outbox.transaction import Transaction
from tests.integration.outbox.intake import until

MANY = 20


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Outbox]:
    with open_outbox(tmp_path, durability="process") as opened:
        yield opened


@contextmanager
def commits(box: Outbox) -> Iterator[list[str]]:
    seen: list[str] = []
    box.read(lambda db: db.set_trace_callback(seen.append))
    yield seen
    box.read(lambda db: db.set_trace_callback(None))
    seen[:] = [one for one in seen if one.startswith(("COMMIT", "ROLLBACK"))]


def at_once(box: Outbox, calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Let threads make these calls while nobody can write; return what each came to."""
    came: list[Any] = [None] * len(calls)

    def make(at: int) -> None:
        try:
            came[at] = calls[at]()
        except (ValueError, UnavailableError) as error:
            came[at] = error

    threads = [threading.Thread(target=make, args=(at,)) for at in range(len(calls))]
    with box._queue.exclusive():
        for thread in threads:
            thread.start()
        until(lambda: len(box._together._places) == len(calls), "all of them wait")
    for thread in threads:
        thread.join()
    return came


def queued(box: Outbox) -> list[str]:
    rows: list[tuple[str]] = box.read(
        lambda db: db.execute("SELECT event_id FROM sync_queue ORDER BY seq").fetchall()
    )
    return [name for (name,) in rows]


def test_those_that_wait_together_share_one_commit(box: Outbox) -> None:
    box.enqueue("event", "first", {})
    with commits(box) as seen:
        came = at_once(box, [partial(box.enqueue, "event", f"e{n}", {"n": n}) for n in range(MANY)])
    assert seen == ["COMMIT"]
    assert sorted(one.seq for one in came) == list(range(2, MANY + 2))
    assert {one.state for one in came} == {"stored"}
    stats = box.stats()
    assert (stats.pending, stats.dropped, stats.lost) == (MANY + 1, 0, 0)
    assert len(set(queued(box))) == MANY + 1
    assert not box._together._places
    assert not box._together._lead


def test_an_error_reaches_the_one_whose_it_is_and_leaves_nothing_of_it(box: Outbox) -> None:
    def work(name: str) -> Callable[[Transaction], str]:
        def do(tx: Transaction) -> str:
            tx.enqueue("event", name, {})
            if name == "e7":
                raise ValueError(name)
            return name

        return do

    came = at_once(box, [partial(box.write, work(f"e{n}"), together=True) for n in range(MANY)])
    assert isinstance(came[7], ValueError)
    assert [one for at, one in enumerate(came) if at != 7] == [
        f"e{n}" for n in range(MANY) if n != 7
    ]
    assert sorted(queued(box)) == sorted(f"e{n}" for n in range(MANY) if n != 7)
    assert box.stats().pending == MANY - 1


def test_a_call_from_within_writes_into_the_transaction_it_is_in(box: Outbox) -> None:
    def work(tx: Transaction) -> None:
        tx.enqueue("event", "outer", {})
        assert box.enqueue("event", "inner", {}).state == "stored"

    box.write(work, together=True)
    with box.transaction() as tx:
        tx.enqueue("event", "block", {})
        assert box.enqueue("event", "in the block", {}).state == "stored"
    assert queued(box) == ["outer", "inner", "block", "in the block"]


def test_where_another_process_holds_the_folder_each_is_dropped_and_counted(
    box: Outbox, tmp_path: Path
) -> None:
    box.enqueue("event", "first", {})
    with (tmp_path / "outbox.lock").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        came: list[Any] = []
        threads = [
            threading.Thread(target=lambda n=n: came.append(box.enqueue("event", f"e{n}", {})))
            for n in range(5)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {(one.state, one.seq) for one in came} == {("dropped", 0)}
    assert "another process" in came[0].reason
    assert box.enqueue("event", "last", {}).state == "stored"
    assert (queued(box), box.stats().dropped) == (["first", "last"], 5)


def test_whoever_is_interrupted_while_it_leads_leaves_the_others_to_the_next(box: Outbox) -> None:
    first = threading.Event()

    class Stopped(BaseException):
        pass

    def stops(tx: Transaction) -> None:
        tx.enqueue("event", "never", {})
        if not first.is_set():
            first.set()
            raise Stopped

    came: list[Any] = []

    def leads() -> None:
        try:
            box.write(stops, together=True)
        except Stopped:
            came.append("stopped")

    leader = threading.Thread(target=leads)
    others = [
        threading.Thread(target=lambda n=n: came.append(box.enqueue("event", f"e{n}", {})))
        for n in range(4)
    ]
    with box._queue.exclusive():
        leader.start()
        until(lambda: box._together._lead, "it leads")
        for other in others:
            other.start()
        until(lambda: len(box._together._places) == 5, "all wait")
    for thread in (leader, *others):
        thread.join()
    assert "stopped" in came
    assert sorted(queued(box)) == [f"e{n}" for n in range(4)]
    assert (box.stats().pending, box.stats().dropped) == (4, 0)


def test_threads_without_end_lose_and_double_nothing(tmp_path: Path) -> None:
    with open_outbox(tmp_path, durability="power") as box:

        def live(who: int) -> None:
            for n in range(50):
                assert box.enqueue("event", f"{who}-{n}", {"n": n}).state == "stored"

        with commits(box) as seen:
            threads = [threading.Thread(target=live, args=(who,)) for who in range(16)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        names = queued(box)
        assert len(names) == len(set(names)) == 16 * 50
        # In order for each thread: a call that returned is before one that followed it.
        assert all(
            [name for name in names if name.startswith(f"{who}-")]
            == [f"{who}-{n}" for n in range(50)]
            for who in range(16)
        )
        assert 0 < len(seen) <= 16 * 50
        assert (box.stats().pending, box.stats().lost) == (800, 0)

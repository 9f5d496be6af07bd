"""What the simulator relies on: crashes between any two steps, and copies of the disk."""

from __future__ import annotations

import pytest

from holdfast.kernel.clock import ManualClock
from holdfast.stores.memory.journal import MemoryJournal
from holdfast.stores.memory.journal_reader import MemoryReader
from holdfast.stores.memory.journal_state import MemoryStore
from tests.contract.journal.rows import A, B, accept, arrival, commit, effect, letter, stamps


class CrashError(Exception):
    """The process is gone."""


def crash_at(point: str) -> MemoryJournal:
    def fault(at: str) -> None:
        if at == point:
            raise CrashError(at)

    return MemoryJournal(MemoryStore(), clock=ManualClock(), faults=fault)


async def test_a_crash_before_a_write_leaves_nothing_of_it() -> None:
    journal = crash_at("accept.before")
    with pytest.raises(CrashError):
        await accept(journal, "k")
    assert await journal.pending(A, 9) == []


async def test_a_crash_after_a_write_leaves_it_there_unacknowledged() -> None:
    journal = crash_at("commit.after")
    epoch = await journal.lease("me")
    ids = await accept(journal, "k")
    with pytest.raises(CrashError):
        await journal.commit(
            commit(0, 1, epoch, stamps=stamps(ids, first=1, tick=1), letters=(letter(B, "l"),))
        )
    again = MemoryJournal(journal.store, clock=ManualClock())
    loaded = await again.load(A)
    assert loaded is not None
    assert loaded.seq == 1
    assert await again.waiting_actors(9) == [B]


async def test_every_write_can_be_cut_on_both_sides() -> None:
    points: list[str] = []
    journal = MemoryJournal(MemoryStore(), clock=ManualClock(), faults=points.append)
    epoch = await journal.lease("me")
    ids = await accept(journal, "k")
    await journal.commit(commit(0, 1, epoch, effects=(effect("e"),)))
    await journal.finish_effect("e", "done", None)
    await journal.answer_probe(A, "p", "a", arrival("x"))
    await journal.keep_policy("h", b"")
    await journal.drop_quarantined(ids[0], "ada")
    await journal.prune(0)
    assert points == [
        f"{verb}.{side}"
        for verb in (
            "lease",
            "accept",
            "commit",
            "finish_effect",
            "answer_probe",
            "keep_policy",
            "drop_quarantined",
            "prune",
        )
        for side in ("before", "after")
    ]


async def test_a_clone_is_not_reached_by_what_follows() -> None:
    store = MemoryStore()
    journal = MemoryJournal(store, clock=ManualClock())
    epoch = await journal.lease("me")
    ids = await accept(journal, "a", "b")
    await journal.commit(
        commit(0, 1, epoch, stamps=stamps(ids[:1], first=1, tick=1), alarm_ms=5, alarm_changed=True)
    )
    copy = store.clone()
    before = await MemoryReader(copy).load(A)
    await journal.commit(commit(1, 2, epoch, stamps=stamps(ids[1:], first=2, tick=2)))
    await accept(journal, "c", to=B)
    reader = MemoryReader(copy)
    assert await reader.load(A) == before
    assert [event.id for event in await reader.pending(A, 9)] == ids[1:]
    assert await reader.pending(B, 9) == []
    other = MemoryJournal(copy, clock=ManualClock())
    assert await other.waiting_actors(9) == [A]
    assert (await other.accept([(B, arrival("c"))]))[0].fresh

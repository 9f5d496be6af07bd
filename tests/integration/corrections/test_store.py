"""The file of corrections: its rights, its groups that fail, and a file from before a migration."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from holdfast.corrections.ports import CorrectionQuery, CorrectionRow, LessonQuery
from holdfast.corrections.records import Arrival, Forgotten, Written
from holdfast.stores.migrate import migrate, shipped
from holdfast.stores.sqlite import MIGRATIONS
from holdfast.stores.sqlite.corrections import CorrectionsSqlite, open_corrections
from holdfast.stores.sqlite.database import open_writer
from tests.support.toys.brains import NOW, arrival, correction

FAR = 2**62


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[CorrectionsSqlite]:
    opened = open_corrections(tmp_path / "intake.db", now_ms=NOW)
    yield opened
    await opened.close()


async def put(store: CorrectionsSqlite, *arrivals: Arrival, forgotten_ms: int = 0) -> list[Written]:
    return await store.write(arrivals, forgotten=Forgotten(forgotten_ms, forgotten_ms))


async def rows(store: CorrectionsSqlite, **query: Any) -> list[CorrectionRow]:
    asked = CorrectionQuery(None, FAR, 500, **query)
    if not asked.words:
        return list(await store.corrections(asked))
    found = await store.search(asked)
    assert not found.below
    return list(found.rows)


async def test_the_file_is_for_its_owner(store: CorrectionsSqlite, tmp_path: Path) -> None:
    await put(store, arrival(correction(1)))
    assert (tmp_path / "intake.db").stat().st_mode & 0o777 == 0o600


async def test_what_was_decided_before_decisions_had_numbers_gets_them_in_order(
    tmp_path: Path,
) -> None:
    path = tmp_path / "old.db"
    before = open_writer(path)
    migrate(before, shipped(MIGRATIONS / "corrections")[:1], now_ms=NOW)
    for no, brain, decision, decided_ms in (
        (1, 7, "approved", NOW + 9),
        (2, 7, "", None),
        (3, 7, "rejected", NOW),
        (4, 8, "approved", 1),
    ):
        before.execute(
            "INSERT INTO lessons VALUES (?, ?, 'local', 'l' || ?, 'STYLE', 't', 'RULE', 0.9, 0, 2,"
            " 'universal', 1, 's', 1, ?, 'ada', ?)",
            (no, brain, no, decision, decided_ms),
        )
    before.close()
    after = open_corrections(path, now_ms=NOW)
    numbers = {r.no: r.verdict_no for r in await after.lessons(LessonQuery(None, FAR, FAR, 10))}
    assert numbers == {1: 2, 2: 0, 3: 1, 4: 1}
    await after.close()


async def test_a_group_that_fails_leaves_nothing_and_the_next_is_whole(
    store: CorrectionsSqlite, tmp_path: Path
) -> None:
    broken = arrival(correction(1))
    broken.corrections[0].edit_distance = object()  # type: ignore[assignment]
    with pytest.raises((TypeError, apsw.Error)):
        await put(store, arrival(correction(2, "a", "b")), broken)
    assert not await rows(store)
    (written,) = await put(store, arrival(correction(2, "a", "b")))
    assert written.accepted == 1
    assert written.standing.numbers.gaps == ((1, 1),)


async def test_a_full_disk_takes_nothing_and_goes_on_when_there_is_room(
    store: CorrectionsSqlite,
) -> None:
    await put(store, arrival(correction(1)))

    def room(pages: int) -> Any:
        return lambda connection: connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()

    pages: int = await store._writer.call(lambda connection: connection.pragma("page_count"))
    await store._writer.call(room(pages + 2))
    large = arrival(*[correction(n, f"{n} " + "word " * 2_000, "y") for n in range(2, 40)])
    with pytest.raises(apsw.FullError):
        await put(store, large)
    assert len(await rows(store)) == 1
    await store._writer.call(room(10**6))
    (written,) = await put(store, large)
    assert (written.accepted, written.standing.numbers.high_water) == (38, 39)

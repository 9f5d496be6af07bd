"""What is SQLite's own: faults of the disk, one writer, plans of statements, and kill -9."""

from __future__ import annotations

import asyncio
import hashlib
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from holdfast.actors.ports import Accepted, StaleError, UnwritableError
from holdfast.kernel.clock import ManualClock
from holdfast.kernel.ids import derive
from holdfast.stores.queries import load_queries
from holdfast.stores.sqlite import SQL
from holdfast.stores.sqlite import journal as journal_sqlite
from holdfast.stores.sqlite.database import open_reader
from holdfast.stores.sqlite.journal import SqliteJournal
from holdfast.stores.sqlite.journal_reader import SqliteReader
from holdfast.stores.sqlite.journal_write import _WIDTHS
from holdfast.stores.sqlite.writer import ClosedError
from tests.contract.journal.rows import A, B, accept, arrival, commit, stamps

BY_ROWS = {"caused_events": 1, "caused_effects": 1, "pending_by_arrival": 1} | _WIDTHS
LOOKS_AT_ALL = {"prune_steps"}


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    opened = SqliteJournal(tmp_path / "journal.db", clock=ManualClock())
    yield opened
    await opened.close()


def bounded(journal: SqliteJournal, pages: int) -> asyncio.Future[None]:
    return asyncio.ensure_future(
        journal._call(lambda c: c.execute(f"PRAGMA max_page_count = {pages}").fetchall())
    )


async def test_a_full_disk_acknowledges_nothing_and_ends_nothing(journal: SqliteJournal) -> None:
    await bounded(journal, 60)
    taken: list[Accepted] = []
    large = arrival("")

    async def take_all() -> None:
        nonlocal large
        for n in range(1_000):
            large = msgspec.structs.replace(arrival(f"k{n}", source="effect"), body=b"x" * 4_000)
            taken.extend(await journal.accept([(A, large)]))

    with pytest.raises(UnwritableError, match="FullError"):
        await take_all()
    assert taken
    with pytest.raises(UnwritableError):
        await journal.accept([(A, large), (B, large)])
    assert [e.id for e in await journal.pending(A, 2_000)] == [e.id for e in taken]
    await bounded(journal, 1_000_000)
    assert (await journal.accept([(A, large)]))[0].fresh
    assert (await journal.accept([(A, arrival("k0"))]))[0].fresh is False


async def test_a_job_that_cannot_be_written_fails_alone(journal: SqliteJournal) -> None:
    epoch = await journal.lease("me")
    bad = msgspec.structs.replace(arrival("bad"), version="one")
    results = await asyncio.gather(
        journal.accept([(A, arrival("good"))]),
        journal.accept([(A, bad)]),
        journal.commit(commit(0, 1, epoch, actor=B)),
        journal.commit(commit(7, 1, epoch)),
        journal.accept([(A, arrival("better"))]),
        return_exceptions=True,
    )
    assert isinstance(results[1], apsw.ConstraintError)
    assert isinstance(results[3], StaleError)
    assert [event.body for event in await journal.pending(A, 9)] == [b"body good", b"body better"]
    assert await journal.load(B) is not None


async def test_what_another_connection_accepted_is_seen(
    journal: SqliteJournal, tmp_path: Path
) -> None:
    ids = await accept(journal, "k")
    other = SqliteJournal(tmp_path / "journal.db", clock=ManualClock())
    assert (await other.accept([(A, arrival("k"))]))[0].fresh is False
    theirs = await accept(other, "other", to=B)
    assert (await journal.accept([(B, arrival("other"))]))[0].fresh is False
    more = await accept(other, "more", to=B)
    last = await accept(other, "last", to=A)
    assert [e.id for e in await journal.pending(B, 9)] == theirs
    await accept(journal, "anything")
    assert [e.id for e in await journal.pending(B, 9)] == theirs + more
    assert [e.id for e in await journal.pending(A, 9)][:2] == ids + last
    await other.close()


async def test_an_actor_that_another_process_woke_is_read_from_the_file(
    journal: SqliteJournal, tmp_path: Path
) -> None:
    await accept(journal, "mine")
    other = SqliteJournal(tmp_path / "journal.db", clock=ManualClock())
    theirs = await accept(other, "theirs", to=B)
    await other.close()
    assert await journal.waiting_actors(9) == [A, B]
    assert [e.id for e in await journal.pending(B, 9)] == theirs


async def test_reading_changes_no_byte(journal: SqliteJournal, tmp_path: Path) -> None:
    epoch = await journal.lease("me")
    ids = await accept(journal, "a", "b")
    await journal.commit(commit(0, 1, epoch, stamps=stamps(ids[:1], first=1, tick=1)))

    def digests() -> list[str]:
        return [
            hashlib.sha256((tmp_path / f"journal.db{end}").read_bytes()).hexdigest()
            for end in ("", "-wal")
        ]

    before = digests()
    reader = SqliteReader(tmp_path / "journal.db")
    assert await reader.load(A) is not None
    assert await reader.load(A, at_seq=0) is not None
    assert await reader.operation(ids[0]) is not None
    assert await reader.operations(account=None)
    assert await reader.pending(A, 9)
    await reader.close()
    assert digests() == before


async def test_the_wal_stays_bounded_under_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_sqlite, "CHECKPOINT_PAGES", 64)
    monkeypatch.setattr(journal_sqlite, "CHECKPOINT_IDLE_PAGES", 1_000_000)
    journal = SqliteJournal(tmp_path / "journal.db", clock=ManualClock())
    sizes = []
    for n in range(400):
        await accept(journal, f"k{n}", source="effect")
        sizes.append((tmp_path / "journal.db-wal").stat().st_size)
    assert max(sizes) < 400 * 4_096
    # A reader that stays holds the WAL back, and nothing else.
    held = open_reader(tmp_path / "journal.db")
    held.execute("BEGIN; SELECT count(*) FROM events")
    for n in range(400, 600):
        await accept(journal, f"k{n}", source="effect")
    assert len(await journal.pending(A, 1_000)) == 600
    held.close()
    await journal.close()


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    with pytest.raises(apsw.CantOpenError):
        open_reader(tmp_path / "nothing.db")

    async def make() -> None:
        await SqliteJournal(tmp_path / "journal.db", clock=ManualClock()).close()

    asyncio.run(make())
    connection = open_reader(tmp_path / "journal.db")
    with pytest.raises(apsw.ReadOnlyError):
        connection.execute("DELETE FROM events")
    connection.close()


async def test_a_closed_journal_takes_nothing(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "journal.db", clock=ManualClock())
    await journal.close()
    with pytest.raises(ClosedError):
        await accept(journal, "late")
    assert not (tmp_path / "journal.db-wal").exists()
    assert (tmp_path / "journal.db").stat().st_mode & 0o077 == 0


def wanted(sql: str) -> int:
    """Return how many values a statement takes: `?1` is one, wherever it stands."""
    return sql.count("?") - len(numbered := re.findall(r"\?\d", sql)) + len(set(numbered))


async def test_no_statement_reads_a_whole_table(journal: SqliteJournal, tmp_path: Path) -> None:
    await accept(journal, "k")
    connection = apsw.Connection(str(tmp_path / "journal.db"))
    for name, sql in load_queries(SQL / "journal").items():
        if ":rows" in sql:
            row = f"({', '.join('?' * BY_ROWS[name])})"
            sql = sql.replace(":rows", f"{row}, {row}")  # noqa: PLW2901
        plan = [
            str(step[3])
            for step in connection.execute(f"EXPLAIN QUERY PLAN {sql}", (None,) * wanted(sql))
        ]
        scans = [
            step
            for step in plan
            if re.fullmatch(
                r"SCAN (actors|effects|events|probes|claims|view_rows|snapshots|ticks)", step
            )
        ]
        if name in LOOKS_AT_ALL:
            continue
        assert not scans, (name, plan)
    connection.close()


PRODUCER = textwrap.dedent("""
    import asyncio, sys
    from pathlib import Path
    from holdfast.actors.ports import Arrival
    from holdfast.kernel.clock import SystemClock
    from holdfast.kernel.ids import address
    from holdfast.stores.sqlite.journal import SqliteJournal
    from tests.contract.journal.rows import commit, letter, stamps

    async def main():
        path, life = Path(sys.argv[1]), sys.argv[2]
        journal = SqliteJournal(path, clock=SystemClock())
        epoch = await journal.lease("me")

        async def produce(n):
            actor, k = address("instance", f"i{n}"), 0
            known = await journal.load(actor)
            seq, number = (known.seq, known.number) if known else (0, 0)
            while True:
                k += 1
                key = f"{life}.{k}"
                arrival = Arrival(body=b"b" * 200, dedupe=key, version=1, source="effect")
                [taken] = await journal.accept([(actor, arrival)])
                print("accepted", actor, key, flush=True)
                if n % 2:
                    continue
                number += 1
                pending = await journal.pending(actor, 64)
                marks = stamps([e.id for e in pending], first=seq + 1, tick=number)
                letters = (letter(address("town", "t"), f"{n}/{number}"),)
                await journal.commit(commit(
                    seq, number, epoch, actor=actor, stamps=marks, letters=letters))
                seq += len(marks)
                print("committed", actor, number, seq, n, flush=True)

        await asyncio.gather(*(produce(n) for n in range(16)))

    asyncio.run(main())
""")


def run_until_killed(path: Path, life: int, lines: int) -> list[list[str]]:
    """Let a process write until it printed `lines` lines, kill it, and return the lines."""
    root = Path(__file__).parents[3]
    process = subprocess.Popen(
        [sys.executable, "-c", PRODUCER, str(path), str(life)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
        env={"PYTHONPATH": f"{root / 'src'}:{root}"},
    )
    assert process.stdout is not None
    said = []
    try:
        for line in process.stdout:
            said.append(line.split())
            if len(said) == lines:
                process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert process.returncode == -signal.SIGKILL, said[-3:]
    # The pipe may end within a line; a partial line was not acknowledged.
    return [words for words in said if len(words) == (3 if words[0] == "accepted" else 5)]


async def test_nothing_acknowledged_is_lost_to_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    accepted: set[str] = set()
    for life, lines in enumerate((150, 700, 1_500)):
        said = await asyncio.to_thread(run_until_killed, path, life, lines)
        accepted |= {derive(words[1], words[2]) for words in said if words[0] == "accepted"}
        ended = {w[1]: (int(w[2]), int(w[3]), w[4]) for w in said if w[0] == "committed"}
        connection = apsw.Connection(str(path))
        assert connection.execute("PRAGMA integrity_check").get == "ok"
        there = {row[0] for row in connection.execute("SELECT id FROM events")}
        assert accepted <= there
        for actor, (number, seq, n) in ended.items():
            found = connection.execute(
                "SELECT number, seq FROM actors WHERE address = ?", (actor,)
            ).fetchone()
            assert found is not None
            assert found >= (number, seq)
            assert derive("town/t", f"{n}/{number}") in there
        connection.close()


async def test_a_long_log_is_forgotten_in_parts_that_others_can_write_between(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.stores.sqlite.journal.PRUNE_EVENTS", 128)
    epoch = await journal.lease("one")
    ids = await accept(journal, *(f"k{n}" for n in range(1_000)))
    for number, start in enumerate(range(0, 1_000, 50), start=1):
        marks = stamps(ids[start : start + 50], first=start + 1, tick=number)
        await journal.commit(commit(start, number, epoch, stamps=marks, state=b"s", now_ms=number))
    parts: list[int] = []
    prune = journal._prune

    def counted(*args: Any) -> int:
        parts.append(prune(*args))
        return parts[-1]

    monkeypatch.setattr(journal, "_prune", counted)
    count = await journal.prune(1_000)
    assert count == sum(parts)
    assert len(parts) >= 6
    assert max(parts) <= 128 + 50 + 10
    reader = SqliteReader(journal._path)
    last = await journal.load(A)
    assert last is not None
    assert (last.seq, last.state) == (1_000, b"s")
    assert await reader.load(A, at_seq=500) is None
    assert len(await reader.log(A)) <= 64
    await reader.close()

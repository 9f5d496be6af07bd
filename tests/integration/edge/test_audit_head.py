"""Forging the audit in its file, whatever is recomputed, shows by the head kept elsewhere."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import apsw
import pytest
from msgspec.structs import asdict

from holdfast.accounts import audit
from holdfast.accounts.audit_check import check_chain, check_ends
from holdfast.accounts.limits import AUDIT_CHECK_ROWS, AUDIT_PURGE_ROWS
from holdfast.accounts.records import AuditEntry, ChainEnd, KeptHead
from holdfast.stores.sqlite.accounts import AccountsSqlite, open_accounts
from holdfast.stores.sqlite.audit_head import HEAD_FILE
from tests.support.patience import patience

ROWS = 6
FIELDS = "seq, before, hash, " + ", ".join(AuditEntry.__struct_fields__)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[AccountsSqlite]:
    (tmp_path / "keys").mkdir()
    opened = open_accounts(tmp_path / "accounts.db", now_ms=1, head_in=tmp_path / "keys")
    await append(opened, ROWS)
    yield opened
    await opened.close()


async def append(store: AccountsSqlite, many: int, *, at_ms: int = 0) -> None:
    for n in range(many):
        await store.append_audit(AuditEntry(at_ms=at_ms or n, phase="begin", who="ada"))


class Forger:
    """Someone who can write the database and cannot write the keys folder."""

    def __init__(self, path: Path) -> None:
        self._file = apsw.Connection(str(path))
        self._file.set_busy_timeout(int(1_000 * patience(5)))
        triggers = "SELECT name FROM sqlite_schema WHERE type = 'trigger'"
        for (name,) in list(self._file.execute(triggers)):
            self._file.execute(f"DROP TRIGGER {name}")

    def run(self, statement: str) -> None:
        self._file.execute(statement)

    def change(self, seq: int, *, through: int) -> None:
        """Change a row, and make it and the rows up to `through` fit."""
        before = audit.GENESIS
        for row in list(self._file.execute(f"SELECT {FIELDS} FROM audit ORDER BY seq")):
            number, _, hashed, *fields = row
            entry = AuditEntry(**dict(zip(AuditEntry.__struct_fields__, fields, strict=True)))
            if number == seq:
                values: dict[str, Any] = asdict(entry) | {"who": "eve"}
                entry = AuditEntry(**values)
            if seq <= number <= through:
                made = audit.link(before, number, entry)
                self._file.execute(
                    "UPDATE audit SET before = ?, hash = ?, who = ? WHERE seq = ?",
                    (made.before, made.hash, entry.who, number),
                )
                hashed = made.hash
            before = hashed

    def swap(self, one: int, other: int) -> None:
        for seq, to in ((one, -1), (other, one), (-1, other)):
            self.run(f"UPDATE audit SET seq = {to} WHERE seq = {seq}")

    def cut_front(self, upto: int) -> None:
        self.run(f"INSERT INTO audit_anchors SELECT seq, hash, 1 FROM audit WHERE seq = {upto}")
        self.run(f"DELETE FROM audit WHERE seq <= {upto}")


@pytest.fixture
def forger(store: AccountsSqlite, tmp_path: Path) -> Forger:
    assert store is not None
    return Forger(tmp_path / "accounts.db")


FORGERIES: list[tuple[Callable[[Forger], None], int, str]] = [
    (lambda f: f.run("UPDATE audit SET who = 'eve' WHERE seq = 3"), 3, "does not follow"),
    (lambda f: f.change(3, through=3), 4, "does not follow"),
    (lambda f: f.change(3, through=4), 5, "does not follow"),
    (lambda f: f.change(3, through=ROWS), 6, "with another hash"),
    (lambda f: f.change(ROWS, through=ROWS), 6, "with another hash"),
    (lambda f: f.run("UPDATE audit SET hash = printf('%064d', 7) WHERE seq = 3"), 3, "not follow"),
    (lambda f: f.run("DELETE FROM audit WHERE seq = 3"), 4, "does not follow"),
    (lambda f: f.swap(4, 5), 4, "does not follow"),
    (lambda f: f.run(f"DELETE FROM audit WHERE seq = {ROWS}"), 6, "missing at the end"),
    (lambda f: f.run("DELETE FROM audit WHERE seq > 2"), 3, "rows 3 to 6 are missing at the end"),
    (lambda f: f.run("DELETE FROM audit"), 1, "rows 1 to 6 are missing at the end"),
    (lambda f: f.cut_front(2), 2, "purged up to 0 only"),
]


async def test_calls_that_share_a_write_of_the_head_read_nothing_more(
    store: AccountsSqlite, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = store._head
    assert head is not None
    reads: list[None] = []
    plain = head._read

    def counted() -> KeptHead | None:
        reads.append(None)
        return plain()

    monkeypatch.setattr(head, "_read", counted)
    entry = AuditEntry(at_ms=1, phase="begin", who="ada")
    rows = await asyncio.gather(*(store.append_audit(entry) for _ in range(200)))
    kept = plain()
    assert kept is not None
    assert kept.last.seq == max(row.seq for row in rows)
    assert len(reads) < 100, "two for each write, and many calls to a write"


@pytest.mark.parametrize(
    ("forge", "broken_at", "reason"), FORGERIES, ids=[str(n) for n in range(len(FORGERIES))]
)
async def test_whatever_is_forged_shows(
    store: AccountsSqlite,
    forger: Forger,
    forge: Callable[[Forger], None],
    broken_at: int,
    reason: str,
) -> None:
    sound = await check_chain(store)
    assert sound == (ROWS, None, (await store.audit_chain(ROWS - 1, 1))[0].hash, "", 0, True)
    assert await check_ends(store) == ""
    forge(forger)
    found = await check_chain(store)
    assert (found.broken_at, reason in found.reason) == (broken_at, True), found


@pytest.mark.parametrize(
    "forge",
    [
        lambda f: f.change(3, through=ROWS),
        lambda f: f.run("DELETE FROM audit WHERE seq > 2"),
        lambda f: f.run("DELETE FROM audit"),
        lambda f: f.cut_front(2),
    ],
    ids=["forged to the end", "cut off", "emptied", "begun later"],
)
async def test_what_fits_by_itself_shows_at_the_ends_also_after_more_rows(
    store: AccountsSqlite, forger: Forger, forge: Callable[[Forger], None]
) -> None:
    forge(forger)
    assert await check_ends(store)
    await append(store, ROWS + 2, at_ms=77)
    assert await check_ends(store), "rows that came after it must not make it good"
    assert (await check_chain(store)).reason


async def test_rows_whose_head_was_not_kept_yet_are_no_fault(
    store: AccountsSqlite, tmp_path: Path
) -> None:
    kept = tmp_path / "keys" / HEAD_FILE
    before = kept.read_bytes()
    await append(store, 3)
    kept.write_bytes(before)  # as a crash between row and head leaves it
    assert await check_ends(store) == ""
    assert (await check_chain(store)).broken_at is None
    await append(store, 1)
    head = await store.kept_head()
    assert head is not None
    assert head.last == ChainEnd(ROWS + 4, (await store.audit_chain(ROWS + 3, 1))[0].hash)


async def test_a_head_that_cannot_be_read_or_written_stops_no_call_and_is_said(
    store: AccountsSqlite, tmp_path: Path
) -> None:
    kept = tmp_path / "keys" / HEAD_FILE
    kept.write_text("{")
    await append(store, 1)
    assert "not a kept head" in await check_ends(store)
    assert "not a kept head" in (await check_chain(store)).reason
    assert kept.read_text() == "{"


async def test_without_a_kept_head_a_verdict_says_so(tmp_path: Path) -> None:
    store = open_accounts(tmp_path / "accounts.db", now_ms=1)
    await append(store, 2)
    verdict = await check_chain(store)
    assert (verdict.rows, verdict.broken_at, verdict.kept) == (2, None, False)
    assert await check_ends(store) == ""
    await store.close()


async def test_a_purged_chain_is_checked_from_its_anchor(
    store: AccountsSqlite, tmp_path: Path
) -> None:
    await append(store, AUDIT_CHECK_ROWS + 5, at_ms=5_000)
    rows = await store.audit_chain(0, 1_000)
    assert await store.purge_audit(4_000, 9_000) == ROWS
    assert await store.purge_audit(4_000, 9_000) == 0
    assert await store.audit_anchor() == ChainEnd(ROWS, rows[ROWS - 1].hash)
    verdict = await check_chain(store)
    assert verdict == (AUDIT_CHECK_ROWS + 5, None, rows[-1].hash, "", ROWS, True)
    assert await check_ends(store) == ""
    await append(store, 1)
    assert (await check_chain(store)).broken_at is None
    forger = apsw.Connection(str(tmp_path / "accounts.db"))
    for statement in ("DELETE FROM audit", "DELETE FROM audit_anchors"):
        with pytest.raises(apsw.ConstraintError, match="append-only"):
            forger.execute(statement)
    with pytest.raises(apsw.ConstraintError, match="append-only"):
        forger.execute("UPDATE audit_anchors SET seq = 99")
    forger.close()


async def test_a_purge_takes_more_than_a_page_and_leaves_the_last_row(
    store: AccountsSqlite,
) -> None:
    many = AUDIT_PURGE_ROWS + 1 - ROWS
    await asyncio.gather(
        *(store.append_audit(AuditEntry(at_ms=1, phase="begin")) for _ in range(many + 1))
    )
    gone = [await store.purge_audit(9_000, 9_000) for _ in range(3)]
    assert gone == [AUDIT_PURGE_ROWS, 1, 0]
    verdict = await check_chain(store)
    assert (verdict.rows, verdict.broken_at, verdict.purged) == (1, None, AUDIT_PURGE_ROWS + 1)


@pytest.mark.parametrize(
    ("dates", "gone"),
    [
        ([9, 9, 1, 1, 1, 9, 9], 5),  # a clock that was ahead hides nothing behind it
        ([9, 9, 1, 9, 9, 9], 0),  # a clock that was behind takes nothing before it
        ([1, 1, 1, 9, 9, 1, 9], 6),
    ],
)
async def test_dates_of_a_clock_set_wrongly_are_outvoted(
    tmp_path: Path, dates: list[int], gone: int
) -> None:
    store = open_accounts(tmp_path / "accounts.db", now_ms=1)
    for date in dates:
        await store.append_audit(AuditEntry(at_ms=date, phase="begin"))
    assert await store.purge_audit(5, 10) == gone
    await store.close()


WRITER = """
import asyncio, sys
from pathlib import Path
from holdfast.accounts.records import AuditEntry
from holdfast.stores.sqlite.accounts import open_accounts

async def main():
    store = open_accounts(Path(sys.argv[1]), now_ms=2, head_in=Path(sys.argv[2]))
    await asyncio.gather(*(
        store.append_audit(AuditEntry(at_ms=n, phase="begin")) for n in range(30)))
    await store.close()

asyncio.run(main())
"""


async def test_two_processes_keep_one_head(store: AccountsSqlite, tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path / "accounts.db"), str(tmp_path / "keys")]
    both = [await asyncio.create_subprocess_exec(*command) for _ in range(2)]
    async with asyncio.timeout(patience(30)):
        assert [await process.wait() for process in both] == [0, 0]
    kept = await store.kept_head()
    assert kept is not None
    assert kept.last.seq == ROWS + 60
    assert (await check_chain(store)).broken_at is None
    assert (tmp_path / "keys" / HEAD_FILE).stat().st_mode & 0o777 == 0o600

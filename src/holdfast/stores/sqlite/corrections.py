"""Brains and what they send in a SQLite file of their own, `intake.db`.

One thread writes with group commit and answers after the commit; another reads on a connection of
its own, so that a search delays neither senders nor the event loop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec
from msgspec.structs import asdict

from holdfast.corrections.gaps import Numbers
from holdfast.corrections.limits import PURGE_ROWS
from holdfast.corrections.ports import (
    CorrectionQuery,
    CorrectionRow,
    CorrectionWhole,
    Kept,
    LessonQuery,
    LessonRow,
    Searched,
)
from holdfast.corrections.records import (
    ROUTES,
    Arrival,
    Brain,
    BrainKey,
    Counts,
    Forgotten,
    Standing,
    Written,
)
from holdfast.kernel.clock import HOUR_MS
from holdfast.stores.queries import load_queries
from holdfast.stores.revoked import try_note
from holdfast.stores.sqlite import SQL
from holdfast.stores.sqlite.corrections_projection import Projection, read_gaps
from holdfast.stores.sqlite.corrections_words import WordTables
from holdfast.stores.sqlite.database import open_reader, open_store
from holdfast.stores.sqlite.store import SqliteStore
from holdfast.wire.cut import cut
from holdfast.wire.limits import PREVIEW_MAX

CHECKPOINT_PAGES: Final = 8_192
"""Pages of 4 KiB in the WAL at which a commit checkpoints it."""
CACHE_KIB: Final = 65_536
"""The writer looks each correction up in two indexes; the pages of a busy hour fit."""

_ROW_FIELDS: Final = 19
_DRAFT: Final = 9
_VIA_FROM: Final = 13
_PREVIEW_BYTES: Final = 4 * (PREVIEW_MAX + 1)
"""Bytes that hold a code point more than a preview, in UTF-8. SQLite counts the characters of a
text up to a NUL only, and the bytes of a blob all."""
_NAMES: Final = msgspec.json.Decoder(tuple[str, ...])


class CorrectionsSqlite(SqliteStore):
    """The store of corrections, in a file."""

    def __init__(
        self, writer: apsw.Connection, reader: apsw.Connection, queries: dict[str, str]
    ) -> None:
        """Use `open_corrections` instead."""
        super().__init__(writer, reader, queries, name="corrections")
        self._beside: Path | None = None
        self._words = WordTables(reader.execute(queries["words_split"]).get)
        self._projection = Projection(queries, self._words)

    def keep_revoked_in(self, folder: Path) -> None:
        """Keep the ids of revoked keys in a folder from now on."""
        self._beside = folder

    async def load(self, *, refused_since_hour: int) -> Kept:
        """Return what the directory keeps in memory."""
        standings = [
            Standing(brain, source, sdk, Numbers(newest, read_gaps(gaps), forgotten), *rest)
            for brain, source, sdk, newest, gaps, forgotten, *rest in await self._read("sources")
        ]
        return Kept(
            brains=[_brain(row) for row in await self._read("brains")],
            aliases=[(a, alias, brain) for a, alias, brain in await self._read("aliases")],
            keys=[_key(row) for row in await self._read("keys")],
            standings=standings,
            counts=[Counts(*row) for row in await self._read("counts")],
            refused=[
                (brain, hour, rows)
                for brain, hour, rows in await self._read("refused_hours", since=refused_since_hour)
            ],
            verdicts=[
                (no, newest, taken) for no, newest, taken in await self._read("verdict_numbers")
            ],
        )

    async def write(self, arrivals: Sequence[Arrival], *, forgotten: Forgotten) -> list[Written]:
        """Write arrivals in one commit: all or none."""

        def run(connection: apsw.Connection) -> list[Written]:
            return self._projection.write(connection, arrivals, forgotten=forgotten)

        return await self._writer.call(run)

    async def add_brain(self, brain: Brain) -> Brain:
        """Add a brain and return it with its number, or the one that has its name."""

        def run(connection: apsw.Connection) -> Brain:
            connection.execute(self._sql["add_brain"], asdict(brain))
            named = {"account": brain.account, "name": brain.name}
            return _brain(connection.execute(self._sql["brain_named"], named).fetchall()[0])

        return await self._writer.call(run)

    async def add_alias(self, account: str, alias: str, brain: int) -> None:
        """Add a name; the first brain of a name keeps it."""
        await self._change("add_alias", account=account, alias=alias, brain=brain)

    async def add_key(self, key: BrainKey) -> None:
        """Add a key."""
        await self._change("add_key", **asdict(key))

    async def revoke_key(self, key_id: str, now_ms: int) -> None:
        """Revoke a key."""

        def run(connection: apsw.Connection) -> OSError | None:
            connection.execute(self._sql["revoke_key"], {"id": key_id, "now_ms": now_ms})
            return try_note(self._beside, "brain-key", key_id)

        failed = await self._writer.call(run)
        if failed is not None:
            raise failed

    async def note_uses(self, uses: Mapping[str, int]) -> None:
        """Store when keys were last used."""
        rows = [{"id": key_id, "at_ms": at_ms} for key_id, at_ms in uses.items()]

        def run(connection: apsw.Connection) -> None:
            connection.executemany(self._sql["note_key_use"], rows)

        await self._writer.call(run)

    async def corrections(self, query: CorrectionQuery) -> Sequence[CorrectionRow]:
        """Return corrections, last received first."""
        name = "corrections_all"
        if query.brain:
            name = "corrections_brain"
        elif query.account is not None:
            name = "corrections_account"
        rows = await self._read(name, preview=_PREVIEW_BYTES, **query._asdict())
        return [_correction(row) for row in rows]

    async def search(self, query: CorrectionQuery) -> Searched:
        """Return corrections with all of the words, last received first, within a bounded time."""
        show = self._sql["corrections_found"]
        values = {**query._asdict(), "preview": _PREVIEW_BYTES}

        def run() -> Searched:
            rows, below = self._words.search(self._reader, query, show, values)
            return Searched([_correction(row) for row in rows], below)

        try:
            return await self._reading.run(run)
        except apsw.SQLError as error:
            if "fts5" not in str(error):
                self.trouble.hear(error)
                raise
            # A character newer than the tokenizer's Unicode: no row has such a word.
            return Searched([], 0)
        except apsw.Error as error:
            self.trouble.hear(error)
            raise

    async def correction(self, no: int, account: str | None) -> CorrectionWhole | None:
        """Return one correction visible to the account."""
        for row in await self._read("correction", no=no, account=account, preview=_PREVIEW_BYTES):
            draft, final, context, classes, ids, *rest = row[_ROW_FIELDS:]
            names = _names(classes) if classes else ()
            shown = _correction(row[:_ROW_FIELDS])
            source, seq, sdk, was_cut = rest
            return CorrectionWhole(
                shown, draft, final, context, names, _names(ids), source, seq, sdk, bool(was_cut)
            )
        return None

    async def lessons(self, query: LessonQuery) -> Sequence[LessonRow]:
        """Return lessons, last changed first."""
        return [LessonRow(*row) for row in await self._read("lessons", **query._asdict())]

    async def decide(
        self, no: int, decision: str, *, by: str, account: str | None, now_ms: int
    ) -> LessonRow | None:
        """Store a person's verdict on a lesson visible to the account; return the lesson."""
        values = {"no": no, "account": account}
        told = {**values, "decision": decision, "decided_by": by, "now_ms": now_ms}

        def run(connection: apsw.Connection) -> LessonRow | None:
            connection.execute(self._sql["decide_lesson"], told)
            found: list[tuple[Any, ...]] = connection.execute(
                self._sql["lesson"], values
            ).fetchall()
            return LessonRow(*found[0]) if found else None

        return await self._writer.call(run)

    async def verdicts(self, brain: int, *, since: int, limit: int) -> Sequence[LessonRow]:
        """Return a brain's lessons with verdicts after number `since`, in the order of verdicts."""
        rows = await self._read("verdicts", brain=brain, since=since, limit=limit)
        return [LessonRow(*row) for row in rows]

    async def take_verdicts(self, brain: int, taken_no: int, now_ms: int) -> None:
        """Note up to which number a brain has taken verdicts; a lower number is ignored."""
        await self._change("take_verdicts", brain=brain, taken_no=taken_no, now_ms=now_ms)

    async def hours(self, brain: int, since_hour: int) -> Sequence[tuple[int, str, int]]:
        """Return (hour, severity, rows) of a brain's new corrections."""
        rows = await self._read("hours", brain=brain, since=since_hour)
        return [(hour, severity, many) for hour, severity, many in rows]

    async def extent(self, brain: int) -> tuple[int, int]:
        """Return how many sessions and corrections a brain has."""
        found = await self._read("sessions", brain=brain)
        return found[0][0], found[0][1]

    async def purge(self, forgotten: Forgotten) -> int:
        """Delete some rows received before; return how many, 0 when done."""

        def run(connection: apsw.Connection) -> int:
            sql, values = self._sql, {"limit": PURGE_ROWS, "before_ms": forgotten.corrections_ms}
            gone: list[tuple[Any, ...]] = connection.execute(
                sql["oldest_corrections"], values
            ).fetchall()
            for no, brain, event_ids in gone:
                self._words.drop(connection, no)
                connection.executemany(
                    sql["drop_id"],
                    [{"brain": brain, "event_id": one} for one in _names(event_ids)],
                )
                connection.execute(sql["drop_cut_hashes"], {"no": no})
                connection.execute(sql["drop_correction"], {"no": no})
            if gone:
                ((lowest,),) = connection.execute(sql["lowest_number"])
                self._words.drop_below(connection, lowest)
            connection.execute(
                sql["drop_events"], {"limit": PURGE_ROWS, "before_ms": forgotten.events_ms}
            )
            events = connection.changes()
            connection.execute(sql["drop_hours"], {"hour": forgotten.corrections_ms // HOUR_MS})
            connection.execute(sql["drop_lessons"], {"before_ms": forgotten.corrections_ms})
            connection.execute(sql["drop_sources"], {"before_ms": forgotten.events_ms})
            return len(gone) + events

        return await self._writer.call(run)


def _names(text: str) -> tuple[str, ...]:
    """Return a stored list of texts; a damaged one is empty."""
    try:
        return _NAMES.decode(text)
    except ValueError:
        return ()


def _brain(row: tuple[Any, ...]) -> Brain:
    return Brain(**dict(zip(Brain.__struct_fields__, row, strict=True)))


def _key(row: tuple[Any, ...]) -> BrainKey:
    return BrainKey(**dict(zip(BrainKey.__struct_fields__, row, strict=True)))


def _correction(row: tuple[Any, ...]) -> CorrectionRow:
    """Return a row of the lists; the counts by route are the last columns."""
    via_to = _VIA_FROM + len(ROUTES)
    begun = [part.decode("utf-8", "ignore") for part in row[_DRAFT : _DRAFT + 2]]
    shown = [cut(part, PREVIEW_MAX) for part in begun]
    told = row[_DRAFT + 2 : _VIA_FROM]
    return CorrectionRow._make(
        (*row[:_DRAFT], *shown, shown != begun, *told, row[_VIA_FROM:via_to], *row[via_to:])
    )


def open_corrections(
    path: Path, *, now_ms: int, revoked_in: Path | None = None
) -> CorrectionsSqlite:
    """Open the file, created and migrated if needed; raise MigrationError for a newer one.

    The ids of revoked keys are kept in the folder `revoked_in`.
    """
    writer = open_store(
        path, "corrections", now_ms=now_ms, cache_kib=CACHE_KIB, checkpoint_pages=CHECKPOINT_PAGES
    )
    store = CorrectionsSqlite(writer, open_reader(path), load_queries(SQL / "corrections"))
    if revoked_in is not None:
        store.keep_revoked_in(revoked_in)
    return store

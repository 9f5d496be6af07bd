"""The journal in SQLite: one writing thread with group commit, and reads beside it.

Every write goes through one thread (`writer.py`) and is answered after the commit that contains it,
and synchronous=FULL makes that durable. Reads run on the caller's thread over a connection that
cannot write, since each takes some tens of microseconds; a large actor is loaded on a thread.
The file must not be on a network file system: WAL needs memory that all its users share.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import apsw

from holdfast.actors.ports import (
    Accepted,
    Alarm,
    Arrival,
    Commit,
    EffectRow,
    EffectStatus,
    Loaded,
    Pending,
    ProbeRow,
    Stamp,
)
from holdfast.kernel.clock import Clock
from holdfast.kernel.ids import Address, EventId, derive
from holdfast.kernel.liveness import Vital
from holdfast.stores.sqlite.bulk import Row
from holdfast.stores.sqlite.database import make_trouble, open_store
from holdfast.stores.sqlite.journal_jobs import Accept, Answer, AnyJob, Finish, Write
from holdfast.stores.sqlite.journal_reader import SqliteReader
from holdfast.stores.sqlite.journal_write import Batch
from holdfast.stores.sqlite.writer import Call, GroupWriter

CHECKPOINT_PAGES: Final = 8_192
"""Pages in the WAL (32 MiB) at which it is checkpointed even while jobs wait."""

CHECKPOINT_IDLE_PAGES: Final = 256
"""Pages in the WAL (1 MiB) at which it is checkpointed as soon as no job waits."""

CHECKPOINT_MS: Final = 60_000
"""Idle time in ms after which even a small WAL is checkpointed."""

PRUNE_EVENTS: Final = 4_096
"""Events deleted in one transaction, about 10 ms, during which other writes wait."""

PRUNE_ACTORS: Final = 500
"""Actors that are looked at in one transaction for whether their logs have grown old."""

CHECKPOINT_RETRY_MS: Final = 5_000.0
"""Delay in ms before a failed checkpoint is retried."""


class SqliteJournal:
    """The Journal over one file. Use it from one loop; close it before the loop ends."""

    def __init__(self, path: Path, *, clock: Clock) -> None:
        """Open the file at `path`, created and migrated if needed.

        Raise MigrationError when newer code wrote it, and apsw.Error when it cannot be opened.
        """
        self._clock = clock
        self._path = path
        connection = open_store(path, "journal", now_ms=clock.now_ms())
        self.trouble = make_trouble()
        try:
            self._batch = Batch(connection)
            self._reader = SqliteReader(path, trouble=self.trouble)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        self._pages = self._moved_pages = 0
        self._hold_ms = 0.0
        self._moved_ms = clock.steady_ms()
        connection.set_wal_hook(self._count_pages)
        self._writer: GroupWriter[AnyJob] = GroupWriter(
            name="journal-write",
            apply=self._batch.apply,
            tidy=self._checkpoint,
            finish=self._finish,
            trouble=self.trouble,
        )

    # ----------------------------------------------------------------------------- the file

    def _count_pages(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        self._pages = pages
        return apsw.SQLITE_OK

    def _checkpoint(self, idle: bool) -> None:  # noqa: FBT001  told by the thread, no switch
        """Checkpoint the WAL when it is large, or when idle.

        Pages that a reader still needs stay in the WAL; only pages since the last checkpoint count,
        so that a slow reader does not cause one after every commit.
        """
        pages, now_ms = self._pages, self._clock.steady_ms()
        if pages < self._moved_pages:
            self._moved_pages = 0  # the WAL was restarted
        new, waited_ms = pages - self._moved_pages, now_ms - self._moved_ms
        due = new >= CHECKPOINT_PAGES or (
            idle and new > 0 and (new >= CHECKPOINT_IDLE_PAGES or waited_ms > CHECKPOINT_MS)
        )
        if not due or waited_ms < self._hold_ms:
            return
        self._moved_ms, self._hold_ms = now_ms, 0.0
        try:
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            self._moved_pages = pages
        except apsw.Error as error:
            # Nothing is lost: the WAL holds it all, and it is tried again.
            self.trouble.hear(error)
            self._hold_ms = CHECKPOINT_RETRY_MS
            logging.getLogger(__name__).exception("journal checkpoint failed")

    def _finish(self) -> None:
        """Checkpoint fully, so that the WAL can be removed."""
        try:
            self._reader.close_now()
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        finally:
            self._connection.close()

    def vital(self) -> Vital:
        """Return the thread that writes."""
        return self._writer.vital()

    async def close(self) -> None:
        """Finish accepted writes and release the file."""
        await self._writer.close()

    async def _call(self, call: Callable[[apsw.Connection], Any]) -> Any:
        return await self._writer.write(Call(call))

    # ------------------------------------------------------------------------------- events

    def _row(self, actor: Address, arrival: Arrival) -> Row:
        to = str(actor)
        return (
            derive(to, arrival.dedupe),
            to,
            arrival.body,
            arrival.version,
            arrival.source,
            arrival.cause,
            arrival.by,
            self._clock.now_ms(),
        )

    async def accept(self, arrivals: Sequence[tuple[Address, Arrival]]) -> list[Accepted]:
        """Insert events; all of them or, with MailboxFullError, none."""
        if not arrivals:
            return []
        rows = [self._row(actor, arrival) for actor, arrival in arrivals]
        accepted: list[Accepted] = await self._writer.write(Accept(rows))
        return accepted

    async def keep_asked(self, event: EventId, asked: str) -> str:
        """Keep the digest of what was asked for with a key, unless there is one; return what is."""
        now_ms, queries = self._clock.now_ms(), self._batch.queries

        def keep(connection: apsw.Connection) -> str:
            connection.execute(queries["keep_asked"], (event, asked, now_ms))
            return str(connection.execute(queries["find_asked"], (event,)).get)

        kept: str = await self._call(keep)
        return kept

    async def pending(self, actor: Address, limit: int) -> list[Pending]:
        """Return the actor's oldest events that no tick has taken."""
        arrivals = self._batch.arrivals(str(actor), limit)
        if arrivals is None:
            return await self._reader.pending(actor, limit)
        return self._reader.pending_at(arrivals) if arrivals else []

    async def stamp(self, event: EventId) -> Stamp | None:
        """Return an event's stamp, or None while no tick has taken it."""
        return self._reader.stamp(event)

    async def drop_quarantined(self, event: EventId, by: str) -> bool:
        """Mark a quarantined event dropped; return whether it was quarantined."""

        def drop(connection: apsw.Connection) -> bool:
            sql = self._batch.queries["drop_quarantined"]
            connection.execute(sql, (f"dropped by {by}; ", event))
            return connection.changes() > 0

        dropped: bool = await self._call(drop)
        return dropped

    # ------------------------------------------------------------------------------- actors

    async def load(self, actor: Address) -> Loaded | None:
        """Return an actor, or None for an unknown one."""
        if self._reader.is_small(actor):
            return self._reader.load_now(actor)
        return await asyncio.to_thread(self._reader.load_now, actor)

    async def load_older(self, actor: Address, below: int) -> Loaded | None:
        """Return an actor from its newest snapshot below a seq, or from its first event."""
        return await asyncio.to_thread(self._reader.load_older, actor, below)

    async def commit(self, commit: Commit) -> None:
        """Write a tick; raise StaleError or ClaimTakenError and write nothing when refused."""
        await self._writer.write(Write(commit))

    async def lease(self, holder: str) -> int:
        """Take the lease of everything and return its epoch, greater than any before."""
        row = (holder, self._clock.now_ms())
        sql = self._batch.queries["take_lease"]
        taken: tuple[int] = await self._call(
            lambda connection: connection.execute(sql, row).fetchone()
        )
        return taken[0]

    async def waiting_actors(self, limit: int, skip: int = 0) -> list[Address]:
        """Return actors that have pending events, those that wait longest first, after `skip`."""
        actors = self._reader.waiting_actors(limit, skip)
        self._batch.compare(map(str, actors))
        return actors

    async def alarms(self, until_ms: int, limit: int, after: Alarm | None = None) -> list[Alarm]:
        """Return the alarms at or before `until_ms`, the earliest first, paged by the last one."""
        return self._reader.alarms(until_ms, limit, after)

    async def keep_policy(self, policy_hash: str, body: bytes) -> None:
        """Keep a policy's contents under its hash, for replays."""
        sql = self._batch.queries["put_policy"]
        await self._call(lambda connection: connection.execute(sql, (policy_hash, body)).fetchall())

    # ------------------------------------------------------------------- effects and probes

    async def waiting_effects(self, limit: int, after: str = "") -> list[EffectRow]:
        """Return effects that are not finished, in the order of their lanes, paged by id."""
        return self._reader.waiting_effects(limit, after)

    async def finish_effect(
        self, effect_id: str, status: EffectStatus, arrival: tuple[Address, Arrival] | None
    ) -> Accepted | None:
        """Mark an effect finished and accept its outcome, in one transaction; idempotent."""
        row = None if arrival is None else self._row(*arrival)
        accepted: Accepted | None = await self._writer.write(Finish(effect_id, status, row))
        return accepted

    async def probes(self, limit: int, after: tuple[str, str] = ("", "")) -> list[ProbeRow]:
        """Return the standing probes, paged by (address, key)."""
        return self._reader.probes(limit, after)

    async def answer_probe(
        self, actor: Address, key: str, answer: str, arrival: Arrival
    ) -> Accepted | None:
        """Store a probe's new answer and accept its event; None when the probe is gone."""
        job = Answer(str(actor), key, answer, self._row(actor, arrival))
        accepted: Accepted | None = await self._writer.write(job)
        return accepted

    # ---------------------------------------------------------------------------- retention

    async def prune(self, before_ms: int) -> int:
        """Delete what no replay from `before_ms` on needs; return how many rows.

        Each actor keeps its newest snapshot before that time and everything since. The dedupe
        keys of deleted events are deleted too. A long log is deleted in parts, each up to a
        snapshot, so that other writes go in between and the rest can always be replayed.
        """
        after = ""
        while page := await self.actors(PRUNE_ACTORS, after):
            until = str(page[-1])
            values = (after, until, before_ms, before_ms)
            await self._call(partial(self._snapshot_old, values))
            after = until
        sql = self._batch.queries["prune_steps"]
        steps = await self._call(
            lambda connection: connection.execute(sql, (before_ms,)).fetchall()
        )
        count = 0
        for actor, rows in groupby(steps, itemgetter(0)):
            for seq in _parts([seq for _, seq in rows]):
                count += await self._call(partial(self._prune, actor, seq, before_ms))
        forgotten: int = await self._call(partial(self._forget_asked, before_ms))
        return count + forgotten

    def _forget_asked(self, before_ms: int, connection: apsw.Connection) -> int:
        connection.execute(self._batch.queries["forget_asked"], (before_ms,))
        return connection.changes()

    def _snapshot_old(self, values: Row, connection: apsw.Connection) -> None:
        connection.execute(self._batch.queries["snapshot_old"], values)

    async def actors(self, limit: int, after: str = "") -> list[Address]:
        """Return actors in the order of their addresses, after one of those."""
        return self._reader.actors(limit, after)

    async def forget(self, actor: Address, before_ms: int) -> int:
        """Forget all of an actor that is not spoken of since; return how many events that was."""
        count: int = await self._call(partial(self._forget, str(actor), before_ms))
        return count

    def _forget(self, actor: str, before_ms: int, connection: apsw.Connection) -> int:
        queries = self._batch.queries
        if connection.execute(queries["must_stay"], (actor, before_ms, *(actor,) * 4)).get:
            return 0
        connection.execute(queries["forget_events"], (actor,))
        count = connection.changes()
        for name in ("forget_ticks", "forget_snapshots", "forget_effects", "forget_actor"):
            connection.execute(queries[name], (actor,))
        return count

    def _prune(self, actor: str, seq: int, before_ms: int, connection: apsw.Connection) -> int:
        count = 0
        for name, bound in (
            ("prune_events", seq),
            ("prune_ticks", seq),
            ("prune_snapshots", seq),
            ("prune_effects", before_ms),
        ):
            connection.execute(self._batch.queries[name], (actor, bound))
            count += connection.changes()
        return count


def _parts(seqs: Sequence[int]) -> Iterator[int]:
    """Yield those of an actor's snapshots, in order, that end parts of about PRUNE_EVENTS."""
    done = 0
    for seq, following in zip(seqs, [*seqs[1:], None], strict=True):
        if following is None or following - done > PRUNE_EVENTS:
            yield seq
            done = seq

"""Reading a journal in SQLite, over connections that cannot write.

A connection is used by one thread at a time; free ones are in a pool. With WAL each statement sees
what was committed when it began, so reads neither block the writer nor wait.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import apsw
from msgspec import structs

from holdfast.actors.ports import (
    Alarm,
    EffectRow,
    Loaded,
    Logged,
    Operation,
    Pending,
    ProbeRow,
    Stamp,
)
from holdfast.kernel.ids import Address, EventId
from holdfast.stores.journal_rules import Found, address_of, follow
from holdfast.stores.queries import load_queries
from holdfast.stores.sqlite import SQL
from holdfast.stores.sqlite.bulk import Bulk
from holdfast.stores.sqlite.database import make_trouble, open_reader
from holdfast.stores.sqlite.lossy import read_rows
from holdfast.stores.trouble import Trouble
from holdfast.wire.parsers import WHOLE_MAX

READERS_KEPT: Final = 4
"""Connections that stay open between reads."""

SEQ_MAX: Final = 2**62

SMALL_ACCOUNT: Final = 64
"""Actors up to which an account's operations are looked up actor by actor."""

_LOGGED: Final = (
    *("id", "seq", "tick", "at_ms", "outcome", "body", "version"),
    *("source", "cause", "by", "code", "message", "accepted_ms"),
)
_PENDING: Final = ["id", "body", "version", "source", "accepted_ms", "cause", "by"]
_STAMP: Final = ["id", "seq", "tick", "at_ms", "outcome", "code", "message"]


def _logged(row: Sequence[Any]) -> Logged:
    return Logged(**dict(zip(_LOGGED, row, strict=True)))


def _pending(row: Sequence[Any]) -> Pending:
    return Pending(**dict(zip(_PENDING, row, strict=True)))


def _effect(row: Sequence[Any]) -> EffectRow:
    fields = dict(zip(EffectRow.__struct_fields__, row, strict=True))
    fields["actor"] = address_of(fields["actor"])
    fields["supersedes"] = bool(fields["supersedes"])
    return EffectRow(**fields)


def _probe(row: Sequence[Any]) -> ProbeRow:
    fields = dict(zip(ProbeRow.__struct_fields__, row, strict=True))
    fields["actor"] = address_of(fields["actor"])
    return ProbeRow(**fields)


def _found(row: Sequence[Any]) -> Found:
    """Return an event, pending or stamped, with its actor and account."""
    actor, account, _, *event = row
    if event[1] is not None:
        return _logged(event), address_of(actor), account
    fields = dict(zip(_LOGGED, event, strict=True))
    waiting = Pending(**{name: fields[name] for name in _PENDING})
    return waiting, address_of(actor), account


class SqliteReader:
    """The journal's Reader, and the reads of its owner."""

    def __init__(self, path: Path, *, trouble: Trouble | None = None) -> None:
        """Read the journal at `path`; raise apsw.CantOpenError when it is not there.

        `trouble` hears of what is wrong with the file.
        """
        self._path = path
        self._trouble = trouble or make_trouble()
        self._queries = load_queries(SQL / "journal")
        self._caused_events = Bulk(self._queries["caused_events"], 1)
        self._caused_effects = Bulk(self._queries["caused_effects"], 1)
        self._by_arrival = Bulk(self._queries["pending_by_arrival"], 1)
        self._free: deque[apsw.Connection] = deque([open_reader(path)])

    @contextmanager
    def _connection(self) -> Iterator[apsw.Connection]:
        try:
            connection = self._free.pop()
        except IndexError:
            connection = open_reader(self._path)
        try:
            yield connection
        except apsw.Error as error:
            self._trouble.hear(error)
            raise
        finally:
            if len(self._free) < READERS_KEPT:
                self._free.append(connection)
            else:
                connection.close()

    def _all(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with self._connection() as connection:
            return read_rows(connection, self._queries[query], parameters)

    def _one(self, query: str, *parameters: Any) -> tuple[Any, ...] | None:
        rows = self._all(query, *parameters)
        return rows[0] if rows else None

    async def close(self) -> None:
        """Release the connections."""
        self.close_now()

    def close_now(self) -> None:
        """Release the connections, from a thread without an event loop."""
        while self._free:
            self._free.pop().close()

    # ------------------------------------------------------------------------ what is shown

    async def view(self, view: str, key: str) -> tuple[bytes, str, int] | None:
        """Return a row's body, its account and the seq that it shows."""
        row = self._one("view", view, key)
        return None if row is None else (row[0], row[1], row[2])

    async def views(
        self, view: str, *, account: str | None, after: str = "", limit: int = 1_000
    ) -> list[tuple[str, bytes, int]]:
        """Return (key, body, seq) rows of an account, or of all, paged by key."""
        rows = (
            self._all("views_all", view, after, limit)
            if account is None
            else self._all("views_account", view, account, after, limit)
        )
        return [(key, body, seq) for key, body, seq in rows]

    # --------------------------------------------------------------------------- one actor

    async def load(self, actor: Address, *, at_seq: int | None = None) -> Loaded | None:
        """Return an actor now, or its newest snapshot at or before `at_seq` and the log since."""
        return self.load_now(actor, at_seq=at_seq)

    def load_now(self, actor: Address, *, at_seq: int | None = None) -> Loaded | None:
        """Return the same, synchronously."""
        with self._connection() as connection:
            # One transaction: the snapshot and the log after it belong together.
            connection.execute("BEGIN")
            try:
                return self._load(connection, str(actor), at_seq)
            finally:
                connection.execute("COMMIT")

    def load_older(self, actor: Address, below: int) -> Loaded | None:
        """Return an actor from its newest snapshot below a seq, or from its first event."""
        with self._connection() as connection:
            connection.execute("BEGIN")
            try:
                row = connection.execute(self._queries["actor"], (str(actor),)).fetchone()
                if row is None:
                    return None
                _, version, _, _, seq, number, digest, alarm_ms, _ = row
                past = self._load_past(connection, str(actor), seq, below)
            finally:
                connection.execute("COMMIT")
        if past is None:
            return None
        return structs.replace(
            past,
            number=number,
            digest=digest,
            alarm_ms=alarm_ms,
            state_version=past.state_version if past.state is not None else version,
        )

    def is_small(self, actor: Address) -> bool:
        """Return whether loading an actor takes one row."""
        row = self._one("is_small", str(actor))
        return row is None or bool(row[0])

    def _load(self, connection: apsw.Connection, actor: str, at_seq: int | None) -> Loaded | None:
        row = connection.execute(self._queries["actor"], (actor,)).fetchone()
        if row is None:
            return None
        state, version, state_seq, state_tick, seq, number, digest, alarm_ms, state_digest = row
        if at_seq is not None and at_seq < seq:
            return self._load_past(connection, actor, at_seq)
        if state is None and state_tick:
            found = connection.execute(self._queries["snapshot"], (actor, state_seq)).get
            state = found
        since: list[Logged] = []
        if state_seq < seq:
            since = self._log(connection, actor, state_seq, seq)
        return Loaded(
            state=state,
            state_version=version,
            state_seq=state_seq,
            state_tick=state_tick,
            seq=seq,
            number=number,
            digest=digest,
            alarm_ms=alarm_ms,
            since=tuple(since),
            state_digest=state_digest,
        )

    def _load_past(
        self, connection: apsw.Connection, actor: str, at_seq: int, below: int | None = None
    ) -> Loaded | None:
        """Return an actor as it was; None when what it was made of is no longer kept."""
        newest = at_seq if below is None else below - 1
        found = connection.execute(self._queries["snapshot_at"], (actor, newest)).fetchone()
        start, tick, version, kept_digest, state = found or (0, 0, 0, "", None)
        since = self._log(connection, actor, start, at_seq)
        if len(since) != at_seq - start:
            return None
        number, digest = tick, kept_digest
        if since:
            number, digest = since[-1].tick, ""
            ended = connection.execute(self._queries["tick_digest"], (actor, number)).fetchone()
            if ended is not None and ended[0] == at_seq:
                digest = ended[1]
        return Loaded(
            state=state,
            state_version=version,
            state_seq=start,
            state_tick=tick,
            seq=at_seq,
            number=number,
            digest=digest,
            alarm_ms=None,
            since=tuple(since),
            state_digest=kept_digest,
        )

    def _log(self, connection: apsw.Connection, actor: str, after: int, until: int) -> list[Logged]:
        rows = connection.execute(self._queries["log"], (actor, after, until, -1)).fetchall()
        return [_logged(row) for row in rows]

    async def pending(self, actor: Address, limit: int) -> list[Pending]:
        """Return the actor's oldest events that no tick has taken."""
        return [_pending(row) for row in self._all("pending", str(actor), limit)]

    def unfinished_with(self, text: str) -> int:
        """Return how many waiting events and effects have a text in their bodies; it scans them."""
        return int(next(iter(self._all("unfinished_with", text)))[0])

    def pending_at(self, arrivals: Sequence[int]) -> list[Pending]:
        """Return the events of these arrivals that are still pending, in order."""
        with self._connection() as connection:
            rows = self._by_arrival.read(connection, [(arrival,) for arrival in arrivals])
        return [_pending(row) for row in rows]

    async def log(self, actor: Address, *, after: int = 0, limit: int = 1_000) -> list[Logged]:
        """Return stamped events with a greater seq, in order."""
        return [_logged(row) for row in self._all("log", str(actor), after, SEQ_MAX, limit)]

    async def log_tail(self, actor: Address, *, before: int = 0, limit: int = 100) -> list[Logged]:
        """Return the newest stamped events below `before` (0 for the end), newest first."""
        rows = self._all("log_tail", str(actor), before or SEQ_MAX, limit)
        return [_logged(row) for row in rows]

    async def ticks(self, actor: Address, *, after: int = 0, limit: int = 1_000) -> list[bytes]:
        """Return tick records with a greater number, in order."""
        return [record for (record,) in self._all("ticks", str(actor), after, limit)]

    async def effects(self, actor: Address, *, limit: int = 100) -> list[EffectRow]:
        """Return an actor's newest effects."""
        return [_effect(row) for row in self._all("effects", str(actor), limit)]

    def stamp(self, event: EventId) -> Stamp | None:
        """Return an event's stamp, or None while no tick has taken it."""
        row = self._one("stamp", event)
        return None if row is None else Stamp(**dict(zip(_STAMP, row, strict=True)))

    # -------------------------------------------------------------------------- all actors

    async def policy(self, policy_hash: str) -> bytes | None:
        """Return a policy's contents."""
        row = self._one("policy", policy_hash)
        return None if row is None else row[0]

    async def quarantined(
        self,
        *,
        account: str | None,
        actor: Address | None = None,
        after: str = "",
        limit: int = 100,
    ) -> list[tuple[Address, Logged]]:
        """Return quarantined events, newest first, of those before the event `after`."""
        named = None if actor is None else str(actor)
        rows = self._all("quarantined", account, named, after or None, limit)
        return [(address_of(actor), _logged(event)) for actor, *event in rows]

    async def operation(self, event: EventId) -> Operation | None:
        """Return an event with its stamp and the outcomes of its effects."""
        row = self._one("event_logged", event) or self._one("event_pending", event)
        return None if row is None else self._follow([_found(row)])[0]

    async def operations(
        self,
        *,
        account: str | None,
        actor: Address | None = None,
        after: str = "",
        limit: int = 100,
    ) -> list[Operation]:
        """Return the newest operations of people and programs, of those before `after`."""
        before = WHOLE_MAX
        if after:
            last = self._one("event_logged", after) or self._one("event_pending", after)
            if last is None:
                return []  # of an event that is gone nothing is known to be before it
            before = last[2]
        asked = self._asked(account, actor, before, limit)
        return self._follow([_found(row) for row in asked])

    def _asked(
        self, account: str | None, actor: Address | None, before: int, limit: int
    ) -> list[Any]:
        if actor is not None:
            rows = self._asked_of(str(actor), before, limit)
            return [row for row in rows if account is None or row[1] == account]
        if account is None:
            return self._all("asked_all", before, limit)
        theirs = self._all("account_actors", account, SMALL_ACCOUNT + 1)
        if len(theirs) > SMALL_ACCOUNT:
            return self._all("asked_account", account, before, limit)
        rows = [row for (address,) in theirs for row in self._asked_of(address, before, limit)]
        return sorted(rows, key=lambda row: row[2], reverse=True)[:limit]

    def _asked_of(self, actor: str, before: int, limit: int) -> list[Any]:
        waiting = self._all("asked_actor_pending", actor, before, limit)
        return (waiting + self._all("asked_actor_logged", actor, before, limit))[:limit]

    def _follow(self, asked: Sequence[Found]) -> list[Operation]:
        with self._connection() as connection:
            return follow(
                asked,
                lambda ids: map(
                    _logged, self._caused_events.read(connection, [(event,) for event in ids])
                ),
                lambda ids: map(
                    _effect, self._caused_effects.read(connection, [(event,) for event in ids])
                ),
            )

    # -------------------------------------------------------------------- what the owner asks

    def waiting_actors(self, limit: int, skip: int = 0) -> list[Address]:
        """Return actors that have pending events, those that wait longest first, after `skip`."""
        return [address_of(actor) for (actor,) in self._all("waiting_actors", limit, skip)]

    def alarms(self, until_ms: int, limit: int, after: Alarm | None = None) -> list[Alarm]:
        """Return the alarms at or before `until_ms`, the earliest first, paged by the last one."""
        passed = (-1, "") if after is None else (after.at_ms, str(after.actor))
        rows = self._all("alarms", until_ms, *passed, limit)
        return [Alarm(address_of(actor), at_ms) for actor, at_ms in rows]

    def actors(self, limit: int, after: str = "") -> list[Address]:
        """Return actors in the order of their addresses, after one of those."""
        return [address_of(actor) for (actor,) in self._all("actors", after, limit)]

    def waiting_effects(self, limit: int, after: str = "") -> list[EffectRow]:
        """Return effects that are not finished, in the order of their lanes, paged by id."""
        place = 0
        if after:
            row = self._one("effect_place", after)
            if row is None:
                raise ValueError(f"after {after!r}: no such effect; begin with the first page")
            place = row[0]
        return [_effect(row) for row in self._all("waiting_effects", place, limit)]

    def probes(self, limit: int, after: tuple[str, str] = ("", "")) -> list[ProbeRow]:
        """Return the standing probes, paged by (address, key)."""
        return [_probe(row) for row in self._all("probes", *after, limit)]

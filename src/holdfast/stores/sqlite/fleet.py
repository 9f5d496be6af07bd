"""The index of the fleet in a SQLite database in memory, with one thread that reads and writes it.

SQLite releases the GIL while it searches, so the event loop keeps running; each returned row takes
the GIL once. So a page is returned as one JSON text in one row, and changes are passed in as one.
Where the sort order has an index, a page is read along it; otherwise SQLite scans the rows and
keeps the first `limit`. Triggers maintain the counts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import apsw
import msgspec

from holdfast.instances.index import Heard, Mark, Page, Query, Row
from holdfast.stores.thread import OwnThread

_SCHEMA: Final = """
CREATE TABLE fleet (
    id TEXT PRIMARY KEY, account TEXT NOT NULL, name TEXT NOT NULL, status TEXT NOT NULL,
    agent TEXT NOT NULL, attention INTEGER NOT NULL, created TEXT NOT NULL,
    restarts INTEGER NOT NULL, contact INTEGER NOT NULL, load INTEGER NOT NULL,
    health INTEGER NOT NULL
) STRICT;
CREATE TABLE counts (
    account TEXT, status TEXT, agent TEXT, attention INTEGER, health INTEGER,
    many INTEGER NOT NULL, PRIMARY KEY (account, status, agent, attention, health)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER added AFTER INSERT ON fleet BEGIN
    INSERT INTO counts
        VALUES (new.account, new.status, new.agent, new.attention, new.health, 1)
    ON CONFLICT DO UPDATE SET many = many + 1;
END;
CREATE TRIGGER removed AFTER DELETE ON fleet BEGIN
    UPDATE counts SET many = many - 1 WHERE account = old.account AND status = old.status
        AND agent = old.agent AND attention = old.attention AND health = old.health;
END;
CREATE TRIGGER changed AFTER UPDATE OF account, status, agent, attention, health ON fleet
WHEN (old.account, old.status, old.agent, old.attention, old.health)
    <> (new.account, new.status, new.agent, new.attention, new.health) BEGIN
    UPDATE counts SET many = many - 1 WHERE account = old.account AND status = old.status
        AND agent = old.agent AND attention = old.attention AND health = old.health;
    INSERT INTO counts
        VALUES (new.account, new.status, new.agent, new.attention, new.health, 1)
    ON CONFLICT DO UPDATE SET many = many + 1;
END;
"""

_INDEXES: Final = """
CREATE INDEX IF NOT EXISTS by_name ON fleet (name, id);
CREATE INDEX IF NOT EXISTS by_attention ON fleet (name) WHERE attention = 1;
CREATE INDEX IF NOT EXISTS by_account ON fleet (account, name);
CREATE INDEX IF NOT EXISTS by_status ON fleet (status, name);
CREATE INDEX IF NOT EXISTS by_health ON fleet (health, name);
CREATE INDEX IF NOT EXISTS by_agent ON fleet (agent, name);
CREATE INDEX IF NOT EXISTS by_created ON fleet (created, name);
CREATE INDEX IF NOT EXISTS by_restarts ON fleet (restarts DESC, name);
CREATE INDEX IF NOT EXISTS by_contact ON fleet (contact DESC, name);
CREATE INDEX IF NOT EXISTS by_load ON fleet (load DESC, name);
"""
_NAMES: Final = tuple(re.findall(r"by_\w+", _INDEXES))

_PUT: Final = """
INSERT INTO fleet
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6,
    value ->> 7, value ->> 8, value ->> 9, value ->> 10
FROM json_each(?) WHERE true
ON CONFLICT (id) DO UPDATE SET account = excluded.account, name = excluded.name,
    status = excluded.status, agent = excluded.agent, attention = excluded.attention,
    created = excluded.created, restarts = excluded.restarts, contact = excluded.contact,
    load = excluded.load, health = excluded.health
"""
_HEARD: Final = """
UPDATE fleet SET restarts = max(restarts, value ->> 1), contact = value ->> 2,
    load = CASE status WHEN 'running' THEN value ->> 3 ELSE -1 END
FROM json_each(?) WHERE fleet.id = value ->> 0
"""
_GONE: Final = "DELETE FROM fleet WHERE id IN (SELECT value FROM json_each(?))"
_COUNTS: Final = """
SELECT json_group_object(status, many) FROM (
    SELECT status, sum(many) AS many FROM counts
    WHERE (:account IS NULL OR account = :account) AND many > 0 GROUP BY status
)
"""
_HEALTHS: Final = """
SELECT json_group_object(health, many) FROM (
    SELECT health, sum(many) AS many FROM counts
    WHERE (:account IS NULL OR account = :account) AND many > 0 GROUP BY health
)
"""
_AGENTS: Final = """
SELECT json_group_array(agent) FROM (SELECT DISTINCT agent FROM counts WHERE many > 0)
"""

_MANY_VALUES: Final = frozenset({"created", "restarts", "contact", "load"})
_MARKS: Final = msgspec.json.Decoder(tuple[tuple[str | int, str, str], ...])
_TEXTS: Final = msgspec.json.Decoder(frozenset[str])
_BY_RANK: Final = msgspec.json.Decoder(dict[int, int])
_NUMBERS: Final = msgspec.json.Decoder(dict[str, int])
_encode: Final = msgspec.json.Encoder().encode


class SqliteFleet:
    """The port `IndexStore`, in memory."""

    def __init__(self) -> None:
        """Make an empty index."""
        self._connection = apsw.Connection(":memory:")
        self._connection.execute(_SCHEMA)
        self._connection.execute(_INDEXES)
        self._thread = OwnThread("fleet-index")

    async def close(self) -> None:
        """End the thread and drop the rows."""
        await self._thread.end(self._connection.close)

    async def clear(self) -> None:
        """Remove every row, before the index is filled again."""
        await self._thread.run(self._clear)

    def _clear(self) -> None:
        with self._connection:
            for name in _NAMES:
                self._connection.execute(f"DROP INDEX IF EXISTS {name}")
            self._connection.execute("DELETE FROM fleet; DELETE FROM counts")

    async def settle(self) -> None:
        """Make the SQL indexes: faster once over all rows than updated with each."""
        await self._thread.run(lambda: self._connection.execute(_INDEXES))

    async def apply(self, rows: Sequence[Row], gone: Sequence[str], heard: Sequence[Heard]) -> None:
        """Delete the ids `gone`, insert or replace `rows`, then apply the check-ins `heard`."""
        await self._thread.run(lambda: self._apply(rows, gone, heard))

    def _apply(self, rows: Sequence[Row], gone: Sequence[str], heard: Sequence[Heard]) -> None:
        with self._connection:
            for statement, values in ((_GONE, gone), (_PUT, rows), (_HEARD, heard)):
                if values:
                    self._connection.execute(statement, (_encode(values).decode(),))

    async def page(self, query: Query) -> Page:
        """Return one page."""
        return await self._thread.run(lambda: self._page(query))

    async def agents(self) -> frozenset[str]:
        """Return the agents of all rows."""
        return await self._thread.run(lambda: _TEXTS.decode(self._one(_AGENTS, {})))

    def _page(self, query: Query) -> Page:
        values: dict[str, Any] = {
            "account": query.account,
            "agent": query.agent,
            "text": query.text.lower(),
            "limit": query.limit + 1,
        }
        if query.after is not None:
            values |= zip(("value", "name", "id"), query.after, strict=True)
        statuses = {f"status{number}": one for number, one in enumerate(query.statuses)}
        values |= statuses
        counted = _counted(query, statuses)
        scanned = [*counted, "(instr(name, :text) OR instr(id, :text))"]
        where = scanned if query.text else counted
        found = _MARKS.decode(self._one(_page_of(query, where), values))
        shown = found[: query.limit]
        if not query.text:
            counted_rows = f"SELECT coalesce(sum(many), 0) FROM counts{_where(where)}"  # noqa: S608  only names from this file
            total = self._one(counted_rows, values)
        elif query.after is None and len(found) <= query.limit:
            total = len(found)
        else:
            total = self._one(f"SELECT count(*) FROM fleet{_where(where)}", values)  # noqa: S608  as above
        return Page(
            ids=tuple(mark[2] for mark in shown),
            following=Mark(*shown[-1]) if len(found) > query.limit else None,
            total=total,
            counts=_NUMBERS.decode(self._one(_COUNTS, values)),
            healths=_BY_RANK.decode(self._one(_HEALTHS, values)),
        )

    def _one(self, statement: str, values: dict[str, Any]) -> Any:
        return self._connection.execute(statement, values).get


def _counted(query: Query, statuses: dict[str, str]) -> list[str]:
    """Return the conditions on columns that the table `counts` has."""
    found = []
    if query.account is not None:
        found.append("account = :account")
    if statuses:
        found.append(f"status IN ({', '.join(f':{name}' for name in statuses)})")
    if query.healths:
        found.append(f"health IN ({', '.join(str(int(one)) for one in query.healths)})")
    if query.agent:
        found.append("agent = :agent")
    if query.attention is not None:
        # A literal, because the planner uses a partial index only for a constant.
        found.append(f"attention = {int(query.attention)}")
    return found


def _where(conditions: Sequence[str]) -> str:
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


def _page_of(query: Query, conditions: Sequence[str]) -> str:
    """Return the statement of a page: a JSON array of (value, name, id), one more than asked."""
    column = query.sort
    direction, beyond = ("DESC", "<") if query.descending else ("ASC", ">")
    ties = ("id",) if column == "name" else ("name", "id")
    # With few equal values the index also serves this order, which the planner cannot know.
    by = "" if conditions or column not in _MANY_VALUES else f" INDEXED BY by_{column}"
    if query.after is not None:
        tied = f"({', '.join(ties)}) > ({', '.join(f':{one}' for one in ties)})"
        conditions = [
            *conditions,
            f"{column} {beyond}= :value",
            f"({column} {beyond} :value OR {tied})",
        ]
    return (
        f"SELECT json_group_array(json_array(value, name, id)) FROM ("  # noqa: S608  as above
        f"SELECT {column} AS value, name, id FROM fleet{by}{_where(conditions)}"
        f" ORDER BY {column} {direction}, {', '.join(ties)} LIMIT :limit)"
    )

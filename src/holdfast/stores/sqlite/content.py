"""Observed nodes and their content in a SQLite file of their own, `content.db`.

One thread writes with group commit and answers after the commit; another reads. What is deleted is
overwritten, and the WAL is emptied after it, so that no copy of it stays in the files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec
from msgspec.structs import asdict

from holdfast.content.gate import Admitted
from holdfast.content.limits import PURGE_ROWS
from holdfast.content.ports import ItemPage, ItemQuery, Kept, UsageQuery
from holdfast.content.records import (
    ABOUT,
    DAY,
    AboutRow,
    ItemRow,
    Node,
    NodeKey,
    Purged,
    Refused,
    Row,
    SessionRow,
    Stored,
    StreamRow,
    UsageSum,
    Written,
)
from holdfast.content.senders import Senders
from holdfast.content.usage import is_past
from holdfast.stores.queries import load_queries
from holdfast.stores.sqlite import SQL
from holdfast.stores.sqlite.browser_keys import BrowserKeysSqlite
from holdfast.stores.sqlite.bulk import Bulk
from holdfast.stores.sqlite.database import open_reader, open_store
from holdfast.wire.consent import ContentClass

CHECKPOINT_PAGES: Final = 4_096
"""Pages of 4 KiB in the WAL at which a commit checkpoints it."""

_SENDERS: Final = msgspec.json.Decoder(Senders)
_FACTS: Final = msgspec.json.Decoder(dict[str, str])
_NODE_COLUMNS: Final = 14
_USAGE_COLUMNS: Final = 10


class ContentSqlite(BrowserKeysSqlite):
    """The store of content, in a file."""

    def __init__(
        self, writer: apsw.Connection, reader: apsw.Connection, queries: dict[str, str]
    ) -> None:
        """Use `open_content` instead."""
        self._file = writer
        self._erase = False
        self.past_changes = 0
        super().__init__(writer, reader, queries, name="content", tidy=self._empty_wal)
        self._put_nodes = Bulk(queries["put_nodes"], _NODE_COLUMNS)
        self._put_refused = Bulk(queries["put_refused"], 7)
        self._add_items = Bulk(queries["add_items"], 6)
        self._add_usage = Bulk(queries["add_usage"], _USAGE_COLUMNS)

    async def load(self) -> Kept:
        """Return what the directory keeps in memory."""
        return Kept(
            keys=[_key(row) for row in await self._read("keys")],
            nodes=[_node(row) for row in await self._read("nodes")],
            refused=[
                (node, of, why, Refused(*counts))
                for node, of, why, *counts in await self._read("refused")
            ],
            last_no=(await self._read("last_no"))[0][0],
        )

    async def add_key(self, key: NodeKey, *, superseded: Sequence[str] = ()) -> None:
        """Add a key and delete those that it supersedes, by their ids; all or none."""
        row, gone = asdict(key), [{"id": key_id} for key_id in superseded]

        def run(connection: apsw.Connection) -> None:
            connection.execute(self._sql["add_key"], row)
            connection.executemany(self._sql["drop_key"], gone)

        await self._writer.call(run)

    async def revoke_key(self, key_id: str, now_ms: int) -> None:
        """Revoke a key; the first time stays."""
        await self._change("revoke_key", id=key_id, now_ms=now_ms)

    async def note_uses(self, uses: Mapping[str, int]) -> None:
        """Store when keys were last used."""
        rows = [{"id": key_id, "at_ms": at_ms} for key_id, at_ms in uses.items()]

        def run(connection: apsw.Connection) -> None:
            connection.executemany(self._sql["note_key_use"], rows)

        await self._writer.call(run)

    async def put_nodes(self, nodes: Sequence[Node]) -> None:
        """Replace the rows of nodes and their refused counts, by number; all or none."""
        rows = [_columns(node) for node in nodes]
        refused = [
            (node.no, of, why, one.requests, one.bytes, one.first_ms, one.last_ms)
            for node in nodes
            for (of, why), one in node.refused.items()
        ]

        def run(connection: apsw.Connection) -> None:
            self._put_nodes.write(connection, rows)
            self._put_refused.write(connection, refused)

        await self._writer.call(run)

    async def write(self, admitted: Admitted) -> Written:
        """Write admitted rows in one commit: all or none."""

        def run(connection: apsw.Connection) -> Written:
            streams: dict[str, list[Row]] = {}
            for row in admitted.rows:
                streams.setdefault(row.stream, []).append(row)
            stored = added = 0
            for name, rows in streams.items():
                more, size = self._write_stream(connection, admitted, name, rows)
                stored += more
                added += size
            return Written(stored, len(admitted.rows) - stored, added)

        try:
            return await self._writer.call(run)
        finally:
            if admitted.of == "counters" and is_past(admitted.rows, admitted.received_ms):
                self.past_changes += 1

    def _write_stream(
        self, connection: apsw.Connection, admitted: Admitted, name: str, rows: list[Row]
    ) -> tuple[int, int]:
        """Write the rows of one stream; return how many were new or changed, and their bytes."""
        received_ms = admitted.received_ms
        no: int = connection.execute(
            self._sql["open_stream"],
            {"node": admitted.node, "of": admitted.of, "name": name, "now_ms": received_ms},
        ).get
        once = [row for row in rows if row.keep == "once"]
        sizes = self._add_items.read(
            connection,
            [(no, r.identity, r.at_ms, received_ms, r.sealed, r.body) for r in once],
        )
        items, size, changed = len(sizes), sum(one for (one,) in sizes), len(sizes)
        for row in rows:
            if row.keep == "once":
                continue
            more, grown, is_new = self._write_row(connection, no, row, received_ms)
            items, size, changed = items + more, size + grown, changed + is_new
            if is_new and admitted.of == "counters":
                self._write_usage(connection, admitted.node, row)
        times = [row.at_ms for row in rows]
        connection.execute(
            self._sql["grow_stream"],
            {"no": no, "items": items, "bytes": size, "first_ms": min(times),
             "last_ms": max(times)},
        )  # fmt: skip
        return changed, size

    def _write_usage(self, connection: apsw.Connection, node: int, row: Row) -> None:
        """Put what a day of counters says in place of what was read from it before."""
        day = row.stream.removeprefix(DAY)
        connection.execute(self._sql["drop_usage"], {"node": node, "day": day})
        self._add_usage.write(connection, [(node, day, *one) for one in row.usage])

    def _write_row(
        self, connection: apsw.Connection, stream: int, row: Row, received_ms: int
    ) -> tuple[int, int, int]:
        """Replace or add one row; return rows more, bytes more, and 1 where it changed."""
        identity = row.identity
        if row.keep == "version":
            newest = connection.execute(self._sql["newest_identity"], {"stream": stream}).get
            if newest is not None and newest[: len(identity)] == identity:
                return 0, 0, 0
            # The same content may come back after another: its versions differ by when they came.
            identity += received_ms.to_bytes(8, "big")
        named = {"stream": stream, "identity": identity, "body": row.body}
        known: list[tuple[Any, ...]] = connection.execute(self._sql["item_body"], named).fetchall()
        if known and known[0][1]:
            return 0, 0, 0
        connection.execute(
            self._sql["replace_item"],
            {**named, "at_ms": row.at_ms, "received_ms": received_ms, "sealed": row.sealed},
        )
        if known:
            return 0, len(row.body) - known[0][0], 1
        return 1, len(row.body), 1

    async def delete(self, node: int, classes: Sequence[ContentClass]) -> dict[ContentClass, int]:
        """Delete what is stored of a node in these classes; return how many rows, by class."""

        def run(connection: apsw.Connection) -> dict[ContentClass, int]:
            gone: dict[ContentClass, int] = {}
            for of in classes:
                named = {"node": node, "of": of}
                gone[of] = connection.execute(self._sql["count_class"], named).get
                connection.execute(self._sql["drop_class_items"], named)
                connection.execute(self._sql["drop_class_streams"], named)
            self._erase = True
            return gone

        try:
            return await self._writer.call(run)
        finally:
            self.past_changes += 1

    async def purge(self, before_ms: int, *, counters_before_ms: int) -> Purged:
        """Delete some rows received before, of counters before another time; no rows when done."""
        before = {
            "others_ms": before_ms,
            "counters_ms": counters_before_ms,
            "latest_ms": max(before_ms, counters_before_ms),
        }

        def run(connection: apsw.Connection) -> Purged:
            dropped: list[tuple[Any, ...]] = connection.execute(
                self._sql["drop_old_items"], {**before, "limit": PURGE_ROWS}
            ).fetchall()
            items, sizes = Counter(no for no, _ in dropped), Counter[int]()
            for no, size in dropped:
                sizes[no] += size
            freed: Counter[int] = Counter()
            for no, many in items.items():
                counted = {"no": no, "items": many, "bytes": sizes[no]}
                freed[connection.execute(self._sql["shrink_stream"], counted).get] += sizes[no]
                connection.execute(self._sql["drop_empty_stream"], {"no": no})
            self._erase = self._erase or bool(dropped)
            return Purged(len(dropped), tuple(freed.items()))

        try:
            return await self._writer.call(run)
        finally:
            self.past_changes += 1

    async def stored(self, node: int) -> Sequence[Stored]:
        """Return how much is stored of a node, by class."""
        rows = await self._read("stored", node=node)
        return [Stored(of, bool(sealed), *counts) for of, sealed, *counts in rows]

    async def sessions(
        self, node: int, *, below_ms: int, below: int, limit: int
    ) -> Sequence[SessionRow]:
        """Return sessions below (`below_ms`, `below`), the latest first."""
        rows = await self._read(
            "sessions", node=node, below_ms=below_ms, below=below, limit=limit, about=ABOUT
        )
        return [SessionRow(*row) for row in rows]

    async def streams(
        self, node: int, *, of: ContentClass | None, after: int, limit: int
    ) -> Sequence[StreamRow]:
        """Return streams after a number, of one class or all."""
        rows = await self._read("streams", node=node, of=of, after=after, limit=limit)
        return [StreamRow(*row) for row in rows]

    async def jobs(self, node: int, *, after: int, limit: int) -> Sequence[AboutRow]:
        """Return the cron jobs of a node after the number of a stream."""
        rows = await self._read("jobs", node=node, after=after, limit=limit, about=ABOUT)
        return [AboutRow(*row) for row in rows]

    async def items(self, query: ItemQuery) -> ItemPage:
        """Return rows of one stream, by their time; no body beyond the page is read."""
        name = "items_down" if query.newest_first else "items_up"
        values = query._asdict()
        del values["newest_first"]
        found = await self._read(name, **values)
        rows = [
            ItemRow(no, at_ms, received_ms, bool(sealed), bytes(body))
            for no, at_ms, received_ms, sealed, body, _ in found
        ]
        return ItemPage(rows, more=bool(found) and found[0][5] > len(rows))

    async def usage(self, query: UsageQuery) -> Sequence[UsageSum]:
        """Return sums of each group and model, with a reported cost and without."""
        rows = await self._read(
            "usage",
            nodes=msgspec.json.encode(query.nodes).decode(),
            by=query.by,
            first=query.first,
            last=query.last,
        )
        return [UsageSum(*row) for row in rows]

    async def budgets(self) -> Sequence[tuple[int, bytes]]:
        """Return the stored budgets of nodes, by their numbers."""
        return [(node, bytes(body)) for node, body in await self._read("budgets")]

    async def put_budget(self, node: int, body: bytes | None) -> None:
        """Replace the budget of a node; None deletes it."""
        if body is None:
            await self._change("drop_budget", node=node)
        else:
            await self._change("put_budget", node=node, body=body)

    def _empty_wal(self, _idle: bool) -> None:  # noqa: FBT001  a callback of the thread, no switch
        """Empty the WAL after a deletion; a reader in the middle of one puts it off."""
        if not self._erase:
            return
        self._file.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        self._erase = False


def _columns(node: Node) -> tuple[Any, ...]:
    return (
        node.no, node.id, node.account, node.name, node.key, node.instance, node.first_ms,
        node.heard_ms, node.version, node.platform, msgspec.json.encode(node.facts).decode(),
        node.gap_from_ms, node.intents_refused, msgspec.json.encode(node.senders).decode(),
    )  # fmt: skip


def _node(row: tuple[Any, ...]) -> Node:
    (no, node_id, account, name, key, instance, first_ms, heard_ms, version, platform, facts,
     gap_from_ms, intents_refused, senders, stored_bytes) = row  # fmt: skip
    return Node(
        no=no,
        id=node_id,
        account=account,
        name=name,
        key=key,
        instance=instance,
        first_ms=first_ms,
        heard_ms=heard_ms,
        version=version,
        platform=platform,
        facts=_facts(facts),
        gap_from_ms=gap_from_ms,
        intents_refused=intents_refused,
        senders=_senders(senders),
        stored_bytes=stored_bytes,
    )


def _facts(text: str) -> dict[str, str]:
    """Return stored facts; damaged ones are none."""
    try:
        return _FACTS.decode(text)
    except ValueError:
        return {}


def _senders(text: str) -> Senders:
    """Return stored senders; damaged ones are none, and who comes first sends."""
    try:
        return _SENDERS.decode(text)
    except ValueError:
        return Senders()


def _key(row: tuple[Any, ...]) -> NodeKey:
    return NodeKey(**dict(zip(NodeKey.__struct_fields__, row, strict=True)))


def open_content(path: Path, *, now_ms: int) -> ContentSqlite:
    """Open the file, created and migrated if needed; raise MigrationError for a newer one."""
    writer = open_store(path, "content", now_ms=now_ms, checkpoint_pages=CHECKPOINT_PAGES)
    writer.execute("PRAGMA secure_delete = ON")
    return ContentSqlite(writer, open_reader(path), load_queries(SQL / "content"))

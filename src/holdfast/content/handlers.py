"""Handlers about nodes, for people and pages; an invisible node is answered with 404.

Asking for a node counts as looking at it: its client then sends at once what it may send.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final, TypeVar

from holdfast.actors import calls
from holdfast.content import limits, views
from holdfast.content.cron_jobs import cron_job
from holdfast.content.directory import Directory
from holdfast.content.gaps import Gaps
from holdfast.content.log_lines import Search
from holdfast.content.log_search import search_logs
from holdfast.content.parts import body_size, in_parts
from holdfast.content.ports import Consents, ContentStore, ItemQuery
from holdfast.content.presence import Presence
from holdfast.content.records import FILE, LOG, SEALED, SESSION, ItemRow, Node
from holdfast.content.senders import resends
from holdfast.content.tool_calls import timed
from holdfast.letters.names import NameOf
from holdfast.wire.api.call import Call, Reply
from holdfast.wire.api.content import (
    CronList,
    LogList,
    MemoryList,
    MemoryVersions,
    NodeKeyCreate,
    NodeKeyCreated,
    NodeKeyList,
    NodeList,
    SealedList,
    SenderChoice,
    SessionList,
    TurnList,
)
from holdfast.wire.consent import CLASSES, ContentClass
from holdfast.wire.limits import TEXT_MAX

_NDJSON: Final = "application/x-ndjson"

T = TypeVar("T")


class ContentCalls:
    """One method for each endpoint for people."""

    def __init__(
        self,
        store: ContentStore,
        directory: Directory,
        presence: Presence,
        gaps: Gaps,
        *,
        consents: Consents,
        account_exists: calls.AccountExists,
        default_account: str,
        quota: int,
        name_of: NameOf,
    ) -> None:
        """Use `default_account` for an operator who names no account."""
        self._store = store
        self._directory = directory
        self._presence = presence
        self._gaps = gaps
        self._consents = consents
        self._account_exists = account_exists
        self._default_account = default_account
        self._quota = quota
        self._name_of = name_of

    def by_endpoint(self) -> dict[str, Callable[[Call], Awaitable[Reply]]]:
        """Return the handlers by the names of their endpoints."""
        return {
            "content.nodes": self.list_nodes,
            "content.node": self.show_node,
            "content.sessions": self.list_sessions,
            "content.turns": self.list_turns,
            "content.logs": self.list_logs,
            "content.memory": self.list_memory,
            "content.versions": self.list_versions,
            "content.cron": self.list_cron,
            "content.sealed": self.list_sealed,
            "content.export": self.export,
            "content.choose-sender": self.choose_sender,
            "node-key.list": self.list_keys,
            "node-key.create": self.make_key,
            "node-key.revoke": self.revoke_key,
        }

    async def list_nodes(self, call: Call) -> Reply:
        """List nodes by name."""
        nodes = self._directory.nodes_of(calls.listed_account(call))
        if named := call.query.get("name"):
            nodes = [
                one
                async for one in in_parts(nodes, rows=limits.NODES_IN_PART)
                if named in (one.id, one.instance, one.name) or named == self._title(one)
            ]
        after = call.query.get("after", "")
        if after:
            last = self._directory.find(after, call.principal.account)
            if last is None:
                raise calls.bad_cursor()
            first = bisect_right(nodes, (last.name, last.id), key=lambda one: (one.name, one.id))
            nodes = nodes[first:]
        shown, rest = _cut(nodes, calls.page_limit(call))
        items = tuple(
            views.node_view(
                node, self._consents.standing(node.id), call.now_ms, title=self._title(node)
            )
            for node in shown
        )
        return Reply(NodeList(items=items, next=shown[-1].id if rest else ""))

    async def show_node(self, call: Call) -> Reply:
        """Show one node with its counts."""
        return await self._detail(call, self._visible(call))

    def _title(self, node: Node) -> str:
        """Return what people call a node: the name of its instance, or its own."""
        return (self._name_of(node.instance) if node.instance else "") or node.name

    async def choose_sender(self, call: Call) -> Reply:
        """Let one of the senders of a node send; refuse (404) one that is not known."""
        body: SenderChoice = call.body
        node = self._visible(call)
        chosen = node.senders.find(body.sender)
        if chosen is None:
            raise calls.missing(
                "sender", field="sender", fix="send the `id` of one of the node's `senders`"
            )
        by = f"{call.principal.name} ({calls.caller(call.principal)})"[:TEXT_MAX]
        since_ms = await self._directory.choose_sender(node, chosen.id, by=by)
        if since_ms and not resends(chosen.version):
            self._gaps.note_refused(node, since_ms)
        self._presence.wake(node)
        return await self._detail(call, node)

    async def _detail(self, call: Call, node: Node) -> Reply:
        return Reply(
            views.node_detail(
                node,
                self._consents.standing(node.id),
                await self._store.stored(node.no),
                quota=self._quota,
                gaps=self._gaps.count_open(node, call.now_ms),
                now_ms=call.now_ms,
                title=self._title(node),
            )
        )

    async def list_sessions(self, call: Call) -> Reply:
        """List a node's sessions, the latest first."""
        node, limit = self._visible(call), calls.page_limit(call)
        below_ms, below = calls.cursor(call, 2)
        rows = await self._store.sessions(node.no, below_ms=below_ms, below=below, limit=limit + 1)
        shown, rest = _cut(rows, limit)
        last = shown[-1] if rest else None
        in_turn = in_parts(shown, size_of=lambda row: len(row.about))
        return Reply(
            SessionList(
                items=tuple([views.session_view(row) async for row in in_turn]),
                sealed=views.sealed_counts(await self._store.stored(node.no)),
                next="" if last is None else f"{last.last_ms}-{last.no}",
            )
        )

    async def list_turns(self, call: Call) -> Reply:
        """List the events of one session, the earliest first."""
        node = self._visible(call)
        name = SESSION + call.query.get("session", "")
        name = SEALED if _is_sealed(call) else name
        rows, after = await self._page(call, node, "transcripts", name)
        turns = [views.turn(row) async for row in in_parts(rows, size_of=body_size)]
        return Reply(TurnList(items=timed(turns), next=after))

    async def list_logs(self, call: Call) -> Reply:
        """List a node's log lines, the latest first."""
        node = self._visible(call)
        name = SEALED if _is_sealed(call) else LOG
        search = Search(call.query.get("text", ""), call.query.get("level", ""))
        at_ms, no = calls.cursor(call, 2)
        query = ItemQuery(node.no, "logs", name, at_ms, no, calls.page_limit(call), True)  # noqa: FBT003  newest first
        found = await search_logs(self._store, query, search)
        return Reply(LogList(items=found.rows, looked_to=found.looked_to, next=found.following))

    async def list_memory(self, call: Call) -> Reply:
        """List a node's memory files."""
        node, limit = self._visible(call), calls.page_limit(call)
        after = calls.cursor(call, 1, 0)[0]
        rows = await self._store.streams(node.no, of="memory", after=after, limit=limit + 1)
        shown, rest = _cut(rows, limit)
        items = tuple(map(views.memory_file, shown))
        return Reply(MemoryList(items=items, next=str(shown[-1].no) if rest else ""))

    async def list_versions(self, call: Call) -> Reply:
        """List the versions of one memory file, the latest first."""
        node = self._visible(call)
        name = SEALED if _is_sealed(call) else FILE + call.query.get("path", "")
        rows, after = await self._page(call, node, "memory", name, newest_first=True)
        items = [views.memory_version(row) async for row in in_parts(rows, size_of=body_size)]
        return Reply(MemoryVersions(items=tuple(items), next=after))

    async def list_cron(self, call: Call) -> Reply:
        """List a node's cron jobs."""
        node, limit = self._visible(call), calls.page_limit(call)
        after = calls.cursor(call, 1, 0)[0]
        rows = await self._store.jobs(node.no, after=after, limit=limit + 1)
        shown, rest = _cut(rows, limit)
        items = [cron_job(row) async for row in in_parts(shown, size_of=body_size)]
        return Reply(CronList(items=tuple(items), next=str(shown[-1].no) if rest else ""))

    async def list_sealed(self, call: Call) -> Reply:
        """List sealed bodies of a class, or of one session, the latest first."""
        node = self._visible(call)
        of: ContentClass = next(one for one in CLASSES if one == call.query["of"])
        session = call.query.get("session")
        name = SESSION + session if session else SEALED
        rows, after = await self._page(call, node, of, name, newest_first=True)
        items = tuple(views.sealed_row(row) for row in rows if row.sealed)
        return Reply(SealedList(items=items, next=after))

    async def _page(
        self, call: Call, node: Node, of: ContentClass, name: str, *, newest_first: bool = False
    ) -> tuple[Sequence[ItemRow], str]:
        """Return one page of a stream, within a number of rows and of bytes, and its cursor."""
        at_ms, no = calls.cursor(call, 2, calls.CURSOR_MAX if newest_first else 0)
        rows, more = await self._store.items(
            ItemQuery(node.no, of, name, at_ms, no, calls.page_limit(call), newest_first)
        )
        return rows, f"{rows[-1].at_ms}-{rows[-1].no}" if more else ""

    async def export(self, call: Call) -> Reply:
        """Send everything that is stored of a node, or of one class of it, a line each."""
        node = self._visible(call)
        asked = call.query.get("of", "")
        of: ContentClass | None = next((one for one in CLASSES if one == asked), None)
        name = f"{node.id}{f'-{of}' if of else ''}.jsonl"
        return Reply(
            stream=self._lines(node, of),
            content_type=_NDJSON,
            headers={"content-disposition": f'attachment; filename="{name}"'},
        )

    async def _lines(self, node: Node, of: ContentClass | None) -> AsyncIterator[bytes]:
        after = 0
        while streams := await self._store.streams(
            node.no, of=of, after=after, limit=limits.EXPORT_ROWS
        ):
            for stream in streams:
                at_ms = no = 0
                more = True
                while more:
                    rows, more = await self._store.items(
                        ItemQuery(node.no, stream.of, stream.name, at_ms, no, limits.EXPORT_ROWS)
                    )
                    for row in rows:
                        yield views.exported(stream, row)
                        at_ms, no = row.at_ms, row.no
            after = streams[-1].no

    # -- keys

    async def list_keys(self, call: Call) -> Reply:
        """List node keys, newest first."""
        found = self._directory.keys_of(calls.listed_account(call))
        offset, limit = calls.page_offset(call.query.get("after", "")), calls.page_limit(call)
        shown, rest = _cut(found[offset:], limit)
        items = tuple(map(views.key_view, shown))
        return Reply(
            NodeKeyList(items=items, next=calls.page_cursor(offset + limit) if rest else "")
        )

    async def make_key(self, call: Call) -> Reply:
        """Make a key for an observer elsewhere, as the consent of who makes it."""
        body: NodeKeyCreate = call.body
        account = await calls.account_to_create_in(
            call, body.account, default=self._default_account, exists=self._account_exists
        )
        who = call.principal
        secret, key = await self._directory.make_key(
            body.name,
            account=account,
            source="person",
            created_by=who.name,
            created_with=calls.caller(who),
        )
        return Reply(NodeKeyCreated(key=secret, view=views.key_view(key)), status=201)

    async def revoke_key(self, call: Call) -> Reply:
        """Revoke a key."""
        key = await self._directory.revoke_key(call.path["id"], account=call.principal.account)
        return Reply(views.key_view(key))

    def _visible(self, call: Call) -> Node:
        """Return the node of a path, which is looked at now; refuse (404) an invisible one."""
        node = self._directory.find(call.path["id"], call.principal.account)
        if node is None:
            raise calls.missing("node", field="id")
        self._presence.look(node)
        return node


def _cut(rows: Sequence[T], limit: int) -> tuple[Sequence[T], bool]:
    """Return the rows of one page, and whether there are more."""
    return rows[:limit], len(rows) > limit


def _is_sealed(call: Call) -> bool:
    return call.query.get("sealed") == "true"

"""Content in memory: the twin for tests and the simulator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import NamedTuple

from msgspec.structs import replace

from holdfast.content.gate import Admitted
from holdfast.content.limits import PURGE_ROWS
from holdfast.content.ports import ItemPage, ItemQuery, Kept, UsageQuery
from holdfast.content.records import (
    ABOUT,
    CRON,
    DAY,
    SEALED,
    SESSION,
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
    Usage,
    UsageSum,
    Written,
)
from holdfast.content.usage import is_past
from holdfast.kernel.failure import OperationError
from holdfast.stores.memory.browser_keys import MemoryBrowserKeys
from holdfast.wire.api.content import RefusedWhy
from holdfast.wire.consent import ContentClass


class _Place(NamedTuple):
    node: int
    of: ContentClass
    name: str


@dataclass
class _Stream:
    """One stream; its times stay those of all rows that it ever had."""

    no: int
    items: dict[bytes, ItemRow] = field(default_factory=dict)
    first_ms: int = 0
    last_ms: int = 0
    usage: Sequence[Usage] = ()

    @property
    def size(self) -> int:
        return sum(len(item.body) for item in self.items.values())


class MemoryContent(MemoryBrowserKeys):
    """The store of content, in memory."""

    def __init__(self) -> None:
        super().__init__()
        self._keys: dict[str, NodeKey] = {}
        self._nodes: dict[int, Node] = {}
        self._streams: dict[_Place, _Stream] = {}
        self._last = 0
        self._budgets: dict[int, bytes] = {}
        self.failing = False
        self.past_changes = 0

    async def load(self) -> Kept:
        """Return what the directory keeps in memory."""
        nodes = [
            replace(node, stored_bytes=self._size(no), refused={})
            for no, node in sorted(self._nodes.items())
        ]
        refused: list[tuple[int, ContentClass, RefusedWhy, Refused]] = [
            (no, of, why, replace(one))
            for no, node in self._nodes.items()
            for (of, why), one in node.refused.items()
        ]
        last = max((*self._nodes, *(place.node for place in self._streams)), default=0)
        return Kept([*self._keys.values()], nodes, refused, last)

    def _size(self, node: int) -> int:
        return sum(one.size for place, one in self._streams.items() if place.node == node)

    async def add_key(self, key: NodeKey, *, superseded: Sequence[str] = ()) -> None:
        """Add a key and delete those that it supersedes, by their ids; all or none."""
        self._check()
        self._keys[key.id] = key
        for key_id in superseded:
            self._keys.pop(key_id, None)

    async def revoke_key(self, key_id: str, now_ms: int) -> None:
        """Revoke a key; the first time stays."""
        self._check()
        key = self._keys.get(key_id)
        if key is not None and key.revoked_ms is None:
            self._keys[key_id] = replace(key, revoked_ms=now_ms)

    async def note_uses(self, uses: Mapping[str, int]) -> None:
        """Store when keys were last used."""
        self._check()
        for key_id, at_ms in uses.items():
            key = self._keys.get(key_id)
            if key is not None:
                self._keys[key_id] = replace(key, last_used_ms=max(key.last_used_ms or 0, at_ms))

    async def put_nodes(self, nodes: Sequence[Node]) -> None:
        """Replace the rows of nodes and their refused counts, by number; all or none."""
        self._check()
        for node in nodes:
            before = self._nodes.get(node.no)
            kept: dict[tuple[ContentClass, RefusedWhy], Refused] = {}
            if before is not None:
                kept.update(before.refused)
            kept.update({key: replace(one) for key, one in node.refused.items()})
            self._nodes[node.no] = replace(
                node, facts={**node.facts}, refused=kept, senders=deepcopy(node.senders)
            )

    async def write(self, admitted: Admitted) -> Written:
        """Write admitted rows in one commit: all or none."""
        self._check()
        if admitted.of == "counters" and is_past(admitted.rows, admitted.received_ms):
            self.past_changes += 1
        stored = 0
        before = self._size(admitted.node)
        for row in admitted.rows:
            place = _Place(admitted.node, admitted.of, row.stream)
            stream = self._streams.get(place)
            if stream is None:
                self._last += 1
                stream = self._streams[place] = _Stream(self._last)
            fresh = not stream.items
            changed = self._put(stream, row, admitted.received_ms)
            stored += changed
            if changed and admitted.of == "counters":
                stream.usage = row.usage
            stream.first_ms = row.at_ms if fresh else min(stream.first_ms, row.at_ms)
            stream.last_ms = row.at_ms if fresh else max(stream.last_ms, row.at_ms)
        added = self._size(admitted.node) - before
        return Written(stored, len(admitted.rows) - stored, added)

    def _put(self, stream: _Stream, row: Row, received_ms: int) -> int:
        identity = row.identity
        if row.keep == "version":
            newest = max(stream.items, key=lambda one: stream.items[one].no, default=b"")
            if newest[: len(identity)] == identity:
                return 0
            identity += received_ms.to_bytes(8, "big")
        known = stream.items.get(identity)
        if known is not None and (row.keep == "once" or known.body == row.body):
            return 0
        if known is None:
            self._last += 1
        no = self._last if known is None else known.no
        stream.items[identity] = ItemRow(no, row.at_ms, received_ms, row.sealed, row.body)
        return 1

    async def delete(self, node: int, classes: Sequence[ContentClass]) -> dict[ContentClass, int]:
        """Delete what is stored of a node in these classes; return how many rows, by class."""
        self._check()
        self.past_changes += 1
        gone: dict[ContentClass, int] = dict.fromkeys(classes, 0)
        for place in [one for one in self._streams if one.node == node and one.of in gone]:
            gone[place.of] += len(self._streams.pop(place).items)
        return gone

    async def purge(self, before_ms: int, *, counters_before_ms: int) -> Purged:
        """Delete some rows received before, of counters before another time; no rows when done."""
        self._check()
        self.past_changes += 1
        old = sorted(
            (item.received_ms, item.no, place, identity)
            for place, stream in self._streams.items()
            for identity, item in stream.items.items()
            if item.received_ms < (counters_before_ms if place.of == "counters" else before_ms)
        )[:PURGE_ROWS]
        freed: Counter[int] = Counter()
        for _, _, place, identity in old:
            stream = self._streams[place]
            freed[place.node] += len(stream.items.pop(identity).body)
            if not stream.items:
                del self._streams[place]
        return Purged(len(old), tuple(freed.items()))

    async def stored(self, node: int) -> Sequence[Stored]:
        """Return how much is stored of a node, by class."""
        found: dict[tuple[ContentClass, bool], list[_Stream]] = {}
        for place, stream in self._streams.items():
            if place.node == node:
                found.setdefault((place.of, place.name == SEALED), []).append(stream)
        return [
            Stored(
                *key,
                sum(len(one.items) for one in streams),
                sum(one.size for one in streams),
                min(one.first_ms for one in streams),
                max(one.last_ms for one in streams),
            )
            for key, streams in sorted(found.items())
        ]

    async def sessions(
        self, node: int, *, below_ms: int, below: int, limit: int
    ) -> Sequence[SessionRow]:
        """Return sessions below (`below_ms`, `below`), the latest first."""
        found: dict[str, SessionRow] = {}
        for place, stream in self._streams.items():
            is_session = place.of in {"metadata", "transcripts"}
            if place.node != node or not is_session or not place.name.startswith(SESSION):
                continue
            one = SessionRow(
                stream.no,
                place.name,
                len(stream.items) if place.of == "transcripts" else 0,
                stream.size,
                stream.first_ms,
                stream.last_ms,
                b"" if place.of == "transcripts" else _about(stream),
            )
            other = found.get(place.name)
            found[place.name] = one if other is None else _merged(one, other)
        rows = sorted(found.values(), key=lambda one: (one.last_ms, one.no), reverse=True)
        return [one for one in rows if (one.last_ms, one.no) < (below_ms, below)][:limit]

    async def streams(
        self, node: int, *, of: ContentClass | None, after: int, limit: int
    ) -> Sequence[StreamRow]:
        """Return streams after a number, of one class or all."""
        rows = sorted(
            StreamRow(
                one.no, place.of, place.name, len(one.items), one.size, one.first_ms, one.last_ms
            )
            for place, one in self._streams.items()
            if place.node == node and of in {None, place.of} and one.no > after
        )
        return rows[:limit]

    async def jobs(self, node: int, *, after: int, limit: int) -> Sequence[AboutRow]:
        """Return the cron jobs of a node after the number of a stream."""
        rows = sorted(
            AboutRow(one.no, place.name, found.received_ms, found.body)
            for place, one in self._streams.items()
            if place.node == node and place.of == "metadata" and place.name.startswith(CRON)
            if one.no > after and (found := one.items.get(ABOUT)) is not None
        )
        return rows[:limit]

    async def items(self, query: ItemQuery) -> ItemPage:
        """Return rows of one stream, by their time; no body beyond the page is read."""
        stream = self._streams.get(_Place(query.node, query.of, query.name))
        if stream is None:
            return ItemPage([], more=False)
        down, bound = query.newest_first, (query.at_ms, query.no)
        rows = sorted(stream.items.values(), key=lambda one: (one.at_ms, one.no), reverse=down)
        rows = [one for one in rows if ((one.at_ms, one.no) < bound) == down]
        rows = [one for one in rows if (one.at_ms, one.no) != bound]
        page: list[ItemRow] = []
        size = 0
        for row in rows[: query.limit]:
            size += len(row.body)
            if page and size > query.bytes_max:
                break
            page.append(row)
        return ItemPage(page, more=len(page) < len(rows))

    async def usage(self, query: UsageQuery) -> Sequence[UsageSum]:
        """Return sums of each group and model, with a reported cost and without."""
        sums: dict[tuple[int, str, str, bool], list[int]] = {}
        for place, stream in self._streams.items():
            day = place.name.removeprefix(DAY)
            is_asked = place.node in query.nodes and query.first <= day <= query.last
            for one in stream.usage if is_asked else ():
                node = place.node if query.by == "node" else 0
                key = (node, day if query.by == "day" else "", one.model, one.reported > 0)
                known = sums.setdefault(key, [0] * len(one[1:]))
                sums[key] = [left + right for left, right in zip(known, one[1:], strict=True)]
        return [UsageSum(*key[:3], *numbers) for key, numbers in sorted(sums.items())]

    async def budgets(self) -> Sequence[tuple[int, bytes]]:
        """Return the stored budgets of nodes, by their numbers."""
        return sorted(self._budgets.items())

    async def put_budget(self, node: int, body: bytes | None) -> None:
        """Replace the budget of a node; None deletes it."""
        self._check()
        self._budgets.pop(node, None)
        if body is not None:
            self._budgets[node] = body

    async def close(self) -> None:
        """Make further calls fail."""
        self.failing = True

    def _check(self) -> None:
        """Raise when closed, or when set to fail, as a full disk would."""
        if self.failing:
            raise OperationError("the content store was told to fail")


def _about(stream: _Stream) -> bytes:
    """Return what is known of the session of a stream; empty for nothing."""
    found = stream.items.get(ABOUT)
    return b"" if found is None else found.body


def _merged(one: SessionRow, other: SessionRow) -> SessionRow:
    """Return a session's transcript and metadata as one."""
    return SessionRow(
        max(one.no, other.no),
        one.name,
        one.events + other.events,
        one.size + other.size,
        min(one.first_ms, other.first_ms),
        max(one.last_ms, other.last_ms),
        one.about or other.about,
    )

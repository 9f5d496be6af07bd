"""The way of content into the store: counted, gated, decoded, gated again, written.

Nothing else writes content. What is refused is not decoded, and only its class and size are kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Final, Literal, NamedTuple, TypeAlias

from holdfast.content import gate, limits
from holdfast.content.accept import (
    ROUTES,
    read_rows,
    sealed_blob,
    sealed_row,
    sessions_named,
    text,
)
from holdfast.content.directory import Directory
from holdfast.content.gaps import Gaps
from holdfast.content.ports import Consents, ContentStore
from holdfast.content.records import SESSION, Node, Row
from holdfast.kernel import metrics
from holdfast.kernel.clock import Clock
from holdfast.kernel.failure import brief
from holdfast.kernel.log import Log
from holdfast.kernel.metrics import Meter
from holdfast.wire.api.clawmetry import Upload
from holdfast.wire.api.content import RefusedWhy
from holdfast.wire.consent import ContentClass, Standing

Outcome: TypeAlias = RefusedWhy | Literal["stored", "older", "failed"]
"""What became of a body: why nothing of it is kept, also where all of it is older than the grant
lets out; `failed` means that the disk did not take it."""

EVENTS: Final = "clawmetry.events"
"""The route of transcripts."""
CACHE: Final = "clawmetry.cache"
"""The route of answers to questions."""

_MISSED: Final[frozenset[Outcome]] = frozenset({"consent", "quota"})
"""Why a part of a transcript is missing. What a second sender sends, the first one sends too."""
KEEP_AND_RESEND: Final[frozenset[Outcome]] = frozenset({"consent", "quota", "sender"})
"""Why a client should keep a body and send it later."""


def _question(body: Upload) -> str:
    """Return the id of the question that a body answers."""
    return text(body.id)


class Quota(NamedTuple):
    """How much is kept: bytes of one node, and for how many ms, of counters and of the rest."""

    node_bytes: int
    keep_ms: int
    keep_counters_ms: int


class ContentFlow:
    """Takes uploads; made once, by plane/wiring."""

    def __init__(
        self,
        store: ContentStore,
        directory: Directory,
        consents: Consents,
        gaps: Gaps,
        *,
        clock: Clock,
        log: Log,
        meter: Meter,
        quota: Quota,
        counted: Callable[[str], None],
    ) -> None:
        """Call `counted` with the id of a node whose counters changed, once that is durable.

        A purge does not tell classes apart, so it names every node that it deleted rows of.
        """
        self._store = store
        self._directory = directory
        self._consents = consents
        self._gaps = gaps
        self._clock = clock
        self._log = log
        self._meter = meter
        self.quota = quota
        self._counted = counted

    async def take(
        self, node: Node, route: str, body: Upload, size: int, *, is_second: bool = False
    ) -> Outcome:
        """Store what a node's consent lets in, and return what became of the body.

        Nothing of a second sender is stored, and nothing of it is read.
        """
        of, is_kept = ROUTES[route]
        if of is None:
            return "unused"
        if is_second:
            return self._refuse(node, route, of, "sender", size)
        standing = self._standing(node)
        if not gate.allows(standing, of):
            return self._refuse(node, route, of, "consent", size)
        if not is_kept:
            return self._refuse(node, route, of, "unused", size)
        if node.stored_bytes + size > self.quota.node_bytes:
            node.unfit_bytes = max(node.unfit_bytes, size)
            return self._refuse(node, route, of, "quota", size)
        rows = await self._read(node, of, self._rows_of(node, route, body))
        if isinstance(rows, str):
            return self._refuse(node, route, of, rows, size)
        outcome = await self._write(node, route, of, rows, size)
        if route == CACHE and outcome == "stored":
            self._gaps.close(node, _question(body))
        return outcome

    def _standing(self, node: Node) -> Standing:
        return self._consents.standing(node.id)

    def _rows_of(self, node: Node, route: str, body: Upload) -> Iterator[Row | None] | None:
        """Return the rows of a body; None for an answer to a question that was not asked."""
        now_ms = self._clock.now_ms()
        if route != CACHE:
            return read_rows(route, body, now_ms)
        may_ask = gate.may_ask(self._standing(node))
        session = self._gaps.answered(node, _question(body)) if may_ask else None
        blob = sealed_blob(body)
        if session is None or blob is None:
            return None
        row = sealed_row(SESSION + session, blob, now_ms, identity=b"answer", keep="latest")
        return iter((row,))

    async def _read(
        self, node: Node, of: ContentClass, found: Iterator[Row | None] | None
    ) -> list[Row] | Literal["unused", "unreadable"]:
        """Return the rows that can be read, or why there are none; the loop is not held up."""
        if found is None:
            return "unused"
        rows: list[Row] = []
        unread = 0
        for number, row in enumerate(found, 1):
            if row is None:
                unread += 1
            else:
                rows.append(row)
            if not number % limits.ROWS_IN_PART:
                await asyncio.sleep(0)
        if unread and not rows:
            return "unreadable"
        if unread:
            self._directory.refuse(node, of, "unreadable", 0)
        return rows

    async def _write(
        self, node: Node, route: str, of: ContentClass, rows: list[Row], size: int
    ) -> Outcome:
        """Ask the gate again, after the rows were read, and store what it admits."""
        now_ms = self._clock.now_ms()
        admitted = gate.admit(self._standing(node), of, rows, node=node.no, now_ms=now_ms)
        if admitted is None:
            return self._refuse(node, route, of, "consent", size)
        if not admitted.rows:
            return "older" if rows else "stored"
        try:
            written = await self._store.write(admitted)
        except Exception as error:  # noqa: BLE001  the client keeps it and sends it again
            self._log.error("content.not_stored", node=node.id, of=of, reason=brief(error))
            self._meter.count(metrics.CONTENT_FAILURES)
            self._note_lost(node, route)
            return "failed"
        node.stored_bytes += written.added_bytes
        if of == "counters" and written.stored:
            self._counted(node.id)
        self._count("stored", of, written.stored)
        self._count("deduplicated", of, written.deduplicated)
        self._note_gap(node, route, admitted)
        if written.stored:
            self._directory.note_stored(node)
        return "stored"

    def _note_gap(self, node: Node, route: str, admitted: gate.Admitted) -> None:
        """Have sessions of a gap asked for once transcripts are let in."""
        if route != "clawmetry.sessions" or not node.gap_from_ms:
            return
        if gate.may_ask(self._standing(node)):
            sessions = sessions_named(admitted.rows, Gaps.since_ms(node))
            self._gaps.note_sessions(node, sessions, admitted.received_ms)

    def _note_lost(self, node: Node, route: str) -> None:
        """Remember that a part of a transcript is missing, if its client will drop it."""
        if route == EVENTS and not node.resends():
            self._gaps.note_refused(node, self._clock.now_ms())

    def _refuse(
        self, node: Node, route: str, of: ContentClass, why: RefusedWhy, size: int
    ) -> Outcome:
        """Count what is not stored, and return why."""
        if why in _MISSED:
            self._note_lost(node, route)
        self._directory.refuse(node, of, why, size)
        self._count("refused", of, 1)
        return why

    def may_ask(self, node: Node) -> bool:
        """Return whether a node is asked for sessions: its consent and its quota let them in."""
        has_room = not node.unfit_bytes or (
            node.stored_bytes + node.unfit_bytes <= self.quota.node_bytes
        )
        return has_room and gate.may_ask(self._standing(node))

    def refuse_parts(
        self,
        node: Node,
        standing: Standing,
        parts: dict[ContentClass, int],
        *,
        is_second: bool = False,
    ) -> None:
        """Count parts of a heartbeat that are not kept."""
        for of, size in parts.items():
            why: RefusedWhy = "unused" if gate.allows(standing, of) else "consent"
            why = "sender" if is_second else why
            self._directory.refuse(node, of, why, size)

    def _count(self, outcome: str, of: ContentClass, by: int) -> None:
        if by:
            self._meter.count(metrics.CONTENT_ROWS, by, outcome=outcome, of=of)

    async def purge(self) -> None:
        """Delete rows older than the retention, a part at a time."""
        now_ms, gone = self._clock.now_ms(), 0
        before_ms = now_ms - self.quota.keep_ms
        counters_ms = now_ms - self.quota.keep_counters_ms
        while (part := await self._store.purge(before_ms, counters_before_ms=counters_ms)).rows:
            gone += part.rows
            for node in self._directory.free(dict(part.freed)):
                self._counted(node.id)  # counters may be among what is gone
        if gone:
            self._log.info("content.purged", rows=gone, before_ms=before_ms)


class Deletion:
    """Deletes content of nodes; consent calls it."""

    def __init__(
        self, store: ContentStore, directory: Directory, counted: Callable[[str], None]
    ) -> None:
        """Call `counted` with the id of a node whose counters are gone."""
        self._store = store
        self._directory = directory
        self._counted = counted

    async def delete(self, node: str, classes: tuple[ContentClass, ...]) -> dict[ContentClass, int]:
        """Return how many rows were deleted by class, once that is durable."""
        found = self._directory.find(node, None)
        if found is None:
            return dict.fromkeys(classes, 0)
        if "counters" in classes:
            # First, so that the deletion empties the WAL of these too.
            await self._directory.forget_counters(found)
        gone = await self._store.delete(found.no, classes)
        kept = sum(one.size for one in await self._store.stored(found.no))
        found.stored_bytes = kept
        if "counters" in classes:
            self._counted(node)
        return gone

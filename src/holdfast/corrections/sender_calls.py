"""Handlers for brains: our batches, and the routes of the gradata SDK.

A handler decodes, applies limits, and answers when the rows are durable. The brain is determined by
the key first. Long lists are decoded in parts, so that none blocks the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final

from msgspec import Raw

from holdfast.actors.calls import CURSOR_MAX, missing
from holdfast.corrections import gradata, views
from holdfast.corrections.accept import (
    begins_with_correction,
    open_batch,
    read_rows,
    refuse_many,
    refuse_version,
    text,
    whole,
)
from holdfast.corrections.directory import OTHERS, Directory
from holdfast.corrections.flow import CorrectionsFlow
from holdfast.corrections.ports import CorrectionsStore, LessonQuery, LessonRow
from holdfast.corrections.records import Arrival, Brain, BrainKey, Correction, Written
from holdfast.kernel.clock import Clock
from holdfast.letters.topics import LESSON, Publish
from holdfast.wire.api.brains import LessonList, Route
from holdfast.wire.api.call import Call, Refusal, Reply
from holdfast.wire.api.ingest import (
    REFUSALS_MAX,
    BrainStanding,
    ConnectAnswer,
    ConnectRequest,
    CorrectAnswer,
    CorrectedData,
    CorrectRequest,
    IngestAnswer,
    IngestRequest,
    MetricsRequest,
    PushAnswer,
    PushRequest,
    RulesAnswer,
    SyncAnswer,
    SyncRequest,
    Taken,
    VerdictsAnswer,
    VerdictsRequest,
    WhoAmI,
)
from holdfast.wire.limits import PAGE_ITEMS_MAX, TEXT_MAX, VERDICTS_MAX
from holdfast.wire.times import time_text

_PART: Final = 50
"""Rows decoded before yielding to the event loop: about a millisecond."""
_RULES_MAX: Final = 100
_NOTHING_NEW: Final = "ok"


class SenderCalls:
    """One method for each endpoint for brains."""

    def __init__(
        self,
        store: CorrectionsStore,
        directory: Directory,
        flow: CorrectionsFlow,
        *,
        clock: Clock,
        publish: Publish,
    ) -> None:
        self._store = store
        self._directory = directory
        self._flow = flow
        self._clock = clock
        self._publish = publish

    def by_endpoint(self) -> dict[str, Callable[[Call], Awaitable[Reply]]]:
        """Return the handlers by the names of their endpoints."""
        return {
            "ingest.batch": self.ingest,
            "ingest.lessons": self.list_lessons,
            "ingest.verdicts": self.list_verdicts,
            "gradata.connect": self.connect,
            "gradata.sync": self.sync,
            "gradata.push": self.push,
            "gradata.pull": self.pull,
            "gradata.metrics": self.heartbeat,
            "gradata.corpus": self.drop,
            "gradata.correct": self.correct,
            "gradata.rules": self.rules,
            "gradata.manifest": self.sync,
            "gradata.whoami": self.whoami,
            "gradata.brain": self.show,
            "gradata.analytics": self.show,
            "gradata.activation": self.activation,
        }

    async def ingest(self, call: Call) -> Reply:
        """Ingest our batch, or the single correction of a gradata write-through."""
        body: IngestRequest = call.body
        if body.version is None and body.rows is None:
            return await self._ingest_single(call, body)
        batch, rows = open_batch(body), body.rows or []
        brain = await self._brain(call, batch.name)
        if begins_with_correction(rows):
            self._flow.refuse_full(brain.no)
        async for part in _in_parts(rows):
            read_rows(batch, part, call.now_ms)
        self._flow.bound(
            brain.no,
            corrections=len(batch.corrections),
            others=len(batch.lessons) + len(batch.events),
        )
        arrival = Arrival(
            brain=brain.no,
            account=brain.account,
            route="ingest",
            sdk=self._directory.counted_as(brain.no, batch.sdk),
            source=batch.source,
            received_ms=call.now_ms,
            corrections=batch.corrections,
            lessons=batch.lessons,
            events=batch.events,
            refused=batch.refused,
            depth=batch.depth,
            oldest_ms=batch.oldest_ms,
            refused_numbers=tuple(batch.numbers),
        )
        if not self._directory.has_room_for(brain.no, batch.source):
            arrival.unnumber(OTHERS)
        written = await self._flow.take(arrival)
        return Reply(
            IngestAnswer(
                accepted=written.accepted,
                deduplicated=written.deduplicated,
                refused=tuple(batch.refused),
                high_water=written.standing.numbers.high_water,
                verdicts=self._directory.revision(brain.no),
            )
        )

    async def list_verdicts(self, call: Call) -> Reply:
        """Return verdicts after the number that a brain sends, up to which it has taken them.

        A number beyond the newest means that the file was restored since: then all are returned.
        """
        body: VerdictsRequest = call.body
        refuse_version(body.version)
        brain = self._directory.known(self._key(call), text(body.brain, TEXT_MAX))
        if brain is None:
            return Reply(VerdictsAnswer(brain="", revision=0, upto=0))
        revision = self._directory.revision(brain.no)
        known = whole(body.known) if text(body.of, TEXT_MAX) == brain.id else 0
        if known > revision:
            known = 0
        if known and await self._directory.note_taken(brain.no, known):
            self._publish(LESSON, brain.id, brain.account)
        rows: Sequence[LessonRow] = ()
        if known < revision:
            rows = await self._store.verdicts(brain.no, since=known, limit=VERDICTS_MAX)
        return Reply(
            VerdictsAnswer(
                brain=brain.id,
                revision=revision,
                upto=min(rows[-1].verdict_no, revision) if len(rows) == VERDICTS_MAX else revision,
                items=tuple(views.verdict(row, call.now_ms) for row in rows),
            )
        )

    async def _ingest_single(self, call: Call, body: IngestRequest) -> Reply:
        """Ingest a single correction; an empty one is answered as a duplicate."""
        brain = await self._brain(call, text(body.brain_id, TEXT_MAX))
        refused = gradata.refused_single(body)
        if refused is not None:
            await self._take(call, brain, "single", gradata.Rows([], [], [], [refused]))
            # Its client takes any refusal for delivered and goes on with the next row.
            raise Refusal(400, refused.code, refused.detail, field="correction")
        correction = gradata.read_single(body, call.now_ms)
        if correction is None:
            return Reply(IngestAnswer(accepted=0, deduplicated=True))
        written = await self._take(call, brain, "single", gradata.Rows([correction], [], []))
        return Reply(IngestAnswer(accepted=written.accepted, deduplicated=written.deduplicated > 0))

    async def connect(self, call: Call) -> Reply:
        """Answer the gradata client's handshake."""
        body: ConnectRequest = call.body
        brain = await self._brain(
            call, text(body.brain_id, TEXT_MAX), text(body.brain_name, TEXT_MAX)
        )
        return Reply(ConnectAnswer(brain_id=brain.id))

    async def sync(self, call: Call) -> Reply:
        """Ingest events since a cursor."""
        body: SyncRequest = call.body
        brain = await self._brain(
            call, text(body.brain_id, TEXT_MAX), text(body.brain_name, TEXT_MAX)
        )
        events, old = body.events or [], body.corrections or []
        refuse_many(len(events) + len(old))
        rows = await self._read(events, call.now_ms)
        gradata.read_old_corrections(old, call.now_ms, rows)
        sent = len(rows.corrections)
        written = await self._take(call, brain, "sync", rows)
        return Reply(
            SyncAnswer(
                status=_NOTHING_NEW,
                ingested_count=len(events) + len(old) - len(rows.refused),
                new_watermark=rows.watermark or text(body.cursor, TEXT_MAX),
                deduplicated=written.deduplicated,
                corrections_synced=sent,
                lessons_synced=len(body.lessons or ()),
                events_synced=len(rows.events),
                refused=tuple(rows.refused[:REFUSALS_MAX]),
            )
        )

    async def push(self, call: Call) -> Reply:
        """Ingest a page of events; every one counts as accepted, or its client stops.

        A row in `rejected` stops it for ever too, so those refused are told in `refused`.
        """
        body: PushRequest = call.body
        brain = await self._brain(call, text(body.brain_id, TEXT_MAX))
        # No limit but the body's: this client does not split a refused page.
        events = body.events or []
        rows = await self._read(events, call.now_ms)
        written = await self._take(call, brain, "push", rows)
        return Reply(
            PushAnswer(
                accepted=len(events),
                deduplicated=written.deduplicated,
                refused=tuple(rows.refused[:REFUSALS_MAX]),
            )
        )

    async def pull(self, call: Call) -> Reply:
        """Refuse to return events; the client reports this as switched off."""
        raise Refusal(
            501, "not_offered", "this plane does not return events",
            fix="nothing to do: the client goes on without", field=call.endpoint,
        )  # fmt: skip

    async def heartbeat(self, call: Call) -> Reply:
        """Answer a heartbeat; the figures of a brain are computed from its rows instead."""
        body: MetricsRequest = call.body
        brain = await self._brain(call, text(body.brain_id, TEXT_MAX))
        await self._take(call, brain, "sync", gradata.empty())
        return Reply(Taken())

    async def drop(self, call: Call) -> Reply:  # noqa: ARG002  every handler takes one
        """Accept patterns without storing them."""
        return Reply(Taken())

    async def activation(self, call: Call) -> Reply:  # noqa: ARG002  every handler takes one
        """Accept an installation's report without storing it."""
        return Reply(Taken(), status=202)

    async def correct(self, call: Call) -> Reply:
        """Ingest a correction of a connected 0.6; answer with it as that SDK's event."""
        body: CorrectRequest = call.body
        brain = await self._brain(call, text(body.brain_id, TEXT_MAX))
        correction = gradata.read_connected(body, call.now_ms)
        if correction is None:
            raise Refusal(400, "no_content", "draft and final are both empty", field="draft")
        rows = gradata.Rows([correction], [], [])
        written = await self._take(call, brain, "correct", rows)
        return Reply(_as_event(correction, deduplicated=written.deduplicated > 0))

    async def rules(self, call: Call) -> Reply:
        """Answer with the brain's rules as text for a prompt."""
        brain = await self._brain(call, text(call.body.brain_id, TEXT_MAX))
        rows = await self._store.lessons(
            LessonQuery(brain.account, CURSOR_MAX, CURSOR_MAX, _RULES_MAX, brain=brain.no)
        )
        return Reply(RulesAnswer(rules_text=views.rules_text(rows)))

    async def list_lessons(self, call: Call) -> Reply:
        """List a brain's lessons with verdicts; a key of the whole account lists all."""
        key = self._key(call)
        rows = await self._store.lessons(
            LessonQuery(key.account, CURSOR_MAX, CURSOR_MAX, PAGE_ITEMS_MAX, brain=key.brain)
        )
        items = tuple(
            views.lesson_view(
                row, self._directory.brain(row.brain), taken=self._directory.taken(row.brain)
            )
            for row in rows
        )
        return Reply(LessonList(items=items))

    async def whoami(self, call: Call) -> Reply:
        """Return the owner of this key."""
        key = self._key(call)
        brain = self._directory.brain(key.brain).id if key.brain else ""
        return Reply(WhoAmI(account=key.account, key=key.name, brain_id=brain))

    async def show(self, call: Call) -> Reply:
        """Show a brain; a key of one brain gets that one, whatever the name."""
        key = self._key(call)
        if key.brain:
            brain = self._directory.brain(key.brain)
        else:
            found = self._directory.find(call.path["id"], key.account)
            if found is None:
                raise missing("brain", field="id")
            brain = found
        sessions, corrections = await self._store.extent(brain.no)
        standings = self._directory.standings_of(brain.no)
        return Reply(
            BrainStanding(
                brain_id=brain.id,
                brain_name=brain.name,
                sessions=sessions,
                session_count=sessions,
                corrections=corrections,
                last_sync_at=time_text(standings[0].heard_ms) if standings else None,
                refused=sum(one.refused for one in self._directory.counts_of(brain.no)),
            )
        )

    def _key(self, call: Call) -> BrainKey:
        key = self._directory.key(call.principal.token_id)
        if key is None:
            raise Refusal(401, "not_authenticated", "the brain key is not known any more")
        return key

    async def _brain(self, call: Call, *names: str) -> Brain:
        """Return the brain of a request."""
        return await self._directory.resolve(self._key(call), names)

    async def _read(self, raws: list[Raw], now_ms: int) -> gradata.Rows:
        """Return a list of events as rows, read in parts."""
        rows = gradata.empty()
        async for part in _in_parts(raws):
            gradata.read_events(part, now_ms, rows)
        return rows

    async def _take(self, call: Call, brain: Brain, route: Route, rows: gradata.Rows) -> Written:
        """Ingest rows of the gradata SDK."""
        self._flow.bound(
            brain.no,
            corrections=len(rows.corrections),
            others=len(rows.lessons) + len(rows.events),
        )
        agent = call.header.get("user-agent", "")[:TEXT_MAX] or "unknown"
        return await self._flow.take(
            Arrival(
                brain=brain.no,
                account=brain.account,
                route=route,
                sdk=self._directory.counted_as(brain.no, agent),
                source=f"gradata {route}",
                received_ms=call.now_ms,
                corrections=rows.corrections,
                lessons=rows.lessons,
                events=rows.events,
                refused=rows.refused,
            )
        )


async def _in_parts(raws: list[Raw]) -> AsyncIterator[list[Raw]]:
    """Yield a list in parts, yielding to the event loop between two."""
    for first in range(0, len(raws), _PART):
        if first:
            await asyncio.sleep(0)
        yield raws[first : first + _PART]


def _as_event(row: Correction, *, deduplicated: bool) -> CorrectAnswer:
    """Return a correction in the form of the SDK's own event."""
    session = row.session if row.session is not None and row.session.isdecimal() else None
    return CorrectAnswer(
        event_id=row.event_id,
        ts=time_text(row.at_ms),
        type=gradata.CORRECTION,
        source="holdfast",
        session=None if session is None else int(session[:15]),
        data=CorrectedData(
            draft_text=row.draft,
            final_text=row.final,
            category=row.category,
            severity=row.severity,
            edit_distance=row.edit_distance or 0.0,
            summary=row.summary,
        ),
        tags=(f"category:{row.category}",),
        deduplicated=deduplicated,
    )

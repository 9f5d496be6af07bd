"""Handlers for operators who look into a town; the engine's rehearsals answer them.

Nothing here changes anything: a separate process reads the store. Each call is audited by the edge
before its basis is read, one call a town is answered at a time, and a town is asked so often a
minute at most.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from holdfast.actors.ports import Reader
from holdfast.actors.record import Decision
from holdfast.actors.rehearsal_worker import Ahead, Look, RehearsalWorker
from holdfast.actors.rehearse import DryRun
from holdfast.actors.windows import Again, Through, Window
from holdfast.kernel.clock import MINUTE_MS
from holdfast.kernel.ids import Address, address
from holdfast.plane.rehearsals import ask_worker
from holdfast.towns import debug_glances
from holdfast.towns.calls import find_bead, find_town
from holdfast.towns.definition import KIND
from holdfast.towns.records import Text, TownRecords
from holdfast.towns.state import Town
from holdfast.wire.api.call import Call, Handler, Refusal, Reply
from holdfast.wire.api.town_debug import (
    RECENT_MAX,
    Basis,
    DebugAction,
    DebugBead,
    DebugBeadDetail,
    DebugEvent,
    DebugHeld,
    DebugNudge,
    DebugNudges,
    DebugStatus,
    Diff,
    DrainStatus,
    RecentEvent,
    ReconcileDryRun,
    RehearsedMetrics,
    ReplayAnswer,
    ReplayBasis,
    ReplayedTick,
    ReplayEvents,
    Violations,
)
from holdfast.wire.api.town_work import BODY_MAX, TITLE_MAX
from holdfast.wire.limits import REASON_MAX, STEPS_MAX, TEXT_MAX
from holdfast.wire.times import parse_time, time_text

T = TypeVar("T", bound=Struct)

CALLS_A_MINUTE: Final = 30
"""Debug calls about one town in a minute, over all operators."""
TOWNS_KEPT: Final = 1_024
"""Towns of which the last calls are known; those asked longest ago are forgotten first."""
HIDDEN: Final = "[hidden]"

_ADDRESS: Final = re.compile(r"https?://[^\s\"'<>]+")

_EDITED: Final = (
    "Events were left out or added: outcomes of effects are those that were recorded, and may"
    " answer what was never asked here."
)
_OVERLAY: Final = (
    "The events were applied to the present state, not to the state before the window: events that"
    " are taken twice may change other beads. Good for the flow of events, not for history."
)


class Turns:
    """One call a town at a time, and so many a minute."""

    def __init__(self) -> None:
        self._towns: OrderedDict[str, _Town] = OrderedDict()

    @asynccontextmanager
    async def turn(self, town: str, now_ms: int) -> AsyncIterator[None]:
        """Hold a town's turn; refuse (429) while another has it, or after too many."""
        known = self._towns.setdefault(town, _Town())
        self._towns.move_to_end(town)
        while len(self._towns) > TOWNS_KEPT:
            self._towns.popitem(last=False)
        while known.calls and known.calls[0] <= now_ms - MINUTE_MS:
            known.calls.popleft()
        if known.busy:
            raise _too_often("rehearsal_running", "Another debug call about this town runs.", 1)
        if len(known.calls) >= CALLS_A_MINUTE:
            wait_s = max(1, (known.calls[0] + MINUTE_MS - now_ms + 999) // 1_000)
            text = f"This town was asked {CALLS_A_MINUTE} times within a minute."
            raise _too_often("rate_limited", text, wait_s)
        known.calls.append(now_ms)
        known.busy = True
        try:
            yield
        finally:
            known.busy = False


@dataclass(slots=True)
class _Town:
    busy: bool = False
    calls: deque[int] = field(default_factory=deque[int])


def _too_often(code: str, text: str, wait_s: int) -> Refusal:
    return Refusal(429, code, text, fix=f"Ask again in {wait_s} s.", retry_after_s=wait_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class TownDebug:
    """One method for each route below `/debug/towns/{id}`."""

    worker: RehearsalWorker
    reader: Reader
    records: TownRecords
    turns: Turns = field(default_factory=Turns)

    def by_endpoint(self) -> Mapping[str, Handler]:
        """Return the handlers by the names of their endpoints."""
        made = {
            "debug.status": self._turned(self.status),
            "debug.nudges": self._turned(self.nudges),
            "debug.drain-status": self._turned(self.drain_status),
            "debug.bead": self._turned(self.bead),
            "debug.reconcile-dry-run": self._turned(self.dry_run),
            "debug.replay-events": self._turned(self.replay),
        }
        absent = ("send-message", "graceful-stop", "wasteland", "wasteland-beads")
        return {**made, **{f"debug.{name}": self._turned(_not_here) for name in absent}}

    def _turned(self, answer: Callable[[Call, Town], Any]) -> Handler:
        """Return a handler that finds the town, waits for nothing, and hides what is not asked."""

        async def handle(call: Call) -> Reply:
            town = await find_town(call, self.reader)
            async with self.turns.turn(town.id, call.now_ms):
                made: Struct = await answer(call, town)
            return Reply(made if call.query.get("reveal") == "true" else hidden(made))

        return handle

    async def status(self, call: Call, town: Town) -> DebugStatus:
        """Return how a town's loop is."""
        made: DebugStatus = await self._look(call, town, debug_glances.STATUS)
        recent = await self.reader.log_tail(_actor(town), limit=RECENT_MAX)
        events = tuple(
            RecentEvent(
                time=time_text(row.at_ms),
                type=_type_of(row.body),
                message=f"{row.outcome} {row.code} {row.message}".strip()[:REASON_MAX],
            )
            for row in recent
        )
        return replace(
            made,
            alarm_status=replace(made.alarm_status, recent_events=events),
            bead_summary=await self._titled(call, town, made.bead_summary),
        )

    async def nudges(self, call: Call, town: Town) -> DebugNudges:
        """Return nudges that were not delivered."""
        made: DebugNudges = await self._look(call, town, debug_glances.NUDGES)
        texts = await self._texts(call, town, [one.message for one in made.nudges])

        def shown(one: DebugNudge) -> DebugNudge:
            text = texts.get(one.message)
            return replace(one, message=text.body[:BODY_MAX] if text else "")

        return replace(made, nudges=tuple(map(shown, made.nudges)))

    async def drain_status(self, _call: Call, town: Town) -> DrainStatus:
        """Return whether a town drains."""
        until = town.drain_until_ms
        return DrainStatus(
            draining=bool(town.drain_nonce),
            drain_nonce=town.drain_nonce or None,
            drain_until=time_text(until) if until else None,
        )

    async def bead(self, call: Call, town: Town) -> DebugBeadDetail:
        """Return one bead."""
        bead = await find_bead(self.reader, town, call.path["bead"], field="bead")
        texts = await self._texts(call, town, [bead.content])
        text = texts.get(bead.content)
        (row,) = _with_titles([debug_glances.bead_row(bead)], texts)
        return DebugBeadDetail(
            bead=replace(row, body=text.body[:BODY_MAX] if text else ""),
            review_metadata=debug_glances.review_metadata(bead),
            dependencies=tuple(debug_glances.dependencies(bead)),
        )

    async def dry_run(self, call: Call, town: Town) -> ReconcileDryRun:
        """Return what the next ticks would do."""
        ticks = call.number("ticks", 0)
        asked = Ahead(
            actor=f"{KIND}/{town.id}", now_ms=call.now_ms, ticks=ticks or 1,
            until="" if ticks else "drained",
        )  # fmt: skip
        found: DryRun = await ask_worker(self.worker.dry_run(asked))
        if call.query.get("strict") == "true":
            _refuse_bad_event(found)
        return dry_run_view(found, town)

    async def replay(self, call: Call, town: Town) -> ReplayAnswer:
        """Make a span of a town's past again."""
        body: ReplayEvents = call.body
        from_ms, to_ms = span(body)
        edited = bool(body.policy or body.without or body.events)
        if edited and body.mode != "what-if":
            raise Refusal(
                400, "bad_mode", f"The mode {body.mode} takes no policy and no other events.",
                field="mode", fix="Say what-if, or leave them out.",
            )  # fmt: skip
        asked = Window(
            actor=f"{KIND}/{town.id}",
            from_ms=from_ms,
            to_ms=to_ms,
            now_ms=call.now_ms,
            mode=body.mode,
            view=debug_glances.SNAPSHOT,
            policy=body.policy,
            without=frozenset(body.without),
            events=tuple((one.at_ms, msgspec.json.encode(one.event)) for one in body.events),
        )
        made = replay_view(await ask_worker(self.worker.window(asked)), town)
        beads = await self._titled(call, town, made.state_snapshot.non_terminal_beads)
        return replace(made, state_snapshot=replace(made.state_snapshot, non_terminal_beads=beads))

    async def _look(self, call: Call, town: Town, view: str) -> Any:
        asked = Look(actor=f"{KIND}/{town.id}", now_ms=call.now_ms, view=view)
        return await ask_worker(self.worker.look(asked))

    async def _texts(self, call: Call, town: Town, ids: list[str]) -> Mapping[str, Text]:
        """Return texts, none where they are not to be shown anyway."""
        if call.query.get("reveal") != "true":
            return {}
        return await self.records.texts(town.id, tuple(one for one in ids if one))

    async def _titled(
        self, call: Call, town: Town, rows: tuple[DebugBead, ...]
    ) -> tuple[DebugBead, ...]:
        texts = await self._texts(call, town, [row.title for row in rows])
        return tuple(_with_titles(rows, texts))


async def _not_here(call: Call, _town: Town) -> Struct:
    """Refuse (404) what others have for development alone, and what is not built here."""
    name = call.endpoint.removeprefix("debug.")
    raise Refusal(
        404, "not_here", f"{name} is not a part of this plane.",
        fix="GET /openapi.json has the routes that there are.",
    )  # fmt: skip


def span(body: ReplayEvents) -> tuple[int, int]:
    """Return the times of a span in ms; refuse (400) what is no time, or a span that ends first."""
    found = {name: parse_time(text) for name, text in (("from", body.start), ("to", body.to))}
    for name, at_ms in found.items():
        if at_ms is None:
            raise Refusal(
                400, "bad_time", f"`{name}` is no time.", field=name,
                fix="Send ISO 8601 with a zone, like 2026-11-21T09:30:00.000Z.",
            )  # fmt: skip
    from_ms, to_ms = found["from"] or 0, found["to"] or 0
    if from_ms > to_ms:
        raise Refusal(
            400, "bad_span", "`from` is after `to`.", field="from", fix="Exchange the two."
        )
    return from_ms, to_ms


def dry_run_view(found: DryRun, town: Town) -> ReconcileDryRun:
    """Return a dry run for the API."""
    inputs = [one for step in found.steps for one in step.inputs]
    decisions = [one for step in found.steps for one in step.decisions]
    held = found.steps[-1].suppressed if found.steps else ()
    deadline_ms = found.steps[-1].deadline_ms if found.steps else None
    failed = sum(one.outcome == "quarantined" for one in inputs)
    return ReconcileDryRun(
        actions=tuple(map(_action, decisions[:STEPS_MAX])),
        metrics=RehearsedMetrics(
            actions_emitted=len(decisions),
            actions_by_type=debug_glances.by_type(one.name for one in decisions),
            events_drained=len(inputs),
            pending_event_count=len(inputs) + found.waiting,
            events_applied=sum(one.outcome == "applied" for one in inputs),
            events_failed=failed,
            pending_after=found.waiting,
            ticks=len(found.steps),
        ),
        basis=Basis(
            town=town.id, seq=found.seq, state_hash=found.digest, now=time_text(found.now_ms),
            draining=bool(town.drain_nonce),
        ),
        events=tuple(
            DebugEvent(
                id=one.event,
                outcome="ignored" if one.outcome == "dropped" else one.outcome,
                code=one.code,
                error=one.message[:REASON_MAX],
            )
            for one in inputs[:STEPS_MAX]
        ),
        suppressed=tuple(
            DebugHeld(rule=one.rule, entity=one.entity, because=one.because[:REASON_MAX])
            for one in held[:STEPS_MAX]
        ),
        conflicts=sum(one.result == "conflict" for one in decisions),
        violations=Violations(
            before=debug_glances.violations(found.violations_before),
            after=debug_glances.violations(found.violations_after),
        ),
        diff_vs_last_tick=Diff(
            new=tuple(text[:REASON_MAX] for text in found.change.begun[:STEPS_MAX]),
            gone=tuple(text[:REASON_MAX] for text in found.change.ended[:STEPS_MAX]),
        ),
        next_tick_at=None if deadline_ms is None else time_text(deadline_ms),
        truncated=found.truncated or max(len(decisions), len(inputs), len(held)) > STEPS_MAX,
    )  # fmt: skip


def _refuse_bad_event(found: DryRun) -> None:
    """Refuse (422) a dry run in which an event cannot be taken."""
    for step in found.steps:
        for one in step.inputs:
            if one.outcome == "quarantined":
                raise Refusal(
                    422, "bad_event", f"Event {one.event} cannot be taken: {one.code}"
                    f" {one.message}"[:REASON_MAX], field="strict",
                    fix="Leave strict out to see what the other events do.",
                )  # fmt: skip


def replay_view(made: Through, town: Town) -> ReplayAnswer:
    """Return a replay for the API."""
    caveat = "" if made.exact else _OVERLAY if made.mode == "overlay" else _EDITED
    return ReplayAnswer(
        caveat=caveat,
        events_replayed=made.events,
        actions=tuple(map(_action, made.decisions[:STEPS_MAX])),
        actions_emitted=made.decided,
        state_snapshot=made.snapshot,
        mode=made.mode,
        basis=ReplayBasis(town=town.id, from_seq=made.from_seq, to_seq=made.to_seq),
        ticks=tuple(map(_replayed, made.ticks)),
        differences=made.differences,
        match=(made.differences == 0 and made.bit_equal is not False) if made.exact else None,
    )


def _replayed(again: Again) -> ReplayedTick:
    differs = ""
    if again.path:
        differs = f"{again.path}: recorded {again.recorded!r}, now {again.rehearsed!r}"
    return ReplayedTick(
        tick=again.number,
        now=time_text(again.now_ms),
        events=again.events,
        match=not again.path,
        differs=differs[:REASON_MAX],
    )


def _action(decision: Decision) -> DebugAction:
    return DebugAction(
        type=decision.name,
        rule=decision.rule,
        reason=decision.reason[:REASON_MAX],
        entity=decision.entity,
        args=decision.args,
        effects=tuple(effect[:TEXT_MAX] for effect in decision.effects),
        conflict="" if decision.result == "done" else f"found {decision.found}"[:REASON_MAX],
    )


def _with_titles(rows: Any, texts: Mapping[str, Text]) -> list[DebugBead]:
    """Return rows with titles in place of the ids of their texts."""
    found = [(row, texts.get(row.title)) for row in rows]
    return [replace(row, title=text.title[:TITLE_MAX] if text else "") for row, text in found]


def hidden(made: T) -> T:
    """Return an answer without texts, addresses of the outside, and nonces."""
    return msgspec.convert(_hide("", msgspec.to_builtins(made)), type(made))


_HIDDEN_FIELDS: Final = frozenset({"title", "body", "message", "drainNonce"})


def _hide(name: str, value: Any) -> Any:
    match value:
        case dict():
            return {key: _hide(key, one) for key, one in value.items()}
        case list() | tuple():
            return [_hide(name, one) for one in value]
        case str() if name in _HIDDEN_FIELDS:
            return HIDDEN
        case str():
            return _ADDRESS.sub(HIDDEN, value)
        case _:
            return value


class _Typed(Struct):
    type: str = ""


def _type_of(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=_Typed).type[:TEXT_MAX]
    except ValueError:  # a damaged event is listed without its type
        return "(unreadable)"


def _actor(town: Town) -> Address:
    return address(KIND, town.id)

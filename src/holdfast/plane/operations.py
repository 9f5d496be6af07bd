"""Handlers of operations and of quarantined events.

Both are read from the journal. An event is shown by its tag; its body is not, because it may hold
sealed values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from holdfast.actors import calls
from holdfast.actors.kinds import Kinds
from holdfast.actors.ports import (
    Arrival,
    EffectRow,
    Journal,
    Logged,
    Mailboxes,
    Pending,
    Reader,
)
from holdfast.actors.ports import Operation as Followed
from holdfast.actors.record import decode_record
from holdfast.kernel.ids import ActorKind, Address, EventId, parse_address
from holdfast.letters.topics import QUARANTINE, Publish
from holdfast.wire.api.call import Call, Handler, Refusal, Reply
from holdfast.wire.api.operations import (
    Operation,
    OperationList,
    OperationStep,
    QuarantineAnswer,
    QuarantinedEvent,
    QuarantineList,
)
from holdfast.wire.limits import REASON_MAX, STEPS_MAX
from holdfast.wire.salvage import fit
from holdfast.wire.times import time_text

PAGE: Final = 100
_STEP_STATES: Final = {
    "waiting": "pending",
    "done": "done",
    "superseded": "ignored",
    "expired": "failed",
    "unwanted": "ignored",
}
_DECIDED: Final = Refusal(409, "not_quarantined", "this event was retried or dropped already")


class _Tag(msgspec.Struct):
    """The one field of an event's or effect's body that may be shown."""

    type: str = ""


_decode_tag = msgspec.json.Decoder(_Tag).decode


def tag_of(body: bytes) -> str:
    """Return the tag of an event's or effect's body; a body without one has no name."""
    try:
        return _decode_tag(body).type
    except ValueError:  # msgspec's are ValueErrors, and so is text that is none
        return "?"


def operation_handlers(
    *,
    journal: Journal,
    reader: Reader,
    mailboxes: Mailboxes,
    kinds: Kinds,
    actor_of_instance: Callable[[str], Address],
    name_of: Callable[[str], str],
    publish: Publish,
) -> dict[str, Handler]:
    """Return the handlers of operations and of quarantine, by endpoint."""

    async def list_operations(call: Call) -> Reply:
        limit = call.number("limit", PAGE)
        named = call.query.get("instance")
        actor = actor_of_instance(named) if named else None
        account = call.principal.account
        after = call.query.get("after", "")
        found = await reader.operations(account=account, actor=actor, after=after, limit=limit + 1)
        items = tuple(_operation(each, steps=(), name_of=name_of) for each in found[:limit])
        return Reply(OperationList(items=items, next=items[-1].event if found[limit:] else ""))

    async def get_operation(call: Call) -> Reply:
        followed = await reader.operation(EventId(call.path["event"]))
        account = call.principal.account
        if followed is None or (account is not None and followed.account != account):
            raise Refusal(404, "no_such_operation", f"no operation {call.path['event']!r}")
        steps = await _steps(reader, followed)
        return Reply(_operation(followed, steps=steps, name_of=name_of))

    async def list_quarantine(call: Call) -> Reply:
        rows, has_more = await _quarantine_page(reader, call)
        items = tuple(_quarantined(*row, name_of(row[0].id)) for row in rows)
        return Reply(QuarantineList(items=items, next=items[-1].event if has_more else ""))

    async def retry(call: Call) -> Reply:
        actor, row = await _find_quarantined(reader, call.path["event"])
        if row.outcome != "quarantined":
            raise _DECIDED
        definition = kinds[actor.kind].definition
        arrival = Arrival(
            body=row.body,
            dedupe=f"retry:{row.id}:{row.seq}",
            version=min(row.version, definition.version),
            source="engine",
            cause=row.id,
            by=call.principal.name,
        )
        # The arrival first: a crash in between leaves the event pending as well, never lost.
        await mailboxes.tell([(actor, arrival)])
        await journal.drop_quarantined(row.id, call.principal.name)
        publish(QUARANTINE, row.id, None)
        return Reply(QuarantineAnswer(event=row.id, result="retrying"))

    async def drop(call: Call) -> Reply:
        _actor, row = await _find_quarantined(reader, call.path["event"])
        if not await journal.drop_quarantined(row.id, call.principal.name):
            raise _DECIDED
        publish(QUARANTINE, row.id, None)
        return Reply(QuarantineAnswer(event=row.id, result="dropped"))

    return {
        "operation.list": list_operations,
        "operation.get": get_operation,
        "quarantine.list": list_quarantine,
        "quarantine.retry": retry,
        "quarantine.drop": drop,
    }


def instance_address(instance_id: str) -> Address:
    """Return the address of an instance's actor; refuse (404) a malformed id."""
    return calls.actor_of("instance", instance_id, noun="instance")


async def _quarantine_page(reader: Reader, call: Call) -> tuple[list[tuple[Address, Logged]], bool]:
    """Return the quarantined events that a call asks for, and whether there are more."""
    limit, named = call.number("limit", PAGE), call.query.get("actor")
    rows = await reader.quarantined(
        account=call.principal.account,
        actor=parse_address(named) if named else None,
        after=call.query.get("after", ""),
        limit=limit + 1,
    )
    return rows[:limit], len(rows) > limit


async def _find_quarantined(reader: Reader, event: str) -> tuple[Address, Logged]:
    """Return a quarantined event; refuse (404) when there is none of this id."""
    followed = await reader.operation(EventId(event))
    row = followed.event if followed is not None else None
    if followed is None or not isinstance(row, Logged) or row.outcome not in {
        "quarantined",
        "dropped",
    }:  # fmt: skip
        raise Refusal(
            404,
            "no_such_event",
            f"no event {event!r} is in quarantine",
            fix="holdfast quarantine list shows which are",
        )
    return Address(ActorKind(followed.actor.kind), followed.actor.id), row


def _quarantined(actor: Address, row: Logged, name: str) -> QuarantinedEvent:
    """Return the view of a quarantined event."""
    return fit(
        QuarantinedEvent(
            event=row.id,
            actor=str(actor),
            actor_name=name,
            name=tag_of(row.body),
            at=time_text(row.at_ms),
            error=f"{row.code}: {row.message}"[:REASON_MAX],
        )
    )


def _operation(
    followed: Followed, *, steps: tuple[OperationStep, ...], name_of: Callable[[str], str]
) -> Operation:
    """Return the view of an operation, with names of instances where `name_of` knows them."""
    whose, _, instance = followed.event.by.rpartition(" ")  # "machine of ID"
    named = name_of(instance)
    event = followed.event
    taken = isinstance(event, Logged)
    waiting = any(row.status == "waiting" for row in followed.effects)
    outcome = event.outcome if isinstance(event, Logged) else "pending"
    return fit(
        Operation(
            event=event.id,
            actor=str(followed.actor),
            actor_name=name_of(followed.actor.id),
            name=tag_of(event.body),
            accepted_at=time_text(event.accepted_ms) if event.accepted_ms else None,
            outcome="ignored" if outcome == "dropped" else outcome,
            code=event.code if isinstance(event, Logged) else "",
            message=(event.message if isinstance(event, Logged) else "")[:REASON_MAX],
            by=f"{whose} {named}" if whose and named else event.by,
            seq=event.seq if isinstance(event, Logged) else 0,
            done=taken and not waiting,
            steps=steps,
        )
    )


async def _steps(reader: Reader, followed: Followed) -> tuple[OperationStep, ...]:
    """Return the steps of an operation, in order: its event, actions, effects and outcomes."""
    event = followed.event
    steps = [_event_step(event, "event")]
    if isinstance(event, Logged):
        steps += await _actions(reader, followed, event)
    steps += [_effect_step(row) for row in followed.effects]
    steps += [_event_step(row, "outcome") for row in followed.outcomes]
    return tuple(steps[:STEPS_MAX])


async def _actions(reader: Reader, followed: Followed, event: Logged) -> list[OperationStep]:
    """Return the actions of the tick that took an event."""
    records = await reader.ticks(followed.actor, after=event.tick - 1, limit=1)
    if not records:
        return []
    try:
        record = decode_record(records[0])
    except ValueError:  # a damaged record: the rest of the operation is shown
        return []
    return [
        OperationStep(
            kind="action",
            id=f"{record.number}.{index}",
            name=decision.name,
            at=time_text(record.now_ms),
            state="done" if decision.result == "done" else "failed",
            rule=decision.rule,
            reason=decision.reason[:REASON_MAX],
            message="" if decision.found is None else f"found {decision.found}"[:REASON_MAX],
            cause=event.id,
        )
        for index, decision in enumerate(record.decisions)
    ]


def _event_step(event: Logged | Pending, kind: str) -> OperationStep:
    """Return an event as a step."""
    state = "pending"
    if isinstance(event, Logged):
        state = {"applied": "done", "refused": "refused", "quarantined": "failed"}.get(
            event.outcome, "ignored"
        )
    return OperationStep(
        kind="outcome" if kind == "outcome" else "event",
        id=event.id,
        name=tag_of(event.body),
        at=time_text(event.at_ms if isinstance(event, Logged) else event.accepted_ms),
        state=state,  # type: ignore[arg-type]
        message=(event.message if isinstance(event, Logged) else "")[:REASON_MAX],
        cause=event.cause,
    )


def _effect_step(row: EffectRow) -> OperationStep:
    """Return an effect as a step."""
    state = _STEP_STATES.get(row.status, "failed")
    return OperationStep(
        kind="effect",
        id=row.id,
        name=tag_of(row.body),
        at=time_text(row.created_ms),
        state=state,  # type: ignore[arg-type]
        reason=f"{row.provider}, lane {row.lane}",
        attempts=row.attempts,
        cause=row.cause,
    )

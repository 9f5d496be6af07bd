"""Handlers of rehearsals: the worker's results as wire messages.

The worker is another process with a read-only store, so a rehearsal cannot change anything.
The audit row of the call is written by the edge before the basis is read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from typing import TypeVar

import msgspec

from holdfast.actors.record import Decision, Input, Note, TickRecord
from holdfast.actors.rehearsal_worker import (
    Ahead,
    Back,
    RehearsalTimeoutError,
    RehearsalWorker,
    Why,
)
from holdfast.actors.rehearse import DryRun, Explanation, Replay, Step
from holdfast.actors.stored import UnknownActorError
from holdfast.actors.tick import NewerEventError
from holdfast.actors.windows import HistoryGoneError
from holdfast.wire.api.call import Call, Handler, Refusal, Reply
from holdfast.wire.api.rehearsals import (
    Rehearsal,
    RehearsedAction,
    RehearsedEvent,
    RehearsedTick,
    Suppressed,
)
from holdfast.wire.limits import REASON_MAX, STEPS_MAX
from holdfast.wire.times import time_text

T = TypeVar("T")


def rehearsal_handlers(worker: RehearsalWorker) -> dict[str, Handler]:
    """Return the handlers of the four rehearsals, by endpoint."""

    async def dry_run(call: Call) -> Reply:
        asked = Ahead(
            actor=_actor(call),
            now_ms=call.body.at_ms or call.now_ms,
            ticks=call.body.ticks,
        )
        return Reply(_ahead(await ask_worker(worker.dry_run(asked)), "dry-run"))

    async def replay(call: Call) -> Reply:
        asked = Back(actor=_actor(call), from_seq=call.body.from_seq, to_seq=call.body.to_seq)
        return Reply(_back(await ask_worker(worker.replay(asked)), "replay"))

    async def what_if(call: Call) -> Reply:
        body = call.body
        if body.from_seq is not None:
            asked = Back(
                actor=_actor(call), from_seq=body.from_seq, what_if=True, policy=body.policy
            )
            return Reply(_back(await ask_worker(worker.replay(asked)), "what-if"))
        events = tuple(msgspec.json.encode(event) for event in body.events)
        ahead = Ahead(
            actor=_actor(call),
            now_ms=body.at_ms or call.now_ms,
            ticks=body.ticks,
            policy=body.policy,
            events=events,
        )
        return Reply(_ahead(await ask_worker(worker.dry_run(ahead)), "what-if"))

    async def explain(call: Call) -> Reply:
        asked = Why(
            actor=_actor(call),
            now_ms=call.now_ms,
            tick=call.body.tick,
            event=call.body.event,
            entity=call.body.entity,
        )
        return Reply(_why(await ask_worker(worker.explain(asked))))

    return {
        "rehearse.dry-run": dry_run,
        "rehearse.replay": replay,
        "rehearse.what-if": what_if,
        "rehearse.explain": explain,
    }


def _actor(call: Call) -> str:
    """Return the address in the path."""
    return f"{call.path['kind']}/{call.path['id']}"


async def ask_worker(question: Awaitable[T]) -> T:
    """Return the worker's answer; raise a Refusal for its errors."""
    try:
        return await question
    except UnknownActorError as error:
        raise Refusal(404, "no_such_actor", str(error)) from error
    except HistoryGoneError as error:
        oldest = time_text(error.oldest_ms)
        raise Refusal(
            422, "history_gone", f"The history is kept from {oldest} on.", field="from",
            fix=f"Begin at {oldest} or later.",
        ) from error  # fmt: skip
    except ValueError as error:
        raise Refusal(400, "bad_rehearsal", str(error), field="body") from error
    except NewerEventError as error:
        raise Refusal(409, "newer_event", str(error), fix="update this plane") from error
    except RehearsalTimeoutError as error:
        raise Refusal(
            503, "rehearsal_timeout", str(error), fix="ask for fewer ticks", retry_after_s=1
        ) from error


def _ahead(answer: DryRun, mode: str) -> Rehearsal:
    """Return the view of a dry run."""
    actions = sum(len(step.decisions) for step in answer.steps)
    waiting = f"; {answer.waiting} events would still wait" if answer.waiting else ""
    summary = f"{_count(len(answer.steps), 'tick')}, {_count(actions, 'action')}{waiting}"
    changes = [f"new: {title}" for title in answer.change.begun]
    changes += [f"no longer: {title}" for title in answer.change.ended]
    changes += [f"violation: {note.text}" for note in answer.violations_after]
    return Rehearsal(
        actor=answer.actor,
        mode="what-if" if mode == "what-if" else "dry-run",
        ticks=tuple(_step(step) for step in answer.steps),
        truncated=answer.truncated,
        changes=tuple(text[:REASON_MAX] for text in changes[:STEPS_MAX]),
        summary=summary if actions else f"nothing to do: {summary}",
    )


def _back(answer: Replay, mode: str) -> Rehearsal:
    """Return the view of a replay; the first differences are listed with their paths."""
    changes = tuple(
        f"tick {d.number}: {d.path}: recorded {d.recorded!r}, now {d.rehearsed!r}"[:REASON_MAX]
        for d in answer.divergences[:STEPS_MAX]
    )
    same = "every decision came out as recorded"
    summary = f"{_count(answer.differences, 'tick')} would decide otherwise"
    return Rehearsal(
        actor=answer.actor,
        mode="what-if" if mode == "what-if" else "replay",
        events_folded=answer.events,
        differences=answer.differences,
        bit_equal=answer.bit_equal,
        changes=changes,
        summary=f"{_count(answer.ticks, 'tick')}: {summary if answer.differences else same}",
    )


def _why(answer: Explanation) -> Rehearsal:
    """Return the view of an explanation: the last tick, then the rules' result now."""
    now = RehearsedTick(
        number=answer.last.number + 1 if answer.last else 1,
        at=time_text(answer.now_ms),
        actions=tuple(_action(decision) for decision in answer.actions),
        suppressed=tuple(
            Suppressed(name=item.entity, rule=item.rule, reason=item.because[:REASON_MAX])
            for item in answer.suppressed
        ),
        notes=_notes(answer.violations),
        deadline_at=time_text(answer.deadline_ms) if answer.deadline_ms is not None else None,
    )
    ticks = (_record(answer.last), now) if answer.last else (now,)
    wanted = _count(len(answer.actions), "action")
    summary = f"the rules decide {wanted} now and suppress {len(answer.suppressed)}"
    return Rehearsal(actor=answer.actor, mode="explain", ticks=ticks, summary=summary)


def _step(step: Step) -> RehearsedTick:
    """Return one rehearsed tick."""
    return _tick(
        step,
        (
            Suppressed(name=item.entity, rule=item.rule, reason=item.because[:REASON_MAX])
            for item in step.suppressed[:STEPS_MAX]
        ),
    )


def _record(record: TickRecord) -> RehearsedTick:
    """Return one recorded tick; a record has its suppressions as counts by reason."""
    return _tick(
        record,
        (
            Suppressed(name=_count(item.count, "entity"), rule=item.rule, reason=item.because)
            for item in record.withheld[:STEPS_MAX]
        ),
    )


def _tick(tick: Step | TickRecord, suppressed: Iterable[Suppressed]) -> RehearsedTick:
    return RehearsedTick(
        number=tick.number,
        at=time_text(tick.now_ms),
        events=tuple(_event(item) for item in tick.inputs),
        actions=tuple(_action(decision) for decision in tick.decisions),
        suppressed=tuple(suppressed),
        notes=_notes(tick.notes),
        deadline_at=time_text(tick.deadline_ms) if tick.deadline_ms is not None else None,
        state_hash=tick.digest,
    )


def _event(item: Input) -> RehearsedEvent:
    """Return one event of a tick."""
    return RehearsedEvent(
        id=item.event,
        name="",
        outcome="ignored" if item.outcome == "dropped" else item.outcome,
        code=item.code,
        message=item.message[:REASON_MAX],
    )


def _action(decision: Decision) -> RehearsedAction:
    """Return one action of a tick."""
    return RehearsedAction(
        name=decision.name,
        rule=decision.rule,
        reason=decision.reason[:REASON_MAX],
        expect=str(decision.args.get("expect", ""))[:REASON_MAX],
        effect=", ".join(decision.effects)[:128],
        conflict="" if decision.result == "done" else f"found {decision.found}"[:REASON_MAX],
    )


def _notes(notes: tuple[Note, ...]) -> tuple[str, ...]:
    """Return notes as sentences."""
    return tuple(f"invariant {n.number}: {n.text}"[:REASON_MAX] for n in notes[:STEPS_MAX])


def _count(number: int, noun: str) -> str:
    """Return a number with its noun."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"

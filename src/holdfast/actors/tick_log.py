"""One structured line for each decision, conflict, refusal, quarantine and broken invariant.

A line has ids, the rule and the reason, so that the log alone explains why something was done. It
has no event bodies; an action's arguments are in the tick record.
"""

from __future__ import annotations

from typing import Any

from holdfast.actors.commit import Restored, check_all
from holdfast.actors.definition import Definition
from holdfast.actors.letters import LetterBox
from holdfast.actors.limits import STATE_LOOP_BYTES_MAX
from holdfast.actors.ports import Stamp
from holdfast.actors.record import Decision, Note
from holdfast.actors.tick import Tick
from holdfast.kernel import metrics
from holdfast.kernel.log import Log
from holdfast.kernel.metrics import Meter


def announce(log: Log, meter: Meter, tick: Tick[Any], letters: LetterBox) -> None:
    """Log and count the events of a committed tick."""
    actor, number = str(tick.after.address), tick.after.number
    kind = tick.after.address.kind
    meter.count(metrics.TICKS, kind=kind)
    for stamp in tick.stamps:
        meter.count(metrics.EVENTS, kind=kind, outcome=stamp.outcome)
        _stamp(log, actor, stamp, tick.places.get(stamp.id, ""))
    for decision in tick.decisions:
        meter.count(metrics.DECISIONS, kind=kind, rule=decision.rule, result=decision.result)
        _decision(log, actor, number, decision)
    for note in tick.notes:
        announce_note(log, meter, actor, number, note, place=tick.places.get(note.text, ""))
    for text in letters.undeliverable:
        meter.count(metrics.LETTERS_RETURNED, kind=kind)
        log.warning("letter.undeliverable", actor=actor, tick=number, reason=text)
    for lost in letters.lost:
        log.error("letter.lost", actor=actor, sender=lost.sender, to=lost.to, reason=lost.why)


def announce_note(
    log: Log, meter: Meter, actor: str, number: int, note: Note, *, place: str = ""
) -> None:
    """Log a broken invariant (by its number) or an exception of the rules (0), and its place."""
    name = "invariant.broken" if note.number else "rules.fault"
    meter.count(metrics.FAULTS, where=name)
    log.error(
        name,
        actor=actor,
        tick=number,
        invariant=note.number,
        entity=note.entity,
        reason=note.text,
        place=place,
    )


def announce_restored(log: Log, meter: Meter, restored: Restored) -> None:
    """Log and count how a loaded actor differs from what was written, and if it was rebuilt."""
    where, number = str(restored.folded.address), restored.folded.number
    if restored.rebuilt:
        meter.count(metrics.FAULTS, where="rebuilt")
        log.error("actor.rebuilt", actor=where, tick=number, reason=restored.notes[0].text)
        return
    for note in restored.notes:
        announce_note(log, meter, where, number, note)


def announce_all(
    log: Log,
    meter: Meter,
    definition: Definition[Any, Any, Any, Any],
    tick: Tick[Any],
    size: int,
) -> None:
    """Look at every entity of a large actor, since it is written as a whole now."""
    where = str(tick.after.address)
    if size > STATE_LOOP_BYTES_MAX:
        log.warning("state.too_large", actor=where, size=size, most=STATE_LOOP_BYTES_MAX)
    known = {(note.number, note.entity) for note in tick.notes}
    for note in check_all(definition, tick.after.state):
        if (note.number, note.entity) not in known:
            announce_note(log, meter, where, tick.after.number, note)


def _stamp(log: Log, actor: str, stamp: Stamp, place: str) -> None:
    """Log the result of one event; of one that raised, where."""
    fields: dict[str, Any] = {
        "actor": actor,
        "event_id": stamp.id,
        "seq": stamp.seq,
        "tick": stamp.tick,
        "code": stamp.code,
        "reason": stamp.message,
    }
    match stamp.outcome:
        case "applied":
            log.debug("event.applied", **fields)
        case "ignored":
            log.debug("event.ignored", **fields)
        case "refused":
            log.info("event.refused", **fields)
        case "quarantined" | "dropped":
            log.error("event.quarantined", **fields, place=place)


def _decision(log: Log, actor: str, number: int, decision: Decision) -> None:
    """Log one action and its result."""
    fields: dict[str, Any] = {
        "actor": actor,
        "tick": number,
        "rule": decision.rule,
        "action": decision.name,
        "entity": decision.entity,
        "reason": decision.reason,
    }
    match decision.result:
        case "done":
            log.info("action.done", **fields, effects=decision.effects)
        case "conflict":
            log.warning("action.conflict", **fields, found=decision.found)
        case "fault":
            log.error("action.fault", **fields, found=decision.found)

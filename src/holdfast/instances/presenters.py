"""The timeline and the explanation of one instance, computed from its log and its state.

The timeline combines the log and the tick records; the explanation evaluates the same rules that
decide. Nothing is stored for either, so neither can disagree with what happened. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any, Final, Literal

import msgspec

from holdfast.actors.definition import Applied, At
from holdfast.actors.ports import Loaded, Logged
from holdfast.actors.record import TickRecord
from holdfast.instances import spend
from holdfast.instances.apply import apply
from holdfast.instances.events import decode_event
from holdfast.instances.happenings import sentence
from holdfast.instances.health import health, launch_words, needs_look, next_words
from holdfast.instances.policy import Policy
from holdfast.instances.reconcile import AGENT_RECOVERY, Hold, decide
from holdfast.instances.state import Incident, Instance, decode_state, empty
from holdfast.instances.views import attention, shown_status
from holdfast.kernel.clock import SECOND_MS
from holdfast.wire.api.endpoint import Detail
from holdfast.wire.api.instances import Explanation, Fact, LogLine, TimelineEntry
from holdfast.wire.api.instances import Incident as IncidentView
from holdfast.wire.controller.checkin import Recovery
from holdfast.wire.health import HEALTHS, Health
from holdfast.wire.limits import LOG_LINE_MAX, REASON_MAX, TEXT_MAX
from holdfast.wire.parsers import json_as
from holdfast.wire.times import parse_time, time_text

_AGENT_LINE: Final = "agent.line"
_HIDDEN_FIELDS: Final = frozenset(
    {"type", "config", "env", "secrets", "sealed", "sealed_key", "key_hash"}
)
_DETAILS_MAX: Final = 16


def state_of(loaded: Loaded, instance_id: str) -> Instance:
    """Return the state that a stored actor is in: its newest snapshot and the log since."""
    state = empty(instance_id)
    if loaded.state is not None:
        state = decode_state(loaded.state, loaded.state_version)
    for row in loaded.since:
        if row.outcome == "applied":
            verdict = apply(state, decode_event(row.body, row.version), _at(row))
            state = verdict.state if isinstance(verdict, Applied) else state
    return state


def _at(row: Logged) -> At:
    return At(row.at_ms, row.tick, row.id)


# ----------------------------------------------------------------------------- incidents


def incident_views(incidents: Sequence[Incident], now_ms: int) -> tuple[IncidentView, ...]:
    """Return outages as the API shows them, the latest first."""
    return tuple(_incident_view(one, now_ms) for one in reversed(incidents))


def _incident_view(one: Incident, now_ms: int) -> IncidentView:
    until_ms = one.back_ms or one.ended_ms or now_ms
    state: Literal["down", "proving", "recovered", "dropped"] = "down"
    if one.ended_ms:
        state = "dropped" if one.dropped else "recovered"
    elif one.back_ms:
        state = "proving"
    return IncidentView(
        number=one.number,
        code=one.code,  # type: ignore[arg-type]
        worst=one.worst,  # type: ignore[arg-type]
        state=state,
        text=one.text,
        noticed_at=time_text(one.noticed_ms),
        back_at=time_text(one.back_ms) if one.back_ms else None,
        ended_at=time_text(one.ended_ms) if one.ended_ms else None,
        down_s=max(until_ms - one.noticed_ms, 0) // SECOND_MS,
        restarts=one.last_restarts - one.restarts,
        launches=one.last_launches - one.launches,
        repairs=one.repairs,
        work_cuts=max(one.last_cuts - one.cuts, 0),
    )


def recovery_s(incidents: Sequence[Incident]) -> int | None:
    """Return the median time to recover in seconds, None where nothing was recovered from."""
    times = [one.back_ms - one.noticed_ms for one in incidents if one.ended_ms and one.back_ms]
    return round(median(times) / SECOND_MS) if times else None


# ------------------------------------------------------------------------------ timeline


def timeline(
    log: Sequence[Logged], ticks: Iterable[TickRecord], *, cause: str = ""
) -> list[TimelineEntry]:
    """Return what happened and what was decided, newest first; `cause` keeps what it led to."""
    entries: list[tuple[tuple[int, int, int], TimelineEntry]] = [
        ((row.tick, 1 if row.source == "intent" else 0, row.seq), _event_entry(row)) for row in log
    ]
    for record in ticks:
        for index, decision in enumerate(record.decisions):
            entry = TimelineEntry(
                id=f"tick:{record.number}:{index}",
                at=time_text(record.now_ms),
                kind="action" if decision.result == "done" else "conflict",
                name=decision.name[:TEXT_MAX],
                tick=record.number,
                rule=decision.rule[:TEXT_MAX],
                reason=decision.reason[:REASON_MAX],
                cause=record.inputs[-1].event if record.inputs else "",
                details=tuple(Detail(name="effect", value=one) for one in decision.effects),
            )
            entries.append(((record.number, 2, index), entry))
        for index, note in enumerate(record.notes):
            entry = TimelineEntry(
                id=f"note:{record.number}:{index}",
                at=time_text(record.now_ms),
                kind="note",
                name=f"invariant {note.number}" if note.number else "fault",
                tick=record.number,
                reason=note.text[:REASON_MAX],
            )
            entries.append(((record.number, 3, index), entry))
    entries.sort(key=lambda one: one[0])
    kept = [entry for _, entry in entries]
    if cause:
        kept = _led_to(kept, cause)
    return kept[::-1]


def _led_to(entries: Sequence[TimelineEntry], cause: str) -> list[TimelineEntry]:
    """Return, of entries oldest first, those that this one led to, itself among them."""
    known = {cause}
    kept = []
    for entry in entries:
        if entry.id in known or entry.cause in known:
            known.add(entry.id)
            known.update(detail.value for detail in entry.details if detail.name == "effect")
            kept.append(entry)
    return kept


def _event_entry(row: Logged) -> TimelineEntry:
    fields = _fields(row.body)
    kind: Literal["event", "outcome", "refusal"] = "event"
    if row.outcome == "refused":
        kind = "refusal"
    elif row.source in {"effect", "probe"}:
        kind = "outcome"
    outcome = "quarantined" if row.outcome == "dropped" else row.outcome
    said = f"{row.code}: {row.message}" if row.code else row.message
    return TimelineEntry(
        id=row.id,
        at=time_text(row.at_ms),
        kind=kind,
        name=str(fields.get("type", "?"))[:TEXT_MAX],
        seq=row.seq,
        tick=row.tick,
        outcome=outcome,
        reason=said[:REASON_MAX],
        cause=row.cause[:TEXT_MAX],
        details=_details(fields, row.by),
        text=_happened(fields, row),
    )


def _happened(fields: dict[str, Any], row: Logged) -> str:
    """Return what happened in a sentence; nothing for what changed nothing by itself."""
    if row.outcome == "ignored" and row.source in {"effect", "probe"}:
        return ""
    text = sentence(str(fields.get("type", "")), fields)
    if row.outcome == "refused":
        return f"{text or 'An order'}, and was refused: {row.message}"[:REASON_MAX]
    return text


def _fields(body: bytes) -> dict[str, Any]:
    try:
        decoded = json_as(object, body)
    except (msgspec.DecodeError, RecursionError):
        return {}
    return decoded if isinstance(decoded, dict) else {}


def _details(fields: dict[str, Any], by: str) -> tuple[Detail, ...]:
    """Return an event's small facts; configuration and credentials stay out of sight."""
    shown = [("by", by)] if by else []
    for name, value in fields.items():
        if name in _HIDDEN_FIELDS or value is None or value == "":
            continue
        if isinstance(value, dict):
            shown += [(f"{name}.{key}", _text(item)) for key, item in value.items()]
        else:
            shown.append((name, _text(value)))
    return tuple(
        Detail(name=name[:TEXT_MAX], value=value[:REASON_MAX])
        for name, value in shown[:_DETAILS_MAX]
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


# --------------------------------------------------------------------------- explanation


def explain(state: Instance, policy: Policy, now_ms: int) -> Explanation:
    """Return why it is as it is, from the rules themselves, and what they wait for."""
    answer, found = decide(state, policy, now_ms), health(state)
    facts = [*_budget_facts(state), *_fault_facts(state), *_contact_facts(state)]
    if state.job is not None:
        text = f"the call {state.job.step!r} to {state.provider} is under way"
        facts.append(Fact(code="call", text=text, at=time_text(state.job.began_ms)))
    next_at: str | None = None
    if isinstance(answer, Hold):
        if answer.rule != AGENT_RECOVERY:  # its health says why
            facts.append(Fact(code=f"rule.{answer.rule}"[:TEXT_MAX], text=answer.because))
        waiting_for = answer.because
        next_at = time_text(answer.until_ms) if answer.until_ms is not None else None
    else:
        text = f"next: {type(answer).__name__} by rule {answer.rule}, because {answer.reason}"
        facts.append(Fact(code=f"rule.{answer.rule}"[:TEXT_MAX], text=text[:REASON_MAX]))
        waiting_for, next_at = "the next tick", time_text(now_ms)
    settled = isinstance(answer, Hold) and answer.rule == "converged"
    return Explanation(
        id=state.id,
        desired=state.desired,
        status=shown_status(state),
        summary=summary_of(found, now_ms)[:REASON_MAX],
        facts=tuple(facts),
        waiting_for="" if settled else waiting_for,
        next_at=next_at,
        fix=_fix(state, found)[:REASON_MAX],
        health=found,
    )


def _fix(state: Instance, found: Health) -> str:
    """Return what a person can do, or nothing where nothing needs them."""
    if state.blocked or state.paused_ms:
        return attention(state)
    return found.fix if needs_look(found) else ""


def summary_of(found: Health, now_ms: int) -> str:
    """Return a status in one sentence."""
    at_ms = parse_time(found.next_try) if found.next_try else None
    then = next_words(at_ms or 0, now_ms)
    return f"{HEALTHS[found.code].title}: {'; '.join(filter(None, (found.text, then)))}."


def _budget_facts(state: Instance) -> list[Fact]:
    """Return which limits of its budget are used up, and how far."""
    facts = []
    for one in state.meters:
        if one.level:
            text = spend.alert_words(one) + ("; it goes on all the same" if one.excused else "")
            code = f"budget.{one.period}.{one.measure}"
            facts.append(Fact(code=code, text=text, at=time_text(one.at_ms)))
    if state.paused_ms:
        text = "its cap paused it; it is still wanted running"
        facts.append(Fact(code="budget.paused", text=text, at=time_text(state.paused_ms)))
    return facts


def _fault_facts(state: Instance) -> list[Fact]:
    return [
        Fact(
            code=f"error.{name}",
            text=f"{fault.code}: {fault.message}"[:REASON_MAX],
            at=time_text(fault.at_ms),
        )
        for name, fault in sorted(state.faults.items())
    ]


def _contact_facts(state: Instance) -> list[Fact]:
    contact = state.contact
    facts = []
    if contact.heard != "unknown":
        word = "was heard" if contact.heard == "heard" else "fell silent"
        since = time_text(contact.since_ms)
        facts.append(Fact(code=f"contact.{contact.heard}", text=f"the machine {word}", at=since))
    if state.failures:
        text = launch_words(state)
        facts.append(Fact(code="failures", text=text, at=time_text(state.failed_ms)))
    if state.machine.id and state.machine.config_version not in {0, state.config.version}:
        text = "its configuration was changed since it was launched; restart it to apply that"
        facts.append(Fact(code="config.pending", text=text))
    return [*facts, *_recovery_facts(contact.recovery)]


def _recovery_facts(recovery: Recovery | None) -> list[Fact]:
    """Return what the machine does about an agent that fails."""
    if recovery is None:
        return []
    facts = []
    if recovery.rung != "restart":
        rung = recovery.rung.replace("_", " ")
        text = f"the recovery of its agent came to {rung}: {recovery.reason}"
        facts.append(Fact(code=f"recovery.{recovery.rung}", text=text[:REASON_MAX]))
    if recovery.held:
        facts.append(Fact(code="recovery.held", text="its recovery was stopped by somebody"))
    if recovery.blocked:
        facts.append(Fact(code="recovery.blocked", text=recovery.blocked))
    if recovery.config == "failed":
        text = (
            f"its last change of configuration failed and is still there: {recovery.config_reason}"
        )
        facts.append(Fact(code="config.failed", text=text[:REASON_MAX]))
    if recovery.config == "rolled_back":
        text = f"its last change of configuration was rolled back: {recovery.config_reason}"
        facts.append(Fact(code="config.rolled_back", text=text[:REASON_MAX]))
    return facts


# --------------------------------------------------------------------------------- logs


def log_line(text: str) -> LogLine:
    """Return a line of a machine's log: the agent's own where the controller passed it on."""
    if text.startswith("{"):
        fields = _fields(text.encode())
        at = fields.get("at_ms")
        when = time_text(at) if isinstance(at, int) and 0 < at < 2**45 else None
        line, stream = fields.get("line"), fields.get("stream")
        if fields.get("event") == _AGENT_LINE and isinstance(line, str):
            out: Literal["stdout", "stderr"] = "stderr" if stream == "stderr" else "stdout"
            return LogLine(text=line[:LOG_LINE_MAX], stream=out, at=when)
        return LogLine(text=text[:LOG_LINE_MAX], stream="controller", at=when)
    return LogLine(text=text[:LOG_LINE_MAX], stream="controller")

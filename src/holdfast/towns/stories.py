"""What happened in a town, told from its log: lines for people, attempts, and runs of gates. Pure.

Rows are read as plain data, so that a damaged or unknown one is a line like all others: no field
is taken to have the shape that its event gives it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

import msgspec

from holdfast.actors.ports import Logged
from holdfast.actors.record import TickRecord
from holdfast.towns.words import code_words, cut
from holdfast.wire.api.town_board import BeadAttempt, GateOutput, GateRun, TownLine
from holdfast.wire.limits import TEXT_MAX
from holdfast.wire.times import time_text

Fields = Mapping[str, Any]

_SENTENCES: Final = {
    "BeadAttemptFailed": "{agent} is given up: {code}",
    "BeadCancelled": "was cancelled",
    "BeadCreated": "was made",
    "BeadDispatched": "is handed to {agent}",
    "BeadFailed": "failed: {code}",
    "BeadHeld": "is held back",
    "BlockerWaived": "need not wait for {blocker} any more",
    "ConvoyCreated": "was made, with {beads}",
    "ConvoyEnded": "ended",
    "ConvoyLandingCreated": "is to land",
    "ConvoyStarted": "was started",
    "ConvoyWaits": "cannot land: somebody is asked",
    "EscalationAcknowledged": "was taken on by {by}",
    "EscalationBumped": "waits for long, and is {severity} now",
    "PullRequestAdopted": "a pull request of others is watched",
    "PullRequestSeen": "its pull request changed",
    "PullRequestUnreadable": "its pull request cannot be read: {code}",
    "TownAbsenceTold": "somebody is asked about {agent}, whose instance was destroyed",
    "TownAgentAdded": "{agent} was added as {role}",
    "TownAgentDone": "{agent} is done",
    "TownAgentExited": "{agent} ended: {status}",
    "TownAgentHeard": "{agent} was heard",
    "TownAgentInactive": "{agent} has reported no work for long",
    "TownAgentReleased": "{agent} is stopped",
    "TownAgentRemoved": "{agent} was removed",
    "TownAgentSilent": "{agent} is silent",
    "TownAgentStalled": "{agent} is stopped, and waits for somebody to look",
    "TownAgentStarted": "{agent} was started",
    "TownAgentStopped": "{agent} was stopped",
    "TownBeadsEnded": "what was left of the town ended: {beads}",
    "TownBeadsFreed": "what waited for beads that failed waits no longer",
    "TownBreakerClosed": "the breaker closed: work is handed out again",
    "TownBreakerHalfOpened": "the breaker lets one attempt try",
    "TownBreakerOpened": "the breaker opened: nothing is handed out",
    "TownBudgetChanged": "the day's money changed what may start",
    "TownCallFailed": "gates or forge gave no answer: {code}",
    "TownCallRepeated": "gates or forge are asked again",
    "TownChangesRequested": "{agent} sent it back",
    "TownClosed": "the town was closed",
    "TownConfigured": "the settings of the town changed",
    "TownCostReported": "{agent} has cost more",
    "TownCreated": "the town was made",
    "TownDrainEnded": "the drain ended",
    "TownDrainStarted": "the town drains",
    "TownEscalated": "somebody is needed: {category}",
    "TownGatesAsked": "its gates run",
    "TownGatesFinished": "its gates {gates}",
    "TownInactivityHandled": "{agent} was asked about its silence",
    "TownLandAsked": "lands",
    "TownLandRefused": "did not land: {code}",
    "TownLanded": "is in its target branch",
    "TownLoopResumed": "the town's loop began anew: ages count from here",
    "TownHostSeen": "instance {host} says whether its agents can work",
    "TownHostsAsked": "the instances of its agents are asked whether they run",
    "TownMayorIdles": "nothing waits for {agent}, or something waits again",
    "TownMayorStarted": "{agent} is started: something waits for it",
    "TownMailDelivered": "mail arrived",
    "TownMailSent": "mail was sent to {to}",
    "TownMailTried": "mail is on its way",
    "TownMayorWaits": "the mayor {waits}",
    "TownNameLost": "another town has its name",
    "TownNotified": "its owner was told",
    "TownNudgeDelivered": "a nudge arrived",
    "TownNudgeSent": "{agent} was nudged",
    "TownRetired": "what ended long ago left the state",
    "TownReviewFailed": "is given up: {code}",
    "TownReviewSkipped": "goes on without a review",
    "TownRigAdded": "the rig {rig} was set",
    "TownRigRemoved": "the rig {rig} was removed",
    "TownSendFailed": "{what} did not arrive: {code}",
    "TownSentBack": "waits for work on its branch",
    "TownStartDoubted": "whether {agent} started is not known: {code}",
    "TownStartRefused": "{agent} did not start: {code}",
    "TownStopFailed": "{agent} could not be stopped: {code}",
    "TownViolationAlerted": "a broken invariant was announced: number {number}",
    "TownViolationOpened": "an invariant does not hold: {text}",
    "TownViolationResolved": "an invariant holds again: number {number}",
    "TownViolationWaits": "a broken invariant may pass by itself: number {number}",
}
"""What an event says after the title of its bead, by its type; fields of the event in braces."""

_EXITS: Final = {
    "completed": "its process ended",
    "failed": "its process failed",
    "gone": "its host does not know it any more",
    "evicted": "its host went away in order",
}
_BEADS: Final = ("bead", "mr", "convoy", "escalation")


class Known(NamedTuple):
    """A row of the log with its fields; `bead` is which bead it is about, as far as known."""

    row: Logged
    type: str
    fields: Fields
    bead: str


class _Words(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "somebody" if key in {"by", "agent"} else "?"


def fields_of(body: bytes) -> Fields:
    """Return an event as plain data; nothing of a damaged one."""
    try:
        decoded = msgspec.json.decode(body)
    except (ValueError, RecursionError):  # msgspec's are ValueErrors, and so is text that is none
        return {}
    return decoded if isinstance(decoded, dict) else {}


def _listed(fields: Fields, name: str) -> list[Fields]:
    """Return the objects in a list of an event, without whatever else is in it."""
    value = fields.get(name)
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def known(rows: Iterable[Logged]) -> list[Known]:
    """Return rows, oldest first, each with the bead that it is about.

    What an agent reports names its attempt, so it is about the bead of that attempt's start.
    """
    attempts: dict[str, str] = {}
    made = []
    for row in rows:
        fields = fields_of(row.body)
        bead = _bead(fields) or attempts.get(str(fields.get("attempt", "")), "")
        kind = str(fields.get("type", "?"))
        if kind == "BeadDispatched":
            attempts[str(fields.get("attempt", ""))] = bead
        made.append(Known(row, kind, fields, bead))
    return made


def _bead(fields: Fields) -> str:
    for name in _BEADS:
        value = fields.get(name)
        if isinstance(value, dict):
            value = value.get("id")
        if isinstance(value, str) and value:
            return value
    about = fields.get("about") or fields.get("entity")
    return about[2:] if isinstance(about, str) and about[:2] == "b/" else ""


def line(
    one: Known,
    names: Mapping[str, str],
    decided: Mapping[tuple[int, str], tuple[str, str]] = MappingProxyType({}),
) -> TownLine:
    """Return a row as a line.

    `names` are those of agents and beads by their ids, `decided` the rule and reason of a tick
    about an entity.
    """
    row, fields = one.row, one.fields
    kind: Literal["event", "decision", "outcome", "refusal"] = "event"
    rule = reason = ""
    if row.outcome in {"refused", "quarantined"}:
        kind, reason = "refusal", f"{row.code}: {row.message}".strip(": ")
    elif row.source == "intent":
        kind = "decision"
        rule, reason = decided.get((row.tick, f"b/{one.bead}" if one.bead else ""), ("", ""))
    elif row.source in {"effect", "probe"}:
        kind = "outcome"
    return TownLine(
        id=str(row.id),
        at=time_text(row.at_ms),
        seq=row.seq,
        tick=row.tick,
        kind=kind,
        name=one.type[:TEXT_MAX],
        text=cut(sentence(one.type, fields, names)),
        outcome="" if row.outcome == "applied" else row.outcome,
        bead=one.bead[:TEXT_MAX],
        title=names.get(one.bead, one.bead),
        rule=rule[:TEXT_MAX],
        reason=cut(reason),
        by=str(row.by or fields.get("by", ""))[:TEXT_MAX],
    )


def sentence(kind: str, fields: Fields, names: Mapping[str, str]) -> str:
    """Return what an event says, after the title of its bead where it has one."""
    if kind == "BeadHeld" and not fields.get("held", True):
        return "is let go"
    words = _Words(
        {name: names.get(str(value), str(value)) for name, value in fields.items() if value != ""}
    )
    if "code" in fields:
        words["code"] = code_words(str(fields["code"]))
    if "category" in fields:
        words["category"] = code_words(str(fields["category"]))
    if kind == "TownAgentExited":
        words["status"] = _EXITS.get(words["status"], words["status"])
    if "results" in fields:
        results = _listed(fields, "results")
        red = [str(one.get("name")) for one in results if not one.get("passed")]
        words["gates"] = f"are red: {', '.join(red)}" if red else "are green"
    beads = fields.get("beads")
    if isinstance(beads, list):
        words["beads"] = f"{len(beads)} beads"
    if kind == "TownMayorWaits":
        words["waits"] = "waits for its person" if fields.get("waits") else "goes on"
    return _SENTENCES.get(kind, kind).format_map(words)


def lines(
    rows: Sequence[Logged], records: Iterable[TickRecord], names: Mapping[str, str]
) -> tuple[TownLine, ...]:
    """Return rows, oldest first, as lines, newest first, with what the rules gave as reasons."""
    decided = {
        (record.number, one.entity): (one.rule, one.reason)
        for record in records
        for one in record.decisions
    }
    return tuple(line(one, names, decided) for one in reversed(known(rows)))


def about(rows: Sequence[Logged], beads: Collection[str]) -> list[Known]:
    """Return, of rows oldest first, those about one of some beads.

    Most rows of a long log are about others: only those that have an id in them are decoded.
    """
    marks = {one.encode() for one in beads}
    starts = [row.body for row in rows if b'"BeadDispatched"' in row.body and _has(row, marks)]
    marks |= {str(fields_of(body).get("attempt", "?")).encode() for body in starts}
    near = known(row for row in rows if _has(row, marks))
    return [one for one in near if one.bead in beads or not made_of(one).isdisjoint(beads)]


def _has(row: Logged, marks: Iterable[bytes]) -> bool:
    return any(mark in row.body for mark in marks)


def made_of(one: Known) -> frozenset[str]:
    """Return the beads that a convoy was made with, or that ended with their town."""
    beads = one.fields.get("beads")
    listed = beads if isinstance(beads, list) else ()
    return frozenset(str(one.get("id") if isinstance(one, dict) else one) for one in listed)


def attempts(told: Iterable[Known], names: Mapping[str, str]) -> tuple[BeadAttempt, ...]:
    """Return the attempts of some rows, the newest first."""
    made: dict[str, BeadAttempt] = {}
    for one in told:
        attempt = str(one.fields.get("attempt", ""))
        at = time_text(one.row.at_ms)
        if one.type == "BeadDispatched":
            agent = str(one.fields.get("agent", ""))
            name = names.get(agent, agent)
            made[attempt] = BeadAttempt(attempt=attempt, agent=name, started_at=at)
            continue
        begun, ended = made.get(attempt), _end(one)
        if begun is not None and ended is not None and begun.ok is None:
            text, ok = ended
            made[attempt] = msgspec.structs.replace(begun, ended_at=at, ended=text, ok=ok)
    return tuple(reversed(made.values()))


def _end(one: Known) -> tuple[str, bool] | None:
    """Return how a row ends an attempt, and whether well; None where it does not."""
    code = code_words(str(one.fields.get("code", "")))
    match one.type:
        case "TownAgentDone":
            return "it is done", True
        case "TownChangesRequested":
            return "it sent the work back", True
        case "TownAgentExited":
            return _EXITS.get(str(one.fields.get("status")), "it ended"), False
        case "BeadAttemptFailed":
            return cut(f"it was given up: {code}"), False
        case "TownStartRefused":
            return cut(f"it did not start: {code}"), False
        case _:
            return None


def gate_runs(told: Iterable[Known], outputs: Mapping[str, str]) -> tuple[GateRun, ...]:
    """Return the runs of gates in some rows, the newest first; `outputs` are texts by their ids."""
    runs = [
        GateRun(
            at=time_text(one.row.at_ms),
            request=one.bead,
            commit=str(one.fields.get("commit", "")),
            results=tuple(
                GateOutput(
                    name=str(result.get("name", "?")),
                    passed=bool(result.get("passed")),
                    output=outputs.get(str(result.get("content", "")), ""),
                )
                for result in _listed(one.fields, "results")
            ),
        )
        for one in told
        if one.type == "TownGatesFinished"
    ]
    return tuple(reversed(runs))


def convoy_edges(
    rows: Iterable[Logged], convoys: Collection[str]
) -> Iterable[tuple[str, Mapping[str, tuple[str, ...]]]]:
    """Yield what each bead of some convoys waited for at first, as far as the rows say it."""
    for row in rows:
        if b'"ConvoyCreated"' not in row.body:
            continue
        fields = fields_of(row.body)
        convoy = str(fields.get("convoy"))
        if convoy in convoys:
            yield (
                convoy,
                {
                    str(one.get("id")): _texts(one.get("blocked_by"))
                    for one in _listed(fields, "beads")
                },
            )


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()


def outputs_of(told: Iterable[Known]) -> tuple[str, ...]:
    """Return the ids of the outputs of gates in some rows."""
    results: defaultdict[str, None] = defaultdict()
    for one in told:
        for result in _listed(one.fields, "results") if one.type == "TownGatesFinished" else ():
            results[str(result.get("content", ""))] = None
    return tuple(sorted(results.keys() - {""}))

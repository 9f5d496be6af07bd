"""Wire messages of pairing: requests, lists, policies, history. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from holdfast.actors.ports import Logged
from holdfast.kernel.failure import brief
from holdfast.pairing import events
from holdfast.pairing.policy import Rule
from holdfast.pairing.ports import Place, Source
from holdfast.pairing.requests import Asked, request_id
from holdfast.pairing.state import OPEN, Pairing
from holdfast.pairing.visibility import Known, Shown
from holdfast.wire.api.pairing import (
    PairingEntry,
    PairingList,
    PairingPolicy,
    PairingRequest,
    PairingRule,
    PairingSource,
    Via,
)
from holdfast.wire.limits import PAIRING_PENDING_MAX, PAIRING_SCOPES_MAX, REASON_MAX, TEXT_MAX
from holdfast.wire.times import parse_time, time_text


def request(place: Place, one: Shown) -> PairingRequest:
    """Return the view of one request."""
    waiting, decision = one.request, one.decision
    asked = waiting.asked
    return PairingRequest(
        request_id=request_id(asked),
        instance=place.instance,
        instance_name=place.name,
        account=place.account,
        kind=asked.kind,
        sender=asked.sender[:TEXT_MAX],
        sender_name=waiting.sender_name[:TEXT_MAX],
        channel=asked.channel,
        code=asked.code,
        channel_account=waiting.account[:TEXT_MAX],
        role=", ".join(waiting.roles)[:TEXT_MAX],
        scopes=(waiting.scopes or ())[:PAIRING_SCOPES_MAX],
        platform=waiting.platform,
        client=waiting.client,
        created_at=_time(waiting.created_ms),
        expires_at=_time(waiting.expires_ms),
        deciding=decision.verb if decision is not None and decision.status in OPEN else None,
        error=decision.message[:REASON_MAX]
        if decision is not None and decision.status == "failed"
        else "",
        fingerprint=asked.fingerprint[:TEXT_MAX],
    )


def _time(at_ms: int | None) -> str | None:
    return None if at_ms is None else time_text(at_ms)


def listing(
    place: Place, known: Known, items: Iterable[Shown], *, epoch: int, via: Via
) -> PairingList:
    """Return the view of a machine's list."""
    found = known.listing
    return PairingList(
        instance=place.instance,
        items=tuple(request(place, one) for one in items)[:PAIRING_PENDING_MAX],
        via=via,
        complete=found.complete,
        epoch=epoch,
        fetched_at=time_text(known.fetched_ms),
        error=found.error[:REASON_MAX],
        sources=tuple(_source(one) for one in found.sources),
    )


def _source(one: Source) -> PairingSource:
    return PairingSource(
        name=one.name,
        last_success_at=time_text(one.last_success_ms) if one.last_success_ms else None,
        error=one.error[:REASON_MAX],
        stale=one.stale,
    )


def nothing(place: Place, *, epoch: int, note: str, complete: bool = True) -> PairingList:
    """Return an empty list of a machine that was not read, with the reason."""
    return PairingList(
        instance=place.instance, items=(), via="none", complete=complete, epoch=epoch, note=note
    )


def policy(instance: str, state: Pairing) -> PairingPolicy:
    """Return the view of a policy."""
    return PairingPolicy(
        instance=instance,
        mode=state.mode,
        version=state.policy_version,
        rules=tuple(_rule(one) for one in state.rules),
    )


def _rule(one: Rule) -> PairingRule:
    return PairingRule(
        kind=one.kind,
        sender=one.sender,
        channel=one.channel or None,
        role=one.role or None,
        scopes=one.scopes,
        expires_at=time_text(one.expires_ms) if one.expires_ms else None,
        id=one.id,
        by=one.by,
        created_at=time_text(one.created_ms) if one.created_ms else None,
    )


def rule_of(body: PairingRule, *, known: Sequence[Rule], fresh: Rule) -> Rule:
    """Return a rule to store; a known one keeps its id, author and time.

    `fresh` has those of a new one. Raise ValueError for an invalid `expires_at`.
    """
    expires_ms = 0
    if body.expires_at is not None:
        parsed = parse_time(body.expires_at)
        if parsed is None:
            raise ValueError("expires_at: want a time in ISO 8601")
        expires_ms = parsed
    old = next((one for one in known if body.id and one.id == body.id), fresh)
    return Rule(
        id=old.id,
        kind=body.kind,
        sender=body.sender,
        channel=body.channel or "",
        role=body.role or "",
        scopes=tuple(sorted(set(body.scopes))),
        expires_ms=expires_ms,
        by=old.by,
        created_ms=old.created_ms,
    )


def history(rows: Iterable[Logged]) -> list[PairingEntry]:
    """Return the log's decisions, in the order of the rows, without intents."""
    entries: list[PairingEntry] = []
    for row in rows:
        if row.outcome == "applied":
            try:
                entry = _entry(row, events.decode_event(row.body, row.version))
            except ValueError as error:
                text = f"its stored event is damaged: {brief(error)}"[:REASON_MAX]
                at = time_text(row.at_ms)
                entry = PairingEntry(event=row.id, at=at, what="failed", message=text)
            if entry is not None:
                entries.append(entry)
    return entries


def _entry(row: Logged, event: events.Event) -> PairingEntry | None:
    at = time_text(row.at_ms)
    match event:
        case events.PairingDecided(verb=verb, asked=asked, by=by):
            return _asked(row, asked, what=verb, by=by)
        case events.PairingSeen(request=waiting):
            return _asked(row, waiting.asked, what="approve", by="a rule")
        case events.PolicySet(by=by, mode=mode, rules=rules):
            text = f"{mode}, {len(rules)} rules"
            return PairingEntry(event=row.id, at=at, what="policy", by=by[:TEXT_MAX], message=text)
        case events.DecisionDone(verb=verb, request=name, message=message, via=via):
            return PairingEntry(
                event=row.id,
                at=at,
                what="approved" if verb == "approve" else "dismissed",
                request_id=name,
                via=via,
                message=message[:REASON_MAX],
            )
        case events.DecisionFailed(request=name, code=code, message=message):
            text = f"{code}: {message}"[:REASON_MAX]
            return PairingEntry(event=row.id, at=at, what="failed", request_id=name, message=text)
        case _:
            return None


def _asked(row: Logged, asked: Asked, *, what: str, by: str) -> PairingEntry:
    return PairingEntry(
        event=row.id,
        at=time_text(row.at_ms),
        what="approve" if what == "approve" else "dismiss",
        request_id=request_id(asked),
        kind=asked.kind,
        channel=asked.channel,
        sender=asked.sender[:TEXT_MAX],
        by=by[:TEXT_MAX],
    )

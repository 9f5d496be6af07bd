"""The pages that are lists: operations, quarantine, tokens, the audit. Pure."""

from __future__ import annotations

from typing import NamedTuple

from holdfast.web.models.moments import Moment, moment
from holdfast.web.models.words import Badge, outcome_badge, spoken
from holdfast.wire.api.accounts import AuditView, TokenView
from holdfast.wire.api.operations import Operation, QuarantinedEvent

_FAILED = 400
_UNKNOWN = 0


class OperationStepRow(NamedTuple):
    """One step of an operation."""

    kind: str
    title: str
    at: Moment | None
    badge: Badge | None
    rule: str
    text: str
    attempts: int


class OperationRow(NamedTuple):
    """An order and what became of it."""

    event: str
    href: str
    title: str
    actor: str
    actor_href: str
    by: str
    at: Moment | None
    badge: Badge
    text: str
    seq: int
    is_done: bool
    steps: tuple[OperationStepRow, ...]


class QuarantineRow(NamedTuple):
    """One event that waits for a decision."""

    event: str
    title: str
    actor: str
    actor_href: str
    at: Moment | None
    error: str
    attempts: int


class TokenRow(NamedTuple):
    """One API token."""

    id: str
    name: str
    scope: str
    account: str
    by: str
    created: Moment | None
    used: Moment | None
    expires: Moment | None
    badge: Badge
    is_live: bool


class AuditRow(NamedTuple):
    """One audited call."""

    seq: int
    at: Moment | None
    who: str
    how: str
    account: str
    endpoint: str
    target: str
    peer: str
    badge: Badge


def actor_href(actor: str) -> str:
    """Return where an actor's page is, or nothing where it has none."""
    kind, _, name = actor.partition("/")
    return f"/instances/{name}" if kind == "instance" and name else ""


def operation_row(found: Operation, *, now_ms: int) -> OperationRow:
    """Return an order; one that was applied is `under way` until all it caused has ended."""
    badge = outcome_badge(found.outcome) or Badge("?", "off")
    if found.outcome == "applied":
        badge = Badge("done", "ok") if found.done else Badge("under way", "busy")
    if any(step.state == "failed" for step in found.steps) and found.done:
        badge = Badge("failed", "bad")
    return OperationRow(
        event=found.event,
        href=f"/operations/{found.event}",
        title=spoken(found.name),
        actor=found.actor,
        actor_href=actor_href(found.actor),
        by=found.by,
        at=moment(found.accepted_at, now_ms),
        badge=badge,
        text=found.message,
        seq=found.seq,
        is_done=found.done,
        steps=tuple(
            OperationStepRow(
                kind=step.kind,
                title=spoken(step.name),
                at=moment(step.at, now_ms),
                badge=outcome_badge(step.state),
                rule=step.rule,
                text=step.message or step.reason,
                attempts=step.attempts,
            )
            for step in found.steps
        ),
    )


def quarantine_row(found: QuarantinedEvent, *, now_ms: int) -> QuarantineRow:
    """Return an event in quarantine."""
    return QuarantineRow(
        event=found.event,
        title=spoken(found.name),
        actor=found.actor,
        actor_href=actor_href(found.actor),
        at=moment(found.at, now_ms),
        error=found.error,
        attempts=found.attempts,
    )


def token_row(found: TokenView, *, now_ms: int) -> TokenRow:
    """Return a token; revoked and expired ones stay listed."""
    expires = moment(found.expires_at, now_ms)
    badge = Badge("active", "ok")
    if found.revoked_at:
        badge = Badge("revoked", "off")
    elif expires and not expires.words.startswith("in "):
        badge = Badge("expired", "off")
    return TokenRow(
        id=found.id,
        name=found.name,
        scope=found.scope,
        account=found.account or "",
        by=found.created_by,
        created=moment(found.created_at, now_ms),
        used=moment(found.last_used_at, now_ms),
        expires=expires,
        badge=badge,
        is_live=badge.tone == "ok",
    )


def audit_row(found: AuditView, *, now_ms: int) -> AuditRow:
    """Return an audited call; its status in words where it has none."""
    if found.status == _UNKNOWN:
        badge = Badge("unknown", "warn", "The plane ended before it could write the answer.")
    else:
        badge = Badge(str(found.status), "ok" if found.status < _FAILED else "warn")
    return AuditRow(
        seq=found.seq,
        at=moment(found.at, now_ms),
        who=found.who,
        how=found.how.partition(":")[0],
        account=found.account or "",
        endpoint=found.endpoint,
        target=found.target,
        peer=found.peer,
        badge=badge,
    )

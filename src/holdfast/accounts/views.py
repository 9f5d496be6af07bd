"""Rows of accounts as the messages that people see; pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from holdfast.accounts.records import Account, Audited, Link, Person, Token
from holdfast.wire.api.accounts import AccountView, AuditView, LinkView, PersonView, TokenView

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def iso(at_ms: int) -> str:
    """Return a time as ISO 8601 in UTC with milliseconds."""
    at = _EPOCH + timedelta(milliseconds=at_ms)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at_ms % 1_000:03d}Z"


def maybe_iso(at_ms: int | None) -> str | None:
    """Return a time that may be missing."""
    return None if at_ms is None else iso(at_ms)


def account_view(account: Account) -> AccountView:
    """Return an account as people see it."""
    return AccountView(name=account.name, created_at=iso(account.created_at_ms))


def person_view(person: Person) -> PersonView:
    """Return a person as operators see them."""
    return PersonView(
        name=person.name,
        scope=person.scope,
        account=person.account,
        has_password=bool(person.password_hash),
        created_at=iso(person.created_at_ms),
    )


def token_view(token: Token) -> TokenView:
    """Return a token without its secret."""
    return TokenView(
        id=token.id,
        name=token.name,
        scope=token.scope,
        account=token.account,
        created_at=iso(token.created_at_ms),
        created_by=token.created_by,
        expires_at=maybe_iso(token.expires_at_ms),
        last_used_at=maybe_iso(token.last_used_at_ms),
        revoked_at=maybe_iso(token.revoked_at_ms),
    )


def link_view(secret: str, link: Link) -> LinkView:
    """Return a new link with its secret."""
    return LinkView(
        person=link.person,
        link=secret,
        path=f"/sign-in?link={secret}",
        expires_at=iso(link.expires_at_ms),
    )


def audit_view(audited: Audited) -> AuditView:
    """Return an audited call; after a sign-in its end knows who it was."""
    row, entry = audited.row, audited.row.entry
    return AuditView(
        seq=row.seq,
        at=iso(entry.at_ms),
        who=audited.who or entry.who,
        how=entry.how,
        account=entry.account,
        endpoint=entry.endpoint,
        target=entry.target,
        peer=entry.peer,
        request_id=entry.request_id,
        status=audited.status,
    )

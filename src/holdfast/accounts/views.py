"""Wire messages of account rows; pure."""

from __future__ import annotations

from holdfast.accounts.records import Account, Audited, Link, Person, Token, target_parts
from holdfast.wire.api.accounts import AccountView, AuditView, LinkView, PersonView, TokenView
from holdfast.wire.salvage import fit
from holdfast.wire.times import time_text


def maybe_iso(at_ms: int | None) -> str | None:
    """Return the time as text; None stays None."""
    return None if at_ms is None else time_text(at_ms)


def account_view(account: Account) -> AccountView:
    """Return the view of an account."""
    return fit(AccountView(name=account.name, created_at=time_text(account.created_at_ms)))


def person_view(person: Person) -> PersonView:
    """Return the view of a person, for operators."""
    return fit(
        PersonView(
            name=person.name,
            scope=person.scope,
            account=person.account,
            has_password=bool(person.password_hash),
            created_at=time_text(person.created_at_ms),
        )
    )


def token_view(token: Token) -> TokenView:
    """Return a token without its secret."""
    return fit(
        TokenView(
            id=token.id,
            name=token.name,
            scope=token.scope,
            account=token.account,
            created_at=time_text(token.created_at_ms),
            created_by=token.created_by,
            expires_at=maybe_iso(token.expires_at_ms),
            last_used_at=maybe_iso(token.last_used_at_ms),
            revoked_at=maybe_iso(token.revoked_at_ms),
        )
    )


def link_view(secret: str, link: Link) -> LinkView:
    """Return a new link with its secret."""
    return LinkView(
        person=link.person,
        link=secret,
        path=f"/sign-in?link={secret}",
        expires_at=time_text(link.expires_at_ms),
    )


def audit_view(audited: Audited) -> AuditView:
    """Return the view of an audited call; a sign-in's person is known from its end row."""
    row, entry = audited.row, audited.row.entry
    path, name = target_parts(entry.target)
    return fit(
        AuditView(
            seq=row.seq,
            at=time_text(entry.at_ms),
            who=audited.who or entry.who,
            how=entry.how,
            account=entry.account,
            endpoint=entry.endpoint,
            target=path,
            target_name=name,
            peer=entry.peer,
            request_id=entry.request_id,
            status=audited.status,
        )
    )

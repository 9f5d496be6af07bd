"""Endpoints about people: sign-in, sessions, tokens, accounts and the audit.

Signing in is public and therefore limited per person and per peer. A GET never signs anybody in:
what opens links ahead of their reader must not use one up.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from holdfast.wire.api.endpoint import (
    ACCOUNT,
    ID_PATTERN,
    PAGING,
    Counter,
    Cursor,
    Empty,
    Given,
    Id,
    Label,
    Param,
    Reason,
    Time,
    look,
    order,
)
from holdfast.wire.limits import (
    PAGE_ITEMS_MAX,
    PASSWORD_MAX,
    PASSWORD_MIN,
    SECRET_TEXT_MAX,
)

GrantedScope = Literal["owner", "operator"]
SecretText = Annotated[str, Meta(min_length=1, max_length=SECRET_TEXT_MAX)]
Password = Annotated[str, Meta(min_length=1, max_length=PASSWORD_MAX)]
NewPassword = Annotated[str, Meta(min_length=PASSWORD_MIN, max_length=PASSWORD_MAX)]
Lifetime = Annotated[int, Meta(ge=60, le=10 * 366 * 86_400)]


class _Quiet(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request with a secret: it prints as its type only."""

    def __repr__(self) -> str:
        """Return the name of the type."""
        return f"{type(self).__name__}([hidden])"


class LinkSignIn(_Quiet, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sign in with a one-time link; `link` is its secret part."""

    link: SecretText


class PasswordSignIn(_Quiet, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sign in by name and password."""

    name: Annotated[str, Meta(min_length=1, max_length=63)]
    password: Password


class PasswordChange(_Quiet, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Set one's own password; `current` is required if there is one."""

    new: NewPassword
    current: Annotated[str, Meta(max_length=PASSWORD_MAX)] = ""


class SessionView(Struct, frozen=True, kw_only=True):
    """Who is signed in.

    `csrf` goes into the `x-csrf-token` header of a session's changes. It is only in the
    answer to signing in, because it must not be obtainable with the cookie alone.
    """

    person: Label
    scope: GrantedScope
    account: Label | None
    expires_at: Time | None
    has_password: bool
    csrf: Label = ""


class PersonView(Struct, frozen=True, kw_only=True):
    """One person; `account` is null for an operator, who sees every account.

    `damaged` says what of the stored row cannot be shown, here and in the other views.
    """

    name: Label
    scope: Label
    account: Label | None
    has_password: bool
    created_at: Time
    damaged: Reason = ""


class PersonList(Struct, frozen=True, kw_only=True):
    """Everybody who may sign in, by name."""

    items: Annotated[tuple[PersonView, ...], Meta(max_length=PAGE_ITEMS_MAX)]


class PersonCreate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Add a person, who signs in by a link until they set a password."""

    name: Given
    scope: GrantedScope
    account: Annotated[str, Meta(max_length=63)] = ""


class LinkCreate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Make a one-time sign-in link for a person."""

    person: Given


class LinkView(Struct, frozen=True, kw_only=True):
    """A one-time link, shown once; it works one time and for 15 minutes."""

    person: Label
    link: SecretText
    path: Annotated[str, Meta(max_length=256)]
    expires_at: Time


class TokenCreate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Make an API token; `expires_in_s` seconds of life, for ever when absent.

    An owner's token sees the owner's account. An operator may make either kind, an owner's for
    the `account` named.
    """

    name: Given
    scope: GrantedScope = "owner"
    account: Annotated[str, Meta(max_length=63)] = ""
    expires_in_s: Lifetime | None = None


class TokenView(Struct, frozen=True, kw_only=True):
    """One token without its secret; `last_used_at` is accurate to about a minute."""

    id: Id
    name: Label
    scope: Label
    account: Label | None
    created_at: Time
    created_by: Label
    expires_at: Time | None = None
    last_used_at: Time | None = None
    revoked_at: Time | None = None
    damaged: Reason = ""


class TokenCreated(Struct, frozen=True, kw_only=True):
    """A new token and its secret, which is shown here and never again."""

    token: SecretText
    view: TokenView


class TokenList(Struct, frozen=True, kw_only=True):
    """Tokens, newest first, revoked ones too."""

    items: Annotated[tuple[TokenView, ...], Meta(max_length=PAGE_ITEMS_MAX)]


class AccountView(Struct, frozen=True, kw_only=True):
    """One account: what owns instances."""

    name: Label
    created_at: Time
    damaged: Reason = ""


class AccountList(Struct, frozen=True, kw_only=True):
    """Every account, by name."""

    items: Annotated[tuple[AccountView, ...], Meta(max_length=PAGE_ITEMS_MAX)]


class AccountCreate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Add an account."""

    name: Given


class AuditView(Struct, frozen=True, kw_only=True):
    """One audited call; `status` is the answer, 0 while it is not known.

    `target` is the path, with ids. `target_name` is what people called the instance in it, empty
    where there is none.
    """

    seq: Counter
    at: Time
    who: Label
    how: Label
    account: Label | None
    endpoint: Label
    target: Reason
    peer: Label
    request_id: Label
    status: Counter
    damaged: Reason = ""
    target_name: Label = ""


class AuditList(Struct, frozen=True, kw_only=True):
    """Audited calls, newest first."""

    items: Annotated[tuple[AuditView, ...], Meta(max_length=PAGE_ITEMS_MAX)]
    next: Cursor = ""


class AuditVerdict(Struct, frozen=True, kw_only=True):
    """Whether the chain of the audit holds; `broken_at` is the first row that does not fit.

    `reason` says why it does not. `purged` is the number of the last row that was purged, and
    `head_kept` is whether the chain was compared with the head kept outside of its file: without
    it, a tail that was cut off does not show.
    """

    ok: bool
    rows: Counter
    broken_at: Counter | None = None
    head: Label = ""
    reason: Reason = ""
    purged: Counter = 0
    head_kept: bool = False


ACCOUNTS: Final = (
    order(
        "session.link", "/api/session/link", LinkSignIn, SessionView,
        "Sign in with a one-time link; sets the session cookie.", scope="public",
    ),
    order(
        "session.password", "/api/session/password", PasswordSignIn, SessionView,
        "Sign in by name and password; sets the session cookie.", scope="public",
    ),
    look("session.get", "/api/session", SessionView, "Who is signed in."),
    order(
        "session.sign-out", "/api/session/sign-out", Empty, None,
        "End this session.", statuses=(204,),
    ),
    order(
        "session.set-password", "/api/session/own-password", PasswordChange, None,
        "Set one's own password; ends one's other sessions.", method="PUT", statuses=(204, 409),
    ),
    look("token.list", "/api/tokens", TokenList, "API tokens, without their secrets."),
    order(
        "token.create", "/api/tokens", TokenCreate, TokenCreated,
        "Make an API token; its secret is in this answer and nowhere else.", statuses=(201, 409),
    ),
    order(
        "token.revoke", "/api/tokens/{id}", None, TokenView,
        "Revoke an API token; it stops working within 5 s everywhere.", method="DELETE",
    ),
    look("account.list", "/api/accounts", AccountList, "Every account.", scope="operator"),
    order(
        "account.create", "/api/accounts", AccountCreate, AccountView,
        "Add an account.", scope="operator", statuses=(201, 409),
    ),
    look("person.list", "/api/people", PersonList, "Everybody who may sign in.", scope="operator"),
    order(
        "person.create", "/api/people", PersonCreate, PersonView,
        "Add a person.", scope="operator", statuses=(201, 409),
    ),
    order(
        "link.create", "/api/links", LinkCreate, LinkView,
        "Make a one-time sign-in link for a person.", scope="operator", statuses=(201,),
    ),
    look(
        "audit.list", "/api/audit", AuditList,
        "Who did what, newest first; an owner sees their account's.", *PAGING, ACCOUNT,
        Param("who", r"[ -~]{1,128}", "Only what this person or token did."),
        Param("instance", ID_PATTERN, "Only what was about this instance, by id or name."),
    ),
    look(
        "audit.verify", "/api/audit/verify", AuditVerdict,
        "Check the chain of the audit from its first row.", scope="operator",
    ),
)  # fmt: skip

"""Handlers of the account endpoints: from a call to `AccountDirectory` and back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from msgspec.structs import replace

from holdfast.accounts.browser import SESSION_COOKIE, BrowserSessions
from holdfast.accounts.directory import AccountDirectory, SignedIn
from holdfast.accounts.records import Person
from holdfast.accounts.views import (
    account_view,
    audit_view,
    link_view,
    person_view,
    token_view,
)
from holdfast.actors.calls import missing
from holdfast.kernel.clock import SECOND_MS
from holdfast.wire import parsers
from holdfast.wire.api.accounts import (
    AccountCreate,
    AccountList,
    AuditList,
    AuditVerdict,
    AuditView,
    LinkCreate,
    LinkSignIn,
    PasswordChange,
    PasswordSignIn,
    PersonCreate,
    PersonList,
    SessionView,
    TokenCreate,
    TokenCreated,
    TokenList,
)
from holdfast.wire.api.call import Call, Refusal, Reply
from holdfast.wire.limits import REASON_MAX
from holdfast.wire.times import time_text

PAGE_DEFAULT: Final = 100
_PAGE_MAX: Final = 500
_SCANNED: Final = 5_000
"""Rows of the audit read for one page of a filtered list."""


def visible_account(call: Call) -> str | None:
    """Return the caller's account; for an operator the one of the query, or None for all."""
    if call.principal.scope == "operator":
        return call.query.get("account")
    return call.principal.account


class AccountHandlers:
    """One method for each account endpoint."""

    def __init__(
        self,
        directory: AccountDirectory,
        browsers: BrowserSessions,
        *,
        name_of: Callable[[str, str | None], str] = lambda _instance, _account: "",
    ) -> None:
        """Answer from the directory.

        `name_of` returns the name of an instance that an account may see (None: any), or nothing.
        """
        self._browsers = browsers
        self._name_of = name_of
        self._directory = directory
        self._store = directory.store

    def by_endpoint(self) -> dict[str, Callable[[Call], Awaitable[Reply]]]:
        """Return the handlers by the names of their endpoints."""
        return {
            "session.link": self.sign_in_by_link,
            "session.password": self.sign_in_by_password,
            "session.get": self.show_session,
            "session.sign-out": self.sign_out,
            "session.set-password": self.set_password,
            "token.list": self.list_tokens,
            "token.create": self.make_token,
            "token.revoke": self.revoke_token,
            "account.list": self.list_accounts,
            "account.create": self.make_account,
            "person.list": self.list_people,
            "person.create": self.make_person,
            "link.create": self.make_link,
            "audit.list": self.list_audit,
            "audit.verify": self.verify_audit,
        }

    async def sign_in_by_link(self, call: Call) -> Reply:
        """Sign in with a one-time link."""
        body: LinkSignIn = call.body
        signed_in = await self._directory.sign_in_by_link(
            body.link, peer=call.peer, bound=self._bound(call)
        )
        return self._welcome(call, signed_in)

    async def sign_in_by_password(self, call: Call) -> Reply:
        """Sign in by name and password."""
        body: PasswordSignIn = call.body
        signed_in = await self._directory.sign_in_by_password(
            body.name, body.password, peer=call.peer, bound=self._bound(call)
        )
        return self._welcome(call, signed_in)

    def _bound(self, call: Call) -> str:
        """Return the `bound` of a session that begins with this call."""
        return self._browsers.bound(call.header.get("user-agent", ""), secure=call.secure)

    def _welcome(self, call: Call, signed_in: SignedIn) -> Reply:
        """Answer with the session, its cookie, and its change secret, which is sent only here."""
        life_ms = signed_in.session.expires_at_ms - signed_in.session.created_at_ms
        life_s = life_ms // SECOND_MS
        view = _session_view(
            signed_in.person,
            csrf=self._browsers.change_secret(signed_in.secret),
            expires_at=time_text(signed_in.session.expires_at_ms),
        )
        cookie = self._browsers.set_cookie(
            SESSION_COOKIE, signed_in.secret, secure=call.secure, life_s=life_s
        )
        return Reply(view, cookies=(cookie,))

    async def show_session(self, call: Call) -> Reply:
        """Return the caller's session."""
        who = call.principal
        person = await self._store.person(who.name) if who.kind == "session" else None
        if person is not None:
            found = await self._store.session(who.token_id, call.now_ms)
            ends = time_text(found[0].expires_at_ms) if found else None
            return Reply(_session_view(person, csrf="", expires_at=ends))
        view = SessionView(
            person=who.name,
            scope="operator" if who.scope == "operator" else "owner",
            account=who.account,
            expires_at=None,
            has_password=False,
        )
        return Reply(view)

    async def sign_out(self, call: Call) -> Reply:
        """End the session; for a token there is none to end."""
        if call.principal.kind == "session":
            await self._directory.sign_out(call.principal.token_id)
        gone = self._browsers.set_cookie(SESSION_COOKIE, "", secure=call.secure, life_s=0)
        return Reply(status=204, cookies=(gone,))

    async def set_password(self, call: Call) -> Reply:
        """Set one's own password."""
        body: PasswordChange = call.body
        who = call.principal
        if who.kind != "session":
            raise Refusal(
                403, "only_people", "an API token has no password",
                fix="sign in as a person and set the password there",
            )  # fmt: skip
        await self._directory.set_password(
            who.name, body.new, current=body.current, session_hash=who.token_id, peer=call.peer
        )
        return Reply(status=204)

    async def list_tokens(self, call: Call) -> Reply:
        """List the tokens the caller sees."""
        tokens = await self._store.tokens(call.principal.account)
        return Reply(TokenList(items=tuple(map(token_view, tokens))))

    async def make_token(self, call: Call) -> Reply:
        """Make a token; an owner's token gets the owner's scope and account."""
        body: TokenCreate = call.body
        who = call.principal
        account = body.account or None
        if who.scope != "operator":
            if body.scope != "owner":
                raise Refusal(
                    403, "scope_too_wide", "an owner can make owner tokens only", field="scope",
                    fix="ask an operator",
                )  # fmt: skip
            if account not in {None, who.account}:
                raise missing("account", field="account")
            account = who.account
        _refuse_outliving(call, body)
        secret, token = await self._directory.make_token(
            body.name,
            scope=body.scope,
            account=account,
            created_by=who.name,
            life_s=body.expires_in_s,
        )
        return Reply(TokenCreated(token=secret, view=token_view(token)), status=201)

    async def revoke_token(self, call: Call) -> Reply:
        """Revoke a token the caller sees."""
        token = await self._directory.revoke_token(call.path["id"], account=call.principal.account)
        return Reply(token_view(token))

    async def list_accounts(self, call: Call) -> Reply:  # noqa: ARG002  every handler takes one
        """List every account."""
        accounts = await self._store.accounts()
        return Reply(AccountList(items=tuple(map(account_view, accounts))))

    async def make_account(self, call: Call) -> Reply:
        """Add an account."""
        body: AccountCreate = call.body
        return Reply(account_view(await self._directory.make_account(body.name)), status=201)

    async def list_people(self, call: Call) -> Reply:  # noqa: ARG002  every handler takes one
        """List all people."""
        people = await self._store.people()
        return Reply(PersonList(items=tuple(map(person_view, people))))

    async def make_person(self, call: Call) -> Reply:
        """Add a person."""
        body: PersonCreate = call.body
        person = await self._directory.make_person(
            body.name, scope=body.scope, account=body.account or None
        )
        return Reply(person_view(person), status=201)

    async def make_link(self, call: Call) -> Reply:
        """Make a one-time link."""
        body: LinkCreate = call.body
        return Reply(link_view(*await self._directory.make_link(body.person)), status=201)

    async def list_audit(self, call: Call) -> Reply:
        """List audited calls."""
        limit = min(call.number("limit", PAGE_DEFAULT), _PAGE_MAX)
        after = call.query.get("after", "")
        before = parsers.whole(after)
        if after and before is None:
            raise Refusal(
                400, "bad_parameter", "`after` is not a cursor of this list", field="after",
                fix="send `next` of the page before",
            )  # fmt: skip
        found, last = await self._audited(call, before, limit)
        sees = None if call.principal.scope == "operator" else call.principal.account or ""
        items = tuple(
            one if one.target_name else replace(one, target_name=self._named(one.target, sees))
            for one in found
        )
        return Reply(AuditList(items=items, next=str(last) if last else ""))

    async def _audited(
        self, call: Call, before: int | None, limit: int
    ) -> tuple[list[AuditView], int]:
        """Return what fits the filters, and the row to go on before, 0 at the end.

        At most _SCANNED rows are read, so a page may be short and go on.
        """
        who, instance = call.query.get("who", ""), call.query.get("instance", "")
        account = visible_account(call)
        found: list[AuditView] = []
        for _ in range(_SCANNED // _PAGE_MAX):
            rows = await self._store.audit(account, before, _PAGE_MAX if who or instance else limit)
            for view in map(audit_view, rows):
                before = view.seq
                # A name that is no id by now is that of an instance that is gone.
                about = (*view.target.split("/"), view.target_name)
                if (not who or view.who == who) and (not instance or instance in about):
                    found.append(view)
                    if len(found) == limit:
                        return found, view.seq
            if len(rows) < (_PAGE_MAX if who or instance else limit):
                return found, 0
        return found, before or 0

    def _named(self, target: str, sees: str | None) -> str:
        """Return the name of the instance in a path that was kept without one, or nothing.

        A row of an account may name another's instance in its path: who asked was refused.
        """
        return next(filter(None, (self._name_of(part, sees) for part in target.split("/"))), "")

    async def verify_audit(self, call: Call) -> Reply:  # noqa: ARG002  every handler takes one
        """Check the chain of the audit."""
        found = await self._directory.check_audit()
        verdict = AuditVerdict(
            ok=found.broken_at is None,
            rows=found.rows,
            broken_at=found.broken_at,
            head=found.head,
            reason=found.reason[:REASON_MAX],
            purged=found.purged,
            head_kept=found.kept,
        )
        return Reply(verdict)


def _refuse_outliving(call: Call, body: TokenCreate) -> None:
    """Refuse (403) a token that would live longer than the token it is made with.

    Otherwise the holder of a stolen short-lived token could keep its rights for ever. (An
    operator's token can do so anyway, by a sign-in link.)
    """
    ends_ms = call.principal.expires_at_ms
    if ends_ms is None:
        return
    left_s = max(0, ends_ms - call.now_ms) // SECOND_MS
    if body.expires_in_s is None or body.expires_in_s > left_s:
        raise Refusal(
            403, "lives_too_long", "a token cannot make one that outlives it",
            field="expires_in_s", fix=f"ask for at most {left_s} s, or sign in as a person",
        )  # fmt: skip


def _session_view(person: Person, *, csrf: str, expires_at: str | None) -> SessionView:
    """Return the view of a person's own session."""
    return SessionView(
        person=person.name,
        scope=person.scope,
        account=person.account,
        expires_at=expires_at,
        has_password=bool(person.password_hash),
        csrf=csrf,
    )

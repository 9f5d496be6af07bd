"""Operations on accounts, people, sessions and tokens.

Used by the plane's handlers and by the command line on the plane's own machine. Errors are
`Refusal`s. A secret is returned once, by the call that made it; only its hash is stored.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, NoReturn

from holdfast.accounts import rules
from holdfast.accounts.access import Access
from holdfast.accounts.audit_check import Verdict, check_chain
from holdfast.accounts.limits import (
    LINK_LIFE_MS,
    SECRET_BYTES,
    SESSION_LIFE_MS,
    TOKENS_MAX,
)
from holdfast.accounts.ports import AccountsStore, Hasher
from holdfast.accounts.records import Account, Link, Person, Scope, Session, Token
from holdfast.kernel.clock import SECOND_MS, Clock
from holdfast.wire.api.call import Refusal

LOCAL_ACCOUNT: Final = "local"
"""The default account of instances and tokens."""

FIRST_OPERATOR: Final = "operator"
"""The person that the first run creates, without a password: they sign in by a link."""


class SignedIn(NamedTuple):
    """A new session and its secret."""

    secret: str
    session: Session
    person: Person


class AccountDirectory:
    """Creates, signs in, lists and revokes."""

    def __init__(
        self,
        store: AccountsStore,
        hasher: Hasher,
        *,
        access: Access,
        clock: Clock,
        entropy: Callable[[int], bytes],
        session_life_ms: int = SESSION_LIFE_MS,
        admit: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Draw random bytes from `entropy`: `secrets.token_bytes` in production.

        `admit` raises Refusal where no further account may be added; without it, none may be.
        """
        self._admit = admit
        self._store = store
        self._hasher = hasher
        self._access = access
        self._clock = clock
        self._entropy = entropy
        self._session_life_ms = session_life_ms

    @property
    def store(self) -> AccountsStore:
        """Return the store, for lists."""
        return self._store

    def _secret(self, prefix: str) -> str:
        """Return a new secret."""
        return rules.secret_text(prefix, self._entropy(SECRET_BYTES))

    async def prepare(self) -> bool:
        """Make the first account and operator where they are missing; True on the first run."""
        if await self._store.person(FIRST_OPERATOR) is not None:
            return False
        now_ms = self._clock.now_ms()
        await self._store.add_account(Account(name=LOCAL_ACCOUNT, created_at_ms=now_ms))
        operator = Person(name=FIRST_OPERATOR, scope="operator", account=None, created_at_ms=now_ms)
        return await self._store.add_person(operator)

    async def make_link(self, person: str) -> tuple[str, Link]:
        """Return a one-time link's secret and row; refuse (404) an unknown person."""
        if await self._store.person(person) is None:
            raise Refusal(
                404, "no_such_person", f"there is no person {person!r}", field="person",
                fix="see GET /api/people for who there is",
            )  # fmt: skip
        secret, now_ms = self._secret(rules.LINK_PREFIX), self._clock.now_ms()
        link = Link(
            hash=rules.secret_hash(secret),
            person=person,
            created_at_ms=now_ms,
            expires_at_ms=now_ms + LINK_LIFE_MS,
        )
        await self._store.add_link(link)
        return secret, link

    async def sign_in_by_link(self, secret: str, *, peer: str, bound: str = "") -> SignedIn:
        """Use a link up; refuse (401) where it is used, expired or wrong, (429) after many.

        Failed attempts do not delay a valid link: 256 bits cannot be guessed, and a link is the way
        in for a person locked out by wrong passwords that others sent from the same address.
        """
        key, person = rules.peer_key(peer), None
        if rules.looks_right(secret, rules.LINK_PREFIX):
            person = await self._store.use_link(rules.secret_hash(secret), self._clock.now_ms())
        if person is None:
            await self._count_attempt(key)
            raise Refusal(
                401, "link_not_valid", "this link is used, expired or wrong", field="link",
                fix="ask an operator for a new one, or run `holdfast up` again where it runs",
            )  # fmt: skip
        await self._store.forgive_attempt(rules.person_key(person.name), key)
        return await self._begin_session(person, bound)

    async def sign_in_by_password(
        self, name: str, password: str, *, peer: str, bound: str = ""
    ) -> SignedIn:
        """Check a password; refuse (401) a wrong name or password alike, (429) after many."""
        keys = (rules.person_key(name), rules.peer_key(peer))
        await self._count_attempt(*keys)
        person = await self._store.person(name)
        known = person.password_hash if person is not None else ""
        if not await self._hasher.matches(known, password) or person is None:
            raise Refusal(
                401, "sign_in_failed", "name or password is wrong",
                fix="try again, or use a one-time link where no password was set",
            )  # fmt: skip
        await self._store.forgive_attempt(*keys)
        return await self._begin_session(person, bound)

    async def sign_out(self, session_hash: str) -> None:
        """End a session."""
        await self._store.end_session(session_hash)
        self._access.forget()

    async def set_password(
        self, name: str, new: str, *, current: str, session_hash: str, peer: str
    ) -> None:
        """Set a person's own password; refuse (409) a wrong current one, where one is set."""
        person = await self._store.person(name)
        if person is None:
            raise Refusal(404, "no_such_person", f"there is no person {name!r}")
        if person.password_hash:
            keys = (rules.person_key(name), rules.peer_key(peer))
            await self._count_attempt(*keys)
            if not await self._hasher.matches(person.password_hash, current):
                raise Refusal(
                    409, "wrong_password", "the current password is wrong", field="current",
                    fix="send the password you sign in with now as `current`",
                )  # fmt: skip
            await self._store.forgive_attempt(*keys)
        hashed = await self._hasher.hash(new)
        await self._store.set_password(name, hashed, keep=session_hash)
        self._access.forget()

    async def make_token(
        self,
        name: str,
        *,
        scope: Scope,
        account: str | None,
        created_by: str,
        life_s: int | None = None,
    ) -> tuple[str, Token]:
        """Return a new token's secret and row; refuse (404) an unknown account, (409) too many."""
        secret, now_ms = self._secret(rules.TOKEN_PREFIX), self._clock.now_ms()
        hashed = rules.secret_hash(secret)
        owner = None if scope == "operator" else account or LOCAL_ACCOUNT
        if owner is not None and owner not in {a.name for a in await self._store.accounts()}:
            self._refuse_account(owner)
        token = Token(
            id=rules.token_id(hashed),
            hash=hashed,
            name=name,
            scope=scope,
            account=owner,
            created_at_ms=now_ms,
            created_by=created_by,
            expires_at_ms=None if life_s is None else now_ms + life_s * SECOND_MS,
        )
        if not await self._store.add_token(token):
            raise Refusal(
                409, "too_many_tokens", f"this account has {TOKENS_MAX} tokens already",
                fix="revoke those that are not used (see last_used_at)",
            )  # fmt: skip
        # A negative result may be cached for this token's hash.
        self._access.forget()
        return secret, token

    async def revoke_token(self, token_id: str, *, account: str | None) -> Token:
        """Revoke a token; refuse (404) one that the account cannot see."""
        found = await self._store.revoke_token(token_id, account, self._clock.now_ms())
        if found is None:
            raise Refusal(404, "no_such_token", "there is no such token", field="id")
        self._access.forget()
        return found

    async def make_account(self, name: str) -> Account:
        """Add an account; refuse (409) a name that is taken, or accounts that must not mix."""
        if any(known.name == name for known in await self._store.accounts()):
            self._refuse_name(name)
        if self._admit is None:
            raise Refusal(
                409, "not_here", "accounts are made by the plane, which knows what confines agents",
                fix="holdfast account create NAME, while the plane runs",
            )  # fmt: skip
        await self._admit()
        account = Account(name=name, created_at_ms=self._clock.now_ms())
        if not await self._store.add_account(account):
            self._refuse_name(name)
        return account

    async def make_person(self, name: str, *, scope: Scope, account: str | None) -> Person:
        """Add a person; refuse (404) an unknown account, (409) a name that is taken."""
        owner = None if scope == "operator" else account or LOCAL_ACCOUNT
        if owner is not None and owner not in {a.name for a in await self._store.accounts()}:
            self._refuse_account(owner)
        person = Person(name=name, scope=scope, account=owner, created_at_ms=self._clock.now_ms())
        if not await self._store.add_person(person):
            self._refuse_name(name)
        return person

    async def check_audit(self) -> Verdict:
        """Check the whole chain of the audit, and that it contains the head kept outside."""
        return await check_chain(self._store)

    async def _count_attempt(self, *keys: str) -> None:
        """Count an attempt to sign in; refuse (429) where it came too soon."""
        wait_ms = await self._store.try_attempt(keys, self._clock.now_ms())
        if wait_ms:
            wait_s = -(-wait_ms // SECOND_MS)
            raise Refusal(
                429, "too_many_attempts", f"too many failed attempts; wait {wait_s} s",
                fix="wait, or use a one-time link",
                retry_after_s=wait_s,
            )  # fmt: skip

    async def _begin_session(self, person: Person, bound: str) -> SignedIn:
        """Begin a session of the browser that `bound` stands for."""
        secret, now_ms = self._secret(rules.SESSION_PREFIX), self._clock.now_ms()
        session = Session(
            hash=rules.secret_hash(secret),
            person=person.name,
            created_at_ms=now_ms,
            expires_at_ms=now_ms + self._session_life_ms,
            used_at_ms=now_ms,
            bound=bound,
        )
        await self._store.add_session(session)
        return SignedIn(secret, session, person)

    @staticmethod
    def _refuse_account(name: str) -> NoReturn:
        raise Refusal(
            404, "no_such_account", f"there is no account {name!r}", field="account",
            fix="make it first: holdfast account create NAME",
        )  # fmt: skip

    @staticmethod
    def _refuse_name(name: str) -> NoReturn:
        raise Refusal(
            409, "name_taken", f"the name {name!r} is taken", field="name", fix="choose another"
        )

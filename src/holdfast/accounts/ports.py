"""Ports of accounts: the store and the password hasher.

The adapters are in `stores`; one contract suite runs on each. Every method that writes returns
after its row is durable. No method takes or returns a plaintext secret but `Hasher`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from holdfast.accounts.records import (
    Account,
    Audited,
    AuditEntry,
    AuditRow,
    ChainEnd,
    KeptHead,
    Link,
    Person,
    Session,
    Token,
)


class People(Protocol):
    """Accounts, people, sessions, links and counted attempts."""

    async def add_account(self, account: Account) -> bool:
        """Add an account; False where the name is taken."""
        ...

    async def accounts(self) -> Sequence[Account]:
        """Return every account by name, at most LIST_ITEMS_MAX."""
        ...

    async def add_person(self, person: Person) -> bool:
        """Add a person; False where the name is taken."""
        ...

    async def people(self) -> Sequence[Person]:
        """Return all people by name, at most LIST_ITEMS_MAX."""
        ...

    async def person(self, name: str) -> Person | None:
        """Return one person."""
        ...

    async def set_password(self, name: str, password_hash: str, *, keep: str) -> bool:
        """Set a person's password and end their sessions but `keep`; False where unknown."""
        ...

    async def add_session(self, session: Session) -> None:
        """Add a session."""
        ...

    async def session(self, hashed: str, now_ms: int) -> tuple[Session, Person] | None:
        """Return a session that has not expired, and its person."""
        ...

    async def note_session_uses(self, uses: Mapping[str, int]) -> None:
        """Note when sessions were last used, by hash; never earlier than is noted already."""
        ...

    async def end_session(self, hashed: str) -> None:
        """End a session, if it exists."""
        ...

    async def add_link(self, link: Link) -> None:
        """Add a one-time link."""
        ...

    async def use_link(self, hashed: str, now_ms: int) -> Person | None:
        """Consume a link and return its person; None where it is used, expired or unknown.

        Of any number of callers at the same time exactly one gets the person.
        """
        ...

    async def try_attempt(self, keys: Sequence[str], now_ms: int) -> int:
        """Count an attempt under every key as failed, or return how many ms it has to wait.

        Counting comes before trying, so that many attempts at once cannot pass on one count. An
        attempt that has to wait is counted under none.
        """
        ...

    async def forgive_attempt(self, person: str, peer: str) -> None:
        """Take back an attempt that succeeded: all of the person's, one of the peer's."""
        ...

    async def purge(self, now_ms: int) -> int:
        """Delete sessions, links and attempts that ended long ago; return how many."""
        ...


class Tokens(Protocol):
    """API tokens."""

    async def add_token(self, token: Token) -> bool:
        """Add a token; False where its account has TOKENS_MAX already."""
        ...

    async def token(self, hashed: str) -> Token | None:
        """Return the token with this hash, revoked or not."""
        ...

    async def tokens(self, account: str | None) -> Sequence[Token]:
        """Return an account's tokens, or all, newest first, at most LIST_ITEMS_MAX."""
        ...

    async def revoke_token(self, token_id: str, account: str | None, now_ms: int) -> Token | None:
        """Revoke a token of the account (any, for None); None where there is none.

        An earlier revocation's time stays.
        """
        ...

    async def note_uses(self, uses: Mapping[str, int]) -> None:
        """Note when tokens were last used, by id; a time earlier than the stored one is ignored."""
        ...


class Audit(Protocol):
    """The audit: rows are appended and never changed, and after a long time purged."""

    async def append_audit(self, entry: AuditEntry) -> AuditRow:
        """Append an entry to the chain and return its row, once it is durable."""
        ...

    async def audit(self, account: str | None, before: int | None, limit: int) -> Sequence[Audited]:
        """Return begin rows with what their end rows added, newest first.

        Only the account's, or all for None; only rows below number `before`, where it is given.
        """
        ...

    async def audit_chain(self, after: int, limit: int) -> Sequence[AuditRow]:
        """Return rows in the order of the chain, from the one after number `after`."""
        ...

    async def audit_anchor(self) -> ChainEnd:
        """Return the last row that was purged."""
        ...

    async def purge_audit(self, before_ms: int, now_ms: int) -> int:
        """Delete some rows of calls before a moment, the oldest first; return how many, 0 at last.

        The number and hash of the last one are kept first, so that the rest can be checked.
        """
        ...

    async def kept_head(self) -> KeptHead | None:
        """Return what is kept of the audit outside of its file; raise ValueError if damaged."""
        ...


class AccountsStore(People, Tokens, Audit, Protocol):
    """One store for all three."""


class Hasher(Protocol):
    """Makes and checks password hashes, off the event loop."""

    async def hash(self, password: str) -> str:
        """Return the hash to keep."""
        ...

    async def matches(self, password_hash: str, password: str) -> bool:
        """Return whether the password is the one hashed; an empty hash takes as long and fails."""
        ...

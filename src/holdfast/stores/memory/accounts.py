"""Accounts kept in memory: for tests and the simulator, under the same contract suite as SQLite.

Nothing is persistent, so it is not for production.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from holdfast.accounts import audit, rules
from holdfast.accounts.limits import (
    AUDIT_PURGE_ROWS,
    LIST_ITEMS_MAX,
    PURGE_KEPT_MS,
    TOKENS_MAX,
)
from holdfast.accounts.records import (
    Account,
    Attempts,
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


class AccountsMemory:
    """The accounts store, in dictionaries."""

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}
        self._people: dict[str, Person] = {}
        self._sessions: dict[str, Session] = {}
        self._links: dict[str, Link] = {}
        self._used: set[str] = set()
        self._attempts: dict[str, Attempts] = {}
        self._tokens: dict[str, Token] = {}
        self._audit: list[AuditRow] = []
        self._anchor = ChainEnd()
        self._ends: dict[int, tuple[int, str]] = {}

    async def close(self) -> None:
        """Do nothing: there is nothing to release."""

    async def add_account(self, account: Account) -> bool:
        """Add an account; False where the name is taken."""
        return self._accounts.setdefault(account.name, account) is account

    async def accounts(self) -> Sequence[Account]:
        """Return every account by name."""
        return [self._accounts[name] for name in sorted(self._accounts)][:LIST_ITEMS_MAX]

    async def add_person(self, person: Person) -> bool:
        """Add a person; False where the name is taken."""
        self._own(person.account)
        return self._people.setdefault(person.name, person) is person

    async def people(self) -> Sequence[Person]:
        """Return all people by name."""
        return [self._people[name] for name in sorted(self._people)][:LIST_ITEMS_MAX]

    async def person(self, name: str) -> Person | None:
        """Return one person."""
        return self._people.get(name)

    async def set_password(self, name: str, password_hash: str, *, keep: str) -> bool:
        """Set a person's password and end their other sessions."""
        person = self._people.get(name)
        if person is None:
            return False
        self._people[name] = replace(person, password_hash=password_hash)
        ended = [s.hash for s in self._sessions.values() if s.person == name and s.hash != keep]
        for hashed in ended:
            del self._sessions[hashed]
        return True

    async def add_session(self, session: Session) -> None:
        """Add a session."""
        self._sessions[session.hash] = session

    async def session(self, hashed: str, now_ms: int) -> tuple[Session, Person] | None:
        """Return a session that has not expired, and its person."""
        found = self._sessions.get(hashed)
        if found is None or found.expires_at_ms <= now_ms:
            return None
        return found, self._people[found.person]

    async def note_session_uses(self, uses: Mapping[str, int]) -> None:
        """Note when sessions were last used."""
        for hashed, at_ms in uses.items():
            if (known := self._sessions.get(hashed)) is not None:
                used_at_ms = max(known.used_at_ms, at_ms)
                self._sessions[hashed] = replace(known, used_at_ms=used_at_ms)

    async def end_session(self, hashed: str) -> None:
        """End a session."""
        self._sessions.pop(hashed, None)

    async def add_link(self, link: Link) -> None:
        """Add a one-time link."""
        self._links[link.hash] = link

    async def use_link(self, hashed: str, now_ms: int) -> Person | None:
        """Consume a link and return its person."""
        found = self._links.get(hashed)
        if found is None or hashed in self._used or found.expires_at_ms <= now_ms:
            return None
        self._used.add(hashed)
        return self._people[found.person]

    async def try_attempt(self, keys: Sequence[str], now_ms: int) -> int:
        """Count an attempt under every key as failed, or return how many ms it has to wait."""
        known = {key: self._attempts.get(key, Attempts()) for key in keys}
        wait = max((rules.wait_ms(each, now_ms) for each in known.values()), default=0)
        if wait == 0:
            for key, attempts in known.items():
                self._attempts[key] = rules.after_attempt(attempts, now_ms)
        return wait

    async def forgive_attempt(self, person: str, peer: str) -> None:
        """Take back an attempt that succeeded."""
        self._attempts.pop(person, None)
        if peer in self._attempts:
            self._attempts[peer] = rules.after_success(self._attempts[peer])

    async def purge(self, now_ms: int) -> int:
        """Delete sessions, links and attempts that ended long ago."""
        before = now_ms - PURGE_KEPT_MS
        sessions = [k for k, v in self._sessions.items() if v.expires_at_ms < before]
        links = [k for k, v in self._links.items() if v.expires_at_ms < before]
        attempts = [k for k, v in self._attempts.items() if v.last_at_ms < before]
        for key in sessions:
            del self._sessions[key]
        for key in links:
            del self._links[key]
            self._used.discard(key)
        for key in attempts:
            del self._attempts[key]
        return len(sessions) + len(links) + len(attempts)

    async def add_token(self, token: Token) -> bool:
        """Add a token; False where its account has TOKENS_MAX already."""
        self._own(token.account)
        live = [t for t in self._tokens.values() if t.account == token.account]
        if sum(1 for t in live if t.revoked_at_ms is None) >= TOKENS_MAX:
            return False
        self._tokens[token.hash] = token
        return True

    async def token(self, hashed: str) -> Token | None:
        """Return the token with this hash."""
        return self._tokens.get(hashed)

    async def tokens(self, account: str | None) -> Sequence[Token]:
        """Return an account's tokens, or all, newest first."""
        seen = [t for t in self._tokens.values() if account is None or t.account == account]
        return sorted(seen, key=lambda t: (-t.created_at_ms, t.id))[:LIST_ITEMS_MAX]

    async def revoke_token(self, token_id: str, account: str | None, now_ms: int) -> Token | None:
        """Revoke a token of the account."""
        for hashed, token in self._tokens.items():
            if token.id == token_id and (account is None or token.account == account):
                if token.revoked_at_ms is None:
                    self._tokens[hashed] = replace(token, revoked_at_ms=now_ms)
                return self._tokens[hashed]
        return None

    async def note_uses(self, uses: Mapping[str, int]) -> None:
        """Note when tokens were last used."""
        for hashed, token in self._tokens.items():
            at_ms = max(uses.get(token.id, 0), token.last_used_at_ms or 0)
            if at_ms:
                self._tokens[hashed] = replace(token, last_used_at_ms=at_ms)

    async def append_audit(self, entry: AuditEntry) -> AuditRow:
        """Append an entry to the chain."""
        last = self._audit[-1] if self._audit else self._anchor
        row = audit.link(last.hash, last.seq + 1, entry)
        self._audit.append(row)
        if entry.phase == "end":
            self._ends[entry.begins] = (entry.status, entry.who)
        return row

    async def audit(self, account: str | None, before: int | None, limit: int) -> Sequence[Audited]:
        """Return begin rows with what their end rows added, newest first."""
        seen = [
            Audited(row, *self._ends.get(row.seq, (0, "")))
            for row in reversed(self._audit)
            if row.entry.phase == "begin"
            and (before is None or row.seq < before)
            and (account is None or row.entry.account == account)
        ]
        return seen[:limit]

    async def audit_chain(self, after: int, limit: int) -> Sequence[AuditRow]:
        """Return rows in the order of the chain."""
        return [row for row in self._audit if row.seq > after][:limit]

    async def audit_anchor(self) -> ChainEnd:
        """Return the last row that was purged."""
        return self._anchor

    async def purge_audit(self, before_ms: int, now_ms: int) -> int:
        """Delete some rows of calls before a moment; return how many, 0 when done."""
        del now_ms
        older, over = 0, self._anchor
        for row in self._audit[:-1]:
            older += 1 if row.entry.at_ms < before_ms else -1
            if row.entry.at_ms < before_ms and older >= 0:
                over = ChainEnd(row.seq, row.hash)
        self._anchor = over
        gone = [row for row in self._audit if row.seq <= over.seq][:AUDIT_PURGE_ROWS]
        self._audit = self._audit[len(gone) :]
        return len(gone)

    async def kept_head(self) -> KeptHead | None:
        """Return None: nothing is kept outside."""
        return None

    def _own(self, account: str | None) -> None:
        """Raise KeyError where an account is not there, as the other store's foreign key does."""
        if account is not None and account not in self._accounts:
            raise KeyError(account)

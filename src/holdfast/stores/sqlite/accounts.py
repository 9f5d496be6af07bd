"""Accounts in a SQLite file of their own, `accounts.db`.

Another process (the command line) may write at
the same time: each transaction takes the write lock first and waits for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import apsw
from msgspec.structs import asdict

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
from holdfast.stores.queries import load_queries
from holdfast.stores.revoked import try_note
from holdfast.stores.sqlite import SQL
from holdfast.stores.sqlite.audit_head import HEAD_FILE, AuditHead
from holdfast.stores.sqlite.database import open_reader, open_store
from holdfast.stores.sqlite.store import SqliteStore

CHECKPOINT_PAGES: Final = 1_000
"""Pages of 4 KiB in the WAL at which a commit checkpoints it."""

CACHE_KIB: Final = 2_000
"""The file is small, so its writer caches few pages."""

_SEQ_MAX: Final = 2**62
_SESSION_FIELDS: Final = len(Session.__struct_fields__)


class AccountsSqlite(SqliteStore):
    """The accounts store, in a file.

    The audit's head and the ids of revoked tokens are kept in another folder, where given.
    """

    _head: AuditHead | None = None
    _beside: Path | None = None

    def keep_head_in(self, folder: Path) -> None:
        """Keep the head of the audit, and what is revoked, in a folder from now on."""
        self._head = AuditHead(folder / HEAD_FILE, self._audit_hash)
        self._beside = folder

    async def add_account(self, account: Account) -> bool:
        """Add an account; False where the name is taken."""
        return await self._change("add_account", **asdict(account)) == 1

    async def accounts(self) -> Sequence[Account]:
        """Return every account by name."""
        rows = await self._read("accounts", limit=LIST_ITEMS_MAX)
        return [Account(name=name, created_at_ms=at_ms) for name, at_ms in rows]

    async def add_person(self, person: Person) -> bool:
        """Add a person; False where the name is taken."""
        return await self._change("add_person", **asdict(person)) == 1

    async def people(self) -> Sequence[Person]:
        """Return all people by name."""
        return [_person(row) for row in await self._read("people", limit=LIST_ITEMS_MAX)]

    async def person(self, name: str) -> Person | None:
        """Return one person."""
        return next(map(_person, await self._read("person", name=name)), None)

    async def set_password(self, name: str, password_hash: str, *, keep: str) -> bool:
        """Set a person's password and end their other sessions."""

        def run(connection: apsw.Connection) -> bool:
            values = {"name": name, "password_hash": password_hash, "keep": keep}
            connection.execute(self._sql["set_password"], values)
            found = connection.changes() == 1
            connection.execute(self._sql["end_other_sessions"], values)
            return found

        return await self._writer.call(run)

    async def add_session(self, session: Session) -> None:
        """Add a session."""
        await self._change("add_session", **asdict(session))

    async def session(self, hashed: str, now_ms: int) -> tuple[Session, Person] | None:
        """Return a session that has not expired, and its person."""
        for row in await self._read("session", hash=hashed, now_ms=now_ms):
            own, person = row[:_SESSION_FIELDS], row[_SESSION_FIELDS:]
            names = Session.__struct_fields__
            return Session(**dict(zip(names, own, strict=True))), _person(person)
        return None

    async def note_session_uses(self, uses: Mapping[str, int]) -> None:
        """Note when sessions were last used."""
        rows = [{"hash": hashed, "at_ms": at_ms} for hashed, at_ms in uses.items()]

        def run(connection: apsw.Connection) -> None:
            connection.executemany(self._sql["note_session_use"], rows)

        await self._writer.call(run)

    async def end_session(self, hashed: str) -> None:
        """End a session."""
        await self._change("end_session", hash=hashed)

    async def add_link(self, link: Link) -> None:
        """Add a one-time link."""
        await self._change("add_link", **asdict(link))

    async def use_link(self, hashed: str, now_ms: int) -> Person | None:
        """Consume a link and return its person."""

        def run(connection: apsw.Connection) -> Person | None:
            values = {"hash": hashed, "now_ms": now_ms}
            for (name,) in list(connection.execute(self._sql["use_link"], values)):
                found = list(connection.execute(self._sql["person"], {"name": name}))
                return next(map(_person, found), None)
            return None

        return await self._writer.call(run)

    async def try_attempt(self, keys: Sequence[str], now_ms: int) -> int:
        """Count an attempt under every key as failed, or return how many ms it has to wait."""

        def run(connection: apsw.Connection) -> int:
            known = {key: self._attempts(connection, key) for key in keys}
            wait = max((rules.wait_ms(each, now_ms) for each in known.values()), default=0)
            if wait == 0:
                for key, attempts in known.items():
                    self._put_attempts(connection, key, rules.after_attempt(attempts, now_ms))
            return wait

        return await self._writer.call(run)

    async def forgive_attempt(self, person: str, peer: str) -> None:
        """Take back an attempt that succeeded."""

        def run(connection: apsw.Connection) -> None:
            connection.execute(self._sql["drop_attempts"], {"key": person})
            known = self._attempts(connection, peer)
            if known.failures:
                self._put_attempts(connection, peer, rules.after_success(known))

        await self._writer.call(run)

    def _attempts(self, connection: apsw.Connection, key: str) -> Attempts:
        """Return the attempts counted under a key."""
        for failures, last_at_ms in connection.execute(self._sql["attempts"], {"key": key}):
            return Attempts(failures=failures, last_at_ms=last_at_ms)
        return Attempts()

    def _put_attempts(self, connection: apsw.Connection, key: str, attempts: Attempts) -> None:
        """Store the attempts counted under a key."""
        connection.execute(self._sql["put_attempts"], {"key": key, **asdict(attempts)})

    async def purge(self, now_ms: int) -> int:
        """Delete sessions, links and attempts that ended long ago."""

        def run(connection: apsw.Connection) -> int:
            gone = 0
            for name in ("purge_sessions", "purge_links", "purge_attempts"):
                connection.execute(self._sql[name], {"before_ms": now_ms - PURGE_KEPT_MS})
                gone += connection.changes()
            return gone

        return await self._writer.call(run)

    async def add_token(self, token: Token) -> bool:
        """Add a token; False where its account has TOKENS_MAX already."""

        def run(connection: apsw.Connection) -> bool:
            counted = connection.execute(self._sql["live_tokens"], {"account": token.account})
            live: tuple[Any, ...] = counted.fetchall()[0]
            if live[0] >= TOKENS_MAX:
                return False
            connection.execute(self._sql["add_token"], asdict(token))
            return True

        return await self._writer.call(run)

    async def token(self, hashed: str) -> Token | None:
        """Return the token with this hash."""
        return next(map(_token, await self._read("token", hash=hashed)), None)

    async def tokens(self, account: str | None) -> Sequence[Token]:
        """Return an account's tokens, or all, newest first."""
        if account is None:
            rows = await self._read("all_tokens", limit=LIST_ITEMS_MAX)
        else:
            rows = await self._read("account_tokens", account=account, limit=LIST_ITEMS_MAX)
        return [_token(row) for row in rows]

    async def revoke_token(self, token_id: str, account: str | None, now_ms: int) -> Token | None:
        """Revoke a token of the account."""
        values = {"id": token_id, "account": account, "now_ms": now_ms}

        def run(connection: apsw.Connection) -> tuple[Token | None, OSError | None]:
            rows = list(connection.execute(self._sql["revoke_token"], values))
            token = next(map(_token, rows), None)
            if token is None:
                return None, None
            return token, try_note(self._beside, "token", token.id)

        token, failed = await self._writer.call(run)
        if failed is not None:
            raise failed
        return token

    async def note_uses(self, uses: Mapping[str, int]) -> None:
        """Note when tokens were last used."""
        rows = [{"id": token_id, "at_ms": at_ms} for token_id, at_ms in uses.items()]

        def run(connection: apsw.Connection) -> None:
            connection.executemany(self._sql["note_use"], rows)

        await self._writer.call(run)

    async def append_audit(self, entry: AuditEntry) -> AuditRow:
        """Append an entry to the chain."""

        def run(connection: apsw.Connection) -> AuditRow:
            seq, before = 0, audit.GENESIS
            for seq, before in connection.execute(self._sql["audit_head"]):  # noqa: B007
                pass
            row = audit.link(before, seq + 1, entry)
            values = {"seq": row.seq, "before": row.before, "hash": row.hash, **asdict(entry)}
            connection.execute(self._sql["append_audit"], values)
            return row

        appended = await self._writer.call(run)
        if self._head is not None:
            with suppress(OSError, ValueError):  # the row stands; checks say that no head is kept
                await self._head.keep(appended)
        return appended

    async def audit(self, account: str | None, before: int | None, limit: int) -> Sequence[Audited]:
        """Return begin rows with what their end rows added, newest first."""
        below = _SEQ_MAX if before is None else before
        rows = await self._read("audit", account=account, below=below, limit=limit)
        return [Audited(_audit_row(fields), status, who) for *fields, status, who in rows]

    async def audit_chain(self, after: int, limit: int) -> Sequence[AuditRow]:
        """Return rows in the order of the chain."""
        return [
            _audit_row(row) for row in await self._read("audit_chain", after=after, limit=limit)
        ]

    async def audit_anchor(self) -> ChainEnd:
        """Return the last row that was purged."""
        return next((ChainEnd(*row) for row in await self._read("audit_anchor")), ChainEnd())

    async def purge_audit(self, before_ms: int, now_ms: int) -> int:
        """Delete some rows of calls before a moment; return how many, 0 when done."""
        upto = await self.audit_anchor()
        for row in await self._read("audit_over", before_ms=before_ms):
            upto = ChainEnd(*row)
            if self._head is not None:
                last = ChainEnd(*(await self._read("audit_head"))[0])
                await self._head.note_purge(upto, last)

        def run(connection: apsw.Connection) -> int:
            values = {"seq": upto.seq, "hash": upto.hash, "now_ms": now_ms}
            connection.execute(self._sql["add_anchor"], values)
            limited = {"seq": upto.seq, "limit": AUDIT_PURGE_ROWS}
            connection.execute(self._sql["purge_audit"], limited)
            return connection.changes()

        return await self._writer.call(run)

    async def kept_head(self) -> KeptHead | None:
        """Return what is kept of the audit outside of its file; raise ValueError if damaged."""
        return None if self._head is None else await self._head.read()

    async def _audit_hash(self, seq: int) -> str:
        """Return the hash of a row, also of the last one purged; empty without it."""
        anchor = await self.audit_anchor()
        if anchor.seq == seq:
            return anchor.hash
        rows = await self.audit_chain(seq - 1, 1)
        return rows[0].hash if rows and rows[0].seq == seq else ""


def _person(row: tuple[Any, ...]) -> Person:
    return Person(**dict(zip(Person.__struct_fields__, row, strict=True)))


def _token(row: tuple[Any, ...]) -> Token:
    return Token(**dict(zip(Token.__struct_fields__, row, strict=True)))


def _audit_row(row: Sequence[Any]) -> AuditRow:
    seq, before, hashed, *fields = row
    entry = AuditEntry(**dict(zip(AuditEntry.__struct_fields__, fields, strict=True)))
    return AuditRow(seq=seq, before=before, hash=hashed, entry=entry)


def open_accounts(path: Path, *, now_ms: int, head_in: Path | None = None) -> AccountsSqlite:
    """Open the file, created and migrated if needed; raise MigrationError for a newer one.

    The head of the audit and the ids of revoked tokens are kept in the folder `head_in`.
    """
    writer = open_store(
        path, "accounts", now_ms=now_ms, cache_kib=CACHE_KIB, checkpoint_pages=CHECKPOINT_PAGES
    )
    writer.execute("PRAGMA foreign_keys = ON")
    store = AccountsSqlite(
        writer, open_reader(path), load_queries(SQL / "accounts"), name="accounts"
    )
    if head_in is not None:
        store.keep_head_in(head_in)
    return store

"""What every accounts store must do; run on memory and on SQLite."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest
from msgspec.structs import replace

from holdfast.accounts import audit
from holdfast.accounts.limits import (
    ATTEMPT_FIRST_WAIT_MS,
    ATTEMPTS_FREE,
    PURGE_KEPT_MS,
    TOKENS_MAX,
)
from holdfast.accounts.ports import AccountsStore
from holdfast.accounts.records import (
    Account,
    AuditEntry,
    ChainEnd,
    Link,
    Person,
    Session,
    Token,
)
from holdfast.stores.memory.accounts import AccountsMemory
from holdfast.stores.sqlite.accounts import AccountsSqlite, open_accounts

NOW = 1_700_000_000_000
PERSON = Person(name="ada", scope="owner", account="local", created_at_ms=NOW)
OPERATOR = Person(name="operator", scope="operator", account=None, created_at_ms=NOW)
TOKEN = Token(
    id="tok_1",
    hash="h1",
    name="ci",
    scope="owner",
    account="local",
    created_at_ms=NOW,
    created_by="ada",
)


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AccountsStore]:
    opened: AccountsMemory | AccountsSqlite = (
        AccountsMemory()
        if request.param == "memory"
        else open_accounts(tmp_path / "accounts.db", now_ms=NOW)
    )
    await opened.add_account(Account(name="local", created_at_ms=NOW))
    await opened.add_person(PERSON)
    await opened.add_person(OPERATOR)
    yield opened
    await opened.close()


async def test_a_taken_name_is_not_added_twice(store: AccountsStore) -> None:
    assert not await store.add_account(Account(name="local", created_at_ms=NOW + 1))
    assert await store.accounts() == [Account(name="local", created_at_ms=NOW)]
    assert not await store.add_person(replace(PERSON, scope="operator", account=None))
    assert await store.person("ada") == PERSON
    assert await store.people() == [PERSON, OPERATOR]
    assert await store.person("eve") is None


async def test_nothing_belongs_to_an_account_that_is_not_there(store: AccountsStore) -> None:
    with pytest.raises((KeyError, apsw.ConstraintError)):
        await store.add_person(replace(PERSON, name="eve", account="nowhere"))
    with pytest.raises((KeyError, apsw.ConstraintError)):
        await store.add_token(replace(TOKEN, account="nowhere"))
    assert await store.add_token(TOKEN)


async def test_a_session_ends_with_its_time_or_by_hand(store: AccountsStore) -> None:
    session = Session(hash="s1", person="ada", created_at_ms=NOW, expires_at_ms=NOW + 10)
    await store.add_session(session)
    assert await store.session("s1", NOW + 9) == (session, PERSON)
    assert await store.session("s1", NOW + 10) is None
    await store.end_session("s1")
    await store.end_session("s1")
    assert await store.session("s1", NOW) is None


async def test_the_last_use_of_a_session_is_kept_and_never_goes_back(store: AccountsStore) -> None:
    session = Session(
        hash="s1", person="ada", created_at_ms=NOW, expires_at_ms=NOW + 10, used_at_ms=NOW,
        bound="b",
    )  # fmt: skip
    await store.add_session(session)
    for at_ms, kept in ((NOW + 5, NOW + 5), (NOW + 3, NOW + 5)):
        await store.note_session_uses({"s1": at_ms, "nobody's": at_ms})
        assert await store.session("s1", NOW) == (replace(session, used_at_ms=kept), PERSON)


async def test_a_new_password_ends_the_other_sessions(store: AccountsStore) -> None:
    for hashed in ("s1", "s2"):
        await store.add_session(
            Session(hash=hashed, person="ada", created_at_ms=NOW, expires_at_ms=NOW + 10)
        )
    await store.add_session(
        Session(hash="s3", person="operator", created_at_ms=NOW, expires_at_ms=NOW + 10)
    )
    assert await store.set_password("ada", "argon", keep="s1")
    kept = [hashed for hashed in ("s1", "s2", "s3") if await store.session(hashed, NOW)]
    assert kept == ["s1", "s3"]
    changed = await store.person("ada")
    assert changed is not None
    assert changed.password_hash == "argon"
    assert not await store.set_password("nobody", "argon", keep="")


async def test_exactly_one_of_many_uses_a_link(store: AccountsStore) -> None:
    await store.add_link(Link(hash="l1", person="ada", created_at_ms=NOW, expires_at_ms=NOW + 10))
    got = await asyncio.gather(*(store.use_link("l1", NOW) for _ in range(20)))
    assert [person for person in got if person] == [PERSON]


async def test_a_link_expires(store: AccountsStore) -> None:
    await store.add_link(Link(hash="l1", person="ada", created_at_ms=NOW, expires_at_ms=NOW + 10))
    assert await store.use_link("l1", NOW + 10) is None
    assert await store.use_link("unknown", NOW) is None
    assert await store.use_link("l1", NOW + 9) == PERSON


async def test_attempts_at_once_do_not_pass_on_one_count(store: AccountsStore) -> None:
    waits = await asyncio.gather(*(store.try_attempt(["person:ada"], NOW) for _ in range(20)))
    assert waits.count(0) == ATTEMPTS_FREE
    assert set(waits) == {0, ATTEMPT_FIRST_WAIT_MS}


async def test_an_attempt_that_waits_is_counted_under_no_key(store: AccountsStore) -> None:
    for _ in range(ATTEMPTS_FREE):
        await store.try_attempt(["person:ada"], NOW)
    for _ in range(ATTEMPTS_FREE):
        assert await store.try_attempt(["person:ada", "peer:b"], NOW) > 0
    assert await store.try_attempt(["peer:b"], NOW) == 0


async def test_success_wipes_a_persons_failures_and_one_of_the_peers(store: AccountsStore) -> None:
    keys = ["person:ada", "peer:a"]
    for _ in range(ATTEMPTS_FREE):
        assert await store.try_attempt(keys, NOW) == 0
    assert await store.try_attempt(keys, NOW) > 0
    await store.forgive_attempt("person:ada", "peer:a")
    assert await store.try_attempt(keys, NOW) == 0
    assert await store.try_attempt(["person:ada"], NOW) == 0
    assert await store.try_attempt(["peer:a"], NOW) > 0
    await store.forgive_attempt("person:nobody", "peer:nobody")


async def test_purging_takes_only_what_is_over_for_long(store: AccountsStore) -> None:
    await store.add_session(
        Session(hash="s1", person="ada", created_at_ms=NOW, expires_at_ms=NOW + 10)
    )
    await store.add_link(Link(hash="l1", person="ada", created_at_ms=NOW, expires_at_ms=NOW + 10))
    await store.try_attempt(["person:ada"], NOW + 10)
    assert await store.purge(NOW + 10 + PURGE_KEPT_MS) == 0
    assert await store.purge(NOW + 11 + PURGE_KEPT_MS) == 3
    assert await store.session("s1", NOW) is None


async def test_tokens_are_found_listed_and_revoked_within_their_account(
    store: AccountsStore,
) -> None:
    await store.add_account(Account(name="other", created_at_ms=NOW))
    theirs = replace(TOKEN, id="tok_2", hash="h2", account="other", created_at_ms=NOW + 1)
    wide = replace(TOKEN, id="tok_3", hash="h3", scope="operator", account=None)
    for token in (TOKEN, theirs, wide):
        assert await store.add_token(token)
    assert await store.token("h2") == theirs
    assert await store.token("h9") is None
    assert await store.tokens("local") == [TOKEN]
    assert await store.tokens(None) == [theirs, TOKEN, wide]
    assert await store.revoke_token("tok_2", "local", NOW + 5) is None
    assert await store.token("h2") == theirs
    revoked = replace(theirs, revoked_at_ms=NOW + 5)
    assert await store.revoke_token("tok_2", "other", NOW + 5) == revoked
    assert await store.revoke_token("tok_2", None, NOW + 9) == revoked
    assert await store.token("h2") == revoked


async def test_an_account_has_so_many_tokens_and_no_more(store: AccountsStore) -> None:
    added = await asyncio.gather(
        *(
            store.add_token(replace(TOKEN, id=f"tok_{n}", hash=f"h{n}"))
            for n in range(TOKENS_MAX + 2)
        )
    )
    assert added.count(True) == TOKENS_MAX
    await store.revoke_token("tok_0", None, NOW)
    assert await store.add_token(replace(TOKEN, id="tok_x", hash="hx"))


async def test_the_last_use_of_a_token_never_goes_back(store: AccountsStore) -> None:
    await store.add_token(TOKEN)
    await store.note_uses({"tok_1": NOW + 5, "tok_unknown": NOW})
    await store.note_uses({"tok_1": NOW + 3})
    found = await store.token("h1")
    assert found is not None
    assert found.last_used_at_ms == NOW + 5


async def test_the_audit_is_a_chain_however_many_write(store: AccountsStore) -> None:
    entries = [
        AuditEntry(at_ms=NOW + n, phase="begin", who="ada", account="local") for n in range(50)
    ]
    rows = await asyncio.gather(*(store.append_audit(entry) for entry in entries))
    assert sorted(row.seq for row in rows) == list(range(1, 51))
    chain = await store.audit_chain(0, 100)
    assert audit.first_broken(chain) is None
    assert sorted(row.entry.at_ms for row in chain) == [entry.at_ms for entry in entries]
    assert [row.seq for row in await store.audit_chain(48, 100)] == [49, 50]


async def test_the_audit_lists_calls_with_what_answered_them(store: AccountsStore) -> None:
    first = await store.append_audit(AuditEntry(at_ms=NOW, phase="begin", account="local"))
    second = await store.append_audit(AuditEntry(at_ms=NOW, phase="begin", account=None))
    await store.append_audit(
        AuditEntry(at_ms=NOW, phase="end", begins=first.seq, status=201, who="ada")
    )
    assert await store.audit(None, None, 10) == [(second, 0, ""), (first, 201, "ada")]
    assert await store.audit("local", None, 10) == [(first, 201, "ada")]
    assert await store.audit(None, second.seq, 10) == [(first, 201, "ada")]
    assert await store.audit(None, None, 1) == [(second, 0, "")]


async def test_old_rows_of_the_audit_are_purged_and_the_rest_names_what_was_before(
    store: AccountsStore,
) -> None:
    for n in range(6):
        await store.append_audit(AuditEntry(at_ms=NOW + n, phase="begin", account="local"))
    rows = await store.audit_chain(0, 10)
    assert await store.audit_anchor() == ChainEnd(0, audit.GENESIS)
    assert await store.purge_audit(NOW, NOW + 9) == 0
    assert await store.purge_audit(NOW + 3, NOW + 9) == 3
    assert await store.purge_audit(NOW + 3, NOW + 9) == 0
    anchor = await store.audit_anchor()
    assert anchor == ChainEnd(3, rows[2].hash)
    assert await store.audit_chain(0, 10) == rows[3:]
    assert audit.first_broken(rows[3:], seq=anchor.seq, before=anchor.hash) is None
    assert await store.purge_audit(NOW + 99, NOW + 99) == 2, "the last row stays"
    last = await store.append_audit(AuditEntry(at_ms=NOW, phase="begin"))
    assert (last.seq, last.before) == (7, rows[5].hash)

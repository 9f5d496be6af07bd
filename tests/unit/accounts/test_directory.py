from __future__ import annotations

import pytest
from msgspec.structs import replace

from holdfast.accounts.access import Access
from holdfast.accounts.directory import AccountDirectory
from holdfast.accounts.limits import ATTEMPTS_FREE, LINK_LIFE_MS
from holdfast.accounts.passwords import Argon2
from holdfast.accounts.records import AuditEntry
from holdfast.kernel.clock import ManualClock
from holdfast.stores.memory.accounts import AccountsMemory
from holdfast.wire.api.call import Refusal
from tests.support.stub_plane import Chance, PlainHasher

PASSWORD = "correct horse battery"


class Rig:
    def __init__(self) -> None:
        self.store = AccountsMemory()
        self.clock = ManualClock()
        self.refusal: Refusal | None = None
        self.directory = AccountDirectory(
            self.store,
            PlainHasher(),
            access=Access(self.store, clock=self.clock),
            clock=self.clock,
            entropy=Chance(),
            admit=self.admit,
        )

    async def admit(self) -> None:
        """Admit another account unless `refusal` is set."""
        if self.refusal is not None:
            raise self.refusal


@pytest.fixture
async def rig() -> Rig:
    made = Rig()
    await made.directory.prepare()
    await made.directory.set_password(
        "operator", PASSWORD, current="", session_hash="", peer="192.0.2.9"
    )
    return made


async def refused(rig: Rig, name: str, password: str, peer: str = "192.0.2.1") -> Refusal:
    with pytest.raises(Refusal) as caught:
        await rig.directory.sign_in_by_password(name, password, peer=peer)
    return caught.value


async def test_the_first_run_makes_an_operator_without_a_password() -> None:
    made = Rig()
    assert await made.directory.prepare()
    assert not await made.directory.prepare()
    people = await made.store.people()
    assert [(p.name, p.scope, p.password_hash) for p in people] == [("operator", "operator", "")]
    assert (await refused(made, "operator", "")).status == 401


async def test_a_link_signs_in_once_and_for_a_quarter_of_an_hour(rig: Rig) -> None:
    secret, link = await rig.directory.make_link("operator")
    assert secret not in str(link)
    assert (await rig.directory.sign_in_by_link(secret, peer="p")).person.name == "operator"
    with pytest.raises(Refusal, match="401 link_not_valid"):
        await rig.directory.sign_in_by_link(secret, peer="p")
    late, _ = await rig.directory.make_link("operator")
    rig.clock.advance(LINK_LIFE_MS)
    with pytest.raises(Refusal, match="401 link_not_valid"):
        await rig.directory.sign_in_by_link(late, peer="p")
    with pytest.raises(Refusal, match="404 no_such_person"):
        await rig.directory.make_link("nobody")


async def test_a_wrong_name_and_a_wrong_password_look_alike(rig: Rig) -> None:
    one = await refused(rig, "operator", "wrong", peer="192.0.2.1")
    other = await refused(rig, "nobody", "wrong", peer="192.0.2.2")
    assert one.status == other.status == 401
    assert one.problem == other.problem


async def test_after_many_failures_even_the_right_password_waits(rig: Rig) -> None:
    for n in range(ATTEMPTS_FREE):
        assert (await refused(rig, "operator", "wrong", peer=f"192.0.2.{n}")).status == 401
    held = await refused(rig, "operator", PASSWORD, peer="192.0.2.77")
    assert held.status == 429
    assert held.retry_after_s == 2
    rig.clock.advance(2_000)
    signed_in = await rig.directory.sign_in_by_password("operator", PASSWORD, peer="192.0.2.77")
    assert signed_in.person.name == "operator"


async def test_a_peer_that_tries_many_names_waits_and_a_link_from_elsewhere_does_not(
    rig: Rig,
) -> None:
    for n in range(ATTEMPTS_FREE):
        assert (await refused(rig, f"name{n}", "wrong")).status == 401
    assert (await refused(rig, "another", "wrong")).status == 429
    secret, _ = await rig.directory.make_link("operator")
    assert await rig.directory.sign_in_by_link(secret, peer="198.51.100.1")


async def test_a_link_gets_in_whatever_its_peer_failed_at_before(rig: Rig) -> None:
    secret, _ = await rig.directory.make_link("operator")
    for n in range(ATTEMPTS_FREE):
        assert (await refused(rig, f"name{n}", "wrong")).status == 401
    assert (await refused(rig, "another", "wrong")).status == 429
    assert await rig.directory.sign_in_by_link(secret, peer="192.0.2.1")


async def test_links_that_are_guessed_make_their_peer_wait(rig: Rig) -> None:
    guess = "hfl_" + "A" * 43
    for _ in range(ATTEMPTS_FREE):
        with pytest.raises(Refusal, match="401 link_not_valid"):
            await rig.directory.sign_in_by_link(guess, peer="192.0.2.1")
    with pytest.raises(Refusal, match="429 too_many_attempts"):
        await rig.directory.sign_in_by_link(guess, peer="192.0.2.1")


async def test_changing_a_password_asks_for_the_current_one(rig: Rig) -> None:
    with pytest.raises(Refusal, match="409 wrong_password"):
        await rig.directory.set_password(
            "operator", "another long one", current="wrong", session_hash="", peer="p"
        )
    await rig.directory.set_password(
        "operator", "another long one", current=PASSWORD, session_hash="", peer="p"
    )
    assert await rig.directory.sign_in_by_password("operator", "another long one", peer="p")


async def test_nothing_is_made_for_an_account_that_is_not_there(rig: Rig) -> None:
    with pytest.raises(Refusal, match="404 no_such_account"):
        await rig.directory.make_token("t", scope="owner", account="nowhere", created_by="t")
    with pytest.raises(Refusal, match="404 no_such_account"):
        await rig.directory.make_person("eve", scope="owner", account="nowhere")
    with pytest.raises(Refusal, match="409 name_taken"):
        await rig.directory.make_account("local")
    with pytest.raises(Refusal, match="409 name_taken"):
        await rig.directory.make_person("operator", scope="owner", account=None)


async def test_who_is_not_admitted_makes_no_account(rig: Rig) -> None:
    rig.refusal = Refusal(409, "unconfined", "nothing confines agents here")
    with pytest.raises(Refusal, match="409 unconfined"):
        await rig.directory.make_account("other")
    with pytest.raises(Refusal, match="409 name_taken"):
        await rig.directory.make_account("local")
    rig.refusal = None
    await rig.directory.make_account("other")
    alone = AccountDirectory(
        rig.store, PlainHasher(), access=Access(rig.store, clock=rig.clock),
        clock=rig.clock, entropy=Chance(),
    )  # fmt: skip
    with pytest.raises(Refusal, match="409 not_here"):
        await alone.make_account("third")
    assert [account.name for account in await rig.store.accounts()] == ["local", "other"]


async def test_checking_the_audit_names_the_first_row_that_does_not_fit(rig: Rig) -> None:
    for n in range(450):
        await rig.store.append_audit(AuditEntry(at_ms=n, phase="begin"))
    verdict = await rig.directory.check_audit()
    assert (verdict.rows, verdict.broken_at) == (450, None)
    changed = rig.store._audit[320]
    rig.store._audit[320] = replace(changed, entry=replace(changed.entry, who="eve"))
    assert (await rig.directory.check_audit()).broken_at == 321


async def test_argon2_tells_right_from_wrong_and_damaged() -> None:
    hasher = Argon2(memory_kib=64, passes=1)
    hashed = await hasher.hash(PASSWORD)
    assert PASSWORD not in hashed
    assert hashed.startswith("$argon2id$")
    assert await hasher.matches(hashed, PASSWORD)
    assert not await hasher.matches(hashed, "wrong")
    assert not await hasher.matches("", "a password that nobody has")
    assert not await hasher.matches("$argon2id$damaged", PASSWORD)
    hasher.close()

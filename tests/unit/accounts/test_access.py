from __future__ import annotations

import asyncio

import pytest

from holdfast.accounts.access import Access
from holdfast.accounts.directory import AccountDirectory
from holdfast.accounts.limits import (
    CACHE_ITEMS_MAX,
    CACHE_LIFE_MS,
    SESSION_IDLE_MS,
    SESSION_LIFE_MS,
)
from holdfast.accounts.records import Token
from holdfast.kernel.clock import ManualClock
from holdfast.stores.memory.accounts import AccountsMemory
from tests.support.stub_plane import Chance, PlainHasher


class Counted(AccountsMemory):
    """A store that counts its look-ups, and can hold one until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0
        self.go_on: asyncio.Event | None = None

    async def token(self, hashed: str) -> Token | None:
        self.looks += 1
        found = await super().token(hashed)
        if self.go_on is not None:
            await self.go_on.wait()
        return found


class Rig:
    def __init__(self) -> None:
        self.store = Counted()
        self.clock = ManualClock()
        self.access = Access(self.store, clock=self.clock)
        self.directory = AccountDirectory(
            self.store, PlainHasher(), access=self.access, clock=self.clock, entropy=Chance()
        )


@pytest.fixture
async def rig() -> Rig:
    made = Rig()
    assert await made.directory.prepare()
    return made


async def make(rig: Rig, life_s: int | None = None) -> tuple[str, Token]:
    return await rig.directory.make_token(
        "ci", scope="owner", account=None, created_by="t", life_s=life_s
    )


async def test_a_token_is_looked_up_once_in_five_seconds(rig: Rig) -> None:
    secret, token = await make(rig)
    for _ in range(10):
        principal = await rig.access.by_token(secret)
        assert principal is not None
        assert (principal.account, principal.scope, principal.token_id) == (
            "local", "owner", token.id,
        )  # fmt: skip
    assert rig.store.looks == 1
    rig.clock.advance(CACHE_LIFE_MS)
    await rig.access.by_token(secret)
    assert rig.store.looks == 2


async def test_a_revocation_here_is_felt_at_once(rig: Rig) -> None:
    secret, token = await make(rig)
    assert await rig.access.by_token(secret)
    await rig.directory.revoke_token(token.id, account=None)
    assert await rig.access.by_token(secret) is None


async def test_a_revocation_in_another_process_is_felt_within_five_seconds(rig: Rig) -> None:
    secret, token = await make(rig)
    assert await rig.access.by_token(secret)
    await rig.store.revoke_token(token.id, None, rig.clock.now_ms())
    rig.clock.advance(CACHE_LIFE_MS)
    assert await rig.access.by_token(secret) is None


async def test_a_look_up_under_way_during_a_revocation_is_not_remembered(rig: Rig) -> None:
    secret, token = await make(rig)
    rig.store.go_on = asyncio.Event()
    under_way = asyncio.create_task(rig.access.by_token(secret))
    await asyncio.sleep(0)
    await rig.directory.revoke_token(token.id, account=None)
    rig.store.go_on.set()
    await under_way
    assert await rig.access.by_token(secret) is None


async def test_a_token_stops_at_its_time(rig: Rig) -> None:
    secret, _ = await make(rig, life_s=60)
    rig.clock.advance(58_000)
    assert await rig.access.by_token(secret)
    rig.clock.advance(2_000)
    assert await rig.access.by_token(secret) is None


async def test_what_does_not_look_like_a_token_costs_no_look_up(rig: Rig) -> None:
    for text in ("", "hf_", "nonsense", "hfs_" + "A" * 43, "hf_" + "A" * 44, "hf_" + "!" * 43):
        assert await rig.access.by_token(text) is None
    assert rig.store.looks == 0


async def test_wrong_tokens_are_remembered_and_the_memory_is_bounded(rig: Rig) -> None:
    for n in range(CACHE_ITEMS_MAX + 5):
        assert await rig.access.by_token(f"hf_{n:043d}") is None
    assert rig.store.looks == CACHE_ITEMS_MAX + 5
    assert await rig.access.by_token(f"hf_{CACHE_ITEMS_MAX + 4:043d}") is None
    assert rig.store.looks == CACHE_ITEMS_MAX + 5
    assert len(rig.access._known) == CACHE_ITEMS_MAX


async def test_the_last_use_is_written_in_batches(rig: Rig) -> None:
    secret, token = await make(rig)
    for _ in range(5):
        await rig.access.by_token(secret)
    assert await rig.access.flush() == 1
    assert await rig.access.flush() == 0
    found = await rig.store.token(token.hash)
    assert found is not None
    assert found.last_used_at_ms is not None
    assert 0 <= rig.clock.now_ms() - found.last_used_at_ms < 60_000


async def test_a_session_ends_with_its_time_by_hand_and_by_a_new_password(rig: Rig) -> None:
    async def sign_in() -> str:
        secret, _ = await rig.directory.make_link("operator")
        return (await rig.directory.sign_in_by_link(secret, peer="192.0.2.1")).secret

    first, second = await sign_in(), await sign_in()
    principal = await rig.access.by_session(first, "")
    assert principal is not None
    assert principal.kind == "session"
    await rig.directory.set_password(
        "operator", "correct horse battery", current="", session_hash=principal.token_id, peer="p"
    )
    assert await rig.access.by_session(first, "")
    assert await rig.access.by_session(second, "") is None
    await rig.directory.sign_out(principal.token_id)
    assert await rig.access.by_session(first, "") is None
    third = await sign_in()
    for _ in range(SESSION_LIFE_MS // SESSION_IDLE_MS * 2 - 1):
        rig.clock.advance(SESSION_IDLE_MS // 2)
        assert await rig.access.by_session(third, ""), "it is used"
    rig.clock.advance(SESSION_IDLE_MS // 2)
    assert await rig.access.by_session(third, "") is None


async def test_a_session_that_is_not_used_ends_also_for_a_plane_that_starts_again(
    rig: Rig,
) -> None:
    secret, _ = await rig.directory.make_link("operator")
    session = (await rig.directory.sign_in_by_link(secret, peer="p", bound="fox")).secret
    rig.clock.advance(SESSION_IDLE_MS - 1)
    assert await rig.access.by_session(session, "fox")
    assert await rig.access.flush() == 1
    rig.clock.advance(SESSION_IDLE_MS // 2)
    again = Access(rig.store, clock=rig.clock)
    found = await again.by_session(session, "fox")
    assert found is not None, "the use before was written down"
    assert await again.by_session_hash(found.token_id) == found, "an agent's page uses it too"
    rig.clock.advance(SESSION_IDLE_MS)
    assert await again.by_session(session, "fox") is None
    assert await again.by_session_hash(found.token_id) is None


async def test_a_session_stays_with_the_browser_that_began_it(rig: Rig) -> None:
    secret, _ = await rig.directory.make_link("operator")
    session = (await rig.directory.sign_in_by_link(secret, peer="p", bound="fox")).secret
    for bound, works in (("curl", False), ("fox", True), ("", False), ("fox", True)):
        assert (await rig.access.by_session(session, bound) is not None) == works

"""Keys of browsers in every store of content, on memory and on SQLite."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from holdfast.content.ports import ContentStore
from holdfast.content.records import BrowserKey, SealedKey
from holdfast.stores.memory.content import MemoryContent
from holdfast.stores.sqlite.content import open_content
from holdfast.wire.limits import BROWSER_COPIES_MAX, BROWSER_KEYS_MAX

NOW = 1_796_000_000_000


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ContentStore]:
    opened: ContentStore = (
        MemoryContent()
        if request.param == "memory"
        else open_content(tmp_path / "content.db", now_ms=NOW)
    )
    yield opened
    await opened.close()


def browser(name: str = "a", account: str = "local", **fields: Any) -> BrowserKey:
    made = BrowserKey(
        account=account, id=f"bk_{name}", name=name, kind="browser", public_key=f"key {name}",
        locked="", created_ms=NOW, created_by="olga",
    )  # fmt: skip
    return replace(made, **fields)


def copy(name: str = "a", node: str = "nd_1", *, key_id: str = "k", at_ms: int = NOW) -> SealedKey:
    return SealedKey(
        account="local", browser=f"bk_{name}", node=node, key_id=key_id,
        sealed=f"{name} {node} {key_id} {at_ms}", at_ms=at_ms, by="session:olga",
    )  # fmt: skip


async def test_a_key_is_kept_once_and_seen_by_its_account(store: ContentStore) -> None:
    assert await store.add_browser(browser())
    assert not await store.add_browser(browser(name="a", created_ms=NOW + 1))
    assert await store.add_browser(browser(account="other"))
    assert await store.add_browser(browser("b", created_ms=NOW + 2))
    assert [one.name for one in await store.browsers("local", limit=9)] == ["b", "a"]
    assert len(await store.browsers(None, limit=9)) == 3
    assert len(await store.browsers(None, limit=2)) == 2


async def test_a_copy_needs_a_browser_that_is_not_revoked(store: ContentStore) -> None:
    assert await store.add_sealed_key(copy(), renews=True) == "no_browser"
    await store.add_browser(browser())
    assert await store.add_sealed_key(copy(), renews=True) == ""
    assert await store.add_sealed_key(copy(node="nd_2"), renews=True) == ""
    await store.add_browser(browser("b"))
    assert await store.add_sealed_key(copy("b"), renews=True) == ""
    await store.revoke_browser("local", "bk_a", NOW + 5)
    await store.revoke_browser("local", "bk_a", NOW + 9)
    (gone,) = [one for one in await store.browsers("local", limit=9) if one.id == "bk_a"]
    assert gone.revoked_ms == NOW + 5
    assert [one.browser for one in await store.sealed_keys("nd_1", "local")] == ["bk_b"]
    assert await store.sealed_keys("nd_2", "local") == []
    assert await store.add_sealed_key(copy(), renews=True) == "no_browser"
    assert not await store.add_browser(browser()), "a key that was revoked stays revoked"


async def test_copies_are_of_the_account_of_their_browser(store: ContentStore) -> None:
    await store.add_browser(browser(account="other"))
    assert await store.add_sealed_key(copy(), renews=True) == "no_browser"
    await store.add_sealed_key(replace(copy(), account="other"), renews=True)
    assert await store.sealed_keys("nd_1", "local") == []


async def test_the_newest_keys_of_a_node_are_kept(store: ContentStore) -> None:
    await store.add_browser(browser())
    for at in range(BROWSER_COPIES_MAX + 2):
        await store.add_sealed_key(copy(key_id=f"k{at}", at_ms=NOW + at), renews=True)
    kept = [one.key_id for one in await store.sealed_keys("nd_1", "local")]
    assert kept == [f"k{at}" for at in range(BROWSER_COPIES_MAX + 1, 1, -1)]
    again = copy(key_id=kept[-1], at_ms=NOW + 99)
    await store.add_sealed_key(again, renews=True)
    assert (await store.sealed_keys("nd_1", "local"))[0] == again


async def test_an_account_has_room_for_so_many_and_revoked_ones_make_room(
    store: ContentStore,
) -> None:
    for at in range(BROWSER_KEYS_MAX):
        assert await store.add_browser(browser(f"{at:03}"))
    assert not await store.add_browser(browser("more"))
    await store.revoke_browser("local", "bk_000", NOW)
    assert await store.add_browser(browser("more"))


async def test_a_copy_makes_way_only_for_one_of_its_giver(store: ContentStore) -> None:
    await store.add_browser(browser())
    await store.add_browser(browser("b"))
    await store.add_sealed_key(copy(), renews=False)
    stranger = replace(copy(at_ms=NOW + 1), by="node-key:x", sealed="theirs")
    assert await store.add_sealed_key(stranger, renews=True) == "known"
    assert await store.add_sealed_key(copy(at_ms=NOW + 1), renews=False) == "known"
    assert await store.add_sealed_key(copy("b"), renews=True, alone=True) == "not_alone"
    assert await store.add_sealed_key(copy(at_ms=NOW + 1), renews=True, alone=True) == ""
    for at in range(BROWSER_COPIES_MAX + 2):
        theirs = replace(stranger, key_id=f"k{at}", at_ms=NOW + 9 + at)
        assert await store.add_sealed_key(theirs, renews=True) == ""
    kept = [(one.key_id, one.by) for one in await store.sealed_keys("nd_1", "local")]
    newest = range(BROWSER_COPIES_MAX + 1, 2, -1)
    assert kept == [*((f"k{at}", "node-key:x") for at in newest), ("k", "session:olga")]
    more = copy(key_id="more", at_ms=NOW + 99)
    assert await store.add_sealed_key(more, renews=False) == "full"
    assert await store.add_sealed_key(more, renews=True) == "", "in place of its own older one"
    assert "k" not in [one.key_id for one in await store.sealed_keys("nd_1", "local")]


async def test_a_key_is_found_by_its_id_and_forgets_what_it_locked(store: ContentStore) -> None:
    for account in ("local", "other"):
        await store.add_browser(browser(account=account, locked="x"))
    assert [one.account for one in await store.browsers_of_id(None, "bk_a")] == ["local", "other"]
    await store.revoke_browser("local", "bk_a", NOW)
    (gone,) = await store.browsers_of_id("local", "bk_a")
    (left,) = await store.browsers_of_id("other", "bk_a")
    assert (gone.locked, gone.revoked_ms, left.locked, left.revoked_ms) == ("", NOW, "x", None)
    assert await store.browsers_of_id("local", "bk_b") == []

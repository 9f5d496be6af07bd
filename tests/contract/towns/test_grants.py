"""Every store of tokens of attempts keeps to the same words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.kernel.clock import DAY_MS
from holdfast.stores.memory.towns import MemoryTownRecords
from holdfast.stores.sqlite.towns import open_towns
from holdfast.towns.attempts import AttemptStore, Grant

NOW = 20_000 * DAY_MS


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AttemptStore]:
    if request.param == "memory":
        yield MemoryTownRecords()
        return
    made = open_towns(tmp_path / "towns.db", now_ms=NOW)
    yield made
    await made.close()


def grant(agent: str, attempt: str, town: str = "t1") -> Grant:
    hashed = f"hash of {town} {agent} {attempt}"
    return Grant(hash=hashed, town=town, agent=agent, attempt=attempt, issued_ms=NOW)


async def test_an_agent_has_one_grant_the_last(store: AttemptStore) -> None:
    await store.put_grant(grant("b", "e1"))
    await store.put_grant(grant("a", "e2"))
    await store.put_grant(grant("b", "e3"))
    await store.put_grant(grant("b", "e3"))
    await store.put_grant(grant("b", "e4", "t2"))
    kept = [grant("a", "e2"), grant("b", "e3"), grant("b", "e4", "t2")]
    assert [*await store.grants()] == kept


async def test_what_is_dropped_is_gone_and_unknown_hashes_are_skipped(store: AttemptStore) -> None:
    for one in "abc":
        await store.put_grant(grant(one, "e"))
    await store.drop_grants([grant("a", "e").hash, grant("c", "e").hash, "unknown"])
    await store.drop_grants([])
    assert [*await store.grants()] == [grant("b", "e")]


async def test_grants_outlive_the_process(tmp_path: Path) -> None:
    store = open_towns(tmp_path / "towns.db", now_ms=NOW)
    await store.put_grant(grant("a", "e"))
    await store.close()
    store = open_towns(tmp_path / "towns.db", now_ms=NOW)
    assert [*await store.grants()] == [grant("a", "e")]
    await store.close()

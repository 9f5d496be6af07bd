"""Credentials of rigs: bound to their rig, and sealed anew when the key is rotated."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.instances.ports import UnsealError
from holdfast.plane.rig_tokens import RigTokens, SealedRigs
from holdfast.plane.secret_encryption import make_keyring, rotate, sealed_by
from holdfast.plane.wiring.key_uses import uses
from holdfast.stores.memory.towns import MemoryTownRecords
from holdfast.stores.sqlite.towns import open_towns
from holdfast.towns.records import RigSettings

TOKEN = "ghp_of-a-rig"


def rig(name: str, token: str) -> RigSettings:
    return RigSettings(rig=name, repository="https://forge.test/web", token=token)


def test_a_credential_opens_for_its_rig_alone_and_none_is_empty(tmp_path: Path) -> None:
    tokens = RigTokens(make_keyring(tmp_path, now_ms=1))
    sealed = tokens.seal("t1", "web", TOKEN)
    assert TOKEN not in sealed
    assert tokens.open("t1", rig("web", sealed)).reveal() == TOKEN
    assert tokens.open("t1", rig("web", "")).reveal() == ""
    for town, other in (("t2", "web"), ("t1", "api")):
        with pytest.raises(UnsealError, match=f"token of rig {other}"):
            tokens.open(town, rig(other, sealed))


async def test_a_rotation_seals_credentials_anew_and_waits_for_no_lost_key(tmp_path: Path) -> None:
    ring, records = make_keyring(tmp_path, now_ms=1), MemoryTownRecords()
    tokens, rigs = RigTokens(ring), SealedRigs(records, ring)
    await records.put_rig("t1", rig("web", tokens.seal("t1", "web", TOKEN)))
    await records.put_rig("t1", rig("lost", "hf1.0badc0de.AAAA"))
    assert await rigs.stale() == []
    ring.follow(rotate(tmp_path, now_ms=2))
    assert [settings.rig for _, settings in await rigs.stale()] == ["web"]
    assert (await rigs.reseal(), await rigs.stale()) == (1, [])
    found = await records.rig("t1", "web")
    assert found is not None
    assert found.token.startswith(sealed_by(ring.newest))
    assert tokens.open("t1", found).reveal() == TOKEN


async def test_a_key_that_a_rig_needs_is_in_use(tmp_path: Path) -> None:
    ring = make_keyring(tmp_path, now_ms=1)
    store = open_towns(tmp_path / "towns.db", now_ms=1)
    await store.put_rig("t1", rig("web", RigTokens(ring).seal("t1", "web", TOKEN)))
    await store.close()
    (found,) = await uses(tmp_path, ring, ring.newest)
    assert found.startswith("the credential of rig web of t1")
    assert await uses(tmp_path, ring, "another") == []

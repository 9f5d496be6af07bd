"""Keys and nodes in memory: what a machine may make without a limit does not add up."""

from __future__ import annotations

import random

import pytest

from holdfast.content import limits
from holdfast.content.directory import Directory
from holdfast.kernel.clock import MINUTE_MS, ManualClock
from holdfast.kernel.log import NoLog
from holdfast.stores.memory.content import MemoryContent
from holdfast.wire.api.call import Refusal


class Rig:
    """A directory over a store in memory."""

    def __init__(self) -> None:
        self.clock, self.store = ManualClock(1_796_000_000_000), MemoryContent()
        self.directory = Directory(
            self.store, clock=self.clock, entropy=random.Random(1).randbytes, log=NoLog()
        )

    async def register(self, instance: str = "i-1") -> str:
        """Have the machine of an instance register; return its key's secret."""
        self.clock.advance(MINUTE_MS)
        secret, key = await self.directory.make_key(
            instance, account="local", node=instance, instance=instance, created_by="test"
        )
        await self.directory.node(key, instance)
        return secret


async def test_a_machine_that_registers_without_end_has_the_newest_few_keys() -> None:
    rig = Rig()
    other = await rig.register("i-2")
    secrets = [await rig.register() for _ in range(50)]
    valid = [one for one in secrets if rig.directory.owner(one) is not None]
    assert valid == secrets[-limits.KEYS_PER_INSTANCE :]
    assert rig.directory.owner(other) is not None
    kept = {key.id for key in (await rig.store.load()).keys}
    assert kept == {key.id for key in rig.directory.keys_of("local")}
    assert len(kept) == limits.KEYS_PER_INSTANCE + 1
    assert len(rig.directory._by_hash) == len(kept)
    assert len(rig.directory._of_key) <= len(kept)
    again = Rig()
    again.directory._store = rig.store
    await again.directory.load()
    assert [one for one in secrets if again.directory.owner(one) is not None] == valid


async def test_the_last_use_of_a_superseded_key_does_not_stop_the_flush() -> None:
    rig = Rig()
    secrets = [await rig.register() for _ in range(limits.KEYS_PER_INSTANCE)]
    for secret in (secrets[0], secrets[-1]):
        assert rig.directory.owner(secret) is not None

    class Superseding(MemoryContent):
        """Has the first key superseded while contacts are written."""

        async def put_nodes(self, nodes: object) -> None:
            await rig.register()

    rig.directory._store = Superseding()
    key = rig.directory.keys_of(None)[0]
    rig.directory.hear(rig.directory.nodes_of(None)[0], "program", key)
    await rig.directory.flush()
    used = [key.last_used_ms for key in rig.directory.keys_of("local")]
    assert sum(at_ms is not None for at_ms in used) == 1, "the other key's use is written"


async def test_keys_of_an_account_are_counted_as_they_come_and_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "KEYS_PER_ACCOUNT", 2)
    rig = Rig()

    async def make() -> str:
        _, key = await rig.directory.make_key("k", account="local", created_by="test")
        return key.id

    first = await make()
    await make()
    for _ in range(2):
        with pytest.raises(Refusal, match="too_many_keys"):
            await make()
        await rig.directory.make_key("k", account="other", created_by="test")
    for _ in range(2):
        await rig.directory.revoke_key(first, account=None)
    await make()
    with pytest.raises(Refusal, match="too_many_keys"):
        await make()

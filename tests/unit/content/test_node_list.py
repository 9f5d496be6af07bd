"""Lists of many nodes are read in parts, and each node is on one page of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from holdfast.content import limits
from holdfast.content.directory import Directory
from holdfast.content.gaps import Gaps
from holdfast.content.handlers import ContentCalls
from holdfast.content.presence import Presence
from holdfast.content.records import Node
from holdfast.kernel.clock import ManualClock
from holdfast.kernel.log import NoLog
from holdfast.plane.wiring.content import HeldPolls
from holdfast.stores.memory.content import MemoryContent
from holdfast.telemetry.long_poll import WakeHub
from holdfast.wire.api.call import Call, Principal
from holdfast.wire.consent import node_of_name
from tests.support.toys.consents import ToyConsents

OWNER = Principal("olga", "owner", "local", "session", "s")


def nodes(count: int) -> ContentCalls:
    """Return the calls over an account's nodes `n00000`, `n00001`, …"""
    clock, store = ManualClock(1_796_000_000_000), MemoryContent()
    directory = Directory(store, clock=clock, entropy=lambda n: b"e" * n, log=NoLog())
    for no in range(count):
        name = f"n{no:05}"
        directory._put_node(
            Node(no=no, id=node_of_name("local", name), account="local", name=name, key="k")
        )

    async def exists(account: str) -> bool:
        return account == "local"

    presence = Presence(HeldPolls(WakeHub()), clock=clock)
    return ContentCalls(
        store, directory, presence, Gaps(), consents=ToyConsents(), account_exists=exists,
        default_account="local", quota=1, name_of=lambda _: "",
    )  # fmt: skip


async def listed(calls: ContentCalls, **query: str) -> Any:
    return (await calls.list_nodes(Call("content.nodes", OWNER, query=query))).body


async def turns_beside(work: Awaitable[Any]) -> int:
    """Return how often others ran while work was done."""
    turns, is_done = 0, False

    async def other() -> None:
        nonlocal turns
        while not is_done:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(other())
    await work
    is_done = True
    await beside
    return turns


async def test_a_name_is_looked_for_in_parts() -> None:
    calls = nodes(limits.NODES_IN_PART * 3)
    assert [one.name for one in (await listed(calls, name="n05999")).items] == ["n05999"]
    assert await turns_beside(listed(calls, name="n05999")) >= 3


async def test_each_node_is_on_one_page() -> None:
    calls = nodes(7)
    found: list[str] = []
    after: dict[str, str] = {}
    while True:
        page = await listed(calls, limit="3", **after)
        found += [one.name for one in page.items]
        if not page.next:
            break
        after = {"after": page.next}
    assert found == [f"n{no:05}" for no in range(7)]

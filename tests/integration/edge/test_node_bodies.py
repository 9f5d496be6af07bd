"""Large bodies of nodes are in memory up to a number of bytes, however many senders there are."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from holdfast.plane.edge.ports import EdgeLimits
from holdfast.wire.api.call import Call, Principal, Reply
from holdfast.wire.api.clawmetry import NodeAnswer
from holdfast.wire.limits import BODY_BYTES_MAX, NODE_BODY_BYTES_MAX
from tests.support import stub_plane
from tests.support.asgi import scope_of
from tests.support.patience import patience
from tests.support.stub_plane import StubPlane

LARGE = 2 * BODY_BYTES_MAX


class Sender:
    """One upload whose body is asked for and not yet sent."""

    def __init__(self, plane: StubPlane, key: str, size: int, *, declared: bool = True) -> None:
        self.asked = self.answered = False
        self._body = asyncio.Event()
        self._size = size
        headers = {"content-type": "application/json", "x-api-key": key}
        headers |= {"content-length": str(size)} if declared else {"transfer-encoding": "chunked"}
        scope = scope_of("POST", "/ingest/events", headers, "192.0.2.1")
        self.task = asyncio.create_task(plane.edge(scope, self._receive, self._send))

    async def _receive(self) -> Any:
        self.asked = True
        await self._body.wait()
        return {"type": "http.request", "body": b'{"id": "' + b"x" * (self._size - 10) + b'"}'}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            assert message["status"] == 200
            self.answered = True

    async def finish(self) -> None:
        self._body.set()
        await asyncio.wait_for(self.task, patience(10))
        assert self.answered


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return keys, each of another observer."""

    def owner(key: str) -> Principal:
        return Principal("node", "node", "local", "key", token_id=f"nk_{key}")

    monkeypatch.setattr(stub_plane, "node_of", owner)
    return [f"cm_{number:032x}" for number in range(8)]


def plane_with(limits: EdgeLimits) -> StubPlane:
    async def take(_call: Call) -> Reply:
        return Reply(NodeAnswer(ok=True, sync_allowed=False, reason="intent_pending"))

    return StubPlane(overrides={"clawmetry.events": take}, options={"limits": limits})


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_no_more_bodies_are_read_than_there_is_room_for(keys: list[str]) -> None:
    plane = plane_with(EdgeLimits(node_bodies=3 * LARGE, node_bodies_each=2 * LARGE))
    senders = [Sender(plane, key, LARGE) for key in keys]
    await settled()
    assert [one.asked for one in senders] == [True] * 3 + [False] * 5
    small = Sender(plane, keys[0], 100)
    await small.finish()
    for one in senders:
        await one.finish()


async def test_one_key_leaves_room_for_others(keys: list[str]) -> None:
    plane = plane_with(EdgeLimits(node_bodies=4 * LARGE, node_bodies_each=LARGE))
    own = [Sender(plane, keys[0], LARGE) for _ in range(6)]
    await settled()
    assert [one.asked for one in own] == [True] + [False] * 5
    other = Sender(plane, keys[1], LARGE)
    await other.finish()
    for one in own:
        await one.finish()


async def test_a_body_without_a_length_takes_the_most_that_it_may_have(keys: list[str]) -> None:
    plane = plane_with(EdgeLimits(node_bodies=NODE_BODY_BYTES_MAX + LARGE))
    first = Sender(plane, keys[0], LARGE, declared=False)
    second = Sender(plane, keys[1], LARGE)
    third = Sender(plane, keys[2], LARGE)
    await settled()
    assert [first.asked, second.asked, third.asked] == [True, True, False]
    for one in (first, second, third):
        await one.finish()

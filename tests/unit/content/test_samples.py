"""Samples on their way through the plane: asked for, once, in time, and forgotten."""

from __future__ import annotations

import random

import msgspec
import pytest
from msgspec.structs import replace

from holdfast.content import limits
from holdfast.content.directory import Directory
from holdfast.content.records import Node
from holdfast.content.samples import OVER, REPEATED, SampleCalls
from holdfast.kernel.clock import ManualClock
from holdfast.kernel.log import NoLog
from holdfast.stores.memory.content import MemoryContent
from holdfast.wire.api.browser_keys import BROWSER_KEYS, ObserverSamples, SamplesView
from holdfast.wire.api.call import Call, Principal, Refusal
from holdfast.wire.consent import UNKNOWN, SignedDocument, Standing
from holdfast.wire.limits import COUNTER_MAX, NODE_NAME_MAX, SAMPLES_CHARS_MAX

NOW = 1_796_000_000_000
OWNER = Principal("olga", "owner", "local", "session", "s1")
SIGNED = SignedDocument(payload="cA", key="k", signature="cw")


class Rig:
    """The handlers, with one node, whose standing the test sets."""

    def __init__(self) -> None:
        self.clock, self.standings = ManualClock(NOW), dict[str, Standing]()
        self.directory = Directory(
            MemoryContent(), clock=self.clock, entropy=random.Random(1).randbytes, log=NoLog()
        )
        self.made = SampleCalls(self.directory, self, clock=self.clock)
        self.calls = self.made.by_endpoint()

    def standing(self, node: str) -> Standing:
        return self.standings.get(node, UNKNOWN)

    async def node(
        self, name: str = "host", *, preview: int = 0, account: str = "local"
    ) -> tuple[Node, Principal]:
        _, key = await self.directory.make_key(name, account=account, node=name, created_by="test")
        node = await self.directory.node(key, name)
        if preview:
            self.ask(node, preview)
        return node, Principal(key.name, "node", key.account, "key", token_id=key.id)

    def ask(self, node: Node, number: int) -> None:
        self.standings[node.id] = replace(
            UNKNOWN, registered=True, account="local", preview=SIGNED, preview_number=number
        )

    async def send(self, who: Principal, number: int, sealed: str = "c2VhbGVk") -> str:
        """Return the code of the refusal, empty where they were taken."""
        body = ObserverSamples(node_id="", number=number, sealed=sealed)
        try:
            await self.calls["observer.samples"](
                Call("observer.samples", who, body=body, now_ms=NOW)
            )
        except Refusal as refusal:
            return refusal.problem.code
        return ""

    async def shown(self, node: Node, who: Principal = OWNER) -> SamplesView:
        call = Call("samples.get", who, path={"id": node.id}, now_ms=NOW)
        found = (await self.calls["samples.get"](call)).body
        assert isinstance(found, SamplesView)
        return found


async def test_what_a_preview_asks_for_is_carried_for_a_minute() -> None:
    rig = Rig()
    node, machine = await rig.node(preview=3)
    assert await rig.shown(node) == SamplesView(asked=True)
    assert await rig.send(machine, 3) == ""
    assert await rig.shown(node) == SamplesView(asked=True, number=3, sealed="c2VhbGVk")
    rig.clock.advance(limits.SAMPLES_MS)
    await rig.made.purge()
    assert rig.made._held == {}
    assert (await rig.shown(node)).sealed == ""


async def test_what_comes_again_late_or_unasked_is_refused_and_counted() -> None:
    rig = Rig()
    node, machine = await rig.node()
    assert await rig.send(machine, 3) == OVER
    rig.ask(node, 3)
    assert await rig.send(machine, 2) == OVER
    assert await rig.send(machine, 3) == ""
    assert await rig.send(machine, 3, "b3RoZXI") == REPEATED
    assert (await rig.shown(node)).sealed == "c2VhbGVk"
    rig.standings.clear()
    assert await rig.send(machine, 3) == OVER
    assert node.refused["transcripts", "consent"].requests == 4
    rig.ask(node, 9)
    assert await rig.send(machine, 9) == ""


async def test_a_decision_or_another_preview_ends_what_is_carried() -> None:
    rig = Rig()
    node, machine = await rig.node(preview=3)
    assert await rig.send(machine, 3) == ""
    rig.standings.clear()
    assert await rig.shown(node) == SamplesView(asked=False)
    rig.ask(node, 5)
    assert await rig.shown(node) == SamplesView(asked=True)


async def test_another_account_sees_none() -> None:
    rig = Rig()
    node, machine = await rig.node(preview=3)
    await rig.send(machine, 3)
    with pytest.raises(Refusal) as refused:
        await rig.shown(node, Principal("otto", "owner", "other", "session", "s2"))
    assert refused.value.status == 404


async def test_what_an_account_has_carried_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SAMPLES_MAX", 1)
    rig = Rig()
    _, first = await rig.node("a", preview=1)
    _, second = await rig.node("b", preview=1)
    assert await rig.send(first, 1) == ""
    assert await rig.send(second, 1) == "too_many_samples"
    _, third = await rig.node("c", preview=1, account="other")
    assert await rig.send(third, 1) == "", "one account takes no room of another's"
    rig.clock.advance(limits.SAMPLES_MS)
    assert await rig.send(second, 1) == ""


def test_the_largest_samples_fit_a_body_and_little_more_does() -> None:
    (row,) = [one for one in BROWSER_KEYS if one.name == "observer.samples"]
    largest = ObserverSamples(
        node_id="x" * NODE_NAME_MAX, number=COUNTER_MAX, sealed="a" * SAMPLES_CHARS_MAX
    )
    assert len(msgspec.json.encode(largest)) <= row.body_bytes_max < 2 * SAMPLES_CHARS_MAX

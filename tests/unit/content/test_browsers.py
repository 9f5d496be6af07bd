"""Who may give and revoke keys of browsers: each by what the caller proved."""

from __future__ import annotations

import random
from typing import Any

import pytest

from holdfast.content.browsers import AGENT_CANNOT, NOT_ALONE, BrowserCalls
from holdfast.content.directory import Directory
from holdfast.content.records import BrowserKey, Node
from holdfast.kernel.clock import ManualClock
from holdfast.kernel.log import NoLog
from holdfast.stores.memory.content import MemoryContent
from holdfast.wire.api.browser_keys import (
    BrowserKeyCreate,
    BrowserKeyView,
    EnrolByMachine,
    Kind,
    ObserverBrowser,
    ObserverCopy,
    SealedCopyAdd,
)
from holdfast.wire.api.call import Call, Principal, Refusal
from holdfast.wire.controller.calls import ControllerError
from holdfast.wire.controller.observing import EnrolAnswer, EnrolOrder
from holdfast.wire.limits import BROWSER_COPIES_MAX, PAGE_ITEMS_MAX
from tests.support.browser_seal import new_pair, point_of, text_of

NOW = 1_796_000_000_000
OWNER = Principal("olga", "owner", "local", "session", "s1")
OTHER = Principal("otto", "owner", "other", "session", "s2")
COPY = "A" * 60
KEY_ID = "0123456789abcdef012345678"
LOCAL = Principal("olga", "operator", None, "local")


class Rig:
    """The handlers over a store in memory, with an instance's node and one elsewhere."""

    def __init__(self) -> None:
        self.store, self.clock = MemoryContent(), ManualClock(NOW)
        self.directory = Directory(
            self.store, clock=self.clock, entropy=random.Random(1).randbytes, log=NoLog()
        )
        self.orders: list[EnrolOrder] = []
        self.trouble: ControllerError | None = None
        self.fix = ""  # of the last refusal

        async def exists(name: str) -> bool:
            return name in {"local", "other"}

        self.calls = BrowserCalls(
            self.store, self.directory, enrol=self.enrol, account_exists=exists,
            default_account="local", log=NoLog(),
        ).by_endpoint()  # fmt: skip

    async def enrol(self, instance: str, order: EnrolOrder) -> EnrolAnswer:
        assert instance == "i-1"
        if self.trouble is not None:
            raise self.trouble
        self.orders.append(order)
        return EnrolAnswer(key_id=KEY_ID, sealed=COPY)

    async def node(self, name: str, *, instance: str = "") -> tuple[Node, Principal]:
        """Return a node, and the principal of the key that lies on its machine."""
        _, key = await self.directory.make_key(
            name, account="local", node=name, instance=instance, created_by="test"
        )
        made = await self.directory.node(key, name)
        return made, Principal(key.name, "node", key.account, "key", token_id=key.id)

    async def call(
        self, name: str, who: Principal = OWNER, *, path: str = "", body: Any = None, **query: str
    ) -> Any:
        made = Call(name, who, path={"id": path}, query=query, body=body, now_ms=NOW)
        return (await self.calls[name](made)).body

    async def browser(self, who: Principal = OWNER, name: str = "Desk") -> BrowserKeyView:
        body = BrowserKeyCreate(name=name, public_key=text_of(point_of(new_pair())))
        made: BrowserKeyView = await self.call("browser-key.create", who, body=body)
        return made

    async def refused(self, *args: Any, **named: Any) -> tuple[int, str]:
        with pytest.raises(Refusal) as caught:
            await self.call(*args, **named)
        self.fix = caught.value.problem.fix
        return caught.value.status, caught.value.problem.code


async def test_the_machine_of_an_instance_seals_to_the_key_of_a_typed_fingerprint() -> None:
    rig = Rig()
    node, _ = await rig.node("i-1", instance="i-1")
    await rig.browser(name="Other")
    mine = await rig.browser()
    body = EnrolByMachine(fingerprint=mine.fingerprint.lower())
    await rig.call("sealed-key.by-machine", path=node.id, body=body)
    assert rig.orders == [EnrolOrder(public_key=mine.public_key, fingerprint=mine.fingerprint)]
    listed = await rig.call("sealed-key.list", path=node.id)
    found = {one.name: [copy.by for copy in one.copies] for one in listed.items}
    assert found == {"Desk": ["controller, for session:olga"], "Other": []}


async def test_enrolling_that_cannot_be_says_why() -> None:
    rig = Rig()
    node, _ = await rig.node("i-1", instance="i-1")
    elsewhere, _ = await rig.node("host")
    mine = await rig.browser()
    for path, typed, want in (
        (node.id, "nonsense", (400, "bad_field")),
        (node.id, "AAAA-AAAA-AAAA-AAAA-AAAA", (404, "no_such_browser")),
        (elsewhere.id, mine.fingerprint, (409, "not_an_instance")),
        ("nd_none", mine.fingerprint, (404, "no_such_node")),
    ):
        body = EnrolByMachine(fingerprint=typed)
        assert await rig.refused("sealed-key.by-machine", path=path, body=body) == want
    rig.trouble = ControllerError("not_running", "The instance has no machine.")
    body = EnrolByMachine(fingerprint=mine.fingerprint)
    assert await rig.refused("sealed-key.by-machine", path=node.id, body=body) == (
        503, "instance_not_running"
    )  # fmt: skip
    assert rig.orders == []


async def test_the_key_in_an_agents_home_gives_and_learns_nothing() -> None:
    rig = Rig()
    node, agent = await rig.node("i-1", instance="i-1")
    mine = await rig.browser()
    body = ObserverCopy(node_id="i-1", browser=mine.id, key_id=KEY_ID, sealed=COPY)
    want = (403, AGENT_CANNOT)
    assert await rig.refused("observer.copy", agent, body=body) == want
    assert rig.fix.endswith(f"holdfast consent enroll {node.id} FINGERPRINT")
    asked = {"node_id": "i-1", "browser": mine.id}
    assert await rig.refused("observer.browser", agent, **asked) == want
    assert await rig.store.sealed_keys(node.id, "local") == []


async def test_a_machine_elsewhere_speaks_for_its_own_node() -> None:
    rig = Rig()
    node, machine = await rig.node("host")
    await rig.node("another")
    mine = await rig.browser()
    stranger = await rig.browser(OTHER, name="Stranger")
    told = await rig.call("observer.browser", machine, node_id="host", browser=mine.id)
    assert told == ObserverBrowser(ok=True, node=node.id, public_key=mine.public_key)
    for unknown in (stranger.id, mine.id[:-1], ""):
        asked = {"node_id": "host", "browser": unknown}
        assert await rig.refused("observer.browser", machine, **asked) == (404, "no_such_browser")
    body = ObserverCopy(node_id="host", browser=mine.id, key_id=KEY_ID, sealed=COPY)
    await rig.call("observer.copy", machine, body=body)
    (copy,) = await rig.store.sealed_keys(node.id, "local")
    assert copy.by == f"node-key:{machine.token_id}"
    stolen = ObserverCopy(node_id="another", browser=mine.id, key_id=KEY_ID, sealed=COPY)
    assert await rig.refused("observer.copy", machine, body=stolen) == (403, "wrong_node")


async def test_another_account_neither_sees_nor_gives_nor_revokes() -> None:
    rig = Rig()
    node, _ = await rig.node("host")
    mine, stranger = await rig.browser(), await rig.browser(OTHER)
    body = SealedCopyAdd(browser=stranger.id, key_id=KEY_ID, sealed=COPY)
    assert await rig.refused("sealed-key.add", path=node.id, body=body) == (
        404, "no_such_browser"
    )  # fmt: skip
    assert await rig.refused("sealed-key.add", OTHER, path=node.id, body=body) == (
        404, "no_such_node"
    )  # fmt: skip
    assert await rig.refused("sealed-key.list", OTHER, path=node.id) == (404, "no_such_node")
    assert (await rig.refused("browser-key.revoke", OTHER, path=mine.id))[0] == 404
    assert [one.id for one in (await rig.call("browser-key.list")).items] == [mine.id]


async def test_a_revoked_key_is_never_taken_again() -> None:
    rig = Rig()
    node, _ = await rig.node("host")
    mine = await rig.browser()
    body = SealedCopyAdd(browser=mine.id, key_id=KEY_ID, sealed=COPY)
    await rig.call("sealed-key.add", path=node.id, body=body)
    gone = await rig.call("browser-key.revoke", path=mine.id)
    assert gone.revoked_at is not None
    assert (await rig.call("sealed-key.list", path=node.id)).items == ()
    again = BrowserKeyCreate(name="Desk", public_key=mine.public_key)
    assert await rig.refused("browser-key.create", body=again) == (409, "key_revoked")
    assert (await rig.refused("sealed-key.add", path=node.id, body=body))[0] == 404


async def test_a_key_is_known_once_and_a_malformed_one_is_named() -> None:
    rig = Rig()
    mine = await rig.browser()
    again = BrowserKeyCreate(name="Again", public_key=mine.public_key)
    assert (await rig.call("browser-key.create", body=again)).name == "Desk"
    cases: tuple[tuple[str, Kind, str], ...] = (
        ("B" * 87, "browser", ""), (mine.public_key, "browser", "x"),
        (mine.public_key, "recovery", ""),
    )  # fmt: skip
    for public_key, kind, locked in cases:
        wrong = BrowserKeyCreate(name="n", public_key=public_key, kind=kind, locked=locked)
        assert await rig.refused("browser-key.create", body=wrong) == (400, "bad_field")


async def test_whoever_holds_a_session_has_a_machine_let_in_the_first_browser_only() -> None:
    rig = Rig()
    node, _ = await rig.node("i-1", instance="i-1")
    mine, intruder = await rig.browser(), await rig.browser(name="Intruder")

    async def enrol(who: Principal, key: BrowserKeyView) -> str:
        body = EnrolByMachine(fingerprint=key.fingerprint)
        try:
            await rig.call("sealed-key.by-machine", who, path=node.id, body=body)
        except Refusal as refusal:
            return refusal.problem.code
        return ""

    token = Principal("t", "owner", "local", "token", token_id="t1")
    operator = Principal("olga", "operator", None, "session", "s1")
    assert await enrol(OWNER, mine) == ""
    assert await enrol(OWNER, mine) == "", "again, after a new content key say"
    asked = len(rig.orders)
    for who in (OWNER, token, operator):
        assert await enrol(who, intruder) == NOT_ALONE
    assert len(rig.orders) == asked, "the machine is not even asked"
    assert await enrol(LOCAL, intruder) == "", "whoever has the plane's host"
    await rig.call("browser-key.revoke", path=mine.id)
    assert await enrol(OWNER, mine) == "no_such_browser"
    await rig.call("browser-key.revoke", path=intruder.id)
    assert await enrol(token, await rig.browser()) == "", "where every other one is lost"


async def test_copies_of_others_are_neither_replaced_nor_pushed_out() -> None:
    rig = Rig()
    node, machine = await rig.node("host")
    _, key = await rig.directory.make_key("wide", account="local", created_by="test")
    wide = Principal(key.name, "node", key.account, "key", token_id=key.id)
    mine = await rig.browser()

    def copy(at: int, sealed: str) -> dict[str, Any]:
        digits = f"{at:025x}"
        return {"node_id": "host", "browser": mine.id, "key_id": digits, "sealed": sealed}

    await rig.call("observer.copy", machine, body=ObserverCopy(**copy(0, COPY)))
    other = ObserverCopy(**copy(0, "B" * 60))
    assert await rig.refused("observer.copy", wide, body=other) == (409, "copy_known")
    added = SealedCopyAdd(browser=mine.id, key_id=f"{0:025x}", sealed="B" * 60)
    assert await rig.refused("sealed-key.add", path=node.id, body=added) == (409, "copy_known")
    for at in range(1, 9):
        await rig.call("observer.copy", wide, body=ObserverCopy(**copy(at, "B" * 60)))
    kept = await rig.store.sealed_keys(node.id, "local")
    assert len(kept) == BROWSER_COPIES_MAX
    assert [one.sealed for one in kept if one.by == f"node-key:{machine.token_id}"] == [COPY]
    full = SealedCopyAdd(browser=mine.id, key_id="f" * 25, sealed=COPY)
    assert await rig.refused("sealed-key.add", path=node.id, body=full) == (409, "too_many_copies")
    again = ObserverCopy(**copy(0, "C" * 60))
    await rig.call("observer.copy", machine, body=again)
    kept = await rig.store.sealed_keys(node.id, "local")
    assert [one.sealed for one in kept if one.key_id == f"{0:025x}"] == ["C" * 60]


async def test_an_operator_revokes_the_key_of_one_account_however_old() -> None:
    rig = Rig()
    public = text_of(point_of(new_pair()))
    here, there = (
        BrowserKeyCreate(name="n", public_key=public),
        Principal("o", "operator", None, "token"),
    )
    mine = await rig.call("browser-key.create", OWNER, body=here)
    await rig.call("browser-key.create", OTHER, body=here)
    for at in range(PAGE_ITEMS_MAX):
        await rig.store.add_browser(
            BrowserKey(
                account=f"a{at}", id=f"bk_{at}", name="n", kind="browser", public_key=public,
                locked="", created_ms=NOW + 1, created_by="x",
            )
        )  # fmt: skip
    refused = await rig.refused("browser-key.revoke", there, path=mine.id)
    assert refused == (400, "bad_parameter"), "in two accounts: it says which"
    gone = await rig.call("browser-key.revoke", there, path=mine.id, account="local")
    assert (gone.account, gone.revoked_at is None) == ("local", False)
    (left,) = await rig.store.browsers_of_id("other", mine.id)
    assert left.revoked_ms is None


async def test_what_a_revoked_recovery_code_locks_is_forgotten() -> None:
    rig = Rig()
    body = BrowserKeyCreate(
        name="code", public_key=text_of(point_of(new_pair())), kind="recovery", locked="bG9ja2Vk"
    )
    made = await rig.call("browser-key.create", body=body)
    gone = await rig.call("browser-key.revoke", path=made.id)
    assert (made.locked, gone.locked) == ("bG9ja2Vk", "")
    assert [one.locked for one in (await rig.call("browser-key.list")).items] == [""]

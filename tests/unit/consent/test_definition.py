"""What the engine is handed: invariants that notice, outcomes and letters that become events."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from holdfast.actors.definition import SELF, Applied, At, EffectCall
from holdfast.consent import events, ports
from holdfast.consent.actions import SIGNER
from holdfast.consent.definition import NODE_DEFINITION, arrival
from holdfast.consent.state import Kept, Node, decode_state, encode_state
from holdfast.consent.views import views
from holdfast.kernel.ids import EventId, address
from holdfast.kernel.outcome import Ok, Permanent
from holdfast.wire.consent import ContentClass, from_base64url
from tests.unit.consent.rig import NODE, Driver, grant, registered, revoke


def ready(**changes: Any) -> Driver:
    driver = Driver()
    driver.ok(registered(**changes))
    driver.ok(grant("logs"))
    return driver


def broken(state: Node, key: str = SELF) -> set[int]:
    """Return the numbers of the invariants that do not hold."""
    return {one.number for one in NODE_DEFINITION.invariants if one.check(state, key) is not None}


def test_each_invariant_notices() -> None:
    driver = ready(instance="i1")
    good = driver.state
    assert broken(good) == set()
    logs = good.classes["logs"]
    assert broken(replace(good, classes={"logs": replace(logs, by="")})) == {1}
    assert broken(replace(good, closed_ms=5)) == {2}
    assert broken(replace(good, registered_ms=0)) == {2}
    assert broken(replace(good, classes={"logs": replace(logs, credential="key:1")})) == {3}
    driver.send(grant("memory"))
    waits = driver.state
    assert broken(replace(waits, number=2)) == {4}
    assert broken(replace(waits, unsigned=waits.unsigned[::-1])) == {4}
    assert broken(replace(good, classes={})) == {5}
    assert broken(replace(waits, unsigned=(*waits.unsigned, waits.unsigned[-1]))) == {4, 5}
    kept = tuple(Kept(each, good.receipts[0].document) for each in range(257))
    assert broken(replace(good, receipts=kept)) == {6}
    assert broken(replace(good, name="x" * 20_000)) == {6}
    assert broken(replace(good, closed_ms=5), "1") == set(), "a receipt is not the node"


def test_a_grant_that_cannot_be_read_covers_nothing() -> None:
    driver = ready()
    assert driver.state.grant is not None
    receipt = replace(driver.state, grant=driver.state.receipts[0].document)
    assert broken(receipt) == set()


def call(body: Any) -> EffectCall:
    return EffectCall("f1", address("node", NODE), "lane", SIGNER, body, 0, 1, "k")


def test_outcomes_become_events() -> None:
    signed = Driver().key.sign(b"{}")
    settle = NODE_DEFINITION.settle
    sign, delete = call(ports.SignCall(3, "e30")), call(ports.DeleteCall(2, ("logs",)))
    assert settle(sign, Ok(signed)) == events.DocumentSigned(3, signed)
    done = settle(delete, Ok(ports.Deleted({"logs": 1})))
    assert done == events.ContentDeleted(2, {"logs": 1})
    failure = Permanent("bug", "it raised")
    assert settle(sign, failure) == events.SigningFailed(3, "bug", "it raised")
    assert settle(delete, failure) == events.DeletionFailed(2, "bug", "it raised")
    with pytest.raises(TypeError, match="SignCall was answered with Deleted"):
        settle(sign, Ok(ports.Deleted({})))
    row = arrival(events.NumberSeen(4), dedupe="d", source="contact", by="x", cause="c")
    assert (row.dedupe, row.source, row.by, row.cause) == ("d", "contact", "x", "c")
    assert events.decode_event(row.body, row.version) == events.NumberSeen(4)


def test_late_outcomes_of_what_is_over_change_nothing() -> None:
    driver = ready()
    signed = driver.key.sign(b"{}")
    for event in (
        events.DocumentSigned(99, signed),
        events.SigningFailed(99, "bug", ""),
        events.DocumentSent(99),
        events.DeletionSent(9),
        events.ContentDeleted(9, {}),
        events.DeletionFailed(9, "bug", ""),
        events.ConsentExpired(("files",)),
    ):
        assert driver.send(event).outcome == "ignored"
    assert not NODE_DEFINITION.wanted(driver.state, call(ports.DeleteCall(1, ("logs",))), 0)


def test_deletions_that_were_not_asked_for_yet_are_one() -> None:
    state, at = ready().state, At(5, 9, EventId("e"))
    named: tuple[ContentClass, ...] = ("logs", "memory")
    for each in named:
        verdict = NODE_DEFINITION.apply(state, revoke(each, delete=True), at)
        assert isinstance(verdict, Applied)
        state = verdict.state
    assert [(one.serial, one.classes) for one in state.deletions] == [(2, ("logs", "memory"))]


def test_an_intent_that_is_not_written_yet_ends_with_a_newer_number_or_the_instance() -> None:
    driver, at = Driver(), At(5, 9, EventId("e"))
    driver.ok(registered(instance="i1"))
    shown = events.IntentShown(by="ann", credential="session:ann", classes=("logs", "memory"))
    verdict = NODE_DEFINITION.apply(driver.state, shown, at)
    assert isinstance(verdict, Applied)
    assert verdict.state.waiting is not None
    for event in (events.NumberSeen(5), events.PlaneRestored(), events.InstanceGone("acme")):
        after = NODE_DEFINITION.apply(verdict.state, event, at)
        assert isinstance(after, Applied)
        assert after.state.waiting is None
    after = NODE_DEFINITION.apply(verdict.state, revoke("logs"), at)
    assert isinstance(after, Applied)
    assert after.state.waiting is not None
    assert after.state.waiting.classes == ("memory",)


def test_a_state_of_a_newer_version_is_not_read() -> None:
    state = ready().state
    assert decode_state(encode_state(state), 1) == state
    with pytest.raises(ValueError, match="version 2; this code knows 1"):
        decode_state(encode_state(state), 2)
    assert NODE_DEFINITION.entity(state, "99") is None
    assert NODE_DEFINITION.entity(Node(node="nd_1"), SELF) is None
    assert list(views(None, Node(node="nd_1"), (SELF,))) == []


def test_a_text_that_is_no_base64url_is_refused() -> None:
    for text in ("A", "AA=", "A A", "ä", "+/"):
        with pytest.raises(ValueError, match="base64url"):
            from_base64url(text)

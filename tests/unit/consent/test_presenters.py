"""What people read about a node: its state, each class, why nothing comes, receipts, history."""

from __future__ import annotations

from typing import Any

from holdfast.actors.ports import Logged
from holdfast.consent import events, ports, presenters
from holdfast.consent.limits import UNSIGNED_MAX
from holdfast.consent.state import Kept
from holdfast.kernel.clock import DAY_MS
from holdfast.kernel.ids import EventId
from holdfast.kernel.outcome import Ok, Permanent
from holdfast.wire.api.consent import ConsentClass, ConsentDetail
from holdfast.wire.consent import CLASSES, TEXT_VERSION, encode_document
from holdfast.wire.times import time_text
from tests.unit.consent.rig import OWNER, Driver, grant, registered, revoke


def ready(**changes: Any) -> Driver:
    driver = Driver()
    driver.ok(registered(**changes))
    return driver


def shown(driver: Driver) -> ConsentDetail:
    return presenters.detail(driver.state, driver.clock.now_ms())


def of(driver: Driver, name: str) -> ConsentClass:
    return next(one for one in shown(driver).classes if one.name == name)


def why(driver: Driver) -> str:
    return " ".join(shown(driver).why)


def test_a_fresh_node_waits_and_nothing_of_it_is_in_force() -> None:
    driver = ready()
    found = shown(driver)
    assert found.node.state == "waiting"
    assert [(one.name, one.status, one.in_force) for one in found.classes] == [
        (each, "pending", False) for each in CLASSES
    ]
    assert all(one.contains for one in found.classes)
    assert found.text_version == TEXT_VERSION
    assert found.why == (
        f"Nobody has decided about: {', '.join(CLASSES)}. Nothing of them may leave.",
    )
    assert (found.first_intent_at, found.last_view_at, found.grant_number) == (None, None, 0)


def test_a_grant_is_named_as_unsigned_until_it_is_signed() -> None:
    driver = ready()
    driver.send(grant("logs", address="192.0.2.7", until_ms=driver.clock.now_ms() + DAY_MS))
    assert shown(driver).node.state == "waiting"
    assert shown(driver).unsigned == 2
    assert "Granted, and not signed yet: logs." in why(driver)
    assert (of(driver, "logs").status, of(driver, "logs").in_force) == ("granted", False)
    driver.sign()
    found = of(driver, "logs")
    assert (found.in_force, found.by, found.credential) == (True, "ann", "session:ann")
    assert found.address == "192.0.2.7"
    assert found.until == time_text(driver.clock.now_ms() + DAY_MS)
    assert (shown(driver).node.state, shown(driver).node.classes) == ("sending", ("logs",))
    assert "In force: logs." in why(driver)
    assert shown(driver).grant_number == 2
    driver.clock.advance(DAY_MS)
    assert (of(driver, "logs").status, of(driver, "logs").in_force) == ("expired", False)
    assert shown(driver).node.state == "refused"
    assert "Expired: logs." in why(driver)


def test_a_refusal_a_failure_a_restore_and_an_end_are_each_named() -> None:
    driver = ready(instance="i1")
    driver.ok(grant("logs", "memory"))
    driver.ok(revoke("logs", reason="enough", delete=True))
    assert "Revoked: logs." in why(driver)
    assert of(driver, "logs").backfill_from is None
    assert shown(driver).deleting == 1
    (call,) = driver.deletions()
    driver.settle(call, Permanent("bug", "the store is closed"))
    assert shown(driver).trouble == "the store is closed"
    driver.ok(events.NumberSeen(9))
    assert "This plane was restored from a backup" in why(driver)
    assert shown(driver).node.state == "refused"
    driver.ok(events.InstanceGone("acme"))
    assert shown(driver).node.state == "closed"
    assert shown(driver).why == (
        "Its instance was destroyed: the node is closed and nothing can come from it.",
    )


def test_a_waiting_intent_is_named() -> None:
    """The grant of an intent waits where too many documents wait to be signed."""
    driver = ready()
    while len(driver.state.unsigned) < UNSIGNED_MAX:
        driver.send(revoke("files", delete=True))
        for call in driver.deletions():
            driver.settle(call, Ok(ports.Deleted({})))
    driver.send(events.IntentShown(**OWNER, classes=("logs",)))
    assert "A grant is being written." in shown(driver).why
    assert of(driver, "logs").status == "pending"
    driver.sign()
    assert "A grant is being written." not in shown(driver).why
    assert of(driver, "logs").in_force


def test_after_a_restore_an_ordinary_revocation_is_not_said_to_be_one() -> None:
    driver = ready()
    for closing in (events.NumberSeen(9), events.PlaneRestored()):
        driver.ok(closing)
        assert "restored from a backup" in why(driver)
        driver.ok(grant("logs"))
        assert "restored from a backup" not in why(driver)
        driver.ok(revoke("logs"))
        assert "restored from a backup" not in why(driver)
        assert shown(driver).node.state == "refused"


def test_a_receipt_says_what_its_document_says_and_no_other_is_shown() -> None:
    driver = ready()
    driver.ok(grant("logs", text_version=TEXT_VERSION))
    kept = driver.state.receipts[0]
    found = presenters.receipt(kept)
    assert found is not None
    assert (found.number, found.act, found.classes) == (1, "granted", ("logs",))
    assert (found.by, found.text_version, found.document) == ("ann", TEXT_VERSION, kept.document)
    grant_document = driver.state.grant
    assert grant_document is not None
    assert presenters.receipt(Kept(2, grant_document)) is None
    assert presenters.receipt(Kept(3, driver.key.sign(b"no json"))) is None
    assert presenters.receipt(Kept(4, driver.key.sign(encode_document(driver.receipts()[0]))))


def row(event: events.Event | bytes, **changes: Any) -> Logged:
    plain: dict[str, Any] = {
        "id": EventId("e1"), "seq": 1, "tick": 1, "at_ms": 5, "outcome": "applied",
        "body": event if isinstance(event, bytes) else events.encode_event(event),
        "version": 1, "source": "api",
    }  # fmt: skip
    return Logged(**(plain | changes))


def test_the_history_has_decisions_and_refusals_and_no_retries() -> None:
    signed = Driver().key.sign(b"{}")
    rows = [
        row(registered()),
        row(events.IntentShown(**OWNER), outcome="refused", message="the agent"),
        row(grant("logs", reason="because")),
        row(revoke("logs", address="192.0.2.7")),
        row(events.ConsentExpired(("logs",))),
        row(events.ContentDeleted(1, {"logs": 3, "files": 1})),
        row(events.ContentDeleted(1, {})),
        row(events.NumberSeen(9)),
        row(events.PlaneRestored()),
        row(events.InstanceGone("acme")),
        row(b"{", id=EventId("e9")),
        row(events.DocumentSent(1)),
        row(events.DocumentSigned(1, signed)),
        row(events.NumberSeen(1), outcome="ignored"),
    ]
    found = presenters.history(rows)
    assert [one.what for one in found] == [
        "registered", "intent", "granted", "revoked", "expired", "deleted", "deleted", "number",
        "restored", "closed", "damaged",
    ]  # fmt: skip
    assert found[1].refused == "the agent"
    assert (found[2].message, found[2].classes, found[2].by) == ("because", ("logs",), "ann")
    assert found[3].address == "192.0.2.7"
    assert found[5].message == "1 of files, 3 of logs"
    assert found[6].message == "nothing was stored"
    assert "document 9" in found[7].message

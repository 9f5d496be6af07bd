"""The fold and the rules of consent: nothing is granted unless somebody granted it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from holdfast.consent import apply, events, ports
from holdfast.consent.limits import (
    NUMBERS_GAP,
    NUMBERS_STEP_MAX,
    SIGN_ANSWER_MS,
    UNSIGNED_MAX,
)
from holdfast.consent.state import signed_grant
from holdfast.consent.views import RECEIPT_VIEW
from holdfast.kernel.clock import DAY_MS, MINUTE_MS
from holdfast.kernel.outcome import Ok, Permanent, Retryable
from holdfast.plane.consent_key import verify
from holdfast.wire.consent import (
    CLASSES,
    INTENT_CLASSES,
    UNKNOWN,
    Grant,
    Receipt,
    node_of_instance,
    node_of_name,
)
from holdfast.wire.limits import VIEW_STEP_MS
from tests.unit.consent.rig import AGENT, NODE, OWNER, Driver, grant, registered, revoke


def ready(**changes: Any) -> Driver:
    driver = Driver()
    driver.ok(registered(**changes))
    return driver


def show(**changes: Any) -> events.IntentShown:
    plain: dict[str, Any] = {**OWNER, "classes": INTENT_CLASSES}
    return events.IntentShown(**(plain | changes))


def receipt(driver: Driver, index: int = -1) -> Receipt:
    found = driver.receipts()[index]
    assert isinstance(found, Receipt)
    return found


def test_an_unknown_node_has_no_class() -> None:
    driver = Driver()
    assert driver.standing() == UNKNOWN
    for event in (
        grant("logs"), revoke("logs"), show(), events.NumberSeen(7), events.PlaneRestored(),
    ):  # fmt: skip
        assert driver.send(event).code == "no_such_node"
    assert driver.standing() == UNKNOWN


def test_a_registration_by_a_program_waits_for_a_yes() -> None:
    driver = ready()
    assert driver.standing().reason == "intent_pending"
    assert driver.in_force() == ()
    assert driver.calls == []
    assert driver.send(registered()).outcome == "ignored"
    assert driver.send(registered(account="other")).code == "other_node"


def test_a_grant_is_in_force_once_it_is_signed_and_names_who_gave_it() -> None:
    driver = ready()
    driver.send(grant("logs", "counters", text_version="2026-11", address="192.0.2.7"))
    assert driver.in_force() == ()
    assert driver.standing().reason == "intent_pending"
    driver.sign()
    assert driver.in_force() == ("counters", "logs")
    assert driver.standing().reason == "intent_started"
    signed = driver.standing().grant
    assert signed is not None
    assert verify(signed, driver.key.public_key) == Grant(
        version=1, node=NODE, number=2, classes=("counters", "logs"),
        at_ms=driver.clock.now_ms(), backfill_from_ms=0,
    )  # fmt: skip
    assert receipt(driver) == Receipt(
        version=1, node=NODE, number=1, act="granted", classes=("counters", "logs"),
        at_ms=driver.clock.now_ms(), by="ann", credential="session:ann", text_version="2026-11",
    )  # fmt: skip
    assert driver.state.classes["logs"].address == "192.0.2.7"


def test_a_revocation_holds_at_once_and_before_it_is_signed() -> None:
    driver = ready()
    driver.ok(grant("logs", "counters"))
    driver.send(revoke("logs", reason="enough"))
    assert driver.in_force() == ("counters",)
    driver.sign()
    assert driver.in_force() == ("counters",)
    found = signed_grant(driver.state)
    assert found is not None
    assert (found.classes, found.number) == (("counters",), 4)
    assert (receipt(driver).act, receipt(driver).reason) == ("revoked", "enough")
    assert driver.send(revoke("logs")).outcome == "ignored"
    driver.ok(revoke("counters"))
    assert driver.standing().reason == "revoked"


@pytest.mark.parametrize("closed_between", [True, False])
def test_an_older_document_does_not_stand_in_for_a_newer_grant(*, closed_between: bool) -> None:
    """The older document may let out content that the newer grant does not."""
    driver = ready()
    driver.ok(grant("logs", "counters", backfill_from_ms=0))
    driver.wait(MINUTE_MS)
    if closed_between:
        driver.send(revoke("logs"))
    driver.send(grant("logs", backfill_from_ms=driver.clock.now_ms()))
    assert driver.in_force() == ("counters",)
    driver.sign()
    assert driver.in_force() == ("counters", "logs")
    found = signed_grant(driver.state)
    assert found is not None
    assert found.backfill_from_ms == driver.clock.now_ms()


def test_a_class_can_be_refused_before_anybody_granted_it() -> None:
    driver = ready()
    driver.ok(revoke("transcripts"))
    driver.ok(show())
    assert driver.in_force() == ("counters", "metadata", "logs", "memory")


def test_a_bare_intent_grants_what_its_text_names_and_once() -> None:
    driver = ready()
    assert driver.send(show()).outcome == "applied"
    driver.sign()
    assert driver.in_force() == INTENT_CLASSES
    assert "files" not in driver.in_force()
    first_ms, event = driver.state.intent_ms, driver.state.intent_event
    assert receipt(driver).reason == "somebody asked to see the node"
    assert receipt(driver).text_version == ""
    found = signed_grant(driver.state)
    assert found is not None
    assert found.backfill_from_ms == first_ms, "nobody chose to let out older content"
    driver.ok(revoke(*INTENT_CLASSES))
    driver.wait(MINUTE_MS)
    assert driver.send(show()).outcome == "ignored"
    driver.wait(VIEW_STEP_MS)
    assert driver.send(show(by="bob")).outcome == "applied"
    assert driver.in_force() == ()
    assert driver.state.viewed_ms == driver.clock.now_ms()
    assert (driver.state.intent_ms, driver.state.intent_event) == (first_ms, event)
    assert driver.state.intent_by == "ann"


def test_an_intent_can_name_nothing() -> None:
    driver = ready()
    driver.send(show(classes=()))
    assert driver.standing().intent_ms == driver.clock.now_ms()
    assert driver.standing().reason == "intent_pending"
    assert driver.calls == []


def test_a_persons_connection_is_a_grant_and_written_as_one() -> None:
    driver = ready(source="person", credential="key:1")
    assert driver.in_force() == INTENT_CLASSES
    assert receipt(driver).reason == "a person connected the node"
    assert receipt(driver).credential == "key:1"


def test_a_connection_after_a_registration_grants_unless_somebody_had_asked() -> None:
    driver = ready()
    driver.ok(registered(source="person"))
    assert (driver.in_force(), driver.state.source) == (INTENT_CLASSES, "person")
    driver = ready()
    driver.ok(revoke(*CLASSES))
    driver.ok(registered(source="person"))
    assert driver.in_force() == ()


@pytest.mark.parametrize(
    "credential",
    ["observer:cm_1", "key:1", "", "anything", "sessions:x", "local:x", "controllers:i1"],
)
def test_an_agent_cannot_grant_itself_anything(credential: str) -> None:
    driver = ready(instance="i1", source="person", credential=credential)
    assert driver.state.waiting is None
    assert driver.send(show(credential=credential)).code == "agent_cannot_grant"
    assert driver.send(grant("logs", credential=credential)).code == "agent_cannot_grant"
    assert driver.standing().intent_ms is None
    driver.ok(show(credential="session:ann"))
    assert driver.in_force() == INTENT_CLASSES
    assert driver.send(show(credential=credential)).code == "agent_cannot_grant"
    driver.ok(revoke("logs", credential=credential))
    assert "logs" not in driver.in_force()


def test_a_grant_ends_at_its_time_even_before_anything_ticks() -> None:
    driver = ready()
    driver.ok(grant("logs", until_ms=driver.clock.now_ms() + DAY_MS))
    driver.ok(grant("counters"))
    found = signed_grant(driver.state)
    assert found is not None
    assert found.until_ms == driver.clock.now_ms() + DAY_MS
    driver.clock.advance(DAY_MS)
    assert driver.in_force() == ()
    driver.run()
    driver.sign()
    assert driver.in_force() == ("counters",)
    assert driver.state.classes["logs"].status == "expired"
    assert (receipt(driver).act, receipt(driver).reason) == ("revoked", "it has expired")
    assert driver.folded.alarm_ms is None
    past = driver.clock.now_ms()
    assert driver.send(grant("logs", until_ms=past)).code == "consent_over"


def test_of_several_classes_the_grant_lets_out_least() -> None:
    driver = ready()
    now_ms = driver.clock.now_ms()
    driver.ok(grant("counters", backfill_from_ms=0, until_ms=now_ms + 2 * DAY_MS))
    driver.ok(grant("logs", backfill_from_ms=now_ms, until_ms=now_ms + DAY_MS))
    driver.ok(grant("memory", backfill_from_ms=1))
    found = signed_grant(driver.state)
    assert found is not None
    assert (found.backfill_from_ms, found.until_ms) == (now_ms, now_ms + DAY_MS)


def test_what_was_stored_is_deleted_and_counted() -> None:
    driver = ready()
    driver.ok(grant("logs", "memory"))
    driver.ok(revoke("logs", delete=True))
    (call,) = driver.deletions()
    assert call.body == ports.DeleteCall(1, ("logs",))
    assert driver.send(grant("logs")).code == "consent_deleting"
    driver.settle(call, Retryable("busy", "the store is busy"))
    assert driver.state.deletions[0].message == "the store is busy"
    driver.wait(MINUTE_MS)
    assert driver.state.deletions[0].tries == 2
    (call,) = driver.deletions()
    driver.settle(call, Ok(ports.Deleted({"logs": 12})))
    driver.sign()
    assert (receipt(driver).act, receipt(driver).deleted) == ("deleted", {"logs": 12})
    assert receipt(driver).by == "ann"
    driver.ok(grant("logs"))
    assert driver.in_force() == ("logs", "memory")


def test_deletions_that_wait_are_one() -> None:
    driver = ready()
    driver.ok(revoke("logs", delete=True))
    driver.ok(revoke("memory", delete=True))
    driver.ok(revoke("files", delete=True))
    (call,) = driver.deletions()
    driver.settle(call, Ok(ports.Deleted({})))
    (call,) = driver.deletions()
    assert call.body == ports.DeleteCall(3, ("memory", "files"))
    driver.settle(call, Ok(ports.Deleted({"memory": 1, "files": 2})))
    driver.sign()
    assert receipt(driver).deleted == {"memory": 1, "files": 2}
    assert driver.state.deletions == ()
    assert driver.folded.alarm_ms is None


def test_an_intent_waits_for_a_deletion() -> None:
    driver = ready()
    driver.ok(revoke("logs", delete=True))
    (call,) = driver.deletions()
    driver.ok(show(classes=("logs", "memory")))
    assert driver.in_force() == ("memory",)
    driver.settle(call, Ok(ports.Deleted({})))


def test_a_signature_that_fails_is_tried_again_and_grants_nothing() -> None:
    driver = ready()
    driver.send(grant("logs"))
    for call in tuple(driver.calls):
        driver.settle(call, Permanent("bug", "no key"))
    assert driver.in_force() == ()
    assert {one.message for one in driver.state.unsigned} == {"no key"}
    first_ms = driver.state.unsigned[0].next_ms - driver.clock.now_ms()
    driver.wait(MINUTE_MS)
    for call in tuple(driver.calls):
        driver.settle(call, Permanent("bug", "no key"))
    assert {one.tries for one in driver.state.unsigned} == {2}
    assert driver.state.unsigned[0].next_ms - driver.clock.now_ms() > first_ms
    driver.wait(MINUTE_MS)
    driver.sign()
    assert driver.in_force() == ("logs",)


def test_a_signature_without_an_answer_is_asked_for_again() -> None:
    driver = ready()
    driver.send(grant("logs"))
    driver.calls.clear()
    driver.wait(SIGN_ANSWER_MS)
    driver.sign()
    assert driver.in_force() == ("logs",)


def test_without_signatures_grants_are_refused_and_revocations_are_not() -> None:
    driver = ready()
    codes = []
    for _ in range(UNSIGNED_MAX):
        codes.append(driver.send(grant("logs")).code)
        assert driver.send(revoke("logs")).outcome == ("applied" if not codes[-1] else "ignored")
    assert codes[-1] == "consent_busy"
    assert len(driver.state.unsigned) <= UNSIGNED_MAX + 2
    driver.sign()
    assert driver.in_force() == ()
    acts = [one.act for one in driver.receipts() if isinstance(one, Receipt)]
    assert acts == ["granted", "revoked"] * (len(acts) // 2)


def test_without_signatures_no_deletion_adds_another_receipt() -> None:
    driver = ready()
    for _ in range(2 * UNSIGNED_MAX):
        driver.send(revoke("logs", delete=True))
        for call in driver.deletions():
            driver.settle(call, Ok(ports.Deleted({"logs": 0})))
    assert len(driver.state.unsigned) == UNSIGNED_MAX
    assert len(driver.state.deletions) == 1
    assert driver.deletions() == []
    driver.sign()
    (call,) = driver.deletions()
    driver.settle(call, Ok(ports.Deleted({"logs": 0})))
    driver.sign()
    assert not driver.state.deletions


def test_a_late_signature_of_an_older_grant_opens_nothing() -> None:
    driver = ready()
    driver.send(grant("logs"))
    first = [one for one in driver.calls if one.body.number == 2]
    driver.calls.clear()
    driver.send(revoke("logs"))
    late = driver.key.sign(b"{}")
    assert driver.send(events.DocumentSigned(first[0].body.number, late)).outcome == "ignored"
    driver.sign()
    assert driver.in_force() == ()


def test_a_restored_plane_closes_what_the_node_knows_better_and_goes_on_above() -> None:
    driver = ready()
    driver.ok(grant("logs", "memory"))
    assert driver.send(events.NumberSeen(2)).outcome == "ignored"
    driver.ok(events.NumberSeen(9))
    assert driver.in_force() == ()
    assert driver.standing().reason == "revoked"
    found = signed_grant(driver.state)
    assert found is not None
    assert found.classes == ()
    assert found.number > 9 + NUMBERS_GAP
    assert receipt(driver).act == "revoked"
    assert "document 9" in receipt(driver).reason
    assert driver.send(events.NumberSeen(9)).outcome == "ignored"
    driver.ok(grant("logs"))
    assert driver.in_force() == ("logs",)
    assert driver.standing().number > found.number


def test_a_restored_plane_closes_a_node_of_which_it_knows_no_grant() -> None:
    driver = ready()
    driver.ok(events.NumberSeen(5))
    found = signed_grant(driver.state)
    assert found is not None
    assert (found.classes, found.number) == ((), 5 + NUMBERS_GAP + 2)
    assert (receipt(driver).act, receipt(driver).classes) == ("revoked", CLASSES)


def newer_number(_driver: Driver) -> events.Event:
    return events.NumberSeen(90)


def restore(_driver: Driver) -> events.Event:
    return events.PlaneRestored()


@pytest.mark.parametrize("closing", [newer_number, restore])
def test_after_a_restore_no_intent_opens_what_has_no_decision_here(
    closing: Callable[[Driver], events.Event],
) -> None:
    """A class that is pending in the backup may have been revoked after it."""
    driver = ready()
    driver.ok(closing(driver))
    assert {one.status for one in driver.state.classes.values()} == {"revoked"}
    driver.ok(show())
    driver.ok(registered(source="person"))
    assert driver.in_force() == ()
    driver.ok(grant("logs"))
    assert driver.in_force() == ("logs",)


@pytest.mark.parametrize("closing", [newer_number, restore])
def test_after_a_restore_a_decision_of_the_owner_to_revoke_stays_the_owners(
    closing: Callable[[Driver], events.Event],
) -> None:
    driver = ready()
    driver.ok(revoke("logs", reason="enough"))
    driver.ok(closing(driver))
    assert (driver.state.classes["logs"].by, driver.state.classes["logs"].reason) == (
        "ann", "enough",
    )  # fmt: skip
    assert "logs" not in receipt(driver).classes


def test_a_restored_plane_closes_a_node_before_its_numbers_catch_up() -> None:
    """The node has seen document 4, and by the time it says so this plane is at 4 as well."""
    driver = ready()
    driver.ok(grant("transcripts"))
    driver.ok(events.PlaneRestored())
    assert driver.in_force() == ()
    found = signed_grant(driver.state)
    assert found is not None
    assert (found.classes, found.number > NUMBERS_STEP_MAX) == ((), True)
    assert "restored from a backup" in receipt(driver).reason
    driver.ok(grant("counters"))
    driver.ok(grant("logs"))
    assert driver.send(events.NumberSeen(4)).outcome == "ignored"
    assert driver.in_force() == ("counters", "logs")
    assert driver.send(grant("memory")).outcome == "applied"
    assert "transcripts" not in driver.in_force()


def test_documents_that_wait_at_a_restore_are_signed_under_new_numbers() -> None:
    driver = ready()
    driver.send(grant("logs"))
    driver.calls.clear()
    driver.send(events.PlaneRestored())
    driver.sign()
    assert [one.act for one in driver.receipts() if isinstance(one, Receipt)] == [
        "granted", "revoked",
    ]  # fmt: skip
    assert min(one.number for one in driver.state.receipts) > NUMBERS_STEP_MAX
    assert driver.in_force() == ()


def test_documents_that_wait_get_numbers_above_those_that_a_node_has_seen() -> None:
    driver = ready()
    driver.send(grant("logs"))
    driver.calls.clear()
    driver.send(events.NumberSeen(40))
    driver.sign()
    numbers = [one.number for one in driver.state.receipts]
    assert len(numbers) == 2
    assert min(numbers) > 40
    assert [one.number for one in driver.receipts() if isinstance(one, Receipt)] == numbers


def test_a_node_cannot_use_up_all_numbers() -> None:
    driver = ready()
    driver.ok(events.NumberSeen(2**53 - 1))
    assert driver.state.number <= NUMBERS_STEP_MAX + NUMBERS_GAP + 2
    assert driver.state.reported == 2**53 - 1
    driver.ok(grant("logs"))
    honest = driver.state.number + 3
    driver.ok(events.NumberSeen(honest))
    assert driver.in_force() == ()
    assert driver.state.reported == honest


def test_a_destroyed_instance_closes_its_node() -> None:
    driver = ready(instance="i1")
    driver.ok(grant("logs"))
    driver.ok(events.InstanceGone("acme"))
    assert driver.in_force() == ()
    assert receipt(driver).reason == "its instance was destroyed"
    assert driver.send(events.InstanceGone("acme")).outcome == "ignored"
    for event in (registered(instance="i1"), show(), grant("logs")):
        assert driver.send(event).code == "node_closed"
    driver.ok(revoke("logs", delete=True))
    (call,) = driver.deletions()
    driver.settle(call, Ok(ports.Deleted({"logs": 3})))
    driver.sign()
    assert receipt(driver).deleted == {"logs": 3}


def test_the_end_of_an_instance_that_had_no_node_leaves_no_row() -> None:
    driver = Driver()
    assert driver.send(events.InstanceGone("acme")).outcome == "applied"
    assert driver.rows == {}
    assert driver.folded.alarm_ms is None
    assert driver.send(registered(instance="i1")).code == "node_closed"


def test_receipts_are_bounded_and_the_oldest_rows_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apply, "RECEIPTS_MAX", 6)
    driver = ready()
    for _ in range(5):
        driver.ok(grant("counters"))
        driver.ok(revoke("counters"))
    kept = [row for view, row in driver.rows if view == RECEIPT_VIEW]
    assert len(kept) == len(driver.state.receipts) == 6
    numbers = [one.number for one in driver.state.receipts]
    assert numbers == sorted(numbers)
    assert min(kept).endswith(str(2**53 - 1 - numbers[-1]))


def test_an_empty_decision_is_refused() -> None:
    driver = ready()
    assert driver.send(grant()).code == "no_classes"
    assert driver.send(revoke()).code == "no_classes"


def test_ids_of_names_and_of_instances_never_meet() -> None:
    assert node_of_name("acme", "x") != node_of_instance("acme", "x")
    assert node_of_name("acme", "x") != node_of_name("acm", "ex")
    assert node_of_name("acme", "x").startswith("nd_")
    assert len(node_of_name("acme", "x")) == 23
    for name in ("", "\0x", "x" * 129):
        with pytest.raises(ValueError, match="name: want"):
            node_of_name("acme", name)


def test_a_credential_of_an_unknown_kind_is_an_agents() -> None:
    driver = ready(instance="i1")
    assert driver.send(grant("logs", **AGENT)).code == "agent_cannot_grant"

"""Samples before a yes: one signed document for one page and one minute, with a receipt."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.actors.definition import EffectCall
from holdfast.consent import apply, events, ports, presenters
from holdfast.consent.limits import UNSIGNED_MAX
from holdfast.consent.state import STATE_VERSION, decode_state, encode_state
from holdfast.kernel.outcome import Ok
from holdfast.plane.consent_key import verify
from holdfast.wire.consent import (
    CLASSES,
    PREVIEW_MS,
    Preview,
    Receipt,
    decode_document,
    from_base64url,
    node_of_instance,
)
from tests.unit.consent.rig import AGENT, NODE, OWNER, Driver, grant, registered, revoke

PAGE = "B" * 87


def ask(**changes: Any) -> events.PreviewAsked:
    return events.PreviewAsked(**({**OWNER, "public_key": PAGE} | changes))


def ready(**changes: Any) -> Driver:
    driver = Driver()
    driver.ok(registered(**changes))
    return driver


def number_of(call: EffectCall) -> int:
    """Return the number of the document that a call has signed."""
    assert isinstance(call.body, ports.SignCall)
    document = decode_document(from_base64url(call.body.payload))
    assert isinstance(document, Preview | Receipt)
    return document.number


def test_a_preview_is_signed_for_one_page_and_ends_after_its_minute() -> None:
    driver = ready()
    at_ms = driver.clock.now_ms()
    driver.ok(ask())
    now = driver.standing()
    assert now.preview is not None
    said = verify(now.preview, driver.key.public_key)
    assert said == Preview(
        version=1, node=NODE, number=2, public_key=PAGE, at_ms=at_ms, until_ms=at_ms + PREVIEW_MS
    )
    assert now.preview_number == 2
    assert driver.in_force() == (), "no class is open by it"
    (receipt,) = driver.receipts()
    assert isinstance(receipt, Receipt)
    assert (receipt.act, receipt.classes, receipt.number) == ("previewed", CLASSES, 1)
    assert (receipt.by, receipt.until_ms) == ("ann", at_ms + PREVIEW_MS)
    driver.wait(PREVIEW_MS - 1)
    assert driver.standing().preview is not None
    driver.wait(1)
    assert (driver.standing().preview, driver.standing().preview_number) == (None, 0)


def test_one_is_asked_for_at_a_time() -> None:
    driver = ready()
    driver.ok(ask())
    assert driver.send(ask()).code == "preview_running"
    driver.wait(PREVIEW_MS)
    driver.ok(ask())
    assert driver.standing().preview_number == 4


def test_one_that_is_signed_late_takes_the_place_of_no_later_one() -> None:
    driver = ready()
    assert driver.send(ask()).outcome == "applied"
    driver.wait(PREVIEW_MS)
    assert driver.send(ask()).outcome == "applied"
    waiting = {number_of(call): call for call in driver.calls}
    for number in (1, 3, 4, 2):
        call = waiting[number]
        assert isinstance(call.body, ports.SignCall)
        driver.settle(call, Ok(driver.key.sign(from_base64url(call.body.payload))))
    assert driver.standing().preview_number == 4
    kept = [one.act for one in driver.receipts() if isinstance(one, Receipt)]
    assert kept == ["previewed", "previewed"], "each was asked for"


def test_it_is_not_in_force_before_it_is_signed_and_a_decision_ends_it() -> None:
    driver = ready()
    assert driver.send(ask()).outcome == "applied"
    assert driver.standing().preview is None
    driver.sign()
    assert driver.standing().preview is not None
    for decision in (grant("logs"), revoke("logs")):
        driver.ok(decision)
        assert driver.standing().preview is None
        driver.wait(PREVIEW_MS)
        driver.ok(ask())
    driver.wait(PREVIEW_MS)
    assert driver.send(ask()).outcome == "applied"
    driver.send(revoke("memory"))
    driver.sign()
    assert driver.standing().preview is None, "nor is one signed that waited for it"


def test_an_agent_asks_for_none_and_a_closed_or_busy_node_gives_none() -> None:
    driver = Driver()
    assert driver.send(ask()).code == "no_such_node"
    assert node_of_instance("acme", "i-1") != NODE
    driver.ok(registered(instance="i-1"))
    assert driver.send(ask(**AGENT)).code == "agent_cannot_grant"
    assert driver.standing().preview is None
    for _ in range(UNSIGNED_MAX):
        driver.send(grant("logs"))
    assert driver.send(ask()).code == "consent_busy"
    driver.sign()
    driver.ok(ask())
    driver.ok(events.InstanceGone("acme"))
    assert driver.standing().preview is None
    driver.wait(PREVIEW_MS)
    assert driver.send(ask()).code == "node_closed"


def test_a_stored_state_has_it_and_an_older_one_has_none() -> None:
    driver = ready()
    before = encode_state(driver.state)
    assert b"preview" not in before
    assert decode_state(before, STATE_VERSION).preview is None
    driver.ok(ask())
    assert decode_state(encode_state(driver.state), STATE_VERSION) == driver.state
    assert presenters.detail(driver.state, driver.clock.now_ms()).number == 2


def test_receipts_of_previews_make_room_before_those_of_decisions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(apply, "RECEIPTS_MAX", 3)
    driver = ready()
    driver.ok(ask())
    driver.ok(grant("logs"))
    driver.ok(revoke("logs"))
    for _ in range(4):
        driver.wait(PREVIEW_MS)
        driver.ok(ask())
    kept = [one for one in driver.receipts() if isinstance(one, Receipt)]
    assert [one.act for one in kept] == ["granted", "revoked", "previewed"]
    assert kept[-1].number == driver.state.number - 1, "the newest one"
    for content in ("logs", "memory", "files"):
        driver.ok(grant(content))
    assert [one.act for one in driver.receipts() if isinstance(one, Receipt)] == ["granted"] * 3

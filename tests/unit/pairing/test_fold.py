"""The fold and the rules of pairing: each request is decided once, and no decision is lost."""

from __future__ import annotations

import pytest

from holdfast.kernel.outcome import Ok, Permanent, Retryable
from holdfast.pairing import events, ports
from holdfast.pairing.limits import (
    ANSWER_MS,
    DECISIONS_MAX,
    FAILURE_SHOWN_MS,
    OPEN_MAX,
    ORDER_RUNS_MS,
    RESOLVE_FIRST_MS,
)
from holdfast.pairing.policy import Rule
from holdfast.pairing.state import decided
from tests.unit.pairing.rig import FAR_MS, Driver, approve, device, rules, telegram

DONE = Ok(ports.Carried("Pairing approved", "controller"))
ADA = Rule(id="r1", kind="channel", channel="telegram", sender="777001")


def status(driver: Driver, request: object = None) -> str:
    known = decided(driver.state, (request or telegram()).marks)  # type: ignore[attr-defined]
    return "" if known is None else known.status


def test_a_decision_is_sent_once_and_done() -> None:
    driver = Driver()
    assert driver.send(approve(telegram())).outcome == "applied"
    (call,) = driver.calls
    assert call.body == ports.DecideCall(1, "approve", telegram().asked)
    assert status(driver) == "sent"
    driver.settle(DONE)
    assert status(driver) == "done"
    assert driver.calls == []


def test_two_who_decide_alike_are_one_and_unlike_are_told() -> None:
    driver = Driver()
    driver.send(approve(telegram()))
    assert driver.send(approve(telegram(), by="bob")).outcome == "ignored"
    refused = driver.send(approve(telegram(), verb="dismiss"))
    assert (refused.outcome, refused.code) == ("refused", "pairing_deciding")
    driver.settle(DONE)
    refused = driver.send(approve(telegram(), by="bob"))
    assert (refused.outcome, refused.code) == ("refused", "pairing_already")
    assert len(driver.state.decisions) == 1


def test_a_request_is_known_by_any_of_its_marks() -> None:
    driver = Driver()
    driver.send(approve(telegram(created_ms=5)))
    driver.settle(DONE)
    other = telegram(code="", created_ms=5)
    assert driver.send(approve(other)).code == "pairing_already"
    assert driver.send(approve(telegram(code="ZZ99", sender="1"))).outcome == "applied"


def test_what_certainly_failed_can_be_decided_again() -> None:
    driver = Driver()
    driver.send(approve(telegram()))
    driver.settle(Permanent("pairing_failed", "it broke"))
    assert status(driver) == "failed"
    assert driver.send(approve(telegram())).outcome == "applied"
    assert [one.serial for one in driver.state.decisions] == [2]
    driver.settle(Permanent("pairing_failed", "again"))
    driver.wait(FAILURE_SHOWN_MS)
    assert driver.state.decisions == ()


@pytest.mark.parametrize(
    "outcome",
    [
        Permanent(ports.DOUBT, "lost"),
        Permanent(ports.MAY_RUN, "reset"),
        Permanent("bug", "raised"),
        Retryable("timeout", "slow"),
        Retryable("expired", "late"),
    ],
)
def test_what_may_have_been_done_is_looked_for(outcome: Permanent | Retryable) -> None:
    driver = Driver()
    driver.send(approve(telegram()))
    driver.settle(outcome, attempt=2)
    assert status(driver) == "doubted"
    assert driver.send(approve(telegram())).outcome == "ignored"
    driver.wait(RESOLVE_FIRST_MS)
    (call,) = driver.calls
    early = outcome.code != ports.DOUBT
    assert call.body == ports.LookCall(1, "approve", telegram().asked, early=early)
    driver.settle(Permanent("controller_unreachable", "still not"))
    assert status(driver) == "doubted"
    driver.wait(600_000)
    driver.settle(Ok(ports.StillWaits()))
    assert status(driver) == "failed"


def test_one_that_may_run_is_called_failed_only_when_it_runs_no_more() -> None:
    driver = Driver()
    driver.send(approve(telegram()))
    driver.settle(Permanent(ports.MAY_RUN, "controller_unreachable: reset"))
    began_ms, looks = driver.clock.now_ms(), 0
    while status(driver) == "doubted":
        due = driver.folded.alarm_ms
        assert due is not None
        driver.wait(due - driver.clock.now_ms())
        driver.settle(Ok(ports.StillWaits()))
        looks += 1
    assert status(driver) == "failed"
    assert driver.clock.now_ms() - began_ms == ORDER_RUNS_MS
    assert looks == 6


def test_one_that_expired_before_it_was_sent_is_certain() -> None:
    driver = Driver()
    driver.send(approve(telegram()))
    driver.settle(Retryable("expired", "late"), attempt=1)
    assert status(driver) == "failed"


def test_an_answer_that_never_comes_is_looked_for() -> None:
    driver = Driver()
    driver.send(approve(telegram()))
    driver.calls.clear()
    driver.wait(ANSWER_MS)
    assert status(driver) == "doubted"
    assert isinstance(driver.calls[0].body, ports.LookCall)
    driver.settle(DONE)
    assert status(driver) == "done"


def test_a_late_answer_changes_nothing() -> None:
    driver = Driver()
    driver.send(approve(telegram()))
    driver.settle(DONE)
    late = events.DecisionFailed(
        serial=1, verb="approve", request="telegram:AB12", code="x", message=""
    )
    assert driver.send(late).outcome == "ignored"
    assert status(driver) == "done"


def test_a_decision_is_remembered_until_its_request_cannot_return() -> None:
    driver = Driver()
    driver.send(approve(telegram(), forget_ms=driver.clock.now_ms() + 1_000))
    driver.settle(DONE)
    driver.wait(999)
    assert status(driver) == "done"
    driver.wait(1)
    assert driver.state.decisions == ()
    assert driver.folded.alarm_ms is None


def test_more_is_refused_rather_than_one_forgotten() -> None:
    driver = Driver()
    for number in range(DECISIONS_MAX):
        request = telegram(code=f"C{number}", sender=str(number))
        assert driver.send(approve(request)).outcome == "applied"
        driver.settle(DONE)
    refused = driver.send(approve(telegram(code="MORE", sender="x")))
    assert (refused.outcome, refused.code) == ("refused", "pairing_too_many")
    assert status(driver, telegram(code="C0", sender="0")) == "done"


def test_few_are_on_their_way_at_a_time() -> None:
    driver = Driver()
    for number in range(OPEN_MAX):
        driver.send(approve(telegram(code=f"C{number}", sender=str(number))))
    assert driver.send(approve(telegram(code="MORE", sender="x"))).code == "pairing_busy"


def seen(driver: Driver, request: object) -> str:
    event = events.PairingSeen(account="acme", request=request, forget_ms=FAR_MS)  # type: ignore[arg-type]
    return driver.send(event).outcome


def test_a_rule_decides_only_while_the_policy_says_so() -> None:
    driver = Driver()
    driver.send(rules(ADA, mode="manual"))
    assert seen(driver, telegram()) == "ignored"
    driver.send(rules(ADA))
    assert seen(driver, telegram(sender="1", code="X1")) == "ignored"
    assert seen(driver, telegram()) == "applied"
    assert seen(driver, telegram()) == "ignored"
    (call,) = driver.calls
    assert call.body.verb == "approve"
    driver.settle(DONE)
    assert (driver.state.decisions[0].by, driver.state.decisions[0].rule) == ("rule r1", "r1")
    assert seen(driver, telegram()) == "refused"


def test_a_rule_that_ended_decides_nothing() -> None:
    driver = Driver()
    ends = driver.clock.now_ms() + 1_000
    rule = Rule(id="r1", kind="channel", channel="telegram", sender="*", expires_ms=ends)
    driver.send(rules(rule))
    driver.wait(1_000)
    assert seen(driver, telegram()) == "ignored"


def test_a_policy_is_replaced_only_by_who_saw_it() -> None:
    driver = Driver()
    assert driver.send(rules(ADA)).outcome == "applied"
    stale = events.PolicySet(account="acme", mode="manual", by="bob", version=0)
    assert driver.send(stale).code == "policy_changed"
    assert driver.send(rules(ADA)).outcome == "ignored"
    assert driver.state.policy_version == 1


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        (Rule(id="r", kind="channel", sender="*"), "channel"),
        (Rule(id="r", kind="channel", channel="telegram", sender="*", role="operator"), "role"),
        (Rule(id="r", kind="device", sender="*"), "role"),
        (Rule(id="r", kind="device", sender="*", role="node", channel="telegram"), "channel"),
    ],
)
def test_a_rule_that_means_nothing_is_refused_by_its_field(rule: Rule, field: str) -> None:
    refused = Driver().send(rules(rule))
    assert refused.code == "bad_rule"
    assert f"rules[0].{field}:" in refused.message


def test_remembering_adds_the_rule_once_it_is_done() -> None:
    driver = Driver()
    driver.send(approve(telegram(), remember=ADA))
    before = driver.state
    assert before.rules == ()
    driver.settle(DONE)
    assert driver.state.mode == "rules"
    assert driver.state.rules == (ADA,)


def test_remembering_never_switches_on_rules_that_were_off() -> None:
    driver = Driver()
    anybody = Rule(id="r0", kind="channel", channel="telegram", sender="*")
    driver.send(rules(anybody, mode="manual"))
    assert driver.send(approve(telegram(), remember=ADA)).code == "policy_manual"
    assert driver.state.mode == "manual"


def test_nothing_is_remembered_of_what_failed() -> None:
    driver = Driver()
    driver.send(approve(telegram(), remember=ADA))
    driver.settle(Permanent("pairing_failed", "no"))
    assert (driver.state.mode, driver.state.rules) == ("manual", ())


def test_devices_and_channels_do_not_meet() -> None:
    driver = Driver()
    driver.send(approve(telegram()))
    assert driver.send(approve(device())).outcome == "applied"


def test_a_destroyed_instance_decides_nothing() -> None:
    driver = Driver()
    driver.send(approve(telegram()))
    driver.calls.clear()
    assert driver.send(events.InstanceGone()).outcome == "applied"
    assert driver.send(approve(device())).code == "destroyed"
    assert driver.state.decisions == ()


def test_a_decision_that_arrives_after_the_end_is_refused_even_where_it_is_the_first() -> None:
    driver = Driver()
    assert driver.send(events.InstanceGone(account="acme")).outcome == "applied"
    assert (driver.state.gone, driver.state.account) == (True, "acme")
    assert driver.send(approve(device())).code == "destroyed"


def test_the_end_that_is_told_again_is_not_refused_so_that_no_letter_comes_back() -> None:
    driver = Driver()
    driver.send(events.InstanceGone(account="acme"))
    assert driver.send(events.InstanceGone(account="acme")).outcome == "ignored"


def test_the_end_as_it_was_told_before_is_read() -> None:
    body = b'{"type":"PairingInstanceGone"}'
    assert events.decode_event(body, 1) == events.InstanceGone()

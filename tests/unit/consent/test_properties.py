"""Whatever happens in whatever order: a class in force has a grant that nothing ended."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.consent import events
from holdfast.consent.state import signed_grant
from holdfast.kernel.clock import DAY_MS, HOUR_MS
from holdfast.kernel.outcome import Permanent
from holdfast.wire.consent import CLASSES, ContentClass, Receipt
from tests.unit.consent.rig import Driver

CREDENTIALS = ("session:ann", "token:t1", "local:x", "observer:cm_1", "key:1", "odd")
PERSONS = ("session:ann", "token:t1")

classes = st.lists(st.sampled_from(CLASSES), max_size=4).map(tuple)
who = st.sampled_from(CREDENTIALS).map(lambda one: {"by": one, "credential": one})
spans = st.sampled_from((0, HOUR_MS, DAY_MS))


@st.composite
def steps(draw: st.DrawFn) -> list[tuple[str, Any]]:
    """Return what happens to one node: requests, answers, failures, time."""
    instance = draw(st.sampled_from(("", "i1")))
    named: dict[str, Any] = {"account": "acme", "name": "n", "instance": instance}
    source = st.sampled_from(("auto", "person"))
    one = st.one_of(
        st.tuples(st.just("send"), st.builds(lambda s, w: events.NodeRegistered(
            **named, source=s, **w), source, who)),
        st.tuples(st.just("send"), st.builds(lambda c, w: events.IntentShown(
            classes=c, **w), classes, who)),
        st.tuples(st.just("grant"), st.tuples(classes, who, spans)),
        st.tuples(st.just("send"), st.builds(lambda c, w, d: events.ConsentRevoked(
            classes=c, delete=d, **w), classes, who, st.booleans())),
        st.tuples(st.just("send"), st.integers(0, 60).map(events.NumberSeen)),
        st.tuples(st.just("send"), st.just(events.PlaneRestored())),
        st.tuples(st.just("send"), st.sampled_from(("other", "")).map(events.KeyReplaced)),
        st.tuples(st.just("answer"), st.booleans()),
        st.tuples(st.just("wait"), st.sampled_from((1, HOUR_MS, DAY_MS))),
        st.tuples(st.just("forge"), st.tuples(st.integers(1, 40), classes)),
    )  # fmt: skip
    begin = ("send", events.NodeRegistered(**named, by="x", credential="observer:cm_1"))
    found = [begin, *draw(st.lists(one, min_size=3, max_size=25))]
    if draw(st.booleans()):
        found.insert(draw(st.integers(1, len(found))), ("send", events.InstanceGone("acme")))
    return found


def play(driver: Driver, what: str, given_: Any) -> None:
    """Do one step."""
    match what:
        case "send":
            driver.send(given_)
        case "grant":
            named, by, span_ms = given_
            until_ms = driver.clock.now_ms() + span_ms if span_ms else 0
            driver.send(events.ConsentGranted(classes=named, until_ms=until_ms, **by))
        case "answer":
            driver.settle_next(None if given_ else Permanent("bug", "it raised"))
        case "wait":
            driver.wait(given_)
        case _:
            number, named = given_
            driver.send(events.DocumentSent(number))
            driver.send(events.ConsentExpired(named))


def allowed(log: list[tuple[events.Event, int]], now_ms: int) -> dict[ContentClass, str]:
    """Return each class that the log grants at a time, with the credential of its last grant."""
    held: dict[ContentClass, tuple[str, int]] = {}
    for event, _at_ms in log:
        match event:
            case events.ConsentGranted(classes=named, until_ms=until_ms, credential=credential):
                held |= dict.fromkeys(named, (credential, until_ms))
            case events.ConsentRevoked(classes=named) | events.ConsentExpired(classes=named):
                held = {each: one for each, one in held.items() if each not in named}
            case events.NumberSeen() | events.PlaneRestored() | events.InstanceGone():
                held = {}
            case _:
                pass
    return {each: one for each, (one, until_ms) in held.items() if not 0 < until_ms <= now_ms}


@given(steps())
@settings(deadline=None, max_examples=150)
def test_a_class_in_force_has_a_grant_that_nothing_ended(found: list[tuple[str, Any]]) -> None:
    driver = Driver()
    for what, given_ in found:
        play(driver, what, given_)
        held = allowed(driver.log, driver.clock.now_ms())
        assert driver.standing().classes <= held.keys()
        if driver.state.instance:
            assert {held[each] for each in driver.standing().classes} <= set(PERSONS)
        signed = signed_grant(driver.state)
        assert signed is None or signed.number <= driver.state.number
    numbers = [one.number for one in driver.state.receipts]
    assert numbers == sorted(set(numbers))
    said = [one.number for one in driver.receipts() if isinstance(one, Receipt)]
    assert said == numbers


@given(steps())
@settings(deadline=None, max_examples=60)
def test_whatever_happened_what_waits_is_done_in_the_end(found: list[tuple[str, Any]]) -> None:
    driver = Driver()
    for what, given_ in found:
        play(driver, what, given_)
    for _ in range(200):
        driver.settle_next()
        if not driver.calls:
            driver.wait(DAY_MS)
        if not (driver.calls or driver.state.unsigned or driver.state.deletions):
            break
    assert (driver.state.unsigned, driver.state.deletions, driver.state.waiting) == ((), (), None)
    granted = allowed(driver.log, driver.clock.now_ms())
    assert driver.standing().classes == granted.keys()

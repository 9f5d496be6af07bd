"""What a plan counts, what one entity is told, and events of what the invariants found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from holdfast.actors.definition import Counted, Definition, Invariant, Plan, Suppressed, broken
from holdfast.actors.kinds import make_kind
from holdfast.actors.record import Note
from holdfast.actors.rehearse import explain
from holdfast.actors.tick import full_digest
from tests.support.toys.lamp import (
    LAMP,
    BulbAdded,
    Event,
    GridSeen,
    Lamp,
    Made,
    Policy,
    encode_event,
)
from tests.unit.actors.histories import live, rows

BEGUN: Sequence[Event] = (Made("sun"), BulbAdded("a"))
SEEN = GridSeen("noticed")
DARK = Invariant[Lamp](7, "No lamp has a bulb.", lambda state, _key: str(sorted(state.bulbs)))


def lamp(**changes: Any) -> Definition[Lamp, Event, Any, Policy]:
    return replace(LAMP, **changes)


def test_what_a_plan_counts_is_added_to_what_it_names() -> None:
    def reconcile(_state: Lamp, _policy: Policy, _now_ms: int, _number: int) -> Plan[Any]:
        named = (Suppressed("rule", "busy", "a"), Suppressed("rule", "busy", "b"))
        return Plan((), named, (Counted("rule", "busy", 40), Counted("rule", "cap", 0)))

    (result, commit), *_ = live(make_kind(lamp(reconcile=reconcile), Policy()), [rows(BEGUN)])
    assert [(one.because, one.count) for one in result.withheld] == [("busy", 42)]
    assert {reason[2] for reason in result.changed_reasons} == {"a", "b"}
    assert commit is not None


def test_an_entity_is_told_what_is_only_counted() -> None:
    def why(_state: Lamp, _policy: Policy, _now_ms: int, entity: str) -> tuple[Suppressed, ...]:
        return (Suppressed("rule", "its turn comes", entity),)

    kind = make_kind(lamp(explain=why), Policy())
    (result, _), *_ = live(kind, [rows(BEGUN)])
    said = explain(kind, result.after, "a", now_ms=result.now_ms)
    assert Suppressed("rule", "its turn comes", "a") in said.suppressed


def test_what_was_noticed_is_folded_in_the_same_tick_and_logged() -> None:
    seen: list[list[int]] = []

    def noticed(_state: Lamp, notes: Sequence[Note]) -> tuple[Event, ...]:
        seen.append([note.number for note in notes])
        return (SEEN,)

    kind = make_kind(lamp(noticed=noticed, invariants=(DARK,)), Policy())
    result, commit = live(kind, [rows(BEGUN)])[0]
    assert seen == [[7, 7]]
    assert result.after.state.grid == "noticed"
    assert [intent.body for intent in commit.intents] == [encode_event(SEEN)]
    assert result.after.seq == 3
    assert result.after.digest == full_digest(LAMP, result.after.state)


def test_nothing_is_noticed_where_nothing_was_touched() -> None:
    def noticed(_state: Lamp, _notes: Sequence[Note]) -> tuple[Event, ...]:
        raise AssertionError("it was asked")

    kind = make_kind(lamp(noticed=noticed), Policy())
    ((result, _),) = live(kind, [rows([SEEN])])
    assert [stamp.outcome for stamp in result.stamps] == ["refused"]
    assert result.notes == ()


def test_a_notice_that_raises_is_a_note_and_changes_nothing() -> None:
    def noticed(_state: Lamp, _notes: Sequence[Note]) -> tuple[Event, ...]:
        raise ValueError("broken")

    plain = live(make_kind(LAMP, Policy()), [rows(BEGUN)])[0][0]
    result = live(make_kind(lamp(noticed=noticed), Policy()), [rows(BEGUN)])[0][0]
    assert result.after.state == plain.after.state
    assert result.after.digest == full_digest(LAMP, result.after.state)
    assert any(note.text.startswith("noticed:") for note in result.notes)


def test_invariants_are_asked_for_what_they_are_about() -> None:
    def wrong(text: str) -> Callable[[Lamp, str], str]:
        return lambda _state, key: f"{text} {key}"

    of_beads = Invariant[Lamp](1, "x", wrong("bead"), "b/")
    of_all = Invariant[Lamp](2, "y", wrong("any"))
    definition = lamp(invariants=(of_beads, of_all))
    state = definition.empty("hall")
    assert list(broken(definition, state, ("b/1", "a/1", ""))) == [
        (1, "b/1", "bead b/1"), (2, "b/1", "any b/1"), (2, "a/1", "any a/1"), (2, "", "any "),
    ]  # fmt: skip


def test_invariants_are_given_what_is_looked_up_and_are_not_asked_about_what_is_gone() -> None:
    def check(_state: Lamp, found: int) -> str | None:
        if found == 2:
            raise ValueError("torn")
        return f"it is {found}"

    looked = {"b/1": 1, "b/2": 2}
    definition = lamp(
        invariants=(Invariant(3, "z", check, "b/"),), look=lambda _state, key: looked.get(key)
    )
    found = list(broken(definition, definition.empty("hall"), ("b/1", "b/2", "b/3")))
    assert [one[:2] for one in found] == [(3, "b/1"), (3, "b/2")]
    assert found[0][2] == "it is 1"
    assert isinstance(found[1][2], ValueError)

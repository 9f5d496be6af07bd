"""The tick as a function: the same fold however it is cut, its digest, and nothing by chance."""

from __future__ import annotations

from dataclasses import replace as replace_fields
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.actors.commit import fold_rows
from holdfast.actors.definition import Applied, At, Definition, Work
from holdfast.actors.kinds import make_kind
from holdfast.actors.limits import TICK_ACTIONS_MAX
from holdfast.actors.ports import Logged
from holdfast.actors.record import decode_record
from holdfast.actors.tick import begin, full_digest, tick
from tests.support.toys.lamp import LAMP, BulbAdded, Event, Made, Policy, SwitchedOn
from tests.unit.actors.histories import HALL, LIVES, NOW, live, rows, split

KIND = make_kind(LAMP, Policy())
SIZES = st.lists(st.integers(1, 7), min_size=1, max_size=5)


@settings(deadline=None)
@given(events=LIVES, first=SIZES, second=SIZES)
def test_any_cut_of_the_same_events_folds_to_the_same_state(
    events: list[Event], first: list[int], second: list[int]
) -> None:
    # The time of an event is that of its tick, so it is held still here.
    results = []
    kind = make_kind(LAMP, Policy(lit_max=0))
    for sizes in (first, second):
        calm = [event for event in events if not event.__class__.__name__.startswith("Note")]
        done = live(kind, split(rows(calm), sizes), step_ms=0)
        results.append(done[-1][0].after)
    assert results[0].state == results[1].state
    assert (results[0].seq, results[0].digest) == (results[1].seq, results[1].digest)


@settings(deadline=None)
@given(events=LIVES, sizes=SIZES)
def test_the_kept_digest_is_the_full_one_after_every_tick(
    events: list[Event], sizes: list[int]
) -> None:
    for result, _ in live(KIND, split(rows(events), sizes)):
        assert result.after.digest == full_digest(LAMP, result.after.state)


@settings(deadline=None)
@given(events=LIVES, sizes=SIZES)
def test_the_log_folds_to_the_state_that_was_committed(
    events: list[Event], sizes: list[int]
) -> None:
    parts = split(rows(events), sizes)
    bodies = {row.id: row for part in parts for row in part}
    state = LAMP.empty("hall")
    for result, commit in live(KIND, parts):
        logged = [
            Logged(
                id=stamp.id,
                seq=stamp.seq,
                tick=stamp.tick,
                at_ms=stamp.at_ms,
                outcome=stamp.outcome,
                body=bodies[stamp.id].body,
                version=2,
                source="api",
            )
            for stamp in commit.stamps
        ]
        state, notes = fold_rows(LAMP, state, [*logged, *commit.intents])
        assert notes == []
        assert state == result.after.state
        seqs = [row.seq for row in (*logged, *commit.intents)]
        assert seqs == list(range(result.before.seq + 1, result.after.seq + 1))


@settings(deadline=None)
@given(events=LIVES, sizes=SIZES)
def test_a_tick_made_twice_is_the_same_to_the_last_byte(
    events: list[Event], sizes: list[int]
) -> None:
    parts = split(rows(events), sizes)
    assert [commit for _, commit in live(KIND, parts)] == [
        commit for _, commit in live(KIND, parts)
    ]


def test_actions_beyond_the_most_wait_for_the_next_tick() -> None:
    kind = make_kind(LAMP, Policy(lit_max=10_000))
    events = [Made("sun"), *(BulbAdded(f"b{n}") for n in range(TICK_ACTIONS_MAX + 5))]
    first = tick(LAMP, kind.policy, begin(LAMP, HALL), rows([*events, SwitchedOn()]), NOW, 1)
    assert len(first.decisions) == TICK_ACTIONS_MAX
    assert first.deadline_ms == NOW
    second = tick(LAMP, kind.policy, first.after, [], NOW, 2)
    assert len(second.decisions) == 5


def test_invariants_are_notes_and_stop_nothing() -> None:
    result = tick(LAMP, Policy(), begin(LAMP, HALL), rows([Made("sun")]), NOW, 1)
    bulbs = rows([BulbAdded(f"b{n}") for n in range(51)])
    result = tick(LAMP, Policy(), result.after, bulbs, NOW, 2)
    assert [note.number for note in result.notes] == []
    # It is the head of the lamp that counts its bulbs, and only what is touched is looked at.
    result = tick(LAMP, Policy(), result.after, rows([SwitchedOn()]), NOW, 3)
    assert [(note.number, note.text) for note in result.notes] == [(2, "more than 50 bulbs")]


def test_a_record_reads_back_as_it_was_written() -> None:
    done = live(KIND, split(rows([Made("sun"), BulbAdded("a"), SwitchedOn()]), [1]))
    record = decode_record(done[-1][1].record or b"")
    assert record.decisions[0].rule == "light"
    assert record.decisions[0].reason == "a should shine"
    assert record.policy == KIND.policy_hash
    assert (record.basis, record.seq) == (2, 4)


def test_an_event_is_folded_with_the_time_of_its_tick() -> None:
    state = LAMP.empty("hall")
    verdict = LAMP.apply(state, Made("sun"), At(NOW, 1, rows([Made("sun")])[0].id))
    assert isinstance(verdict, Applied)
    assert verdict.state.made


def test_every_effect_of_one_action_has_an_id_and_a_place_of_its_own() -> None:
    def act(*given: Any) -> Work:
        work = LAMP.act(*given)
        return Work(intents=work.intents, effects=work.effects * 3)

    kind = make_kind(replace_fields(LAMP, act=act), Policy())
    (row,) = split(rows([Made("sun"), BulbAdded("a"), BulbAdded("b"), SwitchedOn()]), [4])
    ((result, commit),) = live(kind, [row])
    assert [len(one.effects) for one in result.decisions] == [3, 3]
    assert len({effect.id for effect in commit.effects}) == 6
    assert [effect.ordinal for effect in commit.effects] == sorted(
        {effect.ordinal for effect in commit.effects}
    )


def _unreadable(_body: bytes, _version: int) -> Any:
    raise KeyError("a field that an upcast misses")


def _unwritable(_effect: Any) -> bytes:
    raise TypeError("no effect of this kind")


def test_an_event_that_cannot_be_read_for_any_reason_is_quarantined() -> None:
    kind = make_kind(replace_fields(LAMP, decode_event=_unreadable), Policy())
    result = tick(kind.definition, kind.policy, begin(LAMP, HALL), rows([Made("sun")]), NOW, 1)
    assert [stamp.outcome for stamp in result.stamps] == ["quarantined"]


@pytest.mark.parametrize(
    "definition",
    [
        replace_fields(LAMP, encode_effect=_unwritable),
        replace_fields(LAMP, act=lambda *_: Work(effects=(None,))),  # type: ignore[arg-type]
    ],
)
def test_an_action_whose_effect_cannot_be_written_is_a_fault_and_changes_nothing(
    definition: Definition[Any, Any, Any, Any],
) -> None:
    kind = make_kind(definition, Policy())
    pending = rows([Made("sun"), BulbAdded("a"), SwitchedOn()])
    result = tick(kind.definition, kind.policy, begin(LAMP, HALL), pending, NOW, 1)
    assert [stamp.outcome for stamp in result.stamps] == ["applied"] * 3
    assert [one.result for one in result.decisions] == ["fault"]
    assert (result.intents, result.calls) == ((), ())
    assert result.after.state.bulbs["a"].status == "dark"

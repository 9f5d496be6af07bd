"""A window of the past: it is the past, or another policy's, or says that it is approximate."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from holdfast.actors.rehearse import Glance
from holdfast.actors.stored import UnknownActorError
from holdfast.actors.tick import begin
from holdfast.actors.windows import (
    Edits,
    HistoryGoneError,
    Mode,
    Through,
    Walk,
    Window,
    look_through,
)
from holdfast.sim.loop import SimClock
from holdfast.stores.memory.journal import MemoryReader, MemoryStore
from tests.support.toys.lamp import (
    BulbAdded,
    Event,
    Made,
    Policy,
    SwitchedOff,
    SwitchedOn,
    encode_event,
)
from tests.unit.actors.histories import ENDED, HALL, LIVES, NOW
from tests.unit.actors.rig import play
from tests.unit.actors.test_rehearse import KIND, KINDS, SIZES, remember

STEP_MS = 20_000
"""Time between the ticks of a remembered history."""
LIFE: list[Event] = [Made("sun"), BulbAdded("a"), BulbAdded("b"), SwitchedOn(), SwitchedOff()]


def bulbs(glance: Glance) -> list[str]:
    """Return the bulbs of a lamp: what these tests show of a state."""
    return sorted(glance.folded.state.bulbs)


def window(from_tick: int, to_tick: int, mode: Mode = "historical", **more: Any) -> Window:
    """Return a window over ticks of a remembered history, by their places from 0."""
    return Window(
        actor="lamp/hall", from_ms=NOW + from_tick * STEP_MS, to_ms=NOW + to_tick * STEP_MS,
        now_ms=NOW + 10_000_000, mode=mode, view=f"{__name__}:bulbs", **more,
    )  # fmt: skip


async def look(store: MemoryStore, asked: Window) -> Through:
    return await look_through(MemoryReader(store), KINDS, asked)


@settings(deadline=None)
@given(events=st.one_of(LIVES, ENDED), sizes=SIZES, first=st.integers(0, 30))
def test_a_window_of_any_history_is_the_past(
    events: list[Event], sizes: list[int], first: int
) -> None:
    async def scenario(_clock: SimClock) -> None:
        store = await remember(events, sizes, Policy())
        made = await look(store, window(first, 1_000))
        assert (made.differences, made.exact) == (0, True)
        assert made.bit_equal in {True, None if not made.ticks else True}
        assert all(again.path == "" for again in made.ticks)
        assert made.to_seq == len(await MemoryReader(store).log(HALL))

    play(scenario)


def test_a_window_ends_with_the_state_of_its_end() -> None:
    async def scenario(_clock: SimClock) -> None:
        store = await remember(LIFE, [1], Policy())
        for last, there in ((0, []), (1, ["a"]), (2, ["a", "b"]), (4, ["a", "b"])):
            made = await look(store, window(0, last))
            assert (made.snapshot, len(made.ticks)) == (there, last + 1)
        made = await look(store, window(3, 3))
        assert [again.number for again in made.ticks] == [4]
        assert (made.events, made.snapshot) == (1, ["a", "b"])
        assert made.decided == len(made.decisions) > 0
        nothing = await look(store, window(50, 60))
        assert (nothing.ticks, nothing.snapshot) == ((), ["a", "b"])

    play(scenario)


def test_another_policy_is_compared_tick_by_tick() -> None:
    async def scenario(_clock: SimClock) -> None:
        store = await remember(LIFE[:4], [2], Policy(lit_max=1))
        made = await look(store, window(0, 9, "what-if", policy={"lit_max": 9}))
        assert (made.differences, made.bit_equal, made.exact) == (1, None, True)
        (other,) = (again for again in made.ticks if again.path)
        assert other.path.startswith("decisions[")

    play(scenario)


def test_other_events_make_another_past_and_are_said_to() -> None:
    async def scenario(_clock: SimClock) -> None:
        store = await remember(LIFE, [1], Policy())
        log = await MemoryReader(store).log(HALL)
        without = frozenset({next(row.id for row in log if b'"b"' in row.body)})
        made = await look(store, window(0, 9, "what-if", without=without))
        assert (made.snapshot, made.exact, made.differences) == (["a"], False, 0)
        late = (NOW + 8 * STEP_MS, encode_event(BulbAdded("late")))
        soon = (NOW + STEP_MS, encode_event(BulbAdded("soon")))
        made = await look(store, window(0, 9, "what-if", events=(late, soon)))
        assert made.snapshot == ["a", "b", "late", "soon"]
        made = await look(store, window(0, 7, "what-if", events=(late, soon)))
        assert made.snapshot == ["a", "b", "soon"]

    play(scenario)


def test_added_events_come_at_their_times_with_the_alarms_that_follow_from_them() -> None:
    async def scenario(_clock: SimClock) -> None:
        store = await remember([*LIFE[:2], BulbAdded("b"), BulbAdded("c")], [1], Policy())
        on = (NOW + STEP_MS + 5_000, encode_event(SwitchedOn()))
        made = await look(store, window(0, 10, "what-if", events=(on,)))
        assert [(again.now_ms - NOW, again.number, again.events) for again in made.ticks] == [
            (0, 1, 1), (20_000, 2, 1), (25_000, 5, 1), (40_000, 3, 1), (60_000, 4, 1),
            (85_000, 6, 0), (100_000, 7, 0), (120_000, 8, 0), (145_000, 9, 0), (160_000, 10, 0),
            (180_000, 11, 0),
        ]  # fmt: skip
        lit = [one.entity for one in made.decisions]
        assert lit == ["a", "b", "c"] * 3

    play(scenario)


def test_a_tick_whose_events_were_left_out_is_none_and_alarms_of_the_past_are_not_doubled() -> None:
    async def scenario(_clock: SimClock) -> None:
        store = await remember(LIFE, [1], Policy())
        log = await MemoryReader(store).log(HALL)
        without = frozenset({next(row.id for row in log if b'"b"' in row.body)})
        made = await look(store, window(0, 9, "what-if", without=without))
        assert [again.number for again in made.ticks] == [1, 2, 4, 5]

    play(scenario)


def test_more_added_events_than_a_tick_takes_are_several_ticks() -> None:
    async def scenario(_clock: SimClock) -> None:
        store = await remember(LIFE[:1], [1], Policy())
        added = tuple((NOW + 5, encode_event(BulbAdded(f"x{n:02}"))) for n in range(70))
        made = await look(store, window(0, 9, "what-if", events=added))
        assert [again.events for again in made.ticks] == [1, 64, 6]

    play(scenario)


def test_an_overlay_applies_a_window_to_the_present() -> None:
    async def scenario(_clock: SimClock) -> None:
        store = await remember(LIFE, [1], Policy())
        before = store.clone()
        made = await look(store, window(1, 3, "overlay"))
        assert (made.events, made.exact, made.bit_equal) == (3, False, None)
        assert made.snapshot == ["a", "b"]
        assert vars(store) == vars(before)
        nothing = await look(store, window(50, 60, "overlay"))
        assert (nothing.events, nothing.decided) == (0, 0)

    play(scenario)


def test_a_window_that_begins_before_what_is_kept_names_the_oldest() -> None:
    async def scenario(_clock: SimClock) -> None:
        store = await remember(LIFE, [1], Policy())
        for number in (1, 2):
            del store.ticks[HALL][number]
        with pytest.raises(HistoryGoneError) as refused:
            await look(store, window(0, 9))
        assert refused.value.oldest_ms == NOW + 2 * STEP_MS
        again = pickle.loads(pickle.dumps(refused.value))
        assert (again.actor, again.oldest_ms) == ("lamp/hall", refused.value.oldest_ms)
        for unknown in ("lamp/none", "town/t"):
            with pytest.raises(UnknownActorError):
                await look(store, replace(window(0, 9), actor=unknown))

    play(scenario)


def test_a_walk_that_is_fed_nothing_is_where_it_began() -> None:
    walk = Walk(
        KIND, begin(KIND.definition, HALL), mode="historical", edits=Edits(), policy_of=None
    )
    made = walk.result(bulbs, NOW)
    assert (made.from_seq, made.to_seq, made.ticks, made.snapshot) == (0, 0, (), [])

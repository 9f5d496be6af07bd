"""A tick of one draft is the tick of a state an event, whatever raises or is refused on the way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from holdfast.actors.definition import Applied, At, Declined, Definition, Ignored, Refused, Verdict
from holdfast.actors.tick import Folded, begin, full_digest, tick
from holdfast.actors.working import Working
from holdfast.kernel.ids import EventId
from holdfast.sim.town_life import Life
from holdfast.towns import events, intents
from holdfast.towns.apply import apply, fold
from holdfast.towns.definition import TOWN
from holdfast.towns.draft import Draft
from holdfast.towns.state import NewBead, State
from tests.unit.towns.rig import NOW_MS, Town

EVERY = 5
PLAIN: Definition[State, Any, Any, Any] = replace(TOWN, draft=None, fold=None)


def hit(at: At) -> int:
    """Return how an event is spoilt: 1 raises, 2 is refused, after it was applied; else 0."""
    place = sum(at.event.encode()) % EVERY
    return place if place in {1, 2} else 0


def spoilt_fold(d: Draft, event: Any, at: At) -> Declined:
    declined = fold(d, event, at)
    if hit(at) == 1:
        raise RuntimeError("torn in the middle")
    return Refused("late", "after it was written") if hit(at) == 2 else declined


def spoilt_apply(state: State, event: Any, at: At) -> Verdict[State]:
    verdict = apply(state, event, at)
    if hit(at) == 1:
        raise RuntimeError("torn in the middle")
    return Refused("late", "after it was written") if hit(at) == 2 else verdict


def lived(seed: int) -> Life:
    """Return a town that has lived by a seed."""
    life = Life(seed)
    life.run()
    assert not life.loop.result.wrong
    return life


@pytest.mark.parametrize("seed", [3, 8, 11])
@pytest.mark.parametrize("spoils", [False, True])
def test_ticks_of_one_draft_are_those_of_a_state_an_event(seed: int, *, spoils: bool) -> None:
    loop = lived(seed).loop
    drafts: Definition[State, Any, Any, Any] = TOWN
    plain = PLAIN
    if spoils:
        drafts = replace(TOWN, apply=spoilt_apply, fold=spoilt_fold)
        plain = replace(PLAIN, apply=spoilt_apply)
    one: Folded[State] = begin(drafts, loop.folded.address)
    outcomes = set[str]()
    for record in loop.history:
        inputs = record.rows, record.now_ms, record.number
        made = tick(drafts, loop.policy, one, *inputs)
        other = tick(plain, loop.policy, one, *inputs)
        for name in ("stamps", "decisions", "intents", "calls", "notes", "touched", "deadline_ms"):
            assert getattr(made, name) == getattr(other, name), f"{name} of tick {record.number}"
        assert made.after.state == other.after.state
        assert made.after.digest == other.after.digest == full_digest(TOWN, made.after.state)
        outcomes |= {stamp.outcome for stamp in made.stamps}
        outcomes |= {decision.result for decision in made.decisions}
        one = made.after
    assert ("fault" in outcomes) == spoils


def test_what_was_half_written_is_gone_and_what_was_before_it_stays() -> None:
    working = Working(TOWN, Town().state)
    at = At(NOW_MS, 9, EventId("e"))
    made = [events.BeadCreated(bead=NewBead(id=one, rig="r"), by="ann") for one in "xyz"]
    assert working.apply(made[0], at) is None
    mark = working.mark()
    assert working.apply(made[1], at) is None
    assert "y" in working.look.beads
    working.back_to(mark)
    assert working.apply(made[2], at) is None
    assert isinstance(working.apply(intents.BeadFailed("none", "x"), at), Ignored)
    state = working.state
    assert {"x", "z"} <= {*state.beads}
    assert "y" not in state.beads
    assert [*working.touched] == ["b/x", "b/z"]
    assert working.look is state


def test_a_mark_before_the_first_write_goes_back_to_the_state_itself() -> None:
    state = Town().state
    working = Working(TOWN, state)
    mark = working.mark()
    at = At(NOW_MS, 9, EventId("e"))
    assert working.apply(events.BeadCreated(bead=NewBead(id="x", rig="r"), by="ann"), at) is None
    working.back_to(mark)
    assert working.state == state
    assert working.touched == {}


def test_a_state_is_not_changed_by_the_drafts_that_are_made_of_it() -> None:
    state = Town().state
    before = TOWN.encode_state(state)
    verdict = apply(
        state,
        events.BeadCreated(bead=NewBead(id="x", rig="r"), by="ann"),
        At(NOW_MS, 9, EventId("e")),
    )
    assert isinstance(verdict, Applied)
    assert TOWN.encode_state(state) == before

"""A town is closed in steps, each of them bounded, and as before where its log is from before."""

from __future__ import annotations

from holdfast.actors.tick import full_digest, tick
from holdfast.towns import events, ports
from holdfast.towns.definition import TOWN
from holdfast.towns.draft import build
from holdfast.towns.limits import ENDED_EVERY_MS, ENDED_MAX
from holdfast.towns.state import TERMINAL, Bead, NewBead
from tests.unit.towns.rig import Town

STEPS = events.TownClosed("ann", steps=True)


def full_town(beads: int) -> Town:
    """Return a town with a bead at work, one that all others wait for, and a convoy."""
    town = Town()
    town.sling("b1")
    new = tuple(NewBead(id=f"c{number}", rig="r", held=True) for number in range(3))
    town.do(events.ConvoyCreated(convoy="cv", branch="convoy/x", beads=new, by="ann"))
    town.do(events.Escalated(escalation="e1", severity="low", category="help"))
    waiting = (
        Bead(id=f"w{number:05}", type="issue", rig="r", blocked_by=("b1",), created_ms=1)
        for number in range(beads)
    )
    state = build(town.state.town, [*entities_of(town), *waiting])
    town.folded = type(town.folded)(
        **{name: getattr(town.folded, name) for name in town.folded.__struct_fields__}
        | {"state": state, "digest": full_digest(TOWN, state)}
    )
    return town


def entities_of(town: Town) -> list[object]:
    known = town.state
    tables = (known.rigs, known.agents, known.beads, known.nudges, known.violations)
    return [one for table in tables for one in table.values()]


def live(town: Town) -> list[str]:
    return sorted(one.id for one in town.state.beads.values() if one.status not in TERMINAL)


def test_a_large_town_ends_in_bounded_steps_what_is_worked_on_first() -> None:
    town = full_town(1_000)
    assert len(live(town)) == 1_006
    town.do(STEPS)
    assert town.bead("b1").status == "failed"
    assert len(town.calls_of(ports.StopCall)) == 1
    left, steps = len(live(town)), 1
    assert left >= 1_006 - ENDED_MAX
    while left:
        assert town.folded.alarm_ms == town.now_ms + ENDED_EVERY_MS
        town.wait(ENDED_EVERY_MS)
        assert town.last is not None
        assert len(town.last.touched) <= ENDED_MAX + 3
        assert town.last.notes == ()
        assert left - len(live(town)) <= ENDED_MAX
        left, steps = len(live(town)), steps + 1
    assert steps == -(-1_006 // ENDED_MAX)
    assert town.state.town.ending_ms == 0
    assert not town.state.violations
    ended = {one.status for one in town.state.beads.values()}
    assert ended == {"failed", "closed"}


def test_a_small_town_ends_with_the_tick_that_closes_it() -> None:
    town = full_town(10)
    town.do(STEPS)
    assert live(town) == []
    assert town.state.town.ending_ms == 0


def test_what_a_log_from_before_closes_ends_at_once() -> None:
    town = full_town(1_000)
    closed = TOWN.decode_event(b'{"type":"TownClosed","by":"ann"}', 1)
    before = town.folded
    result = tick(TOWN, town.policy, before, town.rows(closed), town.now_ms, before.number + 1)
    after = result.after.state
    assert all(one.status in TERMINAL for one in after.beads.values())
    assert after.beads["w00001"].failed_blockers == 1
    assert b"ending_ms" not in TOWN.encode_state(after)


def test_a_clock_that_was_set_back_does_not_hold_a_closing_up() -> None:
    town = full_town(1_000)
    town.do(STEPS)
    town.now_ms -= 60_000
    left = len(live(town))
    town.do(events.LoopResumed())
    assert len(live(town)) == left - ENDED_MAX

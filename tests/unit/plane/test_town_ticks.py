"""Every tick of a town is a datapoint and a figure, and an announced violation one report."""

from __future__ import annotations

import json

from msgspec.structs import replace

from holdfast.actors.committed_tick import CommittedTick
from holdfast.actors.kinds import make_kind
from holdfast.actors.ports import Pending
from holdfast.actors.tick import begin, tick
from holdfast.kernel.clock import ManualClock
from holdfast.kernel.ids import Address, EventId, address
from holdfast.kernel.outcome import Ok, Permanent
from holdfast.monitoring.prometheus_exporter import Metrics
from holdfast.plane.wiring.town_ticks import REASONS_MAX, TownTicks, announced, tick_point
from holdfast.telemetry.ticks import TickPoint
from holdfast.telemetry.write_loop import Loss
from holdfast.towns import events, ports
from holdfast.towns.definition import KIND, TOWN
from holdfast.towns.draft import build
from holdfast.towns.policy import Policy
from holdfast.towns.state import NewBead
from holdfast.world.reports.port import Report
from tests.support.broken_town import BROKEN, broken_town, committed, put, touches
from tests.unit.towns.rig import MINUTE_MS, NOW_MS, Town

NOTHING_LOST = Loss(written=0, waiting=0, dropped=0, poisoned=0, failures=0)


class Kept:
    """What a listener hands on, and its figures."""

    def __init__(self) -> None:
        self.points: list[TickPoint] = []
        self.reports: list[Report] = []
        self.meter = Metrics()
        self.clock = ManualClock(NOW_MS)
        self.queues: dict[Address, tuple[int, int]] = {}
        self.late: list[tuple[Address, float]] = []
        self.heard = TownTicks(
            backlog=lambda actor: self.queues.get(actor, (0, 0)),
            waiting=lambda: self.late,
            offer=self.points.append,
            reports=self,
            meter=self.meter,
            clock=self.clock,
        )

    def send(self, report: Report) -> None:
        self.reports.append(report)

    async def close(self) -> None:
        pass

    def hear(self, town: Town, *happened: events.Event, took_ms: float = 1.0) -> TickPoint:
        rows = town.rows(*happened)
        self.heard.hear(committed(town, rows, took_ms))
        return self.points[-1]

    def figure(self, name: str, **labels: str) -> float:
        value: float | None = self.meter.registry.get_sample_value(name, labels)
        return -1 if value is None else value


def outcome(event: events.Event, number: int) -> Pending:
    return Pending(
        id=EventId(f"o{number}"), body=TOWN.encode_event(event), version=TOWN.version,
        source="effect", accepted_ms=NOW_MS,
    )  # fmt: skip


def touch(kept: Kept, town: Town) -> TickPoint:
    return kept.hear(town, *touches())


def test_a_tick_with_nothing_to_do_is_a_point_too() -> None:
    kept, town = Kept(), Town()
    point = kept.hear(town, took_ms=0.25)
    assert town.last is not None
    assert town.last.silent
    assert point == TickPoint(
        seen_ms=NOW_MS, town="t", account="acme", wall_ms=0.25,
        withheld=point.withheld, late_ms=point.late_ms,
    )  # fmt: skip
    assert kept.figure("holdfast_town_ticks_total") == 1
    assert kept.figure("holdfast_town_tick_seconds_sum") == 0.25 / 1_000


def test_events_actions_and_calls_are_counted_in_the_tick_that_has_them() -> None:
    town = Town()
    town.sling("b1")
    start = town.call(ports.StartCall)
    taken = committed(town, [outcome(TOWN.settle(start, Permanent("no_host", "none")), 1)])
    point = tick_point(taken, (3, NOW_MS - 4_000))
    assert (point.drained, point.applied, point.succeeded, point.failed) == (1, 1, 0, 1)
    assert (point.pending, point.oldest_ms) == (3, 4_000)
    town.wait(10 * MINUTE_MS)
    again = town.calls_of(ports.StartCall)[-1]
    point = tick_point(committed(town, [outcome(TOWN.settle(again, Ok(ports.Begun())), 2)]), (0, 0))
    assert (point.succeeded, point.failed) == (1, 0)


def test_the_calls_of_a_tick_are_attempted_and_its_actions_told_by_type() -> None:
    kept, town = Kept(), Town()
    point = kept.hear(town, events.BeadCreated(bead=NewBead(id="b1", rig="r"), by="ann"))
    assert (point.actions, point.attempted) == (1, 1)
    assert json.loads(point.by_type) == {"Dispatch": 1}
    assert kept.figure("holdfast_town_actions_total", type="Dispatch") == 1
    assert kept.figure("holdfast_town_calls_total", result="attempted") == 1


def test_an_event_that_cannot_be_read_is_a_failure_and_in_quarantine() -> None:
    town = Town()
    rows = [replace(outcome(events.AgentStarted("a", "1"), 1), body=b"{")]
    before = town.folded
    result = tick(TOWN, Policy(), before, rows, NOW_MS, before.number + 1)
    taken = CommittedTick(make_kind(TOWN, Policy()), result, None, 1.0, rows)
    point = tick_point(taken, (0, 0))
    assert (point.quarantined, point.failed, point.applied) == (1, 1, 0)


def test_the_same_violation_for_a_thousand_ticks_is_one_report_and_a_thousand_points() -> None:
    kept, town = Kept(), broken_town()
    for _ in range(1_000):
        touch(kept, town)
    assert len(kept.points) == 1_000
    assert {point.violations for point in kept.points} == {1}
    assert kept.points[-1].broken == "7:a/x0"
    assert sum(point.opened for point in kept.points) == 1
    assert kept.figure("holdfast_town_invariant_violations_total") == 1_000
    assert kept.figure("holdfast_town_violation_changes_total", change="opened") == 1
    assert kept.reports == [
        Report(
            message="invariant 7 is broken: it works, and on nothing",
            fingerprint=("holdfast", "invariant", "t", "7", "a/x0"),
            tags={"invariant": "7", "townId": "t"},
            extra={
                "invariant": 7, "entity": "a/x0", "message": "it works, and on nothing",
                "townId": "t",
            },
        )
    ]  # fmt: skip


def test_a_violation_that_opens_again_is_reported_again_by_the_same_fingerprint() -> None:
    kept, town = Kept(), broken_town()
    touch(kept, town)
    kept.hear(town)
    config = town.state.town.config
    kept.hear(town, events.TownConfigured(config=replace(config, repair=True), by="ann"))
    point = kept.hear(town, events.TownConfigured(config=config, by="ann"))
    assert sum(one.resolved for one in kept.points) == 1
    assert point.violations == 0
    known = [*town.state.rigs.values(), *town.state.violations.values(), BROKEN]
    put(town, build(town.state.town, known))
    for _ in range(3):
        touch(kept, town)
    assert sum(one.opened for one in kept.points) == 2
    assert len(kept.reports) == 2
    assert len({one.fingerprint for one in kept.reports}) == 1


def test_gauges_are_the_worst_of_all_towns_and_never_the_last_that_ticked() -> None:
    kept = Kept()
    deep, calm = Town(), Town()
    calm.folded = replace(calm.folded, address=address(KIND, "u"))
    kept.queues[deep.folded.address] = (70, NOW_MS - 9_000)
    kept.hear(deep)
    kept.hear(calm)
    kept.heard.measure(replace(NOTHING_LOST, dropped=4, poisoned=1))
    assert kept.figure("holdfast_towns") == 2
    assert kept.figure("holdfast_town_pending_events") == 70
    assert kept.figure("holdfast_town_oldest_pending_seconds") == 9
    assert kept.figure("holdfast_town_breakers", state="closed") == 2
    assert kept.figure("holdfast_town_points_lost", why="no_room") == 4
    kept.queues.clear()
    kept.heard.measure(NOTHING_LOST)
    assert kept.figure("holdfast_town_pending_events") == 0
    assert kept.figure("holdfast_town_oldest_pending_seconds") == 0


def test_figures_of_a_town_that_stands_still_grow_without_a_tick_of_it() -> None:
    kept, town = Kept(), Town()
    kept.hear(town)
    kept.queues[town.folded.address] = (40, NOW_MS + 1_000)
    kept.clock.advance(11_000)
    kept.late = [(town.folded.address, 10_000.0)]
    kept.heard.measure(NOTHING_LOST)
    assert kept.figure("holdfast_town_pending_events") == 40
    assert kept.figure("holdfast_town_oldest_pending_seconds") == 10
    assert kept.figure("holdfast_town_overdue_seconds") >= 10


def test_a_town_that_never_ticked_because_it_cannot_be_loaded_is_overdue() -> None:
    kept = Kept()
    kept.late = [(address("instance", "t"), 900_000.0), (address(KIND, "t"), 70_000.0)]
    kept.queues[address(KIND, "t")] = (3, NOW_MS - 70_000)
    kept.heard.measure(NOTHING_LOST)
    assert kept.figure("holdfast_town_overdue_seconds") == 70
    assert kept.figure("holdfast_town_pending_events") == 3
    assert kept.figure("holdfast_towns") == 0


def test_an_alarm_that_no_tick_follows_is_seen_by_its_age() -> None:
    kept, town = Kept(), Town()
    kept.hear(town)
    kept.heard.measure(NOTHING_LOST)
    assert kept.figure("holdfast_town_overdue_seconds") == 0
    assert town.last is not None
    assert town.last.deadline_ms is not None
    kept.clock.advance(town.last.deadline_ms - NOW_MS + 30_000)
    kept.heard.measure(NOTHING_LOST)
    assert kept.figure("holdfast_town_overdue_seconds") == 30


def test_a_tick_long_after_its_alarm_is_late() -> None:
    kept, town = Kept(), Town()
    assert town.folded.alarm_ms is not None
    town.now_ms = town.folded.alarm_ms + 1_500
    assert kept.hear(town).late_ms == 1_500
    assert kept.figure("holdfast_town_ticks_late_total") == 1


def test_other_actors_and_a_town_that_was_never_made_leave_nothing() -> None:
    kept = Kept()
    town = Town()
    town.folded = begin(TOWN, address(KIND, "t"))
    kept.heard.hear(committed(town, town.rows(events.LoopResumed())))
    assert kept.points == []
    other = Town()
    taken = committed(other, [])
    after = replace(taken.tick.after, address=address("instance", "t"))
    kept.heard.hear(taken._replace(tick=replace(taken.tick, after=after)))
    assert kept.points == []


def test_what_alerts_count_is_there_before_the_first_of_it() -> None:
    kept = Kept()
    quarantined = {"kind": "town", "outcome": "quarantined"}
    assert kept.figure("holdfast_events_total", **quarantined) == 0
    assert kept.figure("holdfast_town_calls_total", result="failed") == 0
    assert kept.figure("holdfast_town_violation_changes_total", change="opened") == 0


def test_reasons_become_labels_up_to_a_bound() -> None:
    kept = Kept()
    labels = {kept.heard._label("rule", f"because {number}") for number in range(REASONS_MAX * 2)}
    assert len(labels) == REASONS_MAX + 1
    assert ("rule", "other") in labels


def test_an_alert_that_found_something_else_is_not_reported() -> None:
    kept, town = Kept(), broken_town()
    touch(kept, town)
    taken = committed(town, [])
    assert len(list(announced(taken))) == 1
    decisions = tuple(replace(one, result="conflict") for one in taken.tick.decisions)
    assert list(announced(taken._replace(tick=replace(taken.tick, decisions=decisions)))) == []

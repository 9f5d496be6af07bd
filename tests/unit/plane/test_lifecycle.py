"""The lifecycle dataset of an instance's ticks, by the names of docs/compat/check-in.md."""

from __future__ import annotations

from holdfast.actors.committed_tick import CommittedTick
from holdfast.actors.kinds import make_kind
from holdfast.actors.ports import Commit
from holdfast.instances import events
from holdfast.instances.definition import INSTANCE
from holdfast.plane.wiring.lifecycle import follow_lifecycle
from holdfast.telemetry.ports import LifecyclePoint
from tests.unit.instances.driver import SANDBOX, Driver


def _recorded(driver: Driver) -> list[LifecyclePoint]:
    kind = make_kind(INSTANCE, driver.policy)
    kept: list[LifecyclePoint] = []
    hear = follow_lifecycle(kept.append)
    for tick in driver.ticks:
        commit = Commit(
            actor=tick.after.address,
            account="acme",
            expected_seq=tick.before.seq,
            lease_epoch=1,
            number=tick.after.number,
            now_ms=tick.now_ms,
        )
        hear(CommittedTick(kind, tick, commit))
    return kept


def test_a_life_is_told_in_order() -> None:
    driver = Driver().running().stopped()
    driver.send(events.DestroyRequested())
    told = [p.event for p in _recorded(driver) if p.event.startswith("instance.")]
    assert told == [
        "instance.provisioned",
        "instance.started",
        "instance.stopped",
        "instance.destroy_started",
    ]


def test_points_carry_whose_and_which() -> None:
    started = next(p for p in _recorded(Driver().running()) if p.event == "instance.started")
    assert (started.account, started.sandbox, started.machine) == ("acme", SANDBOX, "m1")
    assert (started.status, started.label) == ("running", "alpha")


def test_every_decision_is_told_with_its_rule() -> None:
    driver = Driver().running()
    told = {p.event for p in _recorded(driver) if p.event.startswith("reconcile.")}
    assert told == {f"reconcile.{rule}" for rule in driver.rules()}


def test_what_was_not_committed_is_not_told() -> None:
    driver = Driver().running()
    kept: list[LifecyclePoint] = []
    hear = follow_lifecycle(kept.append)
    for tick in driver.ticks:
        hear(CommittedTick(make_kind(INSTANCE, driver.policy), tick, None))
    assert kept == []

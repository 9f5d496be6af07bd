"""The recovery ladder: which rung when, why, and that it can be stopped."""

from __future__ import annotations

import pytest

from holdfast.kernel.backoff import Backoff
from holdfast.machine.controller import supervise
from holdfast.machine.controller.supervise import CancelRepair, Policy
from tests.unit.machine.supervision import PLAIN, Bench


def rungs(bench: Bench) -> list[tuple[str, bool | None]]:
    return [(climb.rung, climb.done) for climb in bench.state.ladder.history]


def rung(bench: Bench) -> str:
    return bench.state.ladder.rung


def test_an_agent_that_will_not_stay_up_climbs_rung_by_rung() -> None:
    bench = Bench(works=("last_healthy_config", "reinstall", "previous_version"))
    bench.start()
    bench.fail(5)
    assert bench.repairs == []
    bench.fail()
    assert bench.repairs == [("last_healthy_config", "exit code 1")]
    assert rung(bench) == "last_healthy_config"
    bench.fail(1)
    assert len(bench.repairs) == 1, "a repaired agent has more than one try"
    bench.fail(1)
    bench.fail(2)
    bench.fail(2)
    assert rungs(bench) == [
        ("last_healthy_config", True),
        ("reinstall", True),
        ("previous_version", True),
    ]
    assert rung(bench) == "previous_version"


def test_the_start_after_a_repair_comes_at_once_and_the_wait_after_it_grows_on() -> None:
    bench = Bench(works=("last_healthy_config",))
    bench.start()
    bench.fail(6)
    failed_ms = bench.now_ms
    bench.wait(1_000)
    assert bench.spawns[-1] - failed_ms <= 1_000
    bench.exit(1, after_ms=5_000)
    assert bench.state.retry_at_ms == bench.now_ms + 64_000


def test_a_rung_that_cannot_be_taken_is_skipped_with_its_reason() -> None:
    bench = Bench(works=("previous_version",))
    bench.start()
    bench.fail(6)
    assert rungs(bench) == [
        ("last_healthy_config", False),
        ("reinstall", False),
        ("previous_version", True),
    ]
    assert {climb.detail for climb in bench.state.ladder.history[:2]} == {"there is none"}
    assert bench.state.ladder.rung == "previous_version"


def test_nothing_is_parked_before_failures_have_gone_on_for_half_an_hour() -> None:
    bench = Bench()
    bench.start()
    while not bench.state.parked:
        bench.fail()
        assert bench.now_ms < 3_000_000
    assert bench.now_ms >= 1_800_000
    assert bench.status() == "crashed"
    assert (bench.state.ladder.rung, bench.state.parked) == ("parked", "exit code 1")
    assert bench.state.deadline_ms is None
    bench.start()
    bench.wait(1_000)
    assert (bench.status(), bench.state.parked) == ("running", "")
    assert bench.state.ladder.rung == "restart"


def test_a_healthy_run_brings_it_down_and_keeps_the_record() -> None:
    bench = Bench(works=("last_healthy_config",))
    bench.start()
    bench.fail(6)
    bench.wait(1_000)
    bench.ready()
    bench.wait(29_999)
    assert bench.state.ladder.rung == "last_healthy_config"
    bench.wait(1)
    assert (bench.state.ladder.rung, bench.state.failures) == ("restart", 0)
    assert rungs(bench) == [("last_healthy_config", True)]
    assert bench.healthy == [bench.state.child]


def test_a_wrong_configuration_has_one_try_a_rung_and_parks_at_once() -> None:
    bench = Bench(Policy(can_repair=True), works=("last_healthy_config", "reinstall"))
    bench.start()
    bench.exit(78, after_ms=2_000)
    bench.repaired("mend")
    bench.exit(78, after_ms=2_000)
    assert [repair for repair, _ in bench.repairs] == ["mend", "last_healthy_config"]
    bench.exit(78, after_ms=2_000)
    bench.exit(78, after_ms=2_000)
    assert rungs(bench) == [
        ("last_healthy_config", True),
        ("reinstall", True),
        ("previous_version", False),
        ("parked", True),
    ]
    assert bench.now_ms == 8_000


def test_held_it_goes_on_restarting_and_climbs_no_further() -> None:
    bench = Bench(works=("last_healthy_config", "reinstall"))
    bench.start()
    bench.fail(6)
    bench.feed(supervise.HoldLadder("I am looking at it"))
    bench.fail(8)
    assert rungs(bench) == [("last_healthy_config", True)]
    assert (bench.state.ladder.held, bench.state.ladder.reason) == (True, "I am looking at it")
    assert bench.state.parked == ""
    assert bench.state.retry_at_ms == bench.now_ms + 300_000, "the cap of the waits"


def test_holding_it_ends_the_repair_under_way() -> None:
    bench = Bench()
    bench.slow = ("last_healthy_config",)
    bench.start()
    bench.fail(6)
    assert (bench.status(), bench.state.repair) == ("starting", "last_healthy_config")
    bench.feed(supervise.HoldLadder())
    assert bench.issued() == (CancelRepair(),)
    bench.repaired("last_healthy_config", done=False)
    assert (bench.status(), bench.state.parked) == ("crashed", "")
    bench.wait(32_000)
    assert bench.status() == "running"
    assert len(bench.repairs) == 1


@pytest.mark.parametrize("parked", [True, False])
def test_retrying_begins_anew_at_once(parked: bool) -> None:  # noqa: FBT001
    bench = Bench(PLAIN if parked else Policy(backoff=Backoff(jitter=0.0)))
    bench.start()
    if parked:
        bench.exit(78, after_ms=2_000)
    else:
        bench.fail(8)
        bench.wait(1_000)
    bench.feed(supervise.HoldLadder())
    bench.feed(supervise.RetryLadder())
    assert (bench.status(), bench.state.parked, bench.state.ladder.held) == ("running", "", False)
    assert (bench.state.ladder.rung, bench.state.ladder.tries) == ("restart", 0)


def test_a_port_held_by_somebody_else_is_named_waited_for_and_no_failure() -> None:
    bench = Bench()
    bench.start()
    bench.exit(1, after_ms=1)
    spawned = len(bench.spawns)
    waits = []
    for _ in range(8):
        bench.state, _ = supervise.step(bench.policy, bench.state, supervise.Due(), ms(bench))
        bench.feed(supervise.PortTaken(bench.state.child, "port 3001 is held by nginx (pid 7)"))
        assert bench.state.retry_at_ms is not None
        waits.append(bench.state.retry_at_ms - bench.now_ms)
    assert waits == [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]
    assert bench.state.blocked == "port 3001 is held by nginx (pid 7)"
    assert (bench.state.crashes, bench.state.failures, bench.state.ladder.tries) == (1, 1, 1)
    bench.wait(30_000)
    assert (bench.status(), bench.state.blocked, len(bench.spawns)) == ("running", "", spawned + 1)


def ms(bench: Bench) -> int:
    """Go to the deadline without the bench's own reporting of the spawn."""
    assert bench.state.deadline_ms is not None
    bench.now_ms = bench.state.deadline_ms
    return bench.now_ms


def test_what_we_left_on_the_port_ourselves_costs_a_second() -> None:
    bench = Bench()
    bench.state, _ = supervise.step(bench.policy, bench.state, supervise.Start(), 0)
    bench.feed(supervise.PortTaken(1, "our own helper", freed=True))
    assert (bench.state.retry_at_ms, bench.state.blocked) == (1_000, "")


def test_a_stop_while_the_port_is_looked_at_is_not_lost() -> None:
    bench = Bench()
    bench.state, _ = supervise.step(bench.policy, bench.state, supervise.Start(), 0)
    bench.feed(supervise.Stop())
    bench.feed(supervise.PortTaken(1, "somebody"))
    assert (bench.status(), bench.state.deadline_ms) == ("stopped", None)

"""A thousand runs with random faults in virtual time: one start a second at most, one child."""

from __future__ import annotations

from collections import Counter

from tests.support.toys.supervision_faults import FATES, FaultRun


def test_a_thousand_runs_with_faults() -> None:
    runs = [FaultRun(seed, minutes=10).run() for seed in range(1_000)]
    broken = [(run.seed, run.broken[:3]) for run in runs if run.broken]
    assert not broken, broken[:5]
    # Every fate was met, and rungs were climbed and parked on.
    fates = Counter(fate for run in runs for fate in run.fates)
    assert set(fates) == set(FATES) - {"busy"}
    assert sum(fates.values()) > 10_000
    rungs = {climb.rung for run in runs for climb in run.state.ladder.history}
    assert rungs == {"last_healthy_config", "reinstall", "previous_version", "parked"}
    assert any(run.state.verdict is not None for run in runs)
    assert any(run.state.cuts for run in runs)
    assert any(run.state.stuck for run in runs)

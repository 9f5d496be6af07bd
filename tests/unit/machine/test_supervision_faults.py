"""Many runs with random faults in virtual time: one start a second at most, one child."""

from __future__ import annotations

from collections import Counter

from tests.support.slices import slice_of
from tests.support.toys.supervision_faults import FATES, FaultRun

RUNS = slice_of(1_000, here=300)


def test_runs_with_faults_break_no_rule() -> None:
    runs = [FaultRun(seed, minutes=10).run() for seed in range(RUNS)]
    broken = [(run.seed, run.broken[:3]) for run in runs if run.broken]
    assert not broken, broken[:5]
    # Every fate was met, and rungs were climbed and parked on.
    fates = Counter(fate for run in runs for fate in run.fates)
    assert set(fates) == set(FATES) - {"busy"}
    assert sum(fates.values()) > RUNS * 10
    rungs = {climb.rung for run in runs for climb in run.state.ladder.history}
    assert rungs == {"last_healthy_config", "reinstall", "previous_version", "parked"}
    assert any(run.state.verdict is not None for run in runs)
    assert any(run.state.cuts for run in runs)
    assert any(run.state.stuck for run in runs)

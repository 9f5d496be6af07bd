"""A thousand fault runs in virtual time: at most one start a second, one child, every stop ends."""

from __future__ import annotations

from collections import Counter

from tests.support.toys.storm import FATES, Storm


def test_a_thousand_storms() -> None:
    storms = [Storm(seed, minutes=10).run() for seed in range(1_000)]
    broken = [(storm.seed, storm.broken[:3]) for storm in storms if storm.broken]
    assert not broken, broken[:5]
    # The runs had faults: every outcome occurred, and rungs were climbed and parked on.
    fates = Counter(fate for storm in storms for fate in storm.fates)
    assert set(fates) == set(FATES) - {"busy"}
    assert sum(fates.values()) > 10_000
    rungs = {climb.rung for storm in storms for climb in storm.state.ladder.history}
    assert rungs == {"last_healthy_config", "reinstall", "previous_version", "parked"}
    assert any(storm.state.verdict is not None for storm in storms)
    assert any(storm.state.cuts for storm in storms)
    assert any(storm.state.stuck for storm in storms)

"""A few seeds with every suite, past failures for ever, and one seed under two hash seeds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.sim.runner import again
from holdfast.sim.scenario import play
from tests.support.patience import patience
from tests.support.slices import slice_of

SEEDS = range(slice_of(40, here=12))
KEPT = [
    int(line.split()[0])
    for line in (Path(__file__).parent / "seeds.txt").read_text().splitlines()
    if line.strip() and not line.startswith("#")
]
DIGESTS = """
import sys
from holdfast.sim.scenario import play
for seed in map(int, sys.argv[1:]):
    outcome, _ = play(seed)
    print(seed, outcome.digest, outcome.steps, outcome.failure[:100])
"""


@pytest.mark.parametrize("seed", [seed for seed in SEEDS if seed not in KEPT])
def test_it_converges_under_every_fault_plan(seed: int) -> None:
    outcome, _ = play(seed)
    assert not outcome.failure, f"{outcome.failure}\n{again(seed)}"


@pytest.mark.parametrize("seed", KEPT)
def test_what_once_failed_does_not_fail_again(seed: int) -> None:
    outcome, _ = play(seed)
    assert not outcome.failure, f"{outcome.failure}\n{again(seed)}"


def test_a_seed_is_the_same_scenario_under_every_hash_seed() -> None:
    """No code may iterate a set or a map in hash order."""
    seeds = ["3", "22", "44", "66"][: slice_of(4, here=2)]
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", DIGESTS, *seeds],
            env={**os.environ, "PYTHONHASHSEED": hashes},
            stdout=subprocess.PIPE,
            text=True,
        )
        for hashes in ("0", "1")
    ]
    digests = [run.communicate(timeout=patience(50))[0] for run in runs]
    assert digests[0] == digests[1]
    assert len(digests[0].splitlines()) == len(seeds)
    assert not any(run.returncode for run in runs)

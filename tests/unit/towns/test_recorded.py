"""Lives of towns by seeds are decided as they were: decisions, calls, letters, rows and digests.

The events are those of a simulated life. Policies of before take the same events, whatever they
would have asked hosts and forges themselves: they must take events in any order.
"""

from __future__ import annotations

from functools import lru_cache

import pytest

from holdfast.actors.tick import begin, tick
from holdfast.kernel.ids import address
from holdfast.sim.town_life import Life
from holdfast.sim.towns import Recorded
from holdfast.towns.board import board, summary
from holdfast.towns.debug_glances import agents, bead_row, live_beads
from holdfast.towns.definition import KIND, TOWN
from holdfast.towns.policy import Policy
from holdfast.towns.reconcile import explain_each
from tests.support.recorded import History, hold
from tests.unit.towns.rig import before

SEEDS = (5, 22, 29, 37, 38, 80, 107, 116, 120, 239)
"""Of 260 seeds, those that reach each event, action and suppression at the least cost."""
EARLIER = (37, 107, 239)
"""Those that policies of before take too."""
SHOWN_EACH = 20
"""Ticks between two at which everything that is shown of the town is held too."""
POLICIES = {version: before(version) for version in (1, 2)} | {3: Policy()}


@lru_cache(maxsize=1)
def life_of(seed: int) -> tuple[Recorded, ...]:
    life = Life(seed)
    assert life.run().wrong == []
    return tuple(life.loop.history)


@pytest.mark.parametrize(
    ("seed", "version"),
    [(seed, version) for seed in SEEDS for version in POLICIES if version == 3 or seed in EARLIER],
)
def test_a_life_is_decided_as_it_was(seed: int, version: int) -> None:
    policy, history = POLICIES[version], History()
    folded = begin(TOWN, address(KIND, "t1"))
    for one in life_of(seed):
        made = tick(TOWN, policy, folded, one.rows, one.now_ms, one.number)
        folded, state = made.after, made.after.state
        history.add((
            folded.digest, folded.alarm_ms, made.stamps, made.inputs, made.decisions,
            made.withheld, made.changed_reasons, made.notes, made.intents, made.calls,
            made.letters, made.claims, made.releases, made.probes, made.unprobes, made.views,
            made.touched, made.deadline_ms,
        ))  # fmt: skip
        if one.number % SHOWN_EACH == 0:
            beads = live_beads(state)
            keys = [f"b/{bead.id}" for bead in beads]
            history.add((
                board(state, policy, one.now_ms), summary(state, policy, one.now_ms),
                agents(state), [bead_row(bead) for bead in beads],
                sorted(explain_each(state, policy, one.now_ms, keys).items()),
            ))  # fmt: skip
    hold("towns", f"{version} {seed}", history)

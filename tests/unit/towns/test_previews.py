"""A dry run decides what the next ticks decide, over any towns; the whole is `make previews`."""

from __future__ import annotations

from holdfast.actors.tick import full_digest
from holdfast.towns.definition import TOWN
from tests.support.generated_towns import Generated, differs
from tests.support.slices import slice_of

TOWNS = range(slice_of(2_000, here=60))
LARGE = range(slice_of(3, here=0))


def test_a_dry_run_is_the_ticks_that_follow() -> None:
    assert [wrong for seed in TOWNS if (wrong := differs(seed))] == []
    assert [wrong for seed in LARGE if (wrong := differs(seed, beads=10_000))] == []


def test_towns_by_a_number_reach_most_of_what_can_happen() -> None:
    made = [Generated(seed, beads=seed) for seed in range(1, 60)]
    beads = [bead for town in made for bead in town.folded.state.beads.values()]
    assert {bead.status for bead in beads} == {
        "open", "in_progress", "in_review", "closed", "failed",
    }  # fmt: skip
    assert {bead.type for bead in beads} == {
        "issue", "merge_request", "convoy", "escalation", "message",
    }  # fmt: skip
    stages = {bead.review.stage for bead in beads if bead.review is not None}
    assert stages >= {"queued", "reviewing", "gating", "landing", "polling"}
    for town in made:
        assert town.folded.digest == full_digest(TOWN, town.folded.state)

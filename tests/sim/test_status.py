"""What is shown of a fleet that crashes, hangs, is parked, silent, stopped or starting is true."""

from __future__ import annotations

from holdfast.sim.status import run_seed
from tests.support.slices import slice_of


def test_what_is_shown_is_what_is_so() -> None:
    moments = slice_of(10_000, here=800)
    found = run_seed(3, moments)
    assert found.wrong == ()
    assert found.moments >= moments
    assert {"ready", "crashing", "recovering", "starting"} <= set(found.codes)


def test_a_lie_is_found() -> None:
    """A status that is always ready is wrong at most of the moments at which agents are not."""
    found = run_seed(3, 400, lie="ready")
    assert len(found.wrong) > 50

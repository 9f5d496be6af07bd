"""Orders for another version of the agent, through a real plane and real machines, three at once.

The agents are small programs in the form of OpenClaw releases (`tests/support/releases.py`). A
version has to prove itself for half a minute, so each change takes that long.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.planes import PlaneProcess, plane_at, until
from tests.support.releases import behave, make_release, read_form

pytestmark = pytest.mark.timeout(600)

OLD, NEW = "2026.3.13", "2026.9.6"
NAMES = ("one", "two", "three")
PROVEN_S = 60.0


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[PlaneProcess]:
    with plane_at(tmp_path / "home") as made:
        yield made


def state_of(plane: PlaneProcess, name: str) -> Path:
    view = plane.view(name)
    assert view is not None
    machine = plane.home / "machines" / f"ki_{view.id.replace('-', '')}"
    return next(path.parent for path in machine.rglob("openclaw/form.json"))


def step(plane: PlaneProcess, name: str) -> str:
    view = plane.view(name)
    return "" if view is None or view.upgrade is None else view.upgrade.step


def reach(plane: PlaneProcess, name: str, wanted: str, seconds: float = 120) -> None:
    until(f"{name} is at {wanted}", lambda: step(plane, name) == wanted, seconds=seconds)


def uses(plane: PlaneProcess) -> dict[str, int]:
    """Return how many instances use each version."""
    (agent,) = (one for one in plane.json("agents", "list")["items"] if one["name"] == "openclaw")
    return {one["version"].partition("-")[0]: one["instances"] for one in agent["versions"]}


def test_each_of_three_runs_what_it_was_given_or_says_why_not(plane: PlaneProcess) -> None:
    """Upgrades and their way back, killed at each step; a second version beside them."""
    old, new = (make_release(plane.home / "agents", one) for one in (OLD, NEW))
    for name in NAMES:
        plane.cli("instance", "create", name, "--agent", "openclaw", "--version", OLD)
    for name in NAMES:
        plane.ready(name, PROVEN_S)

    behave(new, doctor="hang")
    for name in NAMES[:2]:
        plane.cli("instance", "upgrade", name, "--version", NEW)
    for name in NAMES[:2]:
        reach(plane, name, "doctor")
    view = plane.view("one")
    assert view is not None
    assert (view.health.code, view.health.phase) == ("upgrading", "doctor")
    assert uses(plane) == {OLD: 3, NEW: 2}, "what may go back counts, so that nobody removes it"

    plane.kill()
    for controller in plane.controllers():
        controller.kill()
    behave(new)
    plane.start()
    for name in NAMES[:2]:
        reach(plane, name, "start")
    for controller in plane.controllers():
        controller.kill()
    for name in NAMES[:2]:
        reach(plane, name, "done")
        assert read_form(state_of(plane, name))["version"] == NEW
    plane.ready("three", PROVEN_S)
    assert read_form(state_of(plane, "three"))["version"] == OLD
    assert uses(plane) == {OLD: 1, NEW: 2}

    behave(new, gateway="crash")
    told = plane.cli(
        "instance", "upgrade", "three", "--version", NEW, "--wait", "120", code=1
    ).stderr
    assert f"was not changed to {NEW}" in told
    assert "exit code 1" in told
    assert read_form(state_of(plane, "three"))["version"] == OLD
    assert uses(plane) == {OLD: 1, NEW: 2}

    refused = plane.cli("instance", "upgrade", "one", "--version", OLD, code=None)
    assert refused.returncode != 0
    assert "--restore" in refused.stderr
    plane.cli("instance", "upgrade", "one", "--version", OLD, "--restore", "--wait", "120")
    assert read_form(state_of(plane, "one"))["version"] == OLD
    assert uses(plane) == {OLD: 2, NEW: 1}
    assert old.is_dir()

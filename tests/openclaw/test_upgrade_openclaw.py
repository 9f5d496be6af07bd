"""The real OpenClaw goes from files to its database and back, killed at each step of it."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.machine.rig import Machine, run_machine, until
from tests.openclaw.conftest import find_release
from tests.openclaw.machines import START_S

pytestmark = [pytest.mark.openclaw, pytest.mark.timeout(1_800)]

OLD = "2026.3.13"
QUICK = json.dumps({"healthy_ms": 2_000, "trial_ms": 2_000})
OVER = frozenset({"done", "rolled_back", "refused", "failed"})


@asynccontextmanager
async def running(home: Path, release: Path, turn: int) -> AsyncIterator[Machine]:
    async with run_machine(
        home, HOLDFAST_AGENT="openclaw", HOLDFAST_OPENCLAW_HOME=str(release),
        HOLDFAST_AGENT_TURN=str(turn), HOLDFAST_SUPERVISION=QUICK,
    ) as machine:  # fmt: skip
        await machine.opened()
        yield machine


def record(home: Path) -> dict[str, Any]:
    path = home / "run" / "upgrade.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


async def reach(home: Path, step: str) -> None:
    await until(lambda: record(home).get("step") == step, step, START_S * 2)


async def change(home: Path, release: Path, turn: int) -> tuple[str, str]:
    """Return how a change to a release ends, and which version is ready then."""
    async with running(home, release, turn) as machine:

        async def is_over() -> bool:
            found = record(home)
            at_end = found.get("turn") == turn and found.get("step") in OVER
            return at_end and bool((await machine.status())["ready"])

        await until(is_over, "the end of the change", START_S * 4)
        version = (await machine.ask("GET", "/_kilo/version"))[1]["openclawVersion"]
        return record(home)["step"], version


async def test_a_version_is_changed_on_a_copy_and_taken_back(
    openclaw: Path, downloads: Path, tmp_path: Path
) -> None:
    old, home = find_release(downloads, OLD), tmp_path / "m"
    state = home / "agent" / "openclaw"
    async with running(home, old, 0) as machine:
        await until(lambda: machine.events("config.healthy"), "healthy", START_S)
    (state / "work").write_text("of the old one")

    for step in ("copy", "doctor", "start"):
        async with running(home, openclaw, 1) as machine:
            await reach(home, step)
            await machine.end(signal.SIGKILL)
    assert await change(home, openclaw, 1) == ("done", openclaw_version(openclaw))
    assert (state / "state" / "openclaw.sqlite").exists()
    before = home / "upgrades" / f"000001-{OLD}"
    assert not (before / "state" / "openclaw.sqlite").exists(), "nothing was done to what was kept"

    assert await change(home, old, 2) == ("done", OLD)
    assert (state / "work").read_text() == "of the old one"
    assert not (state / "state" / "openclaw.sqlite").exists()

    # A doctor that cannot write: the copy is thrown away.
    broken = state / "openclaw.json"
    broken.write_text("{ this is no configuration")
    async with running(home, openclaw, 3) as machine:
        await until(lambda: record(home).get("turn") == 3, "the change", START_S)
        await until(lambda: record(home).get("step") in OVER, "its end", START_S * 3)
        found = record(home)
        assert found["step"] in {"done", "rolled_back"}, found
        if found["step"] == "rolled_back":
            assert found["reason"]
            assert broken.read_text() == "{ this is no configuration"


def openclaw_version(release: Path) -> str:
    package = release / "node_modules" / "openclaw" / "package.json"
    version: str = json.loads(package.read_text())["version"]
    return version

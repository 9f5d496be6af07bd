"""The upper rungs of the ladder with the real OpenClaw and npm: reinstallation, previous version.

npm uses the registry that this machine is configured for; the controller gets the npm settings that
a machine of the process cloud would inherit.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from holdfast.machine.agents.openclaw.install import INSTALL_TIMEOUT_S, find_installed
from holdfast.machine.agents.openclaw.run import VERSION
from holdfast.world.processes.barrier import inherited_from
from tests.integration.machine.rig import Machine, run_machine, until

pytestmark = [pytest.mark.openclaw, pytest.mark.timeout(2_400)]

QUICK = json.dumps({
    "restart_tries": 2, "rung_tries": 1, "healthy_ms": 2_000, "start_ms": 390_000,
})  # fmt: skip
NEVER_RELEASED = "2026.9.999"


@asynccontextmanager
async def running(home: Path, install: Path) -> AsyncIterator[Machine]:
    async with run_machine(
        home, **inherited_from(os.environ), HOLDFAST_AGENT="openclaw",
        HOLDFAST_OPENCLAW_HOME=str(install), HOLDFAST_SUPERVISION=QUICK,
    ) as machine:  # fmt: skip
        yield await machine.opened()


def copy_release(source: Path, target: Path) -> Path:
    """Copy by hard links what is never written; what this test changes is made anew."""
    shutil.copytree(source, target, copy_function=os.link, symlinks=True)
    return target


def break_it(install: Path) -> None:
    (install / "node_modules/openclaw/openclaw.mjs").unlink()


def break_gateway(install: Path) -> None:
    """Make its gateway fail and all else of it work, including its doctor after an upgrade."""
    program = install / "node_modules/openclaw/openclaw.mjs"
    program.rename(program.with_name("real.mjs"))
    program.write_text(
        'if (process.argv[2] === "gateway") process.exit(1);\nawait import("./real.mjs");\n'
    )


def rename_release(install: Path, version: str) -> None:
    path = install / "node_modules/openclaw/package.json"
    found = json.loads(path.read_bytes())
    path.unlink()  # it is shared with the installation it was linked from
    path.write_text(json.dumps({**found, "version": version}))


def program_of(pid: int) -> Path:
    return Path(f"/proc/{pid}/exe").resolve()


async def healthy_at(machine: Machine, install: Path) -> dict[str, Any]:
    """Wait until the agent of this installation has proved itself; return its status."""

    def proved() -> bool:
        try:
            kept = json.loads((machine.home / "run/installs.json").read_bytes())
        except FileNotFoundError:
            return False
        return bool(kept["healthy"][-1:] == [str(install)])

    await until(proved, f"healthy at {install.name}", INSTALL_TIMEOUT_S)
    return await machine.status()


async def version_of(machine: Machine) -> str:
    _, body = await machine.ask("GET", "/_holdfast/version")
    return str(body["openclawVersion"])


async def taken(machine: Machine) -> list[tuple[str, bool]]:
    """Return the rungs above the restarts, each with whether it could be taken."""
    _, body = await machine.ask("GET", "/_holdfast/gateway/ladder")
    return [(climb["rung"], climb["done"]) for climb in body["history"]]


async def test_a_broken_installation_is_made_anew_and_a_broken_release_is_left(
    openclaw: Path, tmp_path: Path
) -> None:
    home = tmp_path / "m"
    first = copy_release(openclaw, tmp_path / "first")
    fresh = find_installed(home / "installs" / "a", version=VERSION)
    async with running(home, first) as machine:
        await healthy_at(machine, first)
        break_it(first)
        pid = (await machine.status())["pid"]
        os.kill(pid, 9)
        status = await healthy_at(machine, fresh)
        assert status["ready"]
        assert await version_of(machine) == VERSION
        assert await taken(machine) == [("last_healthy_config", False), ("reinstall", True)]
        assert program_of(status["pid"]).is_relative_to(fresh)
        assert await machine.end() == 0

    second = copy_release(openclaw, tmp_path / "second")
    rename_release(second, NEVER_RELEASED)
    break_gateway(second)
    async with running(home, second) as machine:

        async def went_back() -> bool:
            ready = bool((await machine.status())["ready"])
            return ready and ("previous_version", True) in await taken(machine)

        await until(went_back, "the version before", INSTALL_TIMEOUT_S)
        await healthy_at(machine, fresh)
        assert await version_of(machine) == VERSION
        assert await taken(machine) == [
            ("last_healthy_config", False), ("reinstall", False), ("previous_version", True),
        ]  # fmt: skip
        _, body = await machine.ask("GET", "/_holdfast/gateway/ladder")
        why = [climb["detail"] for climb in body["history"]]
        assert NEVER_RELEASED in why[1], "npm says which release there is none of"
        assert why[2] == f"from {NEVER_RELEASED} to {VERSION}"

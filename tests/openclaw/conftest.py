"""Installations of the real OpenClaw for all of its tests: the pinned release, and older ones.

HOLDFAST_OPENCLAW_HOME names a prepared installation of the pinned one, HOLDFAST_OPENCLAW_HOMES a
folder with one for each release by its version. What is not there is downloaded, by the command
that people use. HOLDFAST_OPENCLAW_RELEASES, separated by commas, says which are tested.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.machine.agents.openclaw.install import INSTALL_TIMEOUT_S, find_installed
from holdfast.machine.agents.openclaw.run import VERSION

RELEASES = ("2026.3.13", "2026.7.35", VERSION)
"""One of each way to keep requests: files without an interface, files, database."""


@pytest.fixture(scope="session")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("openclaw")
    yield home
    shutil.rmtree(home)  # pytest would keep three of them


@pytest.fixture(scope="session")
def openclaw(downloads: Path) -> Path:
    prepared = os.environ.get("HOLDFAST_OPENCLAW_HOME")
    return Path(prepared).absolute() if prepared else find_release(downloads, VERSION)


@pytest.fixture(scope="session")
def release(request: pytest.FixtureRequest, downloads: Path) -> Path:
    """Where the release that the test is parametrised with is installed."""
    version: str = request.param
    return find_release(downloads, version)


def find_release(downloads: Path, version: str) -> Path:
    """Return where a release is, downloaded when it is nowhere yet."""
    prepared = Path(os.environ.get("HOLDFAST_OPENCLAW_HOMES", "/nowhere"), version)
    if prepared.is_dir():
        return prepared.absolute()
    found = find_installed(downloads / "agents", version=version)
    if not found.is_dir():
        subprocess.run(
            (sys.executable, "-m", "holdfast.cli.main", "agents", "install", "openclaw",
             "--version", version),
            env={**os.environ, "HOLDFAST_HOME": str(downloads)},
            timeout=INSTALL_TIMEOUT_S,
            check=True,
        )  # fmt: skip
    return found


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what asks for a release on each of them, one after another."""
    if "release" in metafunc.fixturenames:
        chosen = os.environ.get("HOLDFAST_OPENCLAW_RELEASES", ",".join(RELEASES)).split(",")
        metafunc.parametrize("release", chosen, indirect=True, scope="session")

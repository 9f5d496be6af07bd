"""One installation of the real OpenClaw for all of its tests.

HOLDFAST_OPENCLAW_HOME names a prepared one; without it one is downloaded, by the command that
people use.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.machine.agents.install import INSTALL_TIMEOUT_S, find_installed


@pytest.fixture(scope="session")
def openclaw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    prepared = os.environ.get("HOLDFAST_OPENCLAW_HOME")
    if prepared:
        yield Path(prepared).absolute()
        return
    home = tmp_path_factory.mktemp("openclaw")
    subprocess.run(
        (sys.executable, "-m", "holdfast.cli.main", "agents", "install", "openclaw"),
        env={**os.environ, "HOLDFAST_HOME": str(home)},
        timeout=INSTALL_TIMEOUT_S,
        check=True,
    )
    yield find_installed(home / "agents")
    shutil.rmtree(home)  # pytest would keep three of them

"""Commands of `holdfast`, each in a process of its own (tests/support/forks.py)."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from holdfast.cli.main import main
from tests.support.forks import Fork


def run_command(
    *words: str, environment: Mapping[str, str], given: str = "", timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """Run a command with this environment and input; raise TimeoutExpired when it takes longer."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("in", "out", "err")]
        for path, text in zip(files, (given, "", ""), strict=True):
            path.write_text(text)
        command = Fork(partial(main, words), environment=environment, files=files)
        try:
            code = command.wait(timeout_s)
        except BaseException:  # of the test's own limit too, which may come first
            command.kill()
            command.wait()
            raise
        return subprocess.CompletedProcess(words, code, *(path.read_text() for path in files[1:]))

"""Each Python that pyproject.toml names takes the code; one that is missing is named.

The suite itself runs on each by `make matrix`. Here every version at hand compiles each file and
imports the packages that need no package.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.house.sources import SRC
from tests.house.test_purity import STDLIB_PACKAGES
from tools import matrix

TAKES = """
import importlib, pathlib, sys
source = pathlib.Path(sys.argv[1])
for path in source.rglob("*.py"):
    compile(path.read_text(encoding="utf-8"), str(path), "exec")
sys.path.insert(0, str(source))
for name in sys.argv[2:]:
    importlib.import_module(name)
"""


@pytest.mark.parametrize("minor", matrix.supported())
def test_each_supported_python_takes_the_code(minor: str) -> None:
    pythons = matrix.find_pythons(minor)
    if not pythons:
        pytest.skip(matrix.would_run(minor))
    packages = [f"holdfast.{package}" for package in STDLIB_PACKAGES]
    for version, python in pythons.items():
        command = [str(python), "-I", "-B", "-W", "error", "-c", TAKES, str(SRC), *packages]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"Python {version}: {done.stderr}"


def test_the_oldest_supported_python_is_the_one_required() -> None:
    assert matrix.supported()[0] == "3.11"


def test_an_interpreter_that_does_not_run_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in {"broken": "exit 127", "older": "echo 3.9.1", "whole": "echo 3.12.9"}.items():
        program = tmp_path / name / "python3.12"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", ":".join(str(tmp_path / n) for n in ("broken", "older", "whole")))
    assert matrix.find_pythons("3.12") == {"3.12.9": tmp_path / "whole" / "python3.12"}
    assert matrix.find_pythons("3.13") == {}
    assert "3.13" in matrix.would_run("3.13")

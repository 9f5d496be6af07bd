"""The controller of the commit before pairing: a real one, built from this repository's history.

It is installed in an environment of its own that borrows every dependency from ours, so nothing
is downloaded. Without the commit (a shallow clone) its tests are skipped with a message, and fail
on a build machine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.support.patience import patience

COMMIT = "b193728"
"""The last commit whose controller has no pairing routes."""
ROOT = Path(__file__).parents[3]


def install_old_controller(folder: Path) -> Path:
    """Return a Python in which `holdfast` is the wheel of that commit."""
    _find_commit()
    source = folder / "source"
    source.mkdir(parents=True)
    archive = folder / "source.zip"
    _run("git", "-C", str(ROOT), "archive", "-o", str(archive), COMMIT)
    shutil.unpack_archive(archive, source)
    wheels = folder / "wheels"
    _run(
        sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels), cwd=source
    )  # fmt: skip
    (wheel,) = wheels.glob("holdfast-*.whl")
    home = folder / "venv"
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    ours = next(home.glob("lib/python*/site-packages"))
    shutil.unpack_archive(wheel, ours, "zip")
    # What the wheel holds comes first; dependencies come from the environment of this run.
    (ours / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    told = _run(str(python), "-I", "-c", "import holdfast; print(holdfast.__file__)")
    assert told.startswith(str(home)), f"the old controller is not the one that runs: {told}"
    return python


def _find_commit() -> None:
    found = subprocess.run(
        ("git", "-C", str(ROOT), "cat-file", "-e", f"{COMMIT}^{{commit}}"),
        capture_output=True,
        check=False,
    )
    if found.returncode == 0:
        return
    text = f"commit {COMMIT} is not in this clone: fetch the whole history (git fetch --unshallow)"
    if os.environ.get("CI") == "true":
        pytest.fail(text)
    sys.stderr.write(f"\nNOT TESTED: {text}\n")
    pytest.skip(text)


def _run(*argv: str, cwd: Path | None = None) -> str:
    done = subprocess.run(
        argv, capture_output=True, text=True, check=False, cwd=cwd, timeout=patience(120)
    )
    assert done.returncode == 0, (argv, done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout.strip()

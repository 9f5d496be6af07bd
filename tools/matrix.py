"""Run the suite on each supported Python that this machine has, each in its own environment.

`make matrix` runs it. The supported versions are the classifiers in pyproject.toml; an interpreter
counts when `python3.N` on PATH really runs, and two patch releases of one version count as two.
A version that is missing is named with what it would have run.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
ANSWERS_S: Final = 30
_CLASSIFIER: Final = re.compile(r"Programming Language :: Python :: (3\.\d+)")
_VERSION: Final = "import sys; print('%d.%d.%d' % sys.version_info[:3])"


def supported() -> tuple[str, ...]:
    """Return the versions that pyproject.toml says Holdfast runs on, such as 3.11."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    matches = map(_CLASSIFIER.fullmatch, project["classifiers"])
    return tuple(match[1] for match in matches if match)


def find_pythons(minor: str) -> dict[str, Path]:
    """Return the interpreters of a version on PATH that run, one for each patch release."""
    found: dict[str, Path] = {}
    for folder in os.get_exec_path():
        path = Path(folder) / f"python{minor}"
        if os.access(path, os.X_OK) and (version := _ask_version(path)).startswith(f"{minor}."):
            found.setdefault(version, path)
    return found


def _ask_version(python: Path) -> str:
    """Return what an interpreter says it is, or nothing when it does not run."""
    try:
        asked = subprocess.run(
            [str(python), "-I", "-c", _VERSION],
            capture_output=True, text=True, check=False, timeout=ANSWERS_S,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return asked.stdout.strip() if asked.returncode == 0 else ""


def would_run(minor: str) -> str:
    """Say what is not tested where a version is missing."""
    return (
        f"NOT RUN on Python {minor}: the whole suite; there is no python{minor} on PATH that runs"
    )


def main() -> int:
    """Run `make suite` on each; return 1 when one failed, or when one is missing and CI=true."""
    verdicts: dict[str, str] = {}
    for minor in supported():
        pythons = find_pythons(minor)
        for version, python in pythons.items():
            sys.stdout.write(f"\n=== Python {version}: {python}\n")
            sys.stdout.flush()
            command = ["make", "suite", f"PYTHON={python}", f"VENV=.venv-{version}"]
            done = subprocess.run(command, cwd=ROOT, check=False)
            verdicts[version] = "failed" if done.returncode else "passed"
        if not pythons:
            verdicts[minor] = would_run(minor)
    sys.stdout.write("\n" + "".join(f"{name}: {verdict}\n" for name, verdict in verdicts.items()))
    wanted = {"passed"} if os.environ.get("CI") == "true" else {"passed", *map(would_run, verdicts)}
    return 0 if set(verdicts.values()) <= wanted else 1


if __name__ == "__main__":
    sys.exit(main())

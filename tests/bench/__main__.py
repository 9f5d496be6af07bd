"""Runs the benches one after another: `python -m tests.bench [NAME ...]`, all of them by default.

Each is a process of its own, so that one's memory is not another's. The exit code is 0 only if all
kept to their figures.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    """Run them."""
    names = sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))
    asked = sys.argv[1:] or names
    unknown = [name for name in asked if name not in names]
    if unknown:
        sys.exit(f"no bench is called {unknown[0]!r}; there are {', '.join(names)}")
    missed = []
    for name in asked:
        sys.stdout.write(f"\n--- {name}\n")
        sys.stdout.flush()
        file = HERE / f"bench_{name}.py"
        command: tuple[str, ...] = ("-m", f"tests.bench.bench_{name}")
        if "__main__" not in file.read_text(encoding="utf-8"):
            command = ("-m", "pytest", "-q", "-s", "--timeout=1800", str(file))
        done = subprocess.run((sys.executable, *command), cwd=HERE.parents[1], check=False)
        if done.returncode:
            missed.append(name)
    if missed:
        sys.exit(f"\nmissed their figures, or failed: {', '.join(missed)}")


if __name__ == "__main__":
    main()

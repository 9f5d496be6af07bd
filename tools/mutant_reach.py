"""Which tests of tests/unit run which line of a pure file; see tools/mutants.py.

Measured by coverage.py's contexts, and kept. A file of tests is measured again when it, or a pure
file that it runs, has changed; all are when anything else has.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from tools.pure_files import ROOT, pure_files

TESTS: Final = "tests/unit"
TESTS_MAX: Final = 300
"""Tests run for one mutant."""
AROUND_MAX: Final = 1_000
"""Tests run for one of what runs at import."""
_MEASURED: Final = ("src", "tests/unit", "tests/support", "tests/recorded")
_DURATION: Final = re.compile(r"^([\d.]+)s (?:call|setup)\s+(tests/.*)$")


@dataclass(slots=True)
class Reach:
    """Which tests run which line, and how many seconds each test takes.

    `at_import` has the lines that run before any test does; `content` the hash of each file.
    """

    lines: dict[str, dict[int, list[str]]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    at_import: dict[str, list[int]] = field(default_factory=dict)
    content: dict[str, str] = field(default_factory=dict)

    def tests_of(self, path: str, lines: Iterable[int]) -> list[str]:
        """Return the tests that run these lines of a file, the quickest first.

        What runs at import is credited to no test: it is tested with those that run anything of the
        file, and with those of its package.
        """
        known = self.lines.get(path, {})
        found = {name for line in lines for name in known.get(line, ())}
        if found:
            return self._quickest(found)[:TESTS_MAX]
        package = Path(path).relative_to("src/holdfast").parts[0]
        around = {name for names in known.values() for name in names}
        around |= {name for name in self.seconds if name.startswith(f"{TESTS}/{package}/")}
        return self._quickest(around)[:AROUND_MAX]

    def _quickest(self, tests: set[str]) -> list[str]:
        return sorted(tests, key=lambda name: (self.seconds.get(name, 0.0), name))

    def without(self, test_files: set[str], paths: set[str]) -> Reach:
        """Return what is known without these files of tests, and without these pure files."""

        def is_kept(test: str) -> bool:
            return test.partition("::")[0] not in test_files

        return Reach(
            lines={
                path: {line: list(filter(is_kept, names)) for line, names in by_line.items()}
                for path, by_line in self.lines.items()
                if path not in paths
            },
            seconds={test: took for test, took in self.seconds.items() if is_kept(test)},
            at_import={path: found for path, found in self.at_import.items() if path not in paths},
        )

    def add(self, other: Reach) -> None:
        """Add what another run has measured."""
        for path, by_line in other.lines.items():
            known = self.lines.setdefault(path, {})
            for line, names in by_line.items():
                known[line] = sorted({*known.get(line, ()), *names})
            at_import = {*self.at_import.get(path, ()), *other.at_import.get(path, ())}
            self.at_import[path] = sorted(at_import)
        self.seconds |= other.seconds


def measure(folder: Path) -> Reach:
    """Return which test runs what; what has changed since it was measured is measured again."""
    kept, content = folder / "reach.json", _content()
    reach = _read(kept) if kept.exists() else Reach()
    changed = {
        name for name in {*content, *reach.content} if content.get(name) != reach.content.get(name)
    }
    if not changed:
        return reach
    again, pure = _to_measure(reach, changed, content)
    reach = reach.without(again, pure)
    present = sorted(again & content.keys())
    if present:
        reach.add(_run(folder, present))
    reach.content = content
    kept.write_text(json.dumps(asdict(reach)))
    return reach


def _content() -> dict[str, str]:
    """Return the hash of each file on which a measurement depends."""
    found = {path for top in _MEASURED for path in (ROOT / top).rglob("*.py")}
    return {
        path.relative_to(ROOT).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted({*found, ROOT / "tests" / "conftest.py"})
    }


def _read(kept: Path) -> Reach:
    found = json.loads(kept.read_text())
    found["lines"] = {
        path: {int(line): names for line, names in by_line.items()}
        for path, by_line in found["lines"].items()
    }
    return Reach(**found)


def _to_measure(
    reach: Reach, changed: set[str], content: dict[str, str]
) -> tuple[set[str], set[str]]:
    """Return the files of tests to measure again, and the pure files of which nothing is known."""
    pure = {path.relative_to(ROOT).as_posix() for path in pure_files()}
    everything = {name for name in {*content, *reach.content} if _is_test(name)}
    if any(name not in pure and not _is_test(name) for name in changed):
        return everything, pure
    ran = {
        test.partition("::")[0]
        for path in changed & pure
        for names in reach.lines.get(path, {}).values()
        for test in names
    }
    return ran | {name for name in changed if _is_test(name)}, changed & pure


def _is_test(name: str) -> bool:
    return name.startswith(f"{TESTS}/") and Path(name).name.startswith("test_")


def _run(folder: Path, test_files: list[str]) -> Reach:
    data = folder / "coverage"
    for old in folder.glob("coverage*"):
        old.unlink()
    command = [
        sys.executable, "-m", "pytest", "-q", *test_files, "--numprocesses", "2", "--dist",
        "loadfile", "--cov", "--cov-context=test", "--cov-report=", "--durations=0", "-vv",
    ]  # fmt: skip
    ran = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"COVERAGE_FILE": str(data)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if ran.returncode != 0:
        message = f"{TESTS} is not green without a mutant:\n{ran.stdout[-2_000:]}"
        raise SystemExit(message)
    return read_reach(data, ran.stdout)


def read_reach(data: Path, output: str) -> Reach:
    """Return the reach of a run: its coverage data, and its output with each test's duration."""
    from coverage import CoverageData  # noqa: PLC0415  only where it is measured

    reach, contexts = Reach(), CoverageData(str(data))
    contexts.read()
    for line in output.splitlines():
        if took := _DURATION.match(line):
            name = took[2].strip()
            reach.seconds[name] = reach.seconds.get(name, 0.0) + float(took[1])
    for path in pure_files():
        named, by_line = path.relative_to(ROOT).as_posix(), contexts.contexts_by_lineno(str(path))
        reach.at_import[named] = sorted(line for line, names in by_line.items() if "" in names)
        reach.lines[named] = {
            line: sorted({name.rpartition("|")[0] for name in names} - {""})
            for line, names in by_line.items()
        }
    for names in {name for by in reach.lines.values() for found in by.values() for name in found}:
        reach.seconds.setdefault(names, 0.0)
    return reach

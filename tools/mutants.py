"""Mutation tests of the pure files: change one token, and see whether a test of tests/unit fails.

`make mutants` runs it. Mutants are made by the operators of cosmic-ray; only the tests that run the
changed line are run, the quickest first, until one fails. Which tests those are is measured once,
by coverage.py's contexts. A mutant is loaded in a forked process in place of its module, so that no
file of the project changes. What was tried is kept in a cache folder, so that a run without a seed
goes on with what no run has tried.

A survivor that no test can kill is listed with its reason in tests/mutants.toml. The share counts
it as a survivor all the same.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator

from tools.mutant_run import load_early, run_tests
from tools.pure_files import ROOT, pure_files

ACCEPTED: Final = ROOT / "tests" / "mutants.toml"
TESTS: Final = "tests/unit"
KILLED_MIN: Final = 0.90
"""The share of a sample's mutants that tests must kill."""
ENOUGH: Final = 50
"""A smaller sample's share says too little to fail a build."""
TESTS_MAX: Final = 300
"""Tests run for one mutant, the quickest first."""
START_S: Final = 30.0
"""The timeout of a mutant's tests, besides TIMES what they took without a change."""
TIMES: Final = 10.0

_SWAPS: Final = {
    "Binary": (
        "Add_Sub", "Sub_Add", "Mul_FloorDiv", "FloorDiv_Mul", "Div_Mul", "Mod_FloorDiv", "Pow_Mul",
        "BitAnd_BitOr", "BitOr_BitAnd", "BitXor_BitAnd", "LShift_RShift", "RShift_LShift",
    ),
    "Comparison": (
        "Eq_NotEq", "NotEq_Eq", "Lt_LtE", "LtE_Lt", "Gt_GtE", "GtE_Gt", "Lt_GtE", "GtE_Lt",
        "Gt_LtE", "LtE_Gt", "Is_IsNot", "IsNot_Is",
    ),
    "Unary": ("USub_UAdd", "Delete_USub", "Delete_Invert", "Delete_Not"),
}  # fmt: skip
OPERATORS: Final = (
    *(f"Replace{kind}Operator_{swap}" for kind, swaps in _SWAPS.items() for swap in swaps),
    "AddNot", "ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr",
    "ReplaceOrWithAnd", "ReplaceBreakWithContinue", "ReplaceContinueWithBreak",
    "ExceptionReplacer", "NumberReplacer", "RemoveDecorator", "ZeroIterationForLoop",
)  # fmt: skip
"""One replacement for each token: others of the same token are killed by the same tests."""

_FIGURES: Final = ("NumberReplacer", "ReplaceBinary")
"""Not made of what is declared at import: a figure such as a limit is a choice, and a test that
repeats it would hold nothing."""

_DURATION: Final = re.compile(r"^([\d.]+)s (?:call|setup)\s+(tests/.*)$")


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change: the occurrence of an operator in a file, with the lines it changes."""

    path: str
    operator: str
    occurrence: int
    line: int
    last: int
    text: str
    """The content of the first changed line, stripped."""
    key: str
    """Names the change and the file's content, for the state."""

    def source(self) -> str:
        """Return the file's text with the change; ValueError where there is none."""
        whole = (ROOT / self.path).read_text(encoding="utf-8")
        changed = mutate_code(whole, _operator(self.operator), self.occurrence)
        if changed is None:
            message = f"{self.path}: {self.operator} has no occurrence {self.occurrence}"
            raise ValueError(message)
        return str(changed)

    def after(self) -> str:
        """Return the first line that differs, stripped."""
        before = (ROOT / self.path).read_text(encoding="utf-8").splitlines()
        changed = self.source().splitlines()
        pairs = zip(before, changed, strict=False)
        return next((new.strip() for old, new in pairs if old != new), "")


@dataclass(slots=True)
class Result:
    """What became of a mutant: killed, timeout, survived or unreached."""

    mutant: Mutant
    verdict: str
    tests: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class Reach:
    """Which tests run which line, and how many seconds each test takes."""

    lines: dict[str, dict[int, list[str]]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def tests_of(self, mutant: Mutant) -> list[str]:
        """Return the tests that run a mutant's lines, else those that run anything of its file.

        What runs at import is credited to no test, and a file that has nothing else is tested with
        the tests of its package.
        """
        lines = self.lines.get(mutant.path, {})
        found = {name for n in range(mutant.line, mutant.last + 1) for name in lines.get(n, ())}
        if not found:
            found = {name for names in lines.values() for name in names}
        if not found:  # nothing of the file is in a function
            package = Path(mutant.path).relative_to("src/holdfast").parts[0]
            found = {name for name in self.seconds if name.startswith(f"{TESTS}/{package}/")}
        return sorted(found, key=lambda name: (self.seconds.get(name, 0.0), name))[:TESTS_MAX]


def cache_folder() -> Path:
    """Return the folder of the state and the measured reach of this checkout, made if needed."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    named = hashlib.sha256(str(ROOT).encode()).hexdigest()[:12]
    folder = base / "holdfast-mutants" / named
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _operator(name: str) -> Any:
    return get_operator(f"core/{name}")()


def _left_alone(tree: ast.Module) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Yield what the type checkers hold and no test can: annotations, aliases, classes' options.

    An option such as `frozen` or `slots` changes nothing of a program that type checks.
    """
    for node in ast.walk(tree):
        parts: list[ast.expr | None] = []
        if isinstance(node, ast.arg | ast.AnnAssign):
            parts.append(node.annotation)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            parts.append(node.returns)
        if isinstance(node, ast.AnnAssign) and "TypeAlias" in ast.unparse(node.annotation):
            parts.append(node.value)
        if isinstance(node, ast.ClassDef):
            parts += [option.value for option in node.keywords]
            made = [one for one in node.decorator_list if isinstance(one, ast.Call)]
            parts += [option.value for one in made for option in one.keywords]
        for part in parts:
            if part is not None:
                yield (
                    (part.lineno, part.col_offset),
                    (part.end_lineno or part.lineno, part.end_col_offset or 0),
                )


def _declared(tree: ast.Module) -> set[int]:
    """Return the lines that run at import."""
    inside = {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    return set(range(1, (tree.body[-1].end_lineno or 0) + 1 if tree.body else 1)) - inside


def mutants_of(path: Path) -> Iterator[Mutant]:
    """Yield every mutant of a file."""
    text = path.read_text(encoding="utf-8")
    named, lines = path.relative_to(ROOT).as_posix(), text.splitlines()
    content = hashlib.sha256(text.encode()).hexdigest()
    tree = ast.parse(text)
    ignored, declared = list(_left_alone(tree)), _declared(tree)
    nodes = list(ast_nodes(get_ast(text)))
    for name in OPERATORS:
        operator = _operator(name)
        positions = [at for node in nodes for at in operator.mutation_positions(node)]
        for occurrence, (start, end) in enumerate(positions):
            if any(first <= start and end <= last for first, last in ignored):
                continue
            if start[0] in declared and name.startswith(_FIGURES):
                continue
            key = hashlib.sha256(f"{named} {name} {occurrence} {content}".encode()).hexdigest()
            shown = lines[start[0] - 1].strip()
            yield Mutant(named, name, occurrence, start[0], end[0], shown, key[:24])


def measure(folder: Path) -> Reach:
    """Return which test runs what, measured anew where a source or test has changed since."""
    kept = folder / "reach.json"
    newest = max(
        path.stat().st_mtime for top in ("src", "tests") for path in (ROOT / top).rglob("*.py")
    )
    if not kept.exists() or kept.stat().st_mtime < newest:
        data = folder / "coverage"
        command = [
            sys.executable, "-m", "pytest", "-q", TESTS, "--numprocesses", "2", "--dist",
            "loadfile", "--cov", "--cov-context=test", "--cov-report=", "--durations=0", "-vv",
        ]  # fmt: skip
        ran = subprocess.run(
            command, cwd=ROOT, env=os.environ | {"COVERAGE_FILE": str(data)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if ran.returncode != 0:
            message = f"{TESTS} is not green without a mutant:\n{ran.stdout[-2_000:]}"
            raise SystemExit(message)
        kept.write_text(json.dumps(asdict(read_reach(data, ran.stdout))))
    found = json.loads(kept.read_text())
    lines = {
        path: {int(line): names for line, names in by_line.items()}
        for path, by_line in found["lines"].items()
    }
    return Reach(lines=lines, seconds=found["seconds"])


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
        by_line = contexts.contexts_by_lineno(str(path))
        reach.lines[path.relative_to(ROOT).as_posix()] = {
            line: sorted({name.rpartition("|")[0] for name in names} - {""})
            for line, names in by_line.items()
        }
    for names in {name for by in reach.lines.values() for found in by.values() for name in found}:
        reach.seconds.setdefault(names, 0.0)
    return reach


class Runs:
    """Tries mutants, `jobs` at a time, each in a process forked from this one."""

    def __init__(self, reach: Reach, jobs: int) -> None:
        self._reach = reach
        self._jobs = jobs
        self._running: dict[int, tuple[Result, float, float]] = {}

    def try_all(self, mutants: Iterable[Mutant]) -> Iterator[Result]:
        """Yield what becomes of each mutant, in the order in which they end."""
        for mutant in mutants:
            while len(self._running) >= self._jobs:
                yield from self._collect()
            tests = self._reach.tests_of(mutant)
            if not tests:
                yield Result(mutant, "unreached")
                continue
            usual_s = sum(self._reach.seconds.get(name, 0.0) for name in tests)
            pid = self._fork(mutant, tests)
            began = time.monotonic()
            result = Result(mutant, "", len(tests))
            self._running[pid] = (result, began, began + START_S + TIMES * usual_s)
        while self._running:
            yield from self._collect()

    def _fork(self, mutant: Mutant, tests: Sequence[str]) -> int:
        source = mutant.source()
        pid = os.fork()
        if pid == 0:
            run_tests(ROOT / mutant.path, source, tests)
        return pid

    def _collect(self) -> Iterator[Result]:
        """Yield what has ended, after a moment; end what is over its time."""
        time.sleep(0.02)
        for pid, (result, began, until) in list(self._running.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if not ended and time.monotonic() < until:
                continue
            if not ended:
                os.killpg(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            del self._running[pid]
            result.seconds = round(time.monotonic() - began, 2)
            survived = bool(ended) and os.waitstatus_to_exitcode(status) == 0
            result.verdict = "survived" if survived else "killed" if ended else "timeout"
            yield result


def sample_of(every: list[Mutant], many: int, seed: int | None, tried: set[str]) -> list[Mutant]:
    """Return the sample of a seed; without one, the first mutants that no run has tried."""
    order = sorted(every, key=lambda one: one.key)
    random.Random(seed or 0).shuffle(order)  # noqa: S311  a sample, not a secret
    rest = order if seed is not None else [one for one in order if one.key not in tried]
    return rest[:many]


def accepted_reasons() -> dict[tuple[str, str, str], str]:
    """Return the reasons of survivors by file, line and changed line."""
    if not ACCEPTED.exists():
        return {}
    listed = tomllib.loads(ACCEPTED.read_text(encoding="utf-8")).get("survivor", [])
    return {(one["path"], one["before"], one["after"]): one["reason"] for one in listed}


def report(results: Sequence[Result]) -> int:
    """Print what became of a sample; return the exit code."""
    counted, reasons, unlisted = Counter(one.verdict for one in results), accepted_reasons(), 0
    for one in sorted(results, key=lambda found: (found.mutant.path, found.mutant.line)):
        if one.verdict not in {"survived", "unreached"}:
            continue
        mutant, after = one.mutant, one.mutant.after()
        reason = reasons.get((mutant.path, mutant.text, after), "")
        unlisted += not reason
        print(f"{one.verdict} {mutant.path}:{mutant.line} {mutant.operator} #{mutant.occurrence}")
        print(f"    - {mutant.text}\n    + {after}\n    {reason or 'NOT LISTED'}")
    killed = counted["killed"] + counted["timeout"]
    share = killed / max(1, len(results))
    print(f"{len(results)} mutants: {killed} killed ({counted['timeout']} by a timeout), "
          f"{counted['survived']} survived, {counted['unreached']} reached by no test, "
          f"{unlisted} of these without a reason; {share:.1%} killed")  # fmt: skip
    return int(len(results) >= ENOUGH and share < KILLED_MIN)


def main(arguments: Sequence[str]) -> int:
    """Try a sample of mutants; 1 where less than KILLED_MIN of them are killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, default=1_000)
    parser.add_argument("--seed", type=int, help="the sample of this seed, whatever was tried")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("files", nargs="*", type=Path, help="only these pure files")
    options = parser.parse_args(arguments)
    folder = cache_folder()
    state = folder / "tried.jsonl"
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = tempfile.mkdtemp(prefix="holdfast-mutants-")
    reach = measure(folder)
    wanted = {path.resolve() for path in options.files}
    every = [
        one for path in pure_files() if not wanted or path in wanted for one in mutants_of(path)
    ]
    tried = (
        {json.loads(line)["key"] for line in state.read_text().splitlines()}
        if state.exists()
        else set()
    )
    chosen = sample_of(every, options.sample, options.seed, tried)
    print(f"{len(chosen)} of {len(every)} mutants of {len({one.path for one in every})} files")
    results: list[Result] = []
    load_early()
    with state.open("a") as out:
        for result in Runs(reach, options.jobs).try_all(chosen):
            results.append(result)
            row = {"key": result.mutant.key, "verdict": result.verdict, "at": result.mutant.path,
                   "line": result.mutant.line, "seconds": result.seconds}  # fmt: skip
            out.write(json.dumps(row) + "\n")
            out.flush()
            print(f"[{len(results)}/{len(chosen)}] {result.verdict} {result.mutant.path}:"
                  f"{result.mutant.line} {result.seconds} s", flush=True)  # fmt: skip
    return report(results)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

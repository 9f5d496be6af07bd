"""Mutation tests of the pure files: change one token, and see whether a test of tests/unit fails.

`make mutants` runs it. Mutants are made by the operators of cosmic-ray; only the tests that run the
changed line are run, the quickest first, until one fails. Which tests those are is measured once,
by coverage.py's contexts. A mutant replaces its function or module in a forked process, so that no
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
import signal
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeAlias

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator

from tools.mutant_reach import TESTS, Reach, measure
from tools.mutant_run import Warm, changed_functions, load_early, run_tests
from tools.pure_files import ROOT, pure_files

ACCEPTED: Final = ROOT / "tests" / "mutants.toml"
KILLED_MIN: Final = 0.90
"""The share of a sample's mutants that tests must kill."""
ENOUGH: Final = 50
"""A smaller sample's share says too little to fail a build."""
CPU_S: Final = 5.0
"""What a test of a mutant may use of a CPU, besides TIMES what it took without a change, in s."""
COLLECT_S: Final = 40.0
"""What all tests of a mutant may use where they are first collected, likewise."""
TIMES: Final = 10.0
CONTROLS: Final = 4
WALL_S: Final = 120.0
"""What a mutant's tests may take, besides TIMES what they took, in s: one may wait for ever."""

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

    @property
    def lines(self) -> range:
        """Return the changed lines."""
        return range(self.line, self.last + 1)

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
    """What became of a mutant: killed, timeout, survived, unreached or not run.

    `code` is the exit code of its process, negative for a signal.
    """

    mutant: Mutant
    verdict: str
    tests: int = 0
    seconds: float = 0.0
    code: int = 0


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


def _is_replaced(text: str, occurrence: int) -> bool:
    """Return whether a name is replaced: cosmic-ray raises for a dotted one in a tuple."""
    try:
        mutate_code(text, _operator("ExceptionReplacer"), occurrence)
    except AttributeError:
        return False
    return True


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
            if name == "ExceptionReplacer" and not _is_replaced(text, occurrence):
                continue
            key = hashlib.sha256(f"{named} {name} {occurrence} {content}".encode()).hexdigest()
            shown = lines[start[0] - 1].strip()
            yield Mutant(named, name, occurrence, start[0], end[0], shown, key[:24])


Fork: TypeAlias = Callable[[Mutant, Mapping[str, float]], int | None]
"""Starts a process that runs tests with a mutant, if that can be done in this way.

Beside each test stand the seconds of a CPU that it may use.
"""


def fork_cold(mutant: Mutant, tests: Mapping[str, float]) -> int:
    """Run tests in a process that imports the package anew."""
    return _fork_with(mutant.path, mutant.source(), tests)


def fork_control(mutant: Mutant, tests: Mapping[str, float]) -> int:
    """Run a mutant's tests in that way without its change."""
    return _fork_with(mutant.path, (ROOT / mutant.path).read_text(encoding="utf-8"), tests)


def _fork_with(path: str, source: str, tests: Mapping[str, float]) -> int:
    pid = os.fork()
    if pid == 0:
        usual_s = sum(one - CPU_S for one in tests.values())
        run_tests(ROOT / path, source, list(tests), COLLECT_S + usual_s)
    return pid


_VERDICTS: Final = {
    0: "survived",
    1: "killed",
    2: "killed",  # the tests could not be collected: the mutant cannot be imported
    4: "killed",  # likewise, for tests that are named
    -signal.SIGKILL: "timeout",
    -signal.SIGXCPU: "timeout",
}
"""By pytest's exit code. Any other, as of no tests or of a fault of pytest's or ours, says nothing
about the mutant."""

_WELL: Final = frozenset({"survived", "unreached", "cold"})
"""What becomes of a control."""


def verdict_of(code: int) -> str:
    """Return what an exit code says of a mutant; one that crashes the interpreter is killed."""
    return _VERDICTS.get(code, "killed" if code < 0 else "not run")


class Runs:
    """Tries mutants, `jobs` at a time, each in a process forked from this one."""

    def __init__(self, reach: Reach, jobs: int, fork: Fork) -> None:
        self._reach = reach
        self._jobs = jobs
        self._fork = fork
        self._running: dict[int, tuple[Result, float, float]] = {}

    def try_all(self, mutants: Iterable[Mutant]) -> Iterator[Result]:
        """Yield what becomes of each mutant, in the order in which they end."""
        for mutant in mutants:
            while len(self._running) >= self._jobs:
                yield from self._collect()
            tests = self._reach.tests_of(mutant.path, mutant.lines)
            if not tests:
                yield Result(mutant, "unreached")
                continue
            usual_s = [TIMES * self._reach.seconds.get(name, 0.0) for name in tests]
            cpu_s = [CPU_S + one for one in usual_s]
            pid = self._fork(mutant, dict(zip(tests, cpu_s, strict=True)))
            if pid is None:
                yield Result(mutant, "cold")
                continue
            began = time.monotonic()
            result = Result(mutant, "", len(tests))
            self._running[pid] = (result, began, began + WALL_S + sum(usual_s))
        while self._running:
            yield from self._collect()

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
            code = os.waitstatus_to_exitcode(status) if ended else -signal.SIGKILL
            result.code, result.verdict = code, verdict_of(code)
            yield result


def try_warm(mutants: Sequence[Mutant], reach: Reach, jobs: int) -> Iterator[Result]:
    """Yield what becomes of the mutants that a process that has collected the tests can try.

    The verdict of the others is cold; it is of all of them where a control fails, whose tests run
    in the same way without a change.
    """

    def fork(warm: Warm, mutant: Mutant, tests: Mapping[str, float]) -> int | None:
        if not set(reach.at_import.get(mutant.path, ())).isdisjoint(mutant.lines):
            return None
        path = ROOT / mutant.path
        changed = changed_functions(path, mutant.source())
        return None if changed is None else warm.fork(path, changed, tests)

    def control(warm: Warm, mutant: Mutant, tests: Mapping[str, float]) -> int | None:
        return warm.fork(ROOT / mutant.path, {}, tests)

    def serve(warm: Warm) -> None:
        places = {mutant.key: place for place, mutant in enumerate(mutants)}
        with os.fdopen(write, "w") as out:
            controls = Runs(reach, jobs, partial(control, warm)).try_all(mutants[:CONTROLS])
            if any(one.verdict not in _WELL for one in controls):
                return
            for result in Runs(reach, jobs, partial(fork, warm)).try_all(mutants):
                found = (result.verdict, result.tests, result.seconds, result.code)
                out.write(json.dumps((places[result.mutant.key], *found)) + "\n")
                out.flush()

    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        Warm(TESTS, serve).run()
    os.close(write)
    tried = set()
    with os.fdopen(read) as rows:
        for line in rows:
            place, *found = json.loads(line)
            tried.add(place)
            yield Result(mutants[place], *found)
            if len(tried) == len(mutants):
                break
    os.waitpid(pid, 0)
    yield from (Result(one, "cold") for at, one in enumerate(mutants) if at not in tried)


def try_all(mutants: Sequence[Mutant], reach: Reach, jobs: int) -> Iterator[Result]:
    """Yield what becomes of each mutant, in the order in which they end.

    Raise SystemExit where tests fail that run in the cold way without a change.
    """
    load_early()
    cold: list[Mutant] = []
    for result in try_warm(mutants, reach, jobs):
        if result.verdict == "cold":
            cold.append(result.mutant)
        else:
            yield result
    for control in Runs(reach, jobs, fork_control).try_all(cold[:CONTROLS]):
        if control.verdict not in _WELL:
            message = (
                f"the tests of {control.mutant.path}:{control.mutant.line} end with"
                f" {control.code} without a mutant: no verdict would say anything"
            )
            raise SystemExit(message)
    yield from Runs(reach, jobs, fork_cold).try_all(cold)


def sample_of(every: list[Mutant], many: int, seed: int | None, tried: set[str]) -> list[Mutant]:
    """Return the sample of a seed; without one, the first mutants that no run has tried."""
    order = sorted(every, key=lambda one: one.key)
    random.Random(seed or 0).shuffle(order)  # noqa: S311  a sample, not a secret
    rest = order if seed is not None else [one for one in order if one.key not in tried]
    return list(islice(filter(_is_python, rest), many))


def _is_python(mutant: Mutant) -> bool:
    """Return whether a mutant compiles: cosmic-ray takes the `**` of an unpacking for a power."""
    if not mutant.operator.startswith("ReplaceBinaryOperator_Pow"):
        return True
    try:
        compile(mutant.source(), mutant.path, "exec", dont_inherit=True)
    except SyntaxError:
        return False
    return True


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
        if one.verdict == "not run":
            print(f"not run {one.mutant.path}:{one.mutant.line}: exit code {one.code}")
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
          f"{unlisted} of these without a reason; {counted['not run']} not run; "
          f"{share:.1%} killed")  # fmt: skip
    return int(bool(counted["not run"]) or (len(results) >= ENOUGH and share < KILLED_MIN))


def main(arguments: Sequence[str]) -> int:
    """Try a sample of mutants; 1 where too few are killed, or one was not run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, default=1_000)
    parser.add_argument("--seed", type=int, help="the sample of this seed, whatever was tried")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("files", nargs="*", type=Path, help="only these pure files")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="holdfast-mutants-") as examples:
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = examples
        return try_sample(options)


def try_sample(options: argparse.Namespace) -> int:
    """Try a sample and keep what became of it; return the exit code."""
    folder = cache_folder()
    state = folder / "tried.jsonl"
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
    with state.open("a") as out:
        for result in try_all(chosen, reach, options.jobs):
            results.append(result)
            row = {"key": result.mutant.key, "verdict": result.verdict, "at": result.mutant.path,
                   "line": result.mutant.line, "seconds": result.seconds}  # fmt: skip
            if result.verdict != "not run":
                out.write(json.dumps(row) + "\n")
                out.flush()
            print(f"[{len(results)}/{len(chosen)}] {result.verdict} {result.mutant.path}:"
                  f"{result.mutant.line} {result.seconds} s", flush=True)  # fmt: skip
    return report(results)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

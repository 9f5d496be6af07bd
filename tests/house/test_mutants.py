"""The mutation tests count no mutant as killed that no test has run against."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.house.sources import PACKAGE, ROOT
from tools import mutants
from tools.mutant_reach import Reach
from tools.mutants import Mutant, Result, Runs, report

BACKOFF = PACKAGE / "kernel" / "backoff.py"
MUTANT = Mutant("src/holdfast/kernel/backoff.py", "AddNot", 0, 1, 1, "", "key")
REACH = Reach(lines={MUTANT.path: {1: ["tests/unit/kernel/test_gone.py::test_gone"]}})


def ending(code: int) -> Result:
    """Return what is said of a mutant whose process ends with this code, or by this signal."""
    how = f"os.kill(os.getpid(), {-code})" if code < 0 else f"os._exit({code})"

    def fork(_mutant: Mutant, _tests: Mapping[str, float]) -> int:
        return os.posix_spawn(sys.executable, [sys.executable, "-c", f"import os; {how}"], {})

    (result,) = Runs(REACH, 1, fork).try_all([MUTANT])
    return result


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        (0, "survived"),
        (1, "killed"),
        (2, "killed"),
        (3, "not run"),
        (4, "killed"),
        (5, "not run"),
        (70, "not run"),
        (-signal.SIGSEGV, "killed"),
        (-signal.SIGXCPU, "timeout"),
    ],
)
def test_only_a_failed_test_kills(code: int, verdict: str) -> None:
    assert ending(code).verdict == verdict


def test_what_was_not_run_is_told_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert report([Result(MUTANT, "killed")]) == 0
    assert report([Result(MUTANT, "not run", code=70)]) == 1
    assert f"not run {MUTANT.path}:1: exit code 70" in capsys.readouterr().out


COLD = """
from tests.house.test_mutants import MUTANT, REACH
from tools import mutants
mutants.try_warm = lambda all, reach, jobs: (mutants.Result(one, "cold") for one in all)
print([one.verdict for one in mutants.try_all([MUTANT], REACH, 1)])
"""


def test_tests_that_fail_without_a_mutant_end_the_run() -> None:
    done = subprocess.run(
        [sys.executable, "-c", COLD], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "end with 4 without a mutant" in done.stderr


WARM = """
import json
from tests.house.sources import PACKAGE
from tools import mutants
from tools.mutant_run import load_early
load_early()
mutants.TESTS = "tests/unit/kernel/test_failure.py"
path = PACKAGE / "kernel" / "failure.py"
tests = [mutants.TESTS + "::test_what_is_stored_names_no_place"]
made = [one for one in mutants.mutants_of(path) if one.text.startswith("return told if said")]
lines = {line: tests for one in made for line in one.lines}
reach = mutants.Reach(lines={made[0].path: lines})
print(json.dumps([one.verdict for one in mutants.try_warm(made, reach, 2)]))
"""


def test_a_process_that_has_collected_the_tests_tries_what_is_in_a_function() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WARM], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    verdicts = json.loads(done.stdout)
    assert verdicts
    assert set(verdicts) == {"killed"}


def test_a_run_leaves_nothing_in_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, temporary = tmp_path / "kept", tmp_path / "temporary"
    kept.mkdir()
    temporary.mkdir()
    seen: list[str] = []

    def try_all(*_given: object) -> list[Result]:
        seen.extend(path.name for path in temporary.iterdir())
        return []

    monkeypatch.setenv("HYPOTHESIS_STORAGE_DIRECTORY", "")
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setattr(mutants, "cache_folder", lambda: kept)
    monkeypatch.setattr(mutants, "measure", lambda _folder: Reach())
    monkeypatch.setattr(mutants, "try_all", try_all)
    assert mutants.main(["--sample", "1", str(BACKOFF)]) == 0
    assert seen
    assert not list(temporary.iterdir())


def test_a_dotted_exception_in_a_tuple_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "try:\n    pass\nexcept (a.B, C):\n    pass\n"
    (tmp_path / "one.py").write_text(text, encoding="utf-8")
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    made = [one for one in mutants.mutants_of(tmp_path / "one.py") if "Exc" in one.operator]
    assert [one.after() for one in made] == ["except (a.B, CosmicRayTestingException):"]
